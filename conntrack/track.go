package conntrack

import (
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
		return t.unknown(eni, f)
	}
	r := &t.records[slot]
	res := pass
	state := r.state
	if r.isTCP() {
		res, state = r.tcp.step(r.state, r.opener(), from, &f.TCP)
	} else {
		state = r.exchange(from)
	}
	ref := Ref{slot, r.version}
	switch res {
	case pass:
		t.touch(slot, state, now)
	case ignore:
	case remove:
		t.release(slot)
		ref = Ref{}
	case fresh:
		t.release(slot)
		return NewFlow, Ref{}, policy.None
	default:
		return Refused, Ref{}, reasonOf(res)
	}
	return Tracked, ref, policy.None
}

// Peek returns what Track would, without any effect.
func (t *Tracker) Peek(eni uint32, f *wire.Frame, now int64) (Outcome, policy.Reason) {
	k, from := keyOf(eni, &f.Tuple)
	slot := t.find(&k, now)
	if slot == 0 {
		outcome, _, reason := t.unknown(eni, f)
		return outcome, reason
	}
	r := t.records[slot] // a copy
	res := pass
	if r.isTCP() {
		res, _ = r.tcp.step(r.state, r.opener(), from, &f.TCP)
	}
	switch res {
	case pass, ignore, remove:
		return Tracked, policy.None
	case fresh:
		return NewFlow, policy.None
	}
	return Refused, reasonOf(res)
}

// unknown judges a packet without a connection: new, unless only a SYN may open
// one.
func (t *Tracker) unknown(eni uint32, f *wire.Frame) (Outcome, Ref, policy.Reason) {
	if t.interfaces[eni].limits.Strict && policy.Protocol(f.Tuple.Protocol) == policy.TCP &&
		f.TCP.Flags&(wire.SYN|wire.ACK|wire.RST|wire.FIN) != wire.SYN {
		return Refused, Ref{}, policy.ConntrackStrict
	}
	return NewFlow, Ref{}, policy.None
}

// Advance takes the next packet of a flow that a flow cache remembers into its
// connection. It returns false, without effect, if the connection is not there
// any more or if the packet deserves the closer look of Track: the sender then
// goes the slow path.
func (t *Tracker) Advance(ref Ref, f *wire.Frame, now int64) bool {
	r := &t.records[ref.Slot]
	if r.version != ref.Version || r.expires < ticks(now) {
		return false
	}
	from := r.sender(&f.Tuple)
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

// Related reports whether the packet that an ICMP error quotes belongs to a live
// connection of the interface. It has no effect on it (SEM 2.6, reliability row
// T4).
func (t *Tracker) Related(eni uint32, quoted wire.FiveTuple, now int64) bool {
	k, _ := keyOf(eni, &quoted)
	slot := t.find(&k, now)
	return slot != 0 && t.records[slot].state != Closed
}

// exchange returns the state that a packet from the given end leads to, for
// protocols without states of their own. A single request and its answer are not
// a stream; a second request is (SEM 2.3).
func (r *record) exchange(from endpoint) State {
	switch {
	case r.state == Unreplied && from != r.opener():
		return Replied
	case r.state == Replied && from == r.opener() && !r.isICMP():
		return Stream
	}
	return r.state
}

// touch moves the deadline of a connection that was used, and its queue if the
// new state has another timeout.
func (t *Tracker) touch(slot uint32, state State, now int64) {
	r := &t.records[slot]
	n := &t.interfaces[r.eni]
	r.state = state
	if c := classOf(state, r.isICMP()); c != r.class {
		t.dequeue(&n.queues[r.class], slot)
		r.class = c
		r.flags &^= touched
		r.expires = deadline(now, n.limits.timeout(c))
		t.enqueue(&n.queues[c], slot)
		return
	}
	if d := deadline(now, n.limits.timeout(r.class)); d != r.expires {
		r.expires = d
		r.flags |= touched
	}
}

// reasonOf returns why a result drops.
func reasonOf(res result) policy.Reason {
	switch res {
	case outside:
		return policy.ConntrackWindow
	case unfitting:
		return policy.ConntrackState
	case late:
		return policy.ConntrackClosed
	}
	panic("unreachable: the result does not drop")
}
