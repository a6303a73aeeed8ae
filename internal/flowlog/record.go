// Package flowlog keeps VPC Flow Logs (SEM 6): it turns what a switch has
// observed into the records that AWS would write, for files and in memory.
package flowlog

import (
	"net/netip"
	"time"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	vswitch "vswitch/switch"
)

// An Action is what one interface, with its security groups and the network ACL
// of its subnet, said to packets. It says nothing about the far end (SEM 6.7).
type Action uint8

// The actions. None, the zero Action, is that of packets that are not logged.
const (
	None Action = iota
	Accept
	Reject
)

// String returns the action as records have it.
func (a Action) String() string {
	switch a {
	case Accept:
		return "ACCEPT"
	case Reject:
		return "REJECT"
	}
	return "-"
}

// A Status says what a record stands for (SEM 6.8).
type Status uint8

const (
	OK       Status = iota // traffic
	NoData                 // an interface without traffic
	SkipData               // records that were lost, any number of them
)

// String returns the status as records have it.
func (s Status) String() string {
	switch s {
	case NoData:
		return "NODATA"
	case SkipData:
		return "SKIPDATA"
	}
	return "OK"
}

// A Record is the packets of one flow in one direction on one interface within one
// window, with one action. The fields behind End are valid iff Status is OK.
type Record struct {
	Interface  *Interface
	Status     Status
	Start, End time.Time // of the first and the last packet; of the window, if there was none

	Direction policy.Direction
	Action    Action
	Tuple     wire.FiveTuple // both ports are 0 for ICMP, as on AWS
	Packets   uint64
	Bytes     uint64     // of the packets, from their IP headers on
	TCPFlags  uint8      // SEM 6.4
	NextHop   *Interface // the receiver (egress), or the sender (ingress); nil if the packets came as far as none

	// What AWS does not tell, of the latest packets: why they were dropped, None if
	// they were delivered, and the rules of this interface's side that let them pass,
	// or the one that denied them. A zero RuleKey is none: security groups deny by
	// having no rule.
	Verdict policy.Reason
	Rules   [2]vswitch.RuleKey

	// Of the log in memory: when the record was begun and when its window closed, in
	// the order of all that happened to the log. closed is 0 while the window is open.
	opened, closed uint64
}

// Open reports whether the record's window has not closed yet, so that the record
// may grow. It is for records of Collector.Flows.
func (r *Record) Open() bool { return r.closed == 0 }

// Addresses returns source and destination as records show them (SEM 6.2): the
// interface's own end is always its primary address, whatever the packets say.
func (r *Record) Addresses() (src, dst netip.Addr) {
	src, dst = r.Tuple.Src.Netip(), r.Tuple.Dst.Netip()
	if r.Direction == policy.Egress {
		src = r.Interface.primary(src)
	} else {
		dst = r.Interface.primary(dst)
	}
	return src, dst
}

// add counts what was seen of the record's flow.
func (r *Record) add(s *sighting) {
	if r.Packets == 0 || s.first.Before(r.Start) {
		r.Start = s.first
	}
	if s.last.After(r.End) {
		r.End = s.last
		r.NextHop, r.Verdict, r.Rules = s.peer, s.verdict, s.rules
	}
	r.Packets += s.packets
	r.Bytes += s.bytes
	r.TCPFlags |= s.flags
}
