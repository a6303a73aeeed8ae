package vswitch

import (
	"net/netip"
	"strings"

	"vswitch/internal/policy"
)

// maxPrefixListEntries is AWS's quota of entries in a prefix list (SEM 1.5).
const maxPrefixListEntries = 1000

// A weight is how much something counts towards a quota, in rules, for each
// address family: AWS counts them apart (SEM 1.5).
type weight struct{ v4, v6 int }

// add returns the sum of two weights.
func (w weight) add(other weight) weight { return weight{w.v4 + other.v4, w.v6 + other.v6} }

// over returns the family of which w has more than limit, and how many. Nothing
// is over a negative limit: that is a problem of its own.
func (w weight) over(limit int) (family string, count int, over bool) {
	if w.v4 > limit {
		return "IPv4", w.v4, limit >= 0
	}
	return "IPv6", w.v6, w.v6 > limit && limit >= 0
}

// A groupWeight is what a security group counts towards the quota of an
// interface, by direction.
type groupWeight [2]weight

// checkPrefixLists checks every prefix list.
func (v *validator) checkPrefixLists() {
	seen := make(map[string]string, len(v.c.PrefixLists))
	for i := range v.c.PrefixLists {
		l := &v.c.PrefixLists[i]
		at := place{table: "prefix_list", name: l.Name}
		v.checkName(at.path(), l.Name)
		v.unique(seen, at.path(), l.Name, l.Name)
		if len(l.CIDRs) == 0 {
			v.required(at.path("cidrs"))
		}
		if len(l.CIDRs) > maxPrefixListEntries {
			v.problem(at.path("cidrs"), "%d entries exceed AWS's quota of %d per prefix list", len(l.CIDRs), maxPrefixListEntries)
		}
		v.checkEntries(at, l.CIDRs)
	}
}

// checkEntries checks the blocks of a prefix list: one family (SEM 1.5), none
// twice.
func (v *validator) checkEntries(at place, blocks []netip.Prefix) {
	entries := make(map[netip.Prefix]int, len(blocks))
	var first netip.Prefix
	for i, b := range blocks {
		switch {
		case !b.IsValid():
			v.required(at.path("cidrs", nth(i)))
			continue
		case b.Addr().Is4In6():
			v.problem(at.path("cidrs", nth(i)), "%s is an IPv4 block written as IPv6", b)
			continue
		case first.IsValid() && first.Addr().Is4() != b.Addr().Is4():
			v.problem(at.path("cidrs", nth(i)), "%s is of another address family than %s; AWS keeps them in lists of their own", b, first)
		}
		if !first.IsValid() {
			first = b
		}
		if other, ok := entries[b.Masked()]; ok {
			v.problem(at.path("cidrs", nth(i)), "%s is entry %s already", b.Masked(), nth(other))
			continue
		}
		entries[b.Masked()] = i
	}
}

// checkSecurityGroups checks every security group and its rules.
func (v *validator) checkSecurityGroups() {
	seen := make(map[string]string, len(v.c.SecurityGroups))
	if !v.groups.defined(defaultName) {
		seen[defaultName] = defaultName // the VPC has it without being told
	}
	for i := range v.c.SecurityGroups {
		g := &v.c.SecurityGroups[i]
		at := place{table: "security_group", name: g.Name}
		v.checkName(at.path(), g.Name)
		// AWS compares the names of groups without regard to case (SEM 1.1).
		v.unique(seen, at.path(), strings.ToLower(g.Name), g.Name)
		if strings.HasPrefix(strings.ToLower(g.Name), "sg-") {
			v.problem(at.path(), "the name begins with sg-, which AWS keeps for ids")
		}
		v.checkDescription(at.path("description"), g.Description, nameChars)
		v.checkGroupRules(at, g)
	}
	if !v.groups.defined(defaultName) {
		v.checkGroupRules(place{table: "security_group", name: defaultName}, &SecurityGroup{Name: defaultName})
	}
}

// checkGroupRules checks the rules of a group, those that AWS gives it by default
// included: they have ids and count towards quotas as others do.
func (v *validator) checkGroupRules(at place, g *SecurityGroup) {
	sum := groupWeight{
		policy.Ingress: v.checkRules(g.Name, policy.Ingress, v.c.ingressOf(g)),
		policy.Egress:  v.checkRules(g.Name, policy.Egress, v.c.egressOf(g)),
	}
	v.weights[g.Name] = sum
	for direction, w := range sum {
		if family, count, over := w.over(v.quotas.RulesPerSecurityGroup); over {
			v.problem(at.path(policy.Direction(direction).String()), "%d %s rules exceed the quota rules_per_security_group = %d",
				count, family, v.quotas.RulesPerSecurityGroup)
			v.hint("raise it in [quotas]")
		}
	}
}

