package vswitch

import (
	"net/netip"

	"vswitch/conntrack"
	"vswitch/filter"
	"vswitch/internal/classify"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// A judge takes one packet through the checks of a VPC in AWS's order. It serves
// the data plane and, with a trace and dry set, everything that explains: there
// is no second implementation of the rules.
type judge struct {
	plane *plane
	conns *conntrack.Tracker
	frame *wire.Frame
	now   int64
	dry   bool   // look at the connections, but neither advance nor open any
	trace *Trace // nil unless somebody asks why

	quote quote // what another worker has said of an ICMP error

	refs refs    // the connections of the flow; valid after decide returned None
	way  passage // as far as the packet came
}

// A hop is where a packet stands between the two halves of its way: it has left
// its instance and subnet, and a route has been chosen. Gateways, an appliance
// in the middle or another host start the second half from a hop of their own.
type hop struct {
	emitter *eni             // who put the packet into the fabric
	groups  []filter.GroupID // the emitter's, for group references; none if it does not own the source address (SEM 1.4)
	out     *eni             // the next interface
}

// decide returns the interface that the packet goes to, or why it is dropped.
// The numbers are those of SEM 4.1; every interface commits its own connection
// at its own step, so that the sender's stays even if the receiver then refuses
// the packet.
func (j *judge) decide(in *eni) (*eni, policy.Reason) {
	if r := j.reachable(in); r != policy.None { // 0, 1
		j.record(Step{Check: CheckIdentity, Where: in.name, Reason: r})
		return nil, r
	}
	h, r := j.egress(in) // 2, 3, 4
	if r != policy.None {
		return nil, r
	}
	j.way.out = h.out.handle
	if r := j.ingress(&h); r != policy.None { // 5, 6, 7
		return nil, r
	}
	return h.out, policy.None // 8
}

// reachable is the part of steps 0 and 1 that depends on the destination: the
// MAC is the router's or a neighbour's, and the address is one that rules judge,
// rather than the platform's or nobody's.
func (j *judge) reachable(in *eni) policy.Reason {
	f := j.frame
	if f.Dst != in.subnet.routerMAC {
		if f.Dst == in.mac {
			return policy.Hairpin
		}
		if in.subnet.neighbours[f.Dst] == nil {
			return policy.UnknownMAC
		}
	}
	dst := &f.Tuple.Dst
	switch {
	case in.owns(dst):
		return policy.Hairpin
	case j.plane.routers[*dst], in.subnet.isRouter(dst):
		return policy.RouterService
	case isPlatform(dst), j.plane.services[*dst]:
		return policy.PlatformService
	case isDHCPAnswer(&f.Tuple):
		return policy.DHCPSpoofed
	case isMulticast(dst):
		return policy.Multicast
	case *dst == limitedBroadcast, *dst == in.subnet.broadcast:
		return policy.Broadcast
	}
	return policy.None
}

// isPlatform reports whether an address belongs to the blocks of AWS's services:
// 169.254.0.0/16 and fd00:ec2::/32 (SEM 1.6, 5.3).
func isPlatform(a *wire.Addr) bool {
	if a.Is4() {
		return a[12] == 169 && a[13] == 254
	}
	return *(*[4]byte)(a[:]) == [4]byte{0xfd, 0x00, 0x0e, 0xc2}
}

// isDHCPAnswer reports whether a packet is what a DHCP server sends (RFC 2131
// section 4.1, RFC 8415 section 7.2; reliability row L5).
func isDHCPAnswer(t *wire.FiveTuple) bool {
	return policy.Protocol(t.Protocol) == policy.UDP && (t.SrcPort == 67 && t.DstPort == 68 || t.SrcPort == 547 && t.DstPort == 546)
}

// isMulticast reports whether an address is one of a group: 224.0.0.0/4, ff00::/8.
func isMulticast(a *wire.Addr) bool {
	if a.Is4() {
		return a[12]&0xf0 == 224
	}
	return a[0] == 0xff
}

// owner returns the interface that has an address, as seen from the subnet of
// in: its neighbours' link-local addresses count.
func (p *plane) owner(in *eni, a *wire.Addr) *eni {
	if isLinkLocal6(a) {
		return in.subnet.linkLocal[*a]
	}
	return p.byAddress[*a]
}

// limitedBroadcast is 255.255.255.255 (RFC 919).
var limitedBroadcast = wire.AddrFrom4([]byte{255, 255, 255, 255})

// egress is the first half: the sender's security groups (2), the network ACL of
// its subnet (3) and the route (4).
func (j *judge) egress(in *eni) (hop, policy.Reason) {
	f := j.frame
	dst := f.Tuple.Dst.Netip()
	// The route is looked up first, though its verdict comes last: it tells whether
	// the packet goes straight to its destination, and whether it leaves the subnet.
	h := hop{emitter: in, out: in.subnet.neighbours[f.Dst]}
	routed := f.Dst == in.subnet.routerMAC
	var taken *route
	var routing policy.Reason
	if routed {
		taken, h.out, routing = j.plane.route(in, &f.Tuple)
	}
	var remote []filter.GroupID // none if an appliance is in between (SEM 1.4)
	if h.out != nil && h.out.owns(&f.Tuple.Dst) {
		remote = h.out.groups
	}
	ref, r := j.securityGroups(in, policy.Egress, dst, remote)
	if r != policy.None {
		return hop{}, r
	}
	j.refs.egress = ref

	if in.owns(&f.Tuple.Src) {
		h.groups = in.groups
	}
	if !routed {
		j.record(Step{Check: CheckRoute, Where: in.subnet.name, Verdict: policy.Allow, Words: "on-link"})
		return h, policy.None
	}
	if h.out != nil && h.out.subnet != in.subnet || h.out == nil && routing != policy.Hairpin && !in.subnet.onTheLink(&f.Tuple.Dst) {
		if r := j.networkACL(in.subnet, policy.Egress, dst); r != policy.None {
			return hop{}, r
		}
	}
	j.recordRoute(in.subnet, taken, routing)
	return h, routing
}

// ingress is the second half: the network ACL of the receiver's subnet (5), its
// source/dest check (6) and its security groups (7).
func (j *judge) ingress(h *hop) policy.Reason {
	f, out := j.frame, h.out
	src := f.Tuple.Src.Netip()
	if out.subnet != h.emitter.subnet {
		if r := j.networkACL(out.subnet, policy.Ingress, src); r != policy.None {
			return r
		}
	}
	if out.checkAddress && !out.owns(&f.Tuple.Dst) {
		j.record(Step{Check: CheckDestination, Where: out.name, Reason: policy.DestinationCheck})
		return policy.DestinationCheck
	}
	ref, r := j.securityGroups(out, policy.Ingress, src, h.groups)
	j.refs.ingress = ref
	return r
}

// securityGroups is SEM 2.8: an existing connection of the interface decides,
// else its rules do, and the flow they allow becomes a connection unless it is
// one that AWS does not track.
func (j *judge) securityGroups(e *eni, d policy.Direction, remote netip.Addr, groups []filter.GroupID) (conntrack.Ref, policy.Reason) {
	f := j.frame
	outcome, ref, r := j.track(e)
	// Strict tracking is about opening a connection, and so it only concerns what
	// the rules allow and want tracked (SEM 2.4).
	strict := outcome == conntrack.Refused && r == policy.ConntrackStrict
	if strict {
		outcome, r = conntrack.NewFlow, policy.None
	}
	step := Step{Check: CheckSecurityGroup, Direction: d, Where: e.name, Verdict: verdict(r), Reason: r}
	gate := sgGates[d]
	switch outcome {
	case conntrack.Tracked:
		j.way.rules[gate] = ruleNumber(j.conns.Marked(ref))
		step.Words = "tracked, allowed without a rule"
		j.record(step)
		return ref, policy.None
	case conntrack.Refused:
		j.record(step)
		return ref, r
	}
	if j.related(e) {
		step.Words = "error about a tracked connection, allowed without a rule"
		j.record(step)
		return conntrack.Ref{}, policy.None
	}
	q := filter.Query{Packet: packet(f, remote), RemoteGroups: groups, MayReply: !opens(f), SourcePort: f.Tuple.SrcPort}
	decision := e.policy.Judge(d, &q)
	if decision.Rule == nil {
		step.Verdict, step.Reason = policy.Deny, policy.SGIngress
		if d == policy.Egress {
			step.Reason = policy.SGEgress
		}
		j.record(step)
		return conntrack.Ref{}, step.Reason
	}
	j.way.rules[gate] = ruleNumber(decision.Mark)
	if j.trace != nil {
		rule := j.plane.rules[decision.Rule.ID]
		step.Rule, step.Words, step.Origin, step.Untracked = decision.Rule.ID, rule.Words(), rule.Origin, !decision.Tracked
	}
	switch {
	case decision.Tracked && strict:
		step.Verdict, step.Reason = policy.Deny, policy.ConntrackStrict
	case decision.Tracked && !j.dry:
		ref, step.Reason = j.open(e, d)
		j.conns.Mark(ref, decision.Mark)
		step.Verdict = verdict(step.Reason)
	}
	j.record(step)
	return ref, step.Reason
}

// track asks the interface's connections about the packet.
func (j *judge) track(e *eni) (conntrack.Outcome, conntrack.Ref, policy.Reason) {
	if j.dry {
		outcome, r := j.conns.Peek(e.handle, j.frame, j.now)
		return outcome, conntrack.Ref{}, r
	}
	return j.conns.Track(e.handle, j.frame, j.now)
}

// related reports whether the packet is an ICMP error about a live, tracked
// connection of the interface, addressed to the end that sent the quoted packet
// (SEM 2.6, reliability row T4).
func (j *judge) related(e *eni) bool {
	if !policy.Protocol(j.frame.Tuple.Protocol).HasTypes() {
		return false
	}
	if j.quote.known {
		return j.quote.live(e)
	}
	quoted, ok := j.frame.ICMPError()
	return ok && j.conns.Related(e.handle, quoted, j.now)
}

// open makes the packet's flow a tracked connection of the interface. A packet
// whose checksum is wrong opens nothing (reliability row I8).
func (j *judge) open(e *eni, d policy.Direction) (conntrack.Ref, policy.Reason) {
	if !j.frame.TransportChecksumOK() {
		return conntrack.Ref{}, policy.TransportChecksum
	}
	ref, ok := j.conns.Insert(e.handle, j.frame, j.now)
	switch {
	case ok:
		j.way.opened = 1
		return ref, policy.None
	case d == policy.Egress:
		return ref, policy.EgressAllowance
	}
	return ref, policy.IngressAllowance
}

// networkACL asks the network ACL at the edge of a subnet (SEM 3).
func (j *judge) networkACL(s *subnet, d policy.Direction, remote netip.Addr) policy.Reason {
	p := packet(j.frame, remote)
	decision := s.acl.table.Judge(d, &p)
	r, number := policy.None, s.acl.implicit[d]
	if decision.Entry != nil {
		number = ruleNumber(decision.Entry.Mark)
	}
	j.way.rules[naclGates[d]] = number
	if decision.Verdict != policy.Allow {
		r = policy.NACLIngress
		if d == policy.Egress {
			r = policy.NACLEgress
		}
	}
	if j.trace != nil {
		j.trace.Steps = append(j.trace.Steps, j.plane.aclStep(s, d, decision.Entry, r))
	}
	return r
}

// packet returns what rules look at, with remote as the far end.
func packet(f *wire.Frame, remote netip.Addr) classify.Packet {
	return classify.Packet{Remote: remote, Protocol: f.Tuple.Protocol, Port: f.Tuple.DstPort, Type: f.Type, Code: f.Code}
}

// opens reports whether f can only be the first packet of its flow: a TCP SYN.
func opens(f *wire.Frame) bool {
	return policy.Protocol(f.Tuple.Protocol) == policy.TCP && f.TCP.Flags&(wire.SYN|wire.ACK) == wire.SYN
}

// verdict returns Allow for None and Deny for any other reason.
func verdict(r policy.Reason) policy.Verdict {
	if r == policy.None {
		return policy.Allow
	}
	return policy.Deny
}
