package filter

import "vswitch/internal/policy"

// tracks reports whether the flow of a packet that r has admitted is tracked.
// AWS leaves a flow untracked if packets may pass both ways whatever the other
// end: an open rule admits it, and another one admits its replies to any port,
// since no rule knows which port the client will use (SEM 2.2). The open rule
// that admits the flow need not be r, the one that decided.
func (p *Policy) tracks(d policy.Direction, q *Query, r *Rule) bool {
	proto := portProtocolsOf(policy.Service{Protocol: policy.Protocol(q.Packet.Protocol), Ports: policy.AllPorts})
	f := q.family()
	if p.anyPort[d.Opposite()][f]&proto == 0 {
		return true // also every protocol without ports: proto is empty
	}
	if r.isOpen(f) { // usual, and 12 ns of 54 quicker than asking the groups
		return false
	}
	for _, g := range p.groups {
		if g.sides[d].open[f].First(&q.Packet) >= 0 {
			return false
		}
	}
	return true
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
