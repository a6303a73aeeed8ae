package vswitch

import (
	"cmp"
	"errors"
	"slices"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// A FlowFate says what becomes of a flow that goes on when another configuration
// comes into force (SEM 2.4).
type FlowFate uint8

const (
	FlowKept    FlowFate = iota // all its packets pass as before
	FlowTracked                 // likewise, but only since it is tracked: the rules would not let it begin any more
	FlowCut                     // the next packet of one of its ends, or of both, is dropped
)

// String returns kept, tracked or cut.
func (f FlowFate) String() string { return [...]string{"kept", "tracked", "cut"}[f] }

// A PlannedFlow is one flow that goes on, and what is to become of it.
type PlannedFlow struct {
	From, To string         // instances at its ends; "" where the address is nobody's
	Tuple    wire.FiveTuple // as its opener sees it; of an untracked flow, the destination has the lower port
	State    string         // conntrack's name for it; "" if it is untracked
	Fate     FlowFate
	FlowCause

	// Cut says which ends' packets are dropped: that of the tuple's source, and that
	// of its destination.
	Cut [2]bool
	// Revives says that the flow goes on after all as soon as the other end sends,
	// because the rules then track it. Valid iff one end is cut.
	Revives bool
}

// A FlowCause says what cuts a flow, or would not let it begin. The zero FlowCause
// is that of a flow that is kept. It is comparable.
type FlowCause struct {
	Removed string // the instance that is no more; the other fields are then zero
	Remade  string // the instance that gets another namespace or device; likewise
	Reason  policy.Reason
	Denial  Denial // the zero Denial if no security group or network ACL denies
}

// A FlowPlan says what becomes of the flows that go on.
type FlowPlan struct {
	Count    [FlowCut + 1]int // flows by fate
	Flows    []PlannedFlow    // those of each fate, cut ones first, as many as were asked for
	Causes   []CauseCount     // of those that are cut or tracked, the most frequent first
	Unjudged int              // connections of flows for which there was no room
}

// A CauseCount is how many flows have one fate for one cause.
type CauseCount struct {
	Fate FlowFate
	FlowCause
	Flows int
}

// PlanFlows says what would become of the flows that go on if next came into force,
// and changes nothing. Up to most flows of each fate are listed. The flows are
// judged by the path of a frame, in a Rehearsal of what runs and in one of next,
// with the connections that they have: frames do not wait for it. Tracked flows go
// on until they close or idle out, and untracked ones until five minutes after
// their last packet. Instances that forward are taken to do so.
//
// A flow whose packets do not pass now has nothing to lose and is in no count. That
// of a protocol without states is taken to go both ways. PlanFlows
// does not foresee that an allowance is used up.
func (s *Switch) PlanFlows(next Config, most int) (FlowPlan, error) {
	s.mu.Lock() // so that the plane stays, and the handles of its interfaces
	defer s.mu.Unlock()
	if s.closed.Load() {
		return FlowPlan{}, ErrClosed
	}
	running := s.plane.Load()
	full, err := Complete(next, &running.config)
	if err != nil {
		return FlowPlan{}, err
	}
	now, err := rehearse(running)
	if err != nil {
		return FlowPlan{}, err
	}
	then, err := rehearse(compile(full, running, nil))
	if err != nil {
		return FlowPlan{}, errors.Join(err, now.Close())
	}
	live := s.liveFlows(running)
	p := planner{now: now, then: then, most: most, causes: map[CauseCount]int{}}
	for i := range live.all {
		p.add(&live.all[i])
	}
	p.plan.Unjudged = live.more
	p.finish()
	return p.plan, errors.Join(now.Close(), then.Close())
}

// A planner judges flows by what runs and by what may come.
type planner struct {
	now, then *Rehearsal
	most      int
	plan      FlowPlan
	causes    map[CauseCount]int // by cause and fate, with Flows 0
}

// add judges one flow. One that does not get through now has nothing to lose.
func (p *planner) add(f *liveFlow) {
	if f.ended && len(f.at) == 0 {
		return
	}
	flow := PlannedFlow{Tuple: f.tuple, State: f.stateName()}
	senders, talks := p.conversation(f)
	for d, name := range [2]*string{&flow.From, &flow.To} {
		if t := f.seen(d); senders[d] != nil && senders[d].owns(&t.Src) {
			*name = senders[d].name
		}
	}
	if !talks[0] && (!talks[1] || len(f.at) > 0) { // its opener does not get through any more
		return
	}
	p.foresee(f, &flow, senders, talks)
	if flow.Fate != FlowKept {
		p.causes[CauseCount{Fate: flow.Fate, FlowCause: flow.FlowCause}]++
	}
	if p.plan.Count[flow.Fate]++; p.plan.Count[flow.Fate] <= p.most {
		p.plan.Flows = append(p.plan.Flows, flow)
	}
}

// conversation returns who sends the packets of a flow in each of its directions,
// nil if that is unknown, and whether they pass now.
func (p *planner) conversation(f *liveFlow) (senders [2]*eni, talks [2]bool) {
	for d := range senders {
		senders[d] = p.now.plane.sender(f, d)
	}
	order := [2]int{0, 1}
	if senders[0] == nil {
		order = [2]int{1, 0}
	}
	for _, d := range order {
		if !f.talks[d] || senders[d] == nil {
			continue
		}
		p.now.resume(f)
		end, cause := p.now.carry(senders[d], f.packet(d, wire.ACK))
		talks[d] = cause == FlowCause{}
		if senders[1-d] == nil {
			senders[1-d] = end // an instance that answers for addresses which are not its own
		}
	}
	return senders, talks
}

// foresee fills in what becomes of a flow whose packets pass now in the directions
// of talks.
func (p *planner) foresee(f *liveFlow, flow *PlannedFlow, senders [2]*eni, talks [2]bool) {
	for _, e := range senders {
		if e == nil {
			continue
		}
		if flow.FlowCause = p.then.plane.ends(e); flow.FlowCause != (FlowCause{}) {
			flow.Fate, flow.Cut = FlowCut, talks
			return
		}
	}
	for d, talk := range talks {
		if !talk {
			continue
		}
		p.then.resume(f)
		cause := p.next(f, d, senders, wire.ACK)
		if cause == (FlowCause{}) {
			continue
		}
		if flow.Cut[d] = true; flow.Fate != FlowCut {
			flow.Fate, flow.FlowCause = FlowCut, cause
		}
	}
	switch {
	case flow.Fate == FlowCut:
		flow.Revives = p.revives(f, flow.Cut, senders, talks)
	case len(f.at) > 0 && talks[0]:
		p.then.Forget()
		if cause := p.next(f, 0, senders, wire.SYN); cause != (FlowCause{}) {
			flow.Fate, flow.FlowCause = FlowTracked, cause
		}
	}
}

// ends returns why everything ends that an instance of the plane before does now.
func (p *plane) ends(old *eni) FlowCause {
	switch e := p.byName[old.name]; {
	case e == nil:
		return FlowCause{Removed: old.name}
	case e.iface.Namespace != old.iface.Namespace, e.iface.Device != old.iface.Device:
		return FlowCause{Remade: old.name}
	}
	return FlowCause{}
}

// next judges a packet of the flow by what may come.
func (p *planner) next(f *liveFlow, direction int, senders [2]*eni, flags uint8) FlowCause {
	_, cause := p.then.carry(p.then.plane.enis[senders[direction].handle], f.packet(direction, flags))
	return cause
}

// revives reports whether packets of the end that is not cut make those of the
// other one pass.
func (p *planner) revives(f *liveFlow, cut [2]bool, senders [2]*eni, talks [2]bool) bool {
	for d := range cut {
		other := 1 - d
		if !cut[d] || cut[other] || !talks[other] {
			continue
		}
		p.then.resume(f)
		return p.next(f, other, senders, wire.ACK) == FlowCause{} && p.next(f, d, senders, wire.ACK) == FlowCause{}
	}
	return false
}

// finish sorts what the plan lists.
func (p *planner) finish() {
	for c, flows := range p.causes {
		c.Flows = flows
		p.plan.Causes = append(p.plan.Causes, c)
	}
	slices.SortFunc(p.plan.Causes, func(a, b CauseCount) int {
		return cmp.Or(-cmp.Compare(a.Fate, b.Fate), -cmp.Compare(a.Flows, b.Flows), cmp.Compare(a.Words(), b.Words()))
	})
	slices.SortFunc(p.plan.Flows, func(a, b PlannedFlow) int {
		return cmp.Or(-cmp.Compare(a.Fate, b.Fate), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Tuple.DstPort, b.Tuple.DstPort), cmp.Compare(a.Tuple.String(), b.Tuple.String()))
	})
}

