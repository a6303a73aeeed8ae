package vswitch

import (
	"time"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/port"
)

// Counters count what a port received and what became of it. A superframe is
// one frame and several packets. They add up exactly:
//
//	RxFrames = Delivered + Answered + Held + the sum of Drops
//
// Drops are charged to the port that sent the frame, whoever refused it.
type Counters struct {
	RxFrames  uint64 // frames read from the port
	RxPackets uint64 // packets they stand for; a frame that could not be parsed is one
	RxBytes   uint64 // bytes, with the Ethernet header
	TxFrames  uint64 // frames written to the port, answers of the platform included
	TxPackets uint64
	TxBytes   uint64
	Delivered uint64 // received frames that were written to another port, a superframe if a part of it was
	Answered  uint64 // received frames that the platform took in (ARP, echo to the router)
	Held      uint64 // fragments that wait for the rest of their datagram
	Drops     [policy.NumReasons]uint64
}

// Dropped returns the sum of Drops.
func (c *Counters) Dropped() uint64 {
	var sum uint64
	for _, n := range c.Drops {
		sum += n
	}
	return sum
}

// add adds d to c.
func (c *Counters) add(d *Counters) {
	c.RxFrames += d.RxFrames
	c.RxPackets += d.RxPackets
	c.RxBytes += d.RxBytes
	c.TxFrames += d.TxFrames
	c.TxPackets += d.TxPackets
	c.TxBytes += d.TxBytes
	c.Delivered += d.Delivered
	c.Answered += d.Answered
	c.Held += d.Held
	for r, n := range d.Drops {
		c.Drops[r] += n
	}
}

// Status is a snapshot of a running Switch.
type Status struct {
	Generation uint32 // counts the published configurations, from 1
	Workers    int
	HandedOver uint64 // frames that one worker has read and another owned
	Ports      []PortStatus
	Totals     Counters
	FlowCache  FlowCacheStatus
	Uncounted  uint64        // frames that no Observation tells of, for want of room
	Panics     uint64        // frames whose handling failed inside the switch
	Capacity   int           // tracked connections that all ports together may hold
	Tracked    int           // tracked connections of all ports
	Captured   []FailedFrame // the first frames whose handling failed, ten at most
}

// PortStatus is the state of one instance's port.
type PortStatus struct {
	Interface
	Up       bool // has a device that works
	Offloads port.Offloads
	Counters Counters
	Tracked  int // tracked connections
	Allowed  int // the allowance
	Exceeded uint64
}

// FlowCacheStatus counts the work of the flow cache.
type FlowCacheStatus struct {
	Entries int // places; they grow with the need
	Used    int // places taken
	Hits    uint64
	Misses  uint64
}

// A Connection is one tracked connection at one instance. A flow between two
// local instances is tracked at both, apart.
type Connection struct {
	Instance string
	Tuple    wire.FiveTuple // as its opener sees it
	State    string         // conntrack's name for it: established, syn-sent ...
	Left     time.Duration  // until it idles out
}

// A FailedFrame is a frame whose handling failed inside the switch.
type FailedFrame struct {
	Instance string // who sent it
	Cause    string // the panic's value and stack
	Bytes    []byte
}
