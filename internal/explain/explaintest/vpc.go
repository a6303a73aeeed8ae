// Package explaintest makes VPCs, random ones and those of a text, for the tests of
// everything that asks package explain.
package explaintest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// RandomVPC returns a valid configuration of a few subnets, groups, network ACLs,
// routes and instances, in which things meet: few ports, few blocks. Some of its
// VPCs have IPv6, and instances that forward.
func RandomVPC(r *rand.Rand) vswitch.Config {
	m := maker{r: r, six: r.IntN(2) == 0}
	c := &m.c
	c.VPC = vswitch.VPC{Name: "random", CIDR: netip.MustParsePrefix("10.0.0.0/16")}
	if m.six {
		c.VPC.CIDR6 = netip.MustParsePrefix("2001:db8:a::/56")
	}
	for _, name := range []string{"x", "y"} {
		c.NetworkACLs = append(c.NetworkACLs, vswitch.NetworkACL{Name: name, Ingress: m.entries(), Egress: m.entries()})
	}
	for i := range 3 {
		s := vswitch.Subnet{Name: fmt.Sprintf("s%d", i), CIDR: block("10.0.%d.0/24", i), NetworkACL: m.pick("", "x", "y")}
		if m.six {
			s.CIDR6 = block("2001:db8:a:%d::/64", i)
		}
		c.Subnets = append(c.Subnets, s)
	}
	c.PrefixLists = []vswitch.PrefixList{{Name: "pl", CIDRs: []netip.Prefix{block("10.0.1.0/28"), block("10.0.2.5/32")}}}
	for i := range 2 + r.IntN(4) {
		m.instance(i)
	}
	for i := range 4 {
		g := vswitch.SecurityGroup{Name: fmt.Sprintf("g%d", i), Ingress: m.rules(), Egress: []vswitch.SecurityGroupRule{}}
		if r.IntN(2) == 0 {
			g.Egress = nil // AWS's default: everything
		} else {
			g.Egress = m.rules()
		}
		c.SecurityGroups = append(c.SecurityGroups, g)
	}
	if r.IntN(3) == 0 {
		m.routes()
	}
	c.Conntrack.Strict = r.IntN(4) == 0
	return *c
}

// A maker makes one VPC.
type maker struct {
	r   *rand.Rand
	c   vswitch.Config
	six bool
}

func block(format string, args ...any) netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf(format, args...))
}

func (m *maker) pick(all ...string) string { return all[m.r.IntN(len(all))] }

// instance adds an instance whose address says its subnet.
func (m *maker) instance(i int) {
	s := m.r.IntN(3)
	in := vswitch.Instance{
		Name: fmt.Sprintf("i%d", i), Subnet: fmt.Sprintf("s%d", s), IP: netip.AddrFrom4([4]byte{10, 0, byte(s), byte(4 + i)}),
		DisableSourceDestCheck: m.r.IntN(3) == 0,
	}
	if m.six && m.r.IntN(4) > 0 {
		in.IP6 = netip.MustParseAddr(fmt.Sprintf("2001:db8:a:%d::%d", s, 4+i))
	}
	if m.r.IntN(5) == 0 {
		in.ExtraIPs = []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(s), byte(40 + i)})}
	}
	for _, g := range m.r.Perm(4)[:1+m.r.IntN(2)] {
		in.SecurityGroups = append(in.SecurityGroups, fmt.Sprintf("g%d", g))
	}
	m.c.Instances = append(m.c.Instances, in)
}

// routes gives some subnets routes through instances, and into nowhere.
func (m *maker) routes() {
	t := vswitch.RouteTable{Name: "r"}
	for _, b := range []string{"10.0.1.0/24", "10.0.2.0/24", "0.0.0.0/0"} {
		target := vswitch.Target{Kind: vswitch.TargetBlackhole} // no route inside the VPC may lead there
		if b != "0.0.0.0/0" || m.r.IntN(3) > 0 {
			target = vswitch.Target{Kind: vswitch.TargetInstance, Name: m.c.Instances[m.r.IntN(len(m.c.Instances))].Name}
		}
		if m.r.IntN(2) == 0 {
			t.Routes = append(t.Routes, vswitch.Route{Destination: netip.MustParsePrefix(b), Target: target})
		}
	}
	m.c.RouteTables = []vswitch.RouteTable{t}
	m.c.Subnets[m.r.IntN(3)].RouteTable = "r"
}

// service returns what a rule is about.
func (m *maker) service() policy.Service {
	at := func() uint16 { return []uint16{0, 22, 80, 443, 1024, 8080, 40000, 65535}[m.r.IntN(8)] }
	switch m.r.IntN(8) {
	case 0, 1, 2:
		from, to := at(), at()
		return policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: min(from, to), To: max(from, to)}}
	case 3:
		from, to := at(), at()
		return policy.Service{Protocol: policy.UDP, Ports: policy.Ports{From: min(from, to), To: max(from, to)}}
	case 4:
		return policy.Service{Protocol: policy.ICMP, Type: []int16{policy.AnyICMP, 0, 3, 8, 40}[m.r.IntN(5)], Code: policy.AnyICMP}
	case 5:
		if m.six {
			return policy.Service{Protocol: policy.ICMPv6, Type: []int16{policy.AnyICMP, 1, 128, 129}[m.r.IntN(4)], Code: policy.AnyICMP}
		}
		return policy.Service{Protocol: policy.ICMP, Type: 3, Code: int16(m.r.IntN(6))}
	case 6:
		return policy.Service{Protocol: policy.Protocol([]int{47, 50, 132}[m.r.IntN(3)])}
	}
	return policy.AllTraffic
}