// Words returns the cause in words: "nacl private egress * (implicit deny)",
// "instance db1 is removed", "NO_ROUTE".
func (c *FlowCause) Words() string {
	switch {
	case c.Removed != "":
		return "instance " + c.Removed + " is removed"
	case c.Remade != "":
		return "instance " + c.Remade + " is made anew"
	case c.Denial.Object != "":
		return c.Denial.String()
	}
	return c.Reason.String()
}

// stateName returns conntrack's name for the state of a flow, "" for none.
func (f *liveFlow) stateName() string {
	if len(f.at) == 0 {
		return ""
	}
	return f.state.String()
}

// seen returns the tuple of the packets that go in one direction.
func (f *liveFlow) seen(direction int) wire.FiveTuple {
	if direction == 0 {
		return f.tuple
	}
	return f.tuple.Reverse()
}

// packet returns a packet of the flow in one direction, without the MACs: of TCP a
// segment without data that has the given flags.
func (f *liveFlow) packet(direction int, flags uint8) wire.Packet {
	t := f.seen(direction)
	p := wire.Packet{Src: t.Src, Dst: t.Dst, Protocol: t.Protocol, SrcPort: t.SrcPort, DstPort: t.DstPort, Seq: 1, Ack: 1, Flags: flags}
	if policy.Protocol(t.Protocol).HasTypes() {
		p.ID, p.Type, p.Code = f.tuple.SrcPort, uint8(f.tuple.DstPort>>8), uint8(f.tuple.DstPort)
		if direction == 1 {
			p.Type, _ = wire.ReplyType(t.Protocol, p.Type)
		}
	}
	return p
}

