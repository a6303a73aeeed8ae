package graph

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"vswitch/internal/cover"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// A talk answers what instances may say to each other. What a list of groups
// allows to or from an address, and what a network ACL does, is computed once.
type talk struct {
	cfg     *vswitch.Config
	parties []party // by the index of the instance
	groups  map[groupsKey]cover.Set
	acls    map[aclKey]*passage
	entries map[aclList][]vswitch.NetworkACLEntry // by number
	blocks  map[vswitch.Peer][]netip.Prefix
}

// A party is one end of what is said.
type party struct {
	*vswitch.Instance
	index int // among the instances
	class int // the same for all instances with the same list of groups
}

// A groupsKey is a list of groups that look at a remote end.
type groupsKey struct {
	class, remote int // as in party
	direction     policy.Direction
	is4           bool // at its IPv4 address
	direct        bool // no appliance in between: references to groups match (SEM 1.4)
}

// An aclKey is a network ACL that looks at a remote end.
type aclKey struct {
	aclList
	address netip.Addr
}

// An aclList is one direction of a network ACL.
type aclList struct {
	name      string
	direction policy.Direction
}

// A passage is what a network ACL does with the packets of one remote end.
type passage struct {
	allowed cover.Set
	denials []denial // in their order; the implicit one is the last
}

// A denial is what one rule of a network ACL denies.
type denial struct {
	rule   string // "nacl.private ingress 90"
	denied cover.Set
}

// by returns the rule that denies some of the set.
func (p *passage) by(set cover.Set) string {
	for _, d := range p.denials {
		if d.denied.Overlaps(set) {
			return d.rule
		}
	}
	return ""
}

func newTalk(cfg *vswitch.Config) *talk {
	t := &talk{
		cfg: cfg, groups: map[groupsKey]cover.Set{}, acls: map[aclKey]*passage{},
		entries: map[aclList][]vswitch.NetworkACLEntry{}, blocks: map[vswitch.Peer][]netip.Prefix{},
	}
	classes := make(map[string]int)
	for i := range cfg.Instances {
		key := strings.Join(cfg.Instances[i].SecurityGroups, "\x00")
		if _, known := classes[key]; !known {
			classes[key] = len(classes)
		}
		t.parties = append(t.parties, party{&cfg.Instances[i], i, classes[key]})
	}
	return t
}

// An outcome is what becomes of some services between two instances.
type outcome struct {
	verdict Verdict
	by, via string
}

// between calls add with what the groups of two instances allow from the one to
// the other, by what becomes of it. The families are judged apart (SEM 0.1).
func (t *talk) between(from, to *party, add func(outcome, cover.Set)) {
	t.family(from, to, from.IP, to.IP, add)
	if from.IP6.IsValid() && to.IP6.IsValid() {
		t.family(from, to, from.IP6, to.IP6, add)
	}
}

// family calls add with what becomes of the packets from src to dst.
func (t *talk) family(from, to *party, src, dst netip.Addr, add func(outcome, cover.Set)) {
	say := func(verdict Verdict, by, via string, set cover.Set) {
		if !set.Empty() {
			add(outcome{verdict, by, via}, set)
		}
	}
	there, back := t.route(from, to, dst), t.route(to, from, src)
	direct := there.via == "" && !there.dropped
	asked := t.allowed(from, policy.Egress, to, dst, direct).Intersect(t.allowed(to, policy.Ingress, from, src, direct))
	switch {
	case asked.Empty():
		return
	case there.dropped:
		say(Denied, there.table, "", asked)
		return
	case from.Subnet == to.Subnet: // its network ACL is not asked (SEM 3.2)
		say(Allow, "", "", asked)
		return
	}
	for _, p := range []*passage{t.acl(from.Subnet, policy.Egress, dst), t.acl(to.Subnet, policy.Ingress, src)} {
		stopped := asked.Minus(p.allowed)
		for _, d := range p.denials {
			say(Denied, d.rule, there.via, stopped.Intersect(d.denied))
		}
		asked = asked.Intersect(p.allowed)
	}
	if back.dropped {
		say(NoReply, back.table, there.via, asked)
		return
	}
	leaves, arrives := t.acl(to.Subnet, policy.Egress, src), t.acl(from.Subnet, policy.Ingress, dst)
	for _, e := range exchanges {
		requests := asked.Intersect(e.request)
		asked = asked.Minus(e.request)
		switch {
		case !leaves.allowed.Contains(e.reply):
			say(NoReply, leaves.by(e.reply), there.via, requests)
		case !arrives.allowed.Contains(e.reply):
			say(NoReply, arrives.by(e.reply), there.via, requests)
		default:
			say(Allow, "", there.via, requests)
		}
	}
	// Other protocols answer with their own; the other messages of ICMP, not at all.
	unanswered := asked.Intersect(plain)
	say(NoReply, leaves.by(unanswered), there.via, unanswered.Minus(leaves.allowed))
	unanswered = unanswered.Intersect(leaves.allowed)
	say(NoReply, arrives.by(unanswered), there.via, unanswered.Minus(arrives.allowed))
	say(Allow, "", there.via, asked.Minus(plain).Union(unanswered.Intersect(arrives.allowed)))
}

// plain are the protocols without ports and types.
var plain = cover.All().
	Minus(ports(policy.TCP, policy.AllPorts)).Minus(ports(policy.UDP, policy.AllPorts)).
	Minus(icmp(policy.ICMP, policy.AnyICMP)).Minus(icmp(policy.ICMPv6, policy.AnyICMP))