// A ruleIdentity is what makes two rules of one list the same to AWS: protocol,
// ports or type and code, and peer, but not the description (SEM 1.3).
type ruleIdentity struct {
	service policy.Service
	peer    Peer
}

// checkRules checks the rules of one direction of a group, and returns what they
// count towards quotas.
func (v *validator) checkRules(group string, direction policy.Direction, rules []SecurityGroupRule) weight {
	var sum weight
	seen := make(map[ruleIdentity]int, len(rules))
	for i := range rules {
		r := &rules[i]
		at := place{table: "security_group", name: group, list: direction.String(), index: i + 1}
		ok := v.checkService(at, r.Service)
		families, peerOK := v.checkPeer(at, peerKey(direction), r.Peer)
		if peerOK {
			sum = sum.add(families)
		}
		v.checkDescription(at.path("description"), r.Description, descriptionChars)
		v.checkRuleID(at, direction, group, r)
		if !ok || !peerOK {
			continue
		}
		v.checkFamily(at, r.Service.Protocol, families, r.Peer)
		identity := ruleIdentity{r.Service, r.Peer.canonical()}
		if first, ok := seen[identity]; ok {
			v.problem(at.path(), "the same rule as number %s of the list: %s, %s", nth(first), r.Service, identity.peer)
			continue
		}
		seen[identity] = i
	}
	return sum
}

// peerKey returns the key by which a rule names its peer.
func peerKey(direction policy.Direction) string {
	if direction == policy.Egress {
		return "to"
	}
	return "from"
}

// canonical returns the peer with the host bits of its block cleared, as AWS
// stores it (SEM 1.3).
func (p Peer) canonical() Peer {
	if p.Kind == PeerCIDR {
		p.Prefix = p.Prefix.Masked()
	}
	return p
}

// checkRuleID checks the form of a rule's id, and that no other rule has it.
func (v *validator) checkRuleID(at place, direction policy.Direction, group string, r *SecurityGroupRule) {
	id := r.ID
	switch {
	case id == "":
		// The derived ids of two equal rules are equal, but that is reported as
		// what it is.
		id = ruleID(v.c.VPC.Name, group, direction, r)
	case !ruleIDForm.MatchString(id):
		v.problem(at.path("id"), "the id must match %s", ruleIDForm)
		return
	}
	other, taken := v.ruleIDs[id]
	if !taken {
		v.ruleIDs[id] = at
		return
	}
	if r.ID != "" {
		v.problem(at.path("id"), "the id %q is taken by rule %d of %s.%s.%s", id, other.index, other.table, other.name, other.list)
	}
}

// checkService checks a rule's protocol and its ports or type and code (SEM 1.3).
func (v *validator) checkService(at place, s policy.Service) bool {
	before := len(v.problems) + v.more
	if s.Protocol < policy.AllProtocols || s.Protocol > 255 || s.Protocol == 0 {
		v.problem(at.path("proto"), "protocol %d: want tcp, udp, icmp, icmpv6, all, or a number from 1 to 255", int(s.Protocol))
		return false
	}
	if s.Protocol.HasPorts() && s.Ports.From > s.Ports.To {
		v.problem(at.path("ports"), "the range %s is upside down", s.Ports)
		v.hint("did you mean \"%d-%d\"?", s.Ports.To, s.Ports.From)
	}
	if !s.Protocol.HasPorts() && s.Ports != (policy.Ports{}) {
		v.problem(at.path("ports"), "ports go with tcp and udp, not with %s", s.Protocol)
	}
	switch {
	case !s.Protocol.HasTypes():
		if s.Type != 0 || s.Code != 0 {
			v.problem(at.path("type"), "type and code go with icmp and icmpv6, not with %s", s.Protocol)
		}
	case s.Type < policy.AnyICMP || s.Type > 255:
		v.problem(at.path("type"), "type %d is outside 0-255", s.Type)
	case s.Code < policy.AnyICMP || s.Code > 255:
		v.problem(at.path("code"), "code %d is outside 0-255", s.Code)
	case s.Type == policy.AnyICMP && s.Code != policy.AnyICMP:
		v.problem(at.path("code"), "a code needs a type")
	}
	return len(v.problems)+v.more == before
}

