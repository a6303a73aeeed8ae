package vswitch_test

import (
	"net/netip"
	"slices"
	"time"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
)

// The world that random VPCs are made of is small, so that things meet: few
// subnets, addresses, ports and services.
var (
	randomSubnets = []vswitch.Subnet{
		{Name: "P", CIDR: netip.MustParsePrefix("10.0.0.0/24"), CIDR6: netip.MustParsePrefix("2001:db8:a::/64")},
		{Name: "A", CIDR: netip.MustParsePrefix("10.0.1.0/24"), CIDR6: netip.MustParsePrefix("2001:db8:a:1::/64")},
		{Name: "B", CIDR: netip.MustParsePrefix("10.0.2.0/28"), CIDR6: netip.MustParsePrefix("2001:db8:a:2::/64")},
		{Name: "S", CIDR: netip.MustParsePrefix("10.1.1.0/24"), CIDR6: netip.MustParsePrefix("2001:db8:a:3::/64")}, // of a secondary block
	}
	randomInstances = []string{"i1", "i2", "i3", "i4", "i5", "i6"}
	randomGroups    = []string{"g1", "g2", "g3", "g4"}
	randomPorts     = []uint16{22, 53, 80, 443, 1024, 40000}
	randomBlocks    = [2][]netip.Prefix{
		prefixesOf("0.0.0.0/0", "0.0.0.0/0", "10.0.0.0/16", "10.0.0.0/8", "10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/28", "10.1.1.0/24",
			"10.0.1.5/32", "10.0.2.6/32", "10.9.9.0/24", "203.0.113.0/24"),
		prefixesOf("::/0", "::/0", "2001:db8:a::/56", "2001:db8:a::/64", "2001:db8:a:1::/64", "2001:db8:a:2::/64", "2001:db8:a:3::/64",
			"2001:db8:a:1::5/128", "2001:db8:a:2::6/128", "fe80::/10", "2001:db8:b::/48"),
	}
	routedBlocks = prefixesOf("0.0.0.0/0", "203.0.113.0/24", "203.0.113.12/32", "169.254.0.0/16", "10.0.1.0/24", "10.0.2.0/28", "10.0.0.0/16",
		"::/0", "2001:db8:b::/48", "2001:db8:a:1::/64", "2001:db8:a:2::/64", "2001:db8:a::/56")
)

// randomVPC returns a configuration to begin with.
func (w *world) randomVPC() vswitch.Config {
	c := vswitch.Config{VPC: vswitch.VPC{Name: "random", CIDR: netip.MustParsePrefix("10.0.0.0/16"), MTU: pick(w, 0, 0, 1500, 1280)}}
	c.Subnets = slices.Clone(randomSubnets[:3])
	if w.one(2) {
		c.VPC.CIDRs = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
		c.Subnets = slices.Clone(randomSubnets)
	}
	if !w.one(3) {
		c.VPC.CIDR6 = netip.MustParsePrefix("2001:db8:a::/56")
	}
	for i := range c.Subnets {
		if !c.VPC.CIDR6.IsValid() || w.one(6) {
			c.Subnets[i].CIDR6 = netip.Prefix{}
		}
	}
	for _, name := range randomGroups {
		c.SecurityGroups = append(c.SecurityGroups, vswitch.SecurityGroup{Name: name})
	}
	for i, name := range []string{"x", "y"} {
		c.PrefixLists = append(c.PrefixLists, vswitch.PrefixList{Name: name, CIDRs: w.prefixes(i)})
		c.NetworkACLs = append(c.NetworkACLs, vswitch.NetworkACL{Name: name, Ingress: w.entries(), Egress: w.entries()})
	}
	for range 2 + w.r.IntN(4) {
		w.addInstance(&c)
	}
	for i := range c.SecurityGroups {
		g := &c.SecurityGroups[i]
		g.Ingress = w.groupRules(&c)
		if w.one(3) {
			g.Egress = w.groupRules(&c)
		}
	}
	if w.one(2) { // much is allowed, so that there is something to take away
		g := &c.SecurityGroups[0]
		g.Ingress = []vswitch.SecurityGroupRule{{
			Service: policy.AllTraffic, Peer: pick(w, vswitch.Peer{Kind: vswitch.PeerInternet}, vswitch.Peer{Prefix: c.VPC.CIDR}, vswitch.Peer{Kind: vswitch.PeerSecurityGroup, Name: "g2"}),
		}}
	}
	for i := range c.Subnets {
		c.Subnets[i].NetworkACL = pick(w, "", "", "", "x", "y")
	}
	if w.one(2) {
		c.RouteTables = []vswitch.RouteTable{{Name: "r", Routes: w.routes(&c)}, {Name: "main", Routes: w.routes(&c)}}
		for i := range c.Subnets {
			c.Subnets[i].RouteTable = pick(w, "", "r")
		}
	}
	c.Conntrack = w.conntrack()
	return c
}

