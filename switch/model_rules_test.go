package vswitch_test

import (
	"fmt"
	"net/netip"
	"slices"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
)

// A modelRule is a security-group rule of an interface and the group it is from.
type modelRule struct {
	group string
	vswitch.SecurityGroupRule
}

// groupsOf returns the names of an interface's security groups (SEM 1.1).
func groupsOf(e *modelENI) []string {
	if e.instance.SecurityGroups == nil {
		return []string{"default"}
	}
	return e.instance.SecurityGroups
}

// rules returns the rules of all groups of an interface: their union counts (SEM
// 1.2).
func (m *model) rules(e *modelENI, d policy.Direction) []modelRule {
	var all []modelRule
	for _, name := range groupsOf(e) {
		for _, r := range m.groupRules(name, d) {
			all = append(all, modelRule{name, r})
		}
	}
	return all
}

// groupRules returns the rules of one group, and where it names none, those that
// AWS gives it (SEM 1.1).
func (m *model) groupRules(name string, d policy.Direction) []vswitch.SecurityGroupRule {
	g := m.config.SecurityGroup(name)
	if g == nil { // only the default group need not be written
		g = &vswitch.SecurityGroup{Name: name}
	}
	everything := vswitch.SecurityGroupRule{Service: policy.AllTraffic}
	switch {
	case d == policy.Ingress && g.Ingress == nil && name == "default":
		everything.Peer = vswitch.Peer{Kind: vswitch.PeerSecurityGroup, Name: "default"}
		return []vswitch.SecurityGroupRule{everything}
	case d == policy.Ingress:
		return g.Ingress
	case g.Egress != nil:
		return g.Egress
	}
	everything.Peer = vswitch.Peer{Prefix: netip.MustParsePrefix("0.0.0.0/0")}
	rules := []vswitch.SecurityGroupRule{everything}
	if m.config.VPC.CIDR6.IsValid() {
		everything.Peer = vswitch.Peer{Prefix: netip.MustParsePrefix("::/0")}
		rules = append(rules, everything)
	}
	return rules
}

// ruleText names a rule as a trace of the switch does.
func ruleText(instance string, d policy.Direction, r vswitch.SecurityGroupRule) string {
	arrow := map[policy.Direction]string{policy.Ingress: "<-", policy.Egress: "->"}
	return fmt.Sprintf("%s %s %s %s %s", instance, d, r.Service, arrow[d], r.Peer)
}

// admitting returns the first rule that admits a packet whose far end is remote: in
// the order of the instance's groups, then of the group's rules. member is the
// interface at the far end, as far as groups count for it, or nil.
func (m *model) admitting(e *modelENI, d policy.Direction, p modelPacket, remote netip.Addr, member *modelENI) (modelRule, bool) {
	for _, r := range m.rules(e, d) {
		if serviceHas(r.Service, p) && m.peerHas(r.Peer, remote, member) {
			return r, true
		}
	}
	return modelRule{}, false
}

// serviceHas reports whether a packet belongs to a service (SEM 1.3). Ports are
// those of the destination, in both directions. ICMP is a protocol of IPv4 and
// ICMPv6 one of IPv6, and neither is found in the other.
func serviceHas(s policy.Service, p modelPacket) bool {
	switch s.Protocol {
	case -1:
		return true
	case 6, 17:
		return p.protocol == s.Protocol && p.dport >= s.Ports.From && p.dport <= s.Ports.To
	case 1, 58:
		return p.protocol == s.Protocol && p.dst.Is4() == (s.Protocol == 1) &&
			(s.Type == -1 || s.Type == int16(p.icmpType)) && (s.Code == -1 || s.Code == int16(p.icmpCode))
	}
	return p.protocol == s.Protocol
}

// peerHas reports whether the far end of a packet is the peer of a rule (SEM 1.3
// to 1.5).
func (m *model) peerHas(peer vswitch.Peer, remote netip.Addr, member *modelENI) bool {
	switch peer.Kind {
	case vswitch.PeerCIDR:
		return peer.Prefix.Contains(remote)
	case vswitch.PeerInternet:
		return true
	case vswitch.PeerSecurityGroup:
		return member != nil && slices.Contains(groupsOf(member), peer.Name)
	case vswitch.PeerPrefixList:
		for _, l := range m.config.PrefixLists {
			for _, block := range l.CIDRs {
				if l.Name == peer.Name && block.Contains(remote) {
					return true
				}
			}
		}
		return false
	case vswitch.PeerInstance:
		return slices.Contains(m.enis[peer.Name].addresses, remote) // those of the configuration
	case vswitch.PeerSubnet:
		return contains(m.config.Subnet(peer.Name), remote)
	}
	panic("a kind of peer that the model does not know")
}