// checkPeer checks that a rule's peer exists, and returns how many blocks of each
// family it stands for: what the rule counts towards quotas (SEM 1.5).
func (v *validator) checkPeer(at place, key string, p Peer) (weight, bool) {
	if p.Kind == PeerCIDR {
		return v.checkPeerBlock(at, key, p.Prefix)
	}
	w, known := v.peers[p]
	if !known {
		w, known = v.peerWeight(p)
	}
	if known {
		v.peers[p] = w
		return w, true
	}
	switch p.Kind {
	case PeerSecurityGroup:
		v.problem(at.path(key), "no security group %q", p.Name)
		v.hintNearest(p.Name, v.groups.order)
	case PeerPrefixList:
		v.problem(at.path(key), "no prefix list %q", p.Name)
		v.hintNearest(p.Name, v.lists.order)
	default:
		v.problem(at.path(key), "no instance and no subnet %q", p.Name)
		v.hintPeer(p.Name)
	}
	return weight{}, false
}

// peerWeight returns how many blocks of each family a peer other than a block
// stands for, and whether it exists.
func (v *validator) peerWeight(p Peer) (weight, bool) {
	switch p.Kind {
	case PeerInternet:
		return weight{1, 1}, true
	case PeerSecurityGroup:
		return weight{1, 1}, v.groups.has(p.Name)
	case PeerPrefixList:
		if l := v.lists.byName[p.Name]; l != nil {
			return blockWeight(l.CIDRs), true
		}
	case PeerInstance:
		if in := v.instances.byName[p.Name]; in != nil {
			return instanceWeight(in), true
		}
	case PeerSubnet:
		if s := v.subnets.byName[p.Name]; s != nil {
			return blockWeight([]netip.Prefix{s.CIDR, s.CIDR6}), true
		}
	}
	return weight{}, false
}

// hintPeer adds to the problem recorded last what else a peer's name may have
// meant: a group or a prefix list of that very name, or a similar instance or
// subnet.
func (v *validator) hintPeer(name string) {
	switch {
	case v.groups.has(name):
		v.hint("did you mean %q?", "sg:"+name)
	case v.lists.has(name):
		v.hint("did you mean %q?", "pl:"+name)
	case v.hintNearest(name, v.instances.order), v.hintNearest(name, v.subnets.order):
	default:
		v.hintNearest(name, []string{internetName})
	}
}

// checkPeerBlock checks a rule's block.
func (v *validator) checkPeerBlock(at place, key string, b netip.Prefix) (weight, bool) {
	switch {
	case !b.IsValid():
		v.required(at.path(key))
		return weight{}, false
	case b.Addr().Is4In6():
		v.problem(at.path(key), "%s is an IPv4 block written as IPv6", b)
		return weight{}, false
	}
	return blockWeight([]netip.Prefix{b}), true
}

// blockWeight counts blocks by family.
func blockWeight(blocks []netip.Prefix) weight {
	var w weight
	for _, b := range blocks {
		switch {
		case !b.IsValid():
		case b.Addr().Is4():
			w.v4++
		default:
			w.v6++
		}
	}
	return w
}

// instanceWeight counts the addresses of an instance by family. Every instance
// has an IPv4 address, given or allocated.
func instanceWeight(in *Instance) weight {
	w := weight{v4: 1}
	for _, a := range append([]netip.Addr{in.IP6}, in.ExtraIPs...) {
		switch {
		case !a.IsValid():
		case a.Is4():
			w.v4++
		default:
			w.v6++
		}
	}
	return w
}

// checkFamily checks that some packet can match both protocol and peer: icmp
// never travels over IPv6, nor icmpv6 over IPv4 (SEM 1.3).
func (v *validator) checkFamily(at place, p policy.Protocol, families weight, peer Peer) {
	switch {
	case p == policy.ICMP && families.v4 == 0:
		v.problem(at.path("proto"), "no packet matches: icmp is IPv4, %s is IPv6", peer)
		v.hint("did you mean %q?", policy.ICMPv6)
	case p == policy.ICMPv6 && families.v6 == 0:
		v.problem(at.path("proto"), "no packet matches: icmpv6 is IPv6, %s is IPv4", peer)
		v.hint("did you mean %q?", policy.ICMP)
	}
}
