package conntrack

import (
	"unsafe"

	"vswitch/internal/mapped"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// An Outcome is what tracking says of a packet at an interface.
type Outcome uint8

const (
	NewFlow Outcome = iota // it belongs to no connection: the rules decide
	Tracked                // it belongs to a connection and passes, whatever the rules say now
	Refused                // it belongs to a connection and must not pass, or opens none in strict mode
)

// Track takes a packet into its connection at the interface, in either
// direction, and refreshes the timeout. The Ref is valid iff the outcome is
// Tracked, the reason iff it is Refused.
func (t *Tracker) Track(eni uint32, f *wire.Frame, now int64) (Outcome, Ref, policy.Reason) {
	k, from := keyOf(eni, &f.Tuple)
	slot := t.find(&k, now)
	if slot == 0 {
		outcome, r := t.unknown(eni, f)
		return outcome, Ref{}, r
	}
	r := &t.records[slot]
	ref := Ref{slot, r.version}
	if !r.isTCP() {
		t.touch(slot, r.exchange(from), now)
		return Tracked, ref, policy.None
	}
	res, state := r.tcp.step(r.state, r.opened, from, &f.TCP)
	switch res {
	case pass:
		t.touch(slot, state, now)
	case reopen:
		r.opened = from.other()
		t.touch(slot, state, now)
	case remove, fresh:
		t.release(slot)
	}
	outcome, reason := outcomeOf(res)
	if outcome != Tracked {
		ref = Ref{}
	}
	return outcome, ref, reason
}

// Peek returns what Track would, without any effect.
func (t *Tracker) Peek(eni uint32, f *wire.Frame, now int64) (Outcome, policy.Reason) {
	k, from := keyOf(eni, &f.Tuple)
	slot := t.find(&k, now)
	if slot == 0 {
		return t.unknown(eni, f)
	}
	r := &t.records[slot]
	if !r.isTCP() {
		return Tracked, policy.None
	}
	connection := r.tcp // a copy
	res, _ := connection.step(r.state, r.opened, from, &f.TCP)
	return outcomeOf(res)
}

// outcomeOf returns what a result means for the packet.
func outcomeOf(res result) (Outcome, policy.Reason) {
	switch res {
	case fresh:
		return NewFlow, policy.None
	case outside:
		return Refused, policy.ConntrackWindow
	case unfitting:
		return Refused, policy.ConntrackState
	case late:
		return Refused, policy.ConntrackClosed
	}
	return Tracked, policy.None // pass, ignore, remove, reopen
}

// unknown judges a packet without a connection: new, unless only a SYN may open
// one.
func (t *Tracker) unknown(eni uint32, f *wire.Frame) (Outcome, policy.Reason) {
	n := t.configured(eni)
	if n != nil && n.limits.Strict && policy.Protocol(f.Tuple.Protocol) == policy.TCP &&
		f.TCP.Flags&(wire.SYN|wire.ACK|wire.RST|wire.FIN) != wire.SYN {
		return Refused, policy.ConntrackStrict
	}
	return NewFlow, policy.None
}

// Advance takes the next packet of a flow that a flow cache remembers into its
// connection, as Track would. It returns false, without effect, if the connection
// is not there any more or if the packet deserves the closer look of Track: the
// sender then goes the slow path.
func (t *Tracker) Advance(ref Ref, f *wire.Frame, now int64) bool {
	r := &t.records[ref.Slot]
	if r.version != ref.Version || r.gone(now) {
		return false
	}
	from := sender(&f.Tuple)
	if !r.isTCP() {
		t.touch(ref.Slot, r.exchange(from), now)
		return true
	}
	const plain = wire.FIN | wire.SYN | wire.RST | wire.ACK
	if r.state != Established || f.TCP.Flags&plain != wire.ACK || !r.tcp.inWindow(from, &f.TCP) {
		return false
	}
	r.tcp.advance(from, &f.TCP)
	t.touch(ref.Slot, Established, now)
	return true
}

// Fetch asks for the memory of a connection that Advance will need soon, and does not
// wait for it.
func (t *Tracker) Fetch(ref Ref) { mapped.Fetch(unsafe.Pointer(&t.records[ref.Slot])) }

// touch moves the deadline of a connection that was used. The wheel need not know
// of a later one.
func (t *Tracker) touch(slot uint32, state State, now int64) {
	r := &t.records[slot]
	n := &t.interfaces[r.eni]
	r.state = state
	expires := deadline(now, n.limits.timeout(state, r.isICMP()))
	if expires == r.expires {
		return
	}
	earlier := before(expires, r.expires)
	r.expires = expires
	if earlier {
		t.unlink(&n.wheel, slot)
		t.link(&n.wheel, slot)
	}
}

// Related reports whether the packet that an ICMP error quotes belongs to a live
// connection of the interface. It has no effect on it (SEM 2.6, reliability row
// T4).
func (t *Tracker) Related(eni uint32, quoted wire.FiveTuple, now int64) bool {
	k, _ := keyOf(eni, &quoted)
	slot := t.find(&k, now)
	return slot != 0 && t.records[slot].state != Closed
}

// MaxInterface is the highest handle that an interface may have.
const MaxInterface = 1<<16 - 1

// Mark attaches a number to a connection, which the Tracker does not interpret and
// keeps for as long as the connection lives; it is 0 at first. A Ref of another
// connection than the one in its place marks nothing.
func (t *Tracker) Mark(ref Ref, mark uint16) {
	if r := &t.records[ref.Slot]; r.version == ref.Version {
		r.mark = mark
	}
}

// Marked returns what Mark attached to a connection, or 0 for a stale Ref.
func (t *Tracker) Marked(ref Ref) uint16 {
	if r := &t.records[ref.Slot]; r.version == ref.Version {
		return r.mark
	}
	return 0
}
