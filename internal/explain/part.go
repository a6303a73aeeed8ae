package explain

import (
	"vswitch/internal/cover"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// Parts cuts a set of services into parts that are treated alike between two
// ends, whatever their addresses there: of each, one kind of packet stands for
// all. Those of which no packet of the family can be sent, or which the VPC itself
// answers unjudged, are left out (Judged).
func (x *Explainer) Parts(s cover.Set, six bool, a, b string) []cover.Set {
	s = s.Intersect(Judged(six))
	if len(s) == 1 && s.First() == s.Last() {
		return []cover.Set{s}
	}
	edges := singular.Join(x.edgesOf(a), x.edgesOf(b))
	for _, name := range x.relays {
		edges = edges.Join(x.edgesOf(name))
	}
	return s.Cut(edges)
}

// Judged returns what packets of a family may be, as far as rules judge them. IP
// protocol 0 carries nothing, ICMP belongs to IPv4, and ICMPv6 to IPv6, where
// neighbor discovery is the VPC's own, and where some numbers are those of headers
// in front of the protocol.
func Judged(six bool) cover.Set {
	if six {
		return judged6
	}
	return judged4
}

var judged4, judged6 = func() (four, six cover.Set) {
	all := cover.All().Minus(cover.Of(policy.Service{}))
	icmp := policy.Service{Protocol: policy.ICMP, Type: policy.AnyICMP, Code: policy.AnyICMP}
	icmpv6 := icmp
	icmpv6.Protocol = policy.ICMPv6
	four, six = all.Minus(cover.Of(icmpv6)), all.Minus(cover.Of(icmp))
	for _, header := range []policy.Protocol{43, 44, 60} { // routing, fragment, destination options: RFC 8200 section 4
		six = six.Minus(cover.Of(policy.Service{Protocol: header}))
	}
	for typ := int16(133); typ <= 137; typ++ { // neighbor discovery, RFC 4861
		icmpv6.Type = typ
		six = six.Minus(cover.Of(icmpv6))
	}
	return four, six
}()

// singular are the edges of what the switch treats in a way of its own, whatever
// the rules: each protocol whose header it reads or that hosts send by themselves,
// and each ICMP message that asks, answers or reports.
var singular = func() cover.Edges {
	var sets []cover.Set
	for _, p := range []policy.Protocol{2 /* IGMP */, 43, 44, 50, 51, 59, 60, 135, 139, 140 /* in the registry of IPv6 extension headers */} {
		sets = append(sets, cover.Of(policy.Service{Protocol: p}))
	}
	for _, p := range []policy.Protocol{policy.TCP, policy.UDP} {
		sets = append(sets, cover.Of(policy.Service{Protocol: p, Ports: policy.AllPorts}), cover.Of(policy.Service{Protocol: p}))
	}
	types := map[policy.Protocol][]int16{
		policy.ICMP:   {0, 3, 4, 5, 8, 11, 12, 13, 14},
		policy.ICMPv6: {1, 2, 3, 4, 128, 129, 130, 131, 132, 143},
	}
	for p, list := range types {
		for _, typ := range list {
			sets = append(sets, cover.Of(policy.Service{Protocol: p, Type: typ, Code: policy.AnyICMP}))
		}
		sets = append(sets, cover.Of(policy.Service{Protocol: p, Type: policy.AnyICMP, Code: policy.AnyICMP}))
	}
	return cover.EdgesOf(sets...)
}()

// edgesOf returns the edges of the rules that may judge what an instance sends or
// receives.
func (x *Explainer) edgesOf(name string) cover.Edges {
	if edges, ok := x.edges[name]; ok {
		return edges
	}
	in := x.config.Instance(name)
	if in == nil {
		return nil
	}
	var sets []cover.Set
	acl := x.config.NetworkACL(x.config.Subnet(in.Subnet).NetworkACL)
	for _, entries := range [][]vswitch.NetworkACLEntry{acl.Ingress, acl.Egress} {
		for i := range entries {
			sets = append(sets, cover.Of(entries[i].Service))
		}
	}
	for _, g := range in.SecurityGroups {
		group := x.config.SecurityGroup(g)
		for _, rules := range [][]vswitch.SecurityGroupRule{group.Ingress, group.Egress} {
			for i := range rules {
				sets = append(sets, cover.Of(rules[i].Service))
			}
		}
	}
	x.edges[name] = cover.EdgesOf(sets...)
	return x.edges[name]
}

// QueryFor returns the query about one kind of packet between two ends.
func QueryFor(k cover.Kind, from, to Endpoint) Query {
	return Query{From: from, To: to, Protocol: k.Protocol, Port: k.Port, Type: k.Type, Code: k.Code}
}
