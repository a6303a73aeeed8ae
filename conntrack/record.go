package conntrack

import (
	"bytes"
	"time"
	"unsafe"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// A record is one connection at one interface: fixed-size and free of pointers,
// so that a million of them cost the garbage collector nothing and the table
// may live in mapped memory. The two ends are in canonical order, so that both
// directions of a flow find it by one lookup.
type record struct {
	low, high         wire.Addr // the ends' addresses; (low, lowPort) < (high, highPort)
	lowPort, highPort uint16
	protocol          uint8
	flags             recordFlags
	state             State
	class             class
	eni               uint32
	version           uint32 // of the slot; a new one with every connection
	chain             uint32 // the next slot of the bucket, or of the free list
	prev, next        uint32 // neighbours in the expiry queue
	expires           uint32 // in ticks
	tcp               tcp    // valid iff protocol is TCP
}

// recordSize is what a connection costs at one end, in bytes.
const recordSize = 96

var _ [recordSize]byte = [unsafe.Sizeof(record{})]byte{}

// recordFlags are what a record knows besides its state.
type recordFlags uint8

const (
	openerHigh recordFlags = 1 << iota // the high end opened the connection
	touched                            // expires was moved since the record was queued
)

// tick is the unit of expires: 2^26 ns, 67 ms. A connection may outlive its
// timeout by up to two of them, and never falls short of it.
const tickShift = 26

func ticks(now int64) uint32 { return uint32(now >> tickShift) }

// deadline returns the tick at which a connection used now idles out.
func deadline(now int64, timeout time.Duration) uint32 { return ticks(now+int64(timeout)) + 1 }

// An endpoint names one end of a connection: 0 is the low one, 1 the high one.
type endpoint uint8

const (
	lowEnd  endpoint = 0
	highEnd endpoint = 1
)

// opener returns the end that opened the connection.
func (r *record) opener() endpoint { return endpoint(r.flags & openerHigh) }

// sender returns the end that sent a packet of tuple t, which is one of the
// record's two.
func (r *record) sender(t *wire.FiveTuple) endpoint {
	if t.SrcPort == r.lowPort && t.Src == r.low {
		return lowEnd
	}
	return highEnd
}

// matches reports whether the record is the connection of k.
func (r *record) matches(k *key) bool {
	return r.lowPort == k.lowPort && r.highPort == k.highPort && r.eni == k.eni && r.protocol == k.protocol && r.low == k.low && r.high == k.high
}

// tuple returns the flow as its opener sees it.
func (r *record) tuple() wire.FiveTuple {
	t := wire.FiveTuple{Src: r.low, Dst: r.high, SrcPort: r.lowPort, DstPort: r.highPort, Protocol: r.protocol}
	if r.opener() == highEnd {
		return t.Reverse()
	}
	return t
}

// A key is what a connection is found by.
type key struct {
	low, high         wire.Addr
	lowPort, highPort uint16
	protocol          uint8
	eni               uint32
}

// keyOf returns the key of a packet's connection, and which end sent the packet.
func keyOf(eni uint32, t *wire.FiveTuple) (key, endpoint) {
	order := bytes.Compare(t.Src[:], t.Dst[:])
	if order < 0 || order == 0 && t.SrcPort <= t.DstPort {
		return key{t.Src, t.Dst, t.SrcPort, t.DstPort, t.Protocol, eni}, lowEnd
	}
	return key{t.Dst, t.Src, t.DstPort, t.SrcPort, t.Protocol, eni}, highEnd
}

// isTCP reports whether the record follows a TCP connection.
func (r *record) isTCP() bool { return policy.Protocol(r.protocol) == policy.TCP }

// isICMP reports whether the record is an ICMP or ICMPv6 exchange.
func (r *record) isICMP() bool { return policy.Protocol(r.protocol).HasTypes() }