// conntrack returns random properties of connection tracking.
func (w *world) conntrack() vswitch.Conntrack {
	return vswitch.Conntrack{
		Profile: pick(w, "", "nitro", "nitrov6"), Strict: w.one(4), Max: pick(w, 0, 0, 0, 0, 0, 0, 3, 6), Timeouts: w.timeouts(),
	}
}

func (w *world) timeouts() vswitch.Timeouts {
	return vswitch.Timeouts{
		TCPEstablished: pick(w, 0, 0, 60*time.Second, 600*time.Second),
		UDP:            pick(w, 0, 0, 45*time.Second, 60*time.Second),
		UDPStream:      pick(w, 0, 0, 60*time.Second, 100*time.Second),
	}
}

// addInstance adds an instance whose name is free, if there is one.
func (w *world) addInstance(c *vswitch.Config) string {
	for _, i := range w.r.Perm(len(randomInstances)) {
		name := randomInstances[i]
		if c.Instance(name) != nil {
			continue
		}
		in := vswitch.Instance{Name: name, Subnet: pick(w, c.Subnets...).Name, SecurityGroups: w.memberships(), DisableSourceDestCheck: w.one(3)}
		w.addAddresses(c, &in)
		if w.one(3) {
			in.Conntrack = w.timeouts()
		}
		c.Instances = append(slices.Clone(c.Instances), in)
		return name
	}
	return ""
}

// addAddresses gives an instance addresses of its subnet.
func (w *world) addAddresses(c *vswitch.Config, in *vswitch.Instance) {
	s := c.Subnet(in.Subnet)
	in.IP, in.IP6, in.ExtraIPs = netip.Addr{}, netip.Addr{}, nil
	if !w.one(4) {
		in.IP = w.freeAddress(c, s.CIDR)
	}
	if s.CIDR6.IsValid() && !w.one(6) {
		in.IP6 = w.freeAddress(c, s.CIDR6)
	}
	for range w.r.IntN(3) {
		block := s.CIDR
		if s.CIDR6.IsValid() && w.one(2) {
			block = s.CIDR6
		}
		if a := w.freeAddress(c, block); a != in.IP && a != in.IP6 && !slices.Contains(in.ExtraIPs, a) {
			in.ExtraIPs = append(in.ExtraIPs, a)
		}
	}
}

// freeAddress returns an address of a block that no instance of c was given.
func (w *world) freeAddress(c *vswitch.Config, block netip.Prefix) netip.Addr {
	a := block.Addr()
	for range 5 + w.r.IntN(4) {
		a = a.Next()
	}
	for slices.ContainsFunc(c.Instances, func(in vswitch.Instance) bool { return in.IP == a || in.IP6 == a || slices.Contains(in.ExtraIPs, a) }) {
		a = a.Next()
	}
	return a
}

func (w *world) memberships() []string {
	if w.one(6) {
		return nil // the group "default"
	}
	names := slices.Clone(randomGroups)
	w.r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	names = names[:1+w.r.IntN(3)]
	if w.one(2) && !slices.Contains(names, randomGroups[0]) {
		names = append(names, randomGroups[0])
	}
	return names
}

// groupRules returns rules, none of which is twice in the list.
func (w *world) groupRules(c *vswitch.Config) []vswitch.SecurityGroupRule {
	rules := []vswitch.SecurityGroupRule{}
	for range w.r.IntN(5) {
		if r := w.groupRule(c); !slices.Contains(rules, r) {
			rules = append(rules, r)
		}
	}
	return rules
}

func (w *world) groupRule(c *vswitch.Config) vswitch.SecurityGroupRule {
	r := vswitch.SecurityGroupRule{Service: w.service()}
	family := w.family(r.Service)
	kind := w.r.IntN(10)
	if r.Service.Protocol == policy.ICMPv6 && kind >= 2 && kind <= 4 {
		kind = 5 // these may have no IPv6, and the rule would be refused
	}
	switch kind {
	case 0, 1:
		r.Peer = vswitch.Peer{Kind: vswitch.PeerSecurityGroup, Name: pick(w, append(randomGroups, "default")...)}
	case 2:
		r.Peer = vswitch.Peer{Kind: vswitch.PeerPrefixList, Name: [2]string{"x", "y"}[family]}
	case 3:
		r.Peer = vswitch.Peer{Kind: vswitch.PeerSubnet, Name: pick(w, c.Subnets...).Name}
	case 4:
		r.Peer = vswitch.Peer{Kind: vswitch.PeerInstance, Name: pick(w, c.Instances...).Name}
	case 5:
		r.Peer = vswitch.Peer{Kind: vswitch.PeerInternet}
	case 6:
		r.Peer = vswitch.Peer{Kind: vswitch.PeerCIDR, Prefix: randomBlocks[family][0]}
	default:
		r.Peer = vswitch.Peer{Kind: vswitch.PeerCIDR, Prefix: pick(w, randomBlocks[family]...)}
	}
	return r
}

