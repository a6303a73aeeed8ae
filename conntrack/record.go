package conntrack

import (
	"encoding/binary"
	"time"
	"unsafe"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// A record is one connection at one interface, without its addresses: fixed-size
// and free of pointers, so that a million of them cost the garbage collector
// nothing and the table may live in mapped memory. It fills one line of the
// processor's cache, which is all that Advance touches of a connection.
type record struct {
	tcp               tcp    // valid iff protocol is TCP
	version           uint32 // of the connection; 0 while the slot is free
	expires           uint32 // the first tick at which the connection is gone
	eni               uint16 // MaxInterface is the highest
	mark              uint16 // Mark's
	lowPort, highPort uint16 // the ports of ends.low and ends.high
	chain             uint32 // the next slot of the bucket, or of the free list
	prev, next        uint32 // neighbours in the wheel's place
	protocol          uint8
	state             State
	opened            endpoint // the end that opened the connection
	place             uint8    // in the interface's wheel
}

// ends are the addresses of a connection, which only lookups need. They are in
// canonical order, (low, lowPort) < (high, highPort), so that both directions of a
// flow find it by one lookup. Those of a free slot mean nothing.
type ends struct{ low, high wire.Addr }

// A connection costs recordSize and endsSize bytes at one end, 96 in all.
const (
	recordSize = 64
	endsSize   = 32
)

var (
	_ [recordSize]byte = [unsafe.Sizeof(record{})]byte{}
	_ [endsSize]byte   = [unsafe.Sizeof(ends{})]byte{}
)

// tickShift makes the unit of time for deadlines, the tick: 2^26 ns, 67 ms. Ticks
// are numbered modulo 2^32, which is nine years, and compared by before: what has
// idled out must be swept within half of that.
const tickShift = 26

func ticks(now int64) uint32 { return uint32(now >> tickShift) }

// deadline returns the first tick at which a connection used now is gone. That
// is never before the timeout, and less than a tick after it.
func deadline(now int64, timeout time.Duration) uint32 { return ticks(now+int64(timeout)) + 1 }

// gone reports whether a connection has idled out.
func (r *record) gone(now int64) bool { return !before(ticks(now), r.expires) }

// An endpoint names one end of a connection: 0 is the low one, 1 the high one.
type endpoint uint8

const (
	lowEnd  endpoint = 0
	highEnd endpoint = 1
)

// other returns the opposite end.
func (e endpoint) other() endpoint { return e ^ 1 }

// sender returns the end that sent a packet of tuple t.
func sender(t *wire.FiveTuple) endpoint {
	if addrBefore(&t.Src, &t.Dst) || t.Src == t.Dst && t.SrcPort <= t.DstPort {
		return lowEnd
	}
	return highEnd
}

// matches reports whether a slot holds the connection of k.
func (t *Tracker) matches(slot uint32, k *key) bool {
	r := &t.records[slot]
	return r.lowPort == k.lowPort && r.highPort == k.highPort && uint32(r.eni) == k.eni && r.protocol == k.protocol && t.ends[slot] == k.ends
}

// key returns what the connection in slot is found by.
func (t *Tracker) key(slot uint32) key {
	r := &t.records[slot]
	return key{t.ends[slot], r.lowPort, r.highPort, r.protocol, uint32(r.eni)}
}

// tuple returns the flow in slot as its opener sees it.
func (t *Tracker) tuple(slot uint32) wire.FiveTuple {
	r, e := &t.records[slot], &t.ends[slot]
	flow := wire.FiveTuple{Src: e.low, Dst: e.high, SrcPort: r.lowPort, DstPort: r.highPort, Protocol: r.protocol}
	if r.opened == highEnd {
		return flow.Reverse()
	}
	return flow
}

// A key is what a connection is found by.
type key struct {
	ends
	lowPort, highPort uint16
	protocol          uint8
	eni               uint32
}

// keyOf returns the key of a packet's connection, and which end sent the packet.
func keyOf(eni uint32, t *wire.FiveTuple) (key, endpoint) {
	if sender(t) == lowEnd {
		return key{ends{t.Src, t.Dst}, t.SrcPort, t.DstPort, t.Protocol, eni}, lowEnd
	}
	return key{ends{t.Dst, t.Src}, t.DstPort, t.SrcPort, t.Protocol, eni}, highEnd
}

// addrBefore reports whether a is a lower address than b.
func addrBefore(a, b *wire.Addr) bool {
	x, y := binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(b[:8])
	if x == y {
		x, y = binary.BigEndian.Uint64(a[8:]), binary.BigEndian.Uint64(b[8:])
	}
	return x < y
}

// isTCP reports whether the record follows a TCP connection.
func (r *record) isTCP() bool { return policy.Protocol(r.protocol) == policy.TCP }

// isICMP reports whether the record is an ICMP or ICMPv6 exchange.
func (r *record) isICMP() bool { return policy.Protocol(r.protocol).HasTypes() }

// exchange returns the state that a packet from the given end leads to, for
// protocols without states of their own. A single request and its answer are not
// a stream; a second request is (SEM 2.3).
func (r *record) exchange(from endpoint) State {
	switch {
	case r.state == Unreplied && from != r.opened:
		return Replied
	case r.state == Replied && from == r.opened && !r.isICMP():
		return Stream
	}
	return r.state
}