// untracked reports whether the flow that begins with packet p in direction d
// needs no connection (SEM 2.2): of TCP and UDP, if a rule with the any-address
// block as its peer admits it, and such a rule of the other direction admits its
// answers to whatever port.
func (m *model) untracked(e *modelENI, d policy.Direction, p modelPacket) bool {
	if p.protocol != policy.TCP && p.protocol != policy.UDP {
		return false
	}
	open := func(r modelRule) bool {
		switch r.Peer.Kind {
		case vswitch.PeerInternet:
			return true
		case vswitch.PeerCIDR: // families apart: 0.0.0.0/0 opens nothing for IPv6
			return r.Peer.Prefix.Bits() == 0 && r.Peer.Prefix.Addr().Is4() == p.dst.Is4()
		}
		return false // a prefix list with 0.0.0.0/0 in it does not count: row l
	}
	anyPort := func(s policy.Service) bool {
		return s.Protocol == -1 || s.Protocol == p.protocol && s.Ports.From == 0 && s.Ports.To == 65535
	}
	admits := slices.ContainsFunc(m.rules(e, d), func(r modelRule) bool { return open(r) && serviceHas(r.Service, p) })
	answers := slices.ContainsFunc(m.rules(e, d.Opposite()), func(r modelRule) bool { return open(r) && anyPort(r.Service) })
	return admits && answers
}

// tracked reports whether a packet that belongs to no connection, and that rules
// have admitted, begins one. If it may be the answer of a flow that needs none,
// it does not: else removing the rule of that flow would not cut it (SEM 2.4).
func (m *model) tracked(e *modelENI, d policy.Direction, p modelPacket, opens bool) bool {
	if m.untracked(e, d, p) {
		return false
	}
	question := p
	question.sport, question.dport = p.dport, p.sport
	question.src, question.dst = p.dst, p.src
	return opens || !m.untracked(e, d.Opposite(), question)
}

// aclAllows asks the network ACL of a subnet about a packet: the entry with the
// lowest number that matches decides, and if there is none, the answer is no (SEM
// 3).
func (m *model) aclAllows(subnet string, d policy.Direction, p modelPacket, remote netip.Addr) bool {
	name := m.config.Subnet(subnet).NetworkACL
	if name == "" {
		name = "default"
	}
	acl := m.config.NetworkACL(name)
	if acl == nil {
		acl = &vswitch.NetworkACL{Name: name}
	}
	entries := acl.Ingress
	if d == policy.Egress {
		entries = acl.Egress
	}
	if entries == nil && name == "default" { // SEM 3.1
		entries = []vswitch.NetworkACLEntry{{Number: 100, Action: policy.Allow, Service: policy.AllTraffic, CIDR: netip.MustParsePrefix("0.0.0.0/0")}}
		if m.config.VPC.CIDR6.IsValid() {
			entries = append(entries, vswitch.NetworkACLEntry{Number: 101, Action: policy.Allow, Service: policy.AllTraffic, CIDR: netip.MustParsePrefix("::/0")})
		}
	}
	var decided *vswitch.NetworkACLEntry
	for i := range entries {
		e := &entries[i]
		if e.CIDR.Contains(remote) && serviceHas(e.Service, p) && (decided == nil || e.Number < decided.Number) {
			decided = e
		}
	}
	if decided == nil {
		m.say("%s: no entry of the network ACL %s matches", d, name)
		m.decided = append(m.decided, fmt.Sprintf("%s %s *", name, d))
		return false
	}
	m.decided = append(m.decided, fmt.Sprintf("%s %s %d", name, d, decided.Number))
	m.say("%s: entry %d of the network ACL %s: %s", d, decided.Number, name, decided.Action)
	return decided.Action == policy.Allow
}
