package lint

import (
	"fmt"
	"net/netip"

	"vswitch/internal/cover"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// oneSided finds rules that let something through to or from instances of this
// VPC, none of which has a rule for the other half of the way: a group at each
// end judges the first packet of a flow (SEM 1.2). Rules for a group without
// members, or of one, are not its concern, nor those that name whole blocks.
func (l *linter) oneSided(members map[string][]*vswitch.Instance) {
	addresses := make(map[string][]netip.Addr, len(l.c.Instances))
	for i := range l.c.Instances {
		in := &l.c.Instances[i]
		addresses[in.Name] = l.c.Interface(in.Name).Addresses
	}
	m := meetings{c: l.c, addresses: addresses, blocks: map[vswitch.Peer][]netip.Prefix{}}
	for i := range l.c.SecurityGroups {
		g := &l.c.SecurityGroups[i]
		for _, d := range directions {
			for j := range g.Rules(d) {
				r := &g.Rules(d)[j]
				peers := l.peersOf(r.Peer, members)
				if len(peers) == 0 || len(members[g.Name]) == 0 || m.any(members[g.Name], peers, d, r) {
					continue
				}
				l.add(oneSidedRule(g, d, r))
			}
		}
	}
}

// oneSidedRule returns the finding for a rule without its other half.
func oneSidedRule(g *vswitch.SecurityGroup, d policy.Direction, r *vswitch.SecurityGroupRule) Finding {
	other := "may send it"
	if d == policy.Egress {
		other = "lets it in"
	}
	who := r.Peer.String()
	if r.Peer.Kind == vswitch.PeerSecurityGroup {
		who = "no instance in " + who
	} else {
		who = "no group of " + who
	}
	back := d.Opposite()
	return Finding{
		Code: SGOneSided, Object: ruleObject(g, d, r), Origin: r.Origin,
		Message: fmt.Sprintf("%s never lets anything through: %s %s", ruleWords(d, r), who, other),
		Advice:  fmt.Sprintf("give the other end an %s rule:  { %s, %s = %q }", back, serviceTOML(r.Service), toward(back), "sg:"+g.Name),
	}
}

// peersOf returns the instances that a peer names one by one: none for blocks.
func (l *linter) peersOf(p vswitch.Peer, members map[string][]*vswitch.Instance) []*vswitch.Instance {
	switch p.Kind {
	case vswitch.PeerSecurityGroup:
		return members[p.Name]
	case vswitch.PeerInstance:
		return []*vswitch.Instance{l.c.Instance(p.Name)}
	}
	return nil
}

// meetings answers whether the groups of two instances allow anything between
// them.
type meetings struct {
	c         *vswitch.Config
	addresses map[string][]netip.Addr // of every instance
	blocks    map[vswitch.Peer][]netip.Prefix
}

// any reports whether some instance of mine and another one of peers agree on
// something that rule r of mine allows in direction d. It is true where there is
// no other one, as nothing is missing then.
func (m *meetings) any(mine, peers []*vswitch.Instance, d policy.Direction, r *vswitch.SecurityGroupRule) bool {
	if len(mine) == 1 && len(peers) == 1 && mine[0] == peers[0] {
		return true
	}
	byGroup := make(map[string][]*vswitch.Instance)
	for _, peer := range peers {
		for _, g := range peer.SecurityGroups {
			byGroup[g] = append(byGroup[g], peer)
		}
	}
	wanted := cover.Of(r.Service)
	for name, holders := range byGroup {
		list := m.c.SecurityGroup(name).Rules(d.Opposite())
		for i := range list {
			if !cover.Of(list[i].Service).Overlaps(wanted) {
				continue
			}
			for _, in := range mine {
				alone := len(holders) == 1 && holders[0] == in
				if !alone && m.matches(&list[i], r, in) {
					return true
				}
			}
		}
	}
	return false
}

// matches reports whether a rule of the other end, for what r is for too, has the
// instance as its peer.
func (m *meetings) matches(theirs, r *vswitch.SecurityGroupRule, in *vswitch.Instance) bool {
	if theirs.Peer.Kind == vswitch.PeerSecurityGroup {
		for _, g := range in.SecurityGroups {
			if g == theirs.Peer.Name {
				return true
			}
		}
		return false
	}
	blocks, known := m.blocks[theirs.Peer]
	if !known {
		blocks = m.c.PeerBlocks(theirs.Peer)
		m.blocks[theirs.Peer] = blocks
	}
	for _, b := range blocks {
		if servicesIn(b, r.Service).Empty() || servicesIn(b, theirs.Service).Empty() {
			continue
		}
		for _, a := range m.addresses[in.Name] {
			if b.Contains(a) {
				return true
			}
		}
	}
	return false
}

// serviceTOML returns a service as a rule of the file writes it.
func serviceTOML(s policy.Service) string {
	text := fmt.Sprintf("proto = %q", s.Protocol)
	switch {
	case s.Protocol.HasPorts() && s.Ports.From == s.Ports.To:
		text += fmt.Sprintf(", ports = %d", s.Ports.From)
	case s.Protocol.HasPorts() && s.Ports != policy.AllPorts:
		text += fmt.Sprintf(", ports = %q", s.Ports)
	case s.Protocol.HasTypes() && s.Type != policy.AnyICMP:
		text += fmt.Sprintf(", type = %q", policy.ICMPTypeName(s.Protocol, s.Type))
		if s.Code != policy.AnyICMP {
			text += fmt.Sprintf(", code = %d", s.Code)
		}
	}
	return text
}