// exchanges are the requests that have replies of another service, which network
// ACLs judge by themselves: those of TCP and UDP go to the client's port, here
// one of Linux's (SEM 3.5).
var exchanges = []struct{ request, reply cover.Set }{
	{ports(policy.TCP, policy.AllPorts), ports(policy.TCP, policy.Ports{From: 32768, To: 60999})},
	{ports(policy.UDP, policy.AllPorts), ports(policy.UDP, policy.Ports{From: 32768, To: 60999})},
	{icmp(policy.ICMP, 8), icmp(policy.ICMP, 0)},
	{icmp(policy.ICMPv6, 128), icmp(policy.ICMPv6, 129)},
}

func ports(p policy.Protocol, r policy.Ports) cover.Set {
	return cover.Of(policy.Service{Protocol: p, Ports: r})
}

func icmp(p policy.Protocol, typ int16) cover.Set {
	return cover.Of(policy.Service{Protocol: p, Type: typ, Code: policy.AnyICMP})
}

// allowed returns what the groups of an instance allow to or from another one at
// an address.
func (t *talk) allowed(in *party, d policy.Direction, remote *party, a netip.Addr, direct bool) cover.Set {
	key := groupsKey{in.class, remote.index, d, a.Is4(), direct}
	if set, known := t.groups[key]; known {
		return set
	}
	var set cover.Set
	for _, name := range in.SecurityGroups {
		g := t.cfg.SecurityGroup(name)
		rules := g.Rules(d)
		for i := range rules {
			if t.matches(&rules[i], remote.Instance, a, direct) {
				set = set.Union(cover.Of(rules[i].Service))
			}
		}
	}
	t.groups[key] = set
	return set
}

// matches reports whether a rule has the instance, at an address, as its peer.
// ICMP is IPv4's, and ICMPv6 is IPv6's (SEM 1.3).
func (t *talk) matches(r *vswitch.SecurityGroupRule, remote *vswitch.Instance, a netip.Addr, direct bool) bool {
	if a.Is4() && r.Service.Protocol == policy.ICMPv6 || !a.Is4() && r.Service.Protocol == policy.ICMP {
		return false
	}
	if r.Peer.Kind == vswitch.PeerSecurityGroup {
		return direct && slices.Contains(remote.SecurityGroups, r.Peer.Name)
	}
	return slices.ContainsFunc(t.peerBlocks(r.Peer), func(b netip.Prefix) bool { return b.Contains(a) })
}

// peerBlocks returns the blocks of a peer.
func (t *talk) peerBlocks(p vswitch.Peer) []netip.Prefix {
	blocks, known := t.blocks[p]
	if !known {
		blocks = t.cfg.PeerBlocks(p)
		t.blocks[p] = blocks
	}
	return blocks
}

// acl returns what a subnet's network ACL does with packets to or from an address.
func (t *talk) acl(subnet string, d policy.Direction, a netip.Addr) *passage {
	key := aclKey{aclList{t.cfg.Subnet(subnet).NetworkACL, d}, a}
	if p, known := t.acls[key]; known {
		return p
	}
	p, rest := &passage{}, cover.All()
	for _, e := range t.list(key.aclList) {
		if !e.CIDR.Contains(a) {
			continue
		}
		s := e.Service
		if s.Protocol == policy.ICMPv6 && a.Is4() { // matches every type and code (SEM 3.3)
			s.Type, s.Code = policy.AnyICMP, policy.AnyICMP
		}
		share := rest.Intersect(cover.Of(s))
		if e.Action == policy.Allow {
			p.allowed = p.allowed.Union(share)
		} else {
			p.denials = append(p.denials, denial{fmt.Sprintf("nacl.%s %s %d", key.name, d, e.Number), share})
		}
		rest = rest.Minus(share)
	}
	p.denials = append(p.denials, denial{fmt.Sprintf("nacl.%s %s *", key.name, d), rest})
	t.acls[key] = p
	return p
}

// list returns the entries of a network ACL by number.
func (t *talk) list(key aclList) []vswitch.NetworkACLEntry {
	list, known := t.entries[key]
	if !known {
		list = slices.Clone(t.cfg.NetworkACL(key.name).Entries(key.direction))
		slices.SortStableFunc(list, func(a, b vswitch.NetworkACLEntry) int { return cmp.Compare(a.Number, b.Number) })
		t.entries[key] = list
	}
	return list
}

// A way is where the route table of a subnet sends packets to an address.
type way struct {
	table   string // "route.main"
	via     string // the instance in between; "" for none
	dropped bool   // they lead back to where they come from
}

// route returns the way of packets from one instance to an address of another
// one. Without a route of its own it is the direct one; inside a subnet it always
// is (SEM 4.2, 5.2, 5.3).
func (t *talk) route(from, to *party, dst netip.Addr) way {
	name := t.cfg.Subnet(from.Subnet).RouteTable
	w := way{table: "route." + name}
	if from.Subnet == to.Subnet {
		return w
	}
	best, target := t.localBits(dst)-1, vswitch.Target{}
	for i := range t.cfg.RouteTables {
		if t.cfg.RouteTables[i].Name != name {
			continue
		}
		for _, r := range t.cfg.RouteTables[i].Routes {
			if r.Destination.Contains(dst) && r.Destination.Bits() > best {
				best, target = r.Destination.Bits(), r.Target
			}
		}
	}
	switch {
	case target.Kind == vswitch.TargetInstance && target.Name == from.Name:
		w.dropped = true
	case target.Kind == vswitch.TargetInstance && target.Name != to.Name:
		w.via = target.Name
	}
	return w
}

// localBits returns the length of the VPC's block that holds an address.
func (t *talk) localBits(a netip.Addr) int {
	for _, b := range append([]netip.Prefix{t.cfg.VPC.CIDR, t.cfg.VPC.CIDR6}, t.cfg.VPC.CIDRs...) {
		if b.IsValid() && b.Contains(a) {
			return b.Bits()
		}
	}
	return -1
}