// sender returns the interface that has the source address of a flow's packets in
// one direction, or nil.
func (p *plane) sender(f *liveFlow, direction int) *eni {
	t := f.seen(direction)
	for _, handle := range f.met {
		if e := p.enis[handle]; e != nil {
			if owner := p.owner(e, &t.Src); owner != nil {
				return owner
			}
		}
	}
	return nil
}

// resume makes the connections of a flow the only ones that r has.
func (r *Rehearsal) resume(f *liveFlow) {
	r.Forget()
	for _, handle := range f.at {
		var e *eni
		if int(handle) < len(r.plane.enis) {
			e = r.plane.enis[handle]
		}
		if e == nil {
			continue // it will be removed
		}
		p := f.packet(0, wire.ACK)
		p.SrcMAC, p.DstMAC = e.mac, e.subnet.routerMAC
		var frame wire.Frame
		if frame.Parse(p.Bytes(), e.mtu) == policy.None {
			r.conns.Insert(e.handle, &frame, 0)
			r.used = append(r.used, e)
		}
	}
}

// maxForwarders bounds how many instances forward a packet, one after the other.
const maxForwarders = 8

// carry judges a packet on its whole way, over the instances that forward it. It
// returns where the packet ends, nil at the platform, or what stops it.
func (r *Rehearsal) carry(from *eni, p wire.Packet) (end *eni, _ FlowCause) {
	owned := r.plane.owner(from, &p.Dst) != nil
	for range maxForwarders {
		p.SrcMAC, p.DstMAC = from.mac, from.subnet.routerMAC
		if n := r.plane.owner(from, &p.Dst); n != nil && n != from && n.subnet == from.subnet {
			p.DstMAC = n.mac
		}
		j := judge{plane: r.plane, conns: r.conns}
		out, reason := j.rehearse(from, p.Bytes())
		r.used = append(r.used, from)
		if reason != policy.None {
			return nil, j.cause(from, reason)
		}
		if out == nil {
			return nil, FlowCause{}
		}
		r.used = append(r.used, out)
		if out.owns(&p.Dst) || !owned { // what nobody has is for the instance that it is routed to
			return out, FlowCause{}
		}
		from = out
	}
	return nil, FlowCause{Reason: policy.Hairpin} // it goes round in circles
}

// cause returns why j has denied a packet that from sent.
func (j *judge) cause(from *eni, r policy.Reason) FlowCause {
	c := FlowCause{Reason: r}
	gate, rule := j.way.denied(from, r)
	if d := j.plane.denial(r, gate, rule); d != nil {
		c.Denial = *d
	}
	return c
}