// family returns 0 for IPv4 or 1 for IPv6, as the service wants.
func (w *world) family(s policy.Service) int {
	switch s.Protocol {
	case policy.ICMP:
		return 0
	case policy.ICMPv6:
		return 1
	}
	return pick(w, 0, 0, 1)
}

// service returns what a rule of a group or of a network ACL may be about.
func (w *world) service() policy.Service {
	s := policy.Service{Protocol: pick(w, policy.AllProtocols, policy.AllProtocols, policy.TCP, policy.TCP, policy.TCP, policy.UDP, policy.UDP, policy.ICMP, policy.ICMPv6, 47)}
	switch {
	case s.Protocol.HasPorts():
		s.Ports = policy.AllPorts
		if !w.one(3) {
			at := pick(w, randomPorts...)
			s.Ports = policy.Ports{From: at, To: at}
		}
		if w.one(3) {
			s.Ports = policy.Ports{From: pick[uint16](w, 0, 22, 53), To: pick[uint16](w, 443, 1024, 65535)}
		}
	case s.Protocol.HasTypes():
		s.Type, s.Code = pick[int16](w, -1, 8, 3), -1
		if s.Protocol == policy.ICMPv6 {
			s.Type = pick[int16](w, -1, 128, 3)
		}
		if s.Type == 3 && w.one(2) {
			s.Code = 4
		}
	}
	return s
}

// entries returns one direction of a network ACL that mostly allows.
func (w *world) entries() []vswitch.NetworkACLEntry {
	entries := []vswitch.NetworkACLEntry{}
	for i := range w.r.IntN(5) {
		e := vswitch.NetworkACLEntry{Number: 1 + (i*37+w.r.IntN(30))%150, Service: w.service()}
		e.CIDR = pick(w, randomBlocks[w.family(e.Service)]...)
		if !w.one(3) {
			e.Action = policy.Allow
		}
		if !slices.ContainsFunc(entries, func(o vswitch.NetworkACLEntry) bool { return o.Number == e.Number }) {
			entries = append(entries, e)
		}
	}
	for family := range randomBlocks {
		if !w.one(4) {
			entries = append(entries, vswitch.NetworkACLEntry{
				Number: 200 + family, Action: policy.Allow, Service: policy.AllTraffic, CIDR: randomBlocks[family][0],
			})
		}
	}
	return entries
}

// prefixes returns the entries of a prefix list, which is of one family.
func (w *world) prefixes(family int) []netip.Prefix {
	var all []netip.Prefix
	for range 1 + w.r.IntN(3) {
		if p := pick(w, randomBlocks[family]...); !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

// routes returns routes besides the local ones: out of the VPC to nowhere or to an
// instance, and inside of it to an instance (SEM 5.3).
func (w *world) routes(c *vswitch.Config) []vswitch.Route {
	var all []vswitch.Route
	for _, p := range routedBlocks {
		target := vswitch.Target{Kind: vswitch.TargetInstance, Name: pick(w, c.Instances...).Name}
		local, ofSubnet := false, false
		for _, block := range []netip.Prefix{c.VPC.CIDR, c.VPC.CIDR6} {
			local = local || block.Contains(p.Addr()) && p.Bits() >= block.Bits()
			ofSubnet = ofSubnet || block == p
		}
		for _, s := range c.Subnets {
			ofSubnet = ofSubnet || s.CIDR == p || s.CIDR6 == p
		}
		switch {
		case !w.one(3), local && !ofSubnet:
			continue
		case !local && w.one(3):
			target = vswitch.Target{Kind: vswitch.TargetBlackhole}
		case local && w.one(4):
			target = vswitch.Target{Kind: vswitch.TargetLocal}
		}
		all = append(all, vswitch.Route{Destination: p, Target: target})
	}
	return all
}

// cloneConfig returns a copy whose lists may be changed.
func cloneConfig(c *vswitch.Config) vswitch.Config {
	out := *c
	out.Subnets, out.Instances = slices.Clone(c.Subnets), slices.Clone(c.Instances)
	out.SecurityGroups, out.NetworkACLs = slices.Clone(c.SecurityGroups), slices.Clone(c.NetworkACLs)
	out.PrefixLists, out.RouteTables = slices.Clone(c.PrefixLists), slices.Clone(c.RouteTables)
	return out
}
