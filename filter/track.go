package filter

import (
	"vswitch/internal/classify"
	"vswitch/internal/policy"
)

// tracks reports whether the flow of a packet that a rule has admitted in direction d
// is tracked. A packet that may be the reply of a flow that is not must not
// start a tracked one in its stead: removing the rule would then no longer cut
// the flow (SEM 2.4).
func (p *Policy) tracks(d policy.Direction, q *Query, r *brief) bool {
	if p.untracked(d, q.family(), &q.Packet, r) {
		return false
	}
	if !q.MayReply {
		return true
	}
	request := q.Packet
	request.Port = q.SourcePort
	return !p.untracked(d.Opposite(), q.family(), &request, nil)
}

// untracked reports whether AWS leaves a flow that starts with packet k in
// direction d untracked. It does if packets may pass both ways whatever the
// other end: an open rule admits it, and another one admits its replies to any
// port, since no rule knows which port the client will use (SEM 2.2). The open
// rule that admits the flow need not be the one that decided; decided is that
// one if there is one.
func (p *Policy) untracked(d policy.Direction, f family, k *classify.Packet, decided *brief) bool {
	proto := portProtocolsOf(policy.Service{Protocol: policy.Protocol(k.Protocol), Ports: policy.AllPorts})
	if p.anyPort[d.Opposite()][f]&proto == 0 {
		return false // also every protocol without ports: proto is empty
	}
	if decided != nil && decided.open[f] { // usual, and 12 ns of 54 quicker than asking the groups
		return true
	}
	for _, g := range p.groups {
		if g.sides[d].open[f].First(k) >= 0 {
			return true
		}
	}
	return false
}

// portProtocols is a set of the protocols that have ports: the only ones whose
// flows may be untracked (SEM 2.2: ICMP and the others always are).
type portProtocols uint8

const (
	tcp portProtocols = 1 << iota
	udp
)

// portProtocolsOf returns the protocols of which the service contains every
// port. Two rules that cover all ports only together do not count: AWS speaks
// of a rule (SEM 2.2).
func portProtocolsOf(s policy.Service) portProtocols {
	switch {
	case s.Protocol == policy.AllProtocols:
		return tcp | udp
	case s.Ports != policy.AllPorts:
		return 0
	case s.Protocol == policy.TCP:
		return tcp
	case s.Protocol == policy.UDP:
		return udp
	}
	return 0
}