// cidr returns a block; of some protocols, only of the family that they belong to.
func (m *maker) cidr(p policy.Protocol) netip.Prefix {
	four := []string{"0.0.0.0/0", "0.0.0.0/0", "10.0.0.0/16", "10.0.1.0/24", "10.0.2.0/24", "10.0.0.4/30", "10.0.1.5/32"}
	six := []string{"::/0", "2001:db8:a::/56", "2001:db8:a:1::/64", "2001:db8:a:2::5/128"}
	if p == policy.ICMPv6 || m.six && p != policy.ICMP && m.r.IntN(2) == 0 {
		return netip.MustParsePrefix(m.pick(six...))
	}
	return netip.MustParsePrefix(m.pick(four...))
}

// entries returns the rules of one direction of a network ACL.
func (m *maker) entries() []vswitch.NetworkACLEntry {
	var list []vswitch.NetworkACLEntry
	for i := range 1 + m.r.IntN(6) {
		s := m.service()
		e := vswitch.NetworkACLEntry{Number: 10 * (i + 1), Action: policy.Allow, Service: s, CIDR: m.cidr(s.Protocol)}
		if m.r.IntN(3) == 0 {
			e.Action = policy.Deny
		}
		list = append(list, e)
	}
	if m.r.IntN(4) == 0 { // replies to some clients' ports alone
		high := policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: 40000, To: 65535}}
		list = []vswitch.NetworkACLEntry{{Number: 5, Action: policy.Deny, Service: high, CIDR: block("0.0.0.0/0")}}
	}
	if m.r.IntN(2) == 0 {
		list = append(list, vswitch.NetworkACLEntry{Number: 1000, Action: policy.Allow, Service: policy.AllTraffic, CIDR: block("0.0.0.0/0")})
	}
	return list
}

// rules returns the rules of one direction of a group, no two of which are the
// same.
func (m *maker) rules() []vswitch.SecurityGroupRule {
	list := []vswitch.SecurityGroupRule{}
	type identity struct {
		service policy.Service
		peer    vswitch.Peer
	}
	has := map[identity]bool{}
	for range 1 + m.r.IntN(4) {
		s := m.service()
		peer := vswitch.Peer{Prefix: m.cidr(s.Protocol)}
		switch m.r.IntN(6) {
		case 0, 1:
			peer = vswitch.Peer{Kind: vswitch.PeerSecurityGroup, Name: fmt.Sprintf("g%d", m.r.IntN(4))}
		case 2:
			peer = vswitch.Peer{Kind: vswitch.PeerInstance, Name: m.c.Instances[m.r.IntN(len(m.c.Instances))].Name}
		case 3:
			peer = vswitch.Peer{Kind: vswitch.PeerPrefixList, Name: "pl"}
		case 4:
			peer = vswitch.Peer{Kind: vswitch.PeerSubnet, Name: fmt.Sprintf("s%d", m.r.IntN(3))}
		}
		if s.Protocol == policy.ICMPv6 && peer.Kind != vswitch.PeerSecurityGroup {
			peer = vswitch.Peer{Prefix: m.cidr(s.Protocol)}
		}
		if !has[identity{s, peer}] {
			has[identity{s, peer}] = true
			list = append(list, vswitch.SecurityGroupRule{Service: s, Peer: peer})
		}
	}
	return list
}

// RandomKind returns a service that a random VPC may have rules for, and others
// beside them: a protocol, a port, a type and a code.
func RandomKind(r *rand.Rand, six bool) (p policy.Protocol, port uint16, typ, code uint8) {
	near := []uint16{1, 21, 22, 23, 79, 80, 81, 443, 444, 1023, 1024, 8080, 8081, 40000, 65535, uint16(r.Uint32())}
	switch r.IntN(6) {
	case 0, 1:
		return policy.TCP, near[r.IntN(len(near))], 0, 0
	case 2:
		return policy.UDP, near[r.IntN(len(near))], 0, 0
	case 3:
		p = policy.ICMP
		if six {
			p = policy.ICMPv6
		}
		typ = uint8(r.UintN(256))
		if r.IntN(2) == 0 {
			typ = []uint8{0, 1, 3, 8, 13, 40, 128, 129}[r.IntN(8)]
		}
		if six && typ >= 133 && typ <= 137 {
			typ = 128
		}
		return p, 0, typ, uint8(r.UintN(8))
	}
	for {
		p = policy.Protocol(1 + r.IntN(255))
		if !p.HasPorts() && !p.HasTypes() {
			return p, 0, 0, 0
		}
	}
}
