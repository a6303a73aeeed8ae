package lint_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"vswitch/filter"
	"vswitch/internal/classify"
	"vswitch/internal/lint"
	"vswitch/internal/policy"
	"vswitch/nacl"
	vswitch "vswitch/switch"
)

// universe are addresses that tell apart all blocks that drawBlock makes, and
// kinds all services of drawService, both exhaustively.
var (
	universe = addrs("1.1.1.1", "9000::1", "10.0.1.5", "10.0.1.10", "10.0.1.11", "10.0.1.200", "10.0.2.20", "10.0.99.1", "10.1.0.1", "192.0.2.1",
		"fd00::10", "fd00:0:0:1::20", "fd00:0:0:9::1", "fe80::1", "2001:db8::1")
	kinds = func() []classify.Packet {
		var all []classify.Packet
		for _, p := range []uint8{2, 47} {
			all = append(all, classify.Packet{Protocol: p})
		}
		for _, p := range []uint8{6, 17} {
			for _, port := range []uint16{0, 1, 2, 3, 4, 65535} {
				all = append(all, classify.Packet{Protocol: p, Port: port})
			}
		}
		for _, p := range []uint8{1, 58} {
			for typ := range uint8(3) {
				for code := range uint8(2) {
					all = append(all, classify.Packet{Protocol: p, Type: typ, Code: code})
				}
			}
		}
		return all
	}()
)

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range texts {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func drawService(t *rapid.T) policy.Service {
	s := policy.Service{Protocol: rapid.SampledFrom([]policy.Protocol{policy.AllProtocols, policy.TCP, policy.UDP, policy.ICMP, policy.ICMPv6, 47}).Draw(t, "protocol")}
	switch {
	case s.Protocol.HasPorts():
		bounds := rapid.SliceOfN(rapid.SampledFrom([]uint16{0, 1, 2, 3, 65535}), 2, 2).Draw(t, "ports")
		slices.Sort(bounds)
		s.Ports = policy.Ports{From: bounds[0], To: bounds[1]}
	case s.Protocol.HasTypes():
		s.Type = rapid.SampledFrom([]int16{policy.AnyICMP, 0, 1}).Draw(t, "type")
		if s.Code = policy.AnyICMP; s.Type != policy.AnyICMP {
			s.Code = rapid.SampledFrom([]int16{policy.AnyICMP, 0}).Draw(t, "code")
		}
	}
	return s
}

func drawBlock(t *rapid.T) netip.Prefix {
	return netip.MustParsePrefix(rapid.SampledFrom([]string{
		"0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/15", "10.0.0.0/16", "10.0.1.0/24", "10.0.1.0/25", "10.0.1.128/25", "10.0.1.10/32", "10.0.1.10/31",
		"::/0", "fd00::/56", "fd00::/64", "fe80::/10", "8000::/1", "::/1",
	}).Draw(t, "block"))
}

// drawACL draws a network ACL's ingress rules.
func drawACL(t *rapid.T) []vswitch.NetworkACLEntry {
	list := make([]vswitch.NetworkACLEntry, rapid.IntRange(1, 7).Draw(t, "rules"))
	numbers := rapid.Permutation([]int{1, 2, 3, 4, 5, 6, 7}).Draw(t, "numbers")
	for i := range list {
		list[i] = vswitch.NetworkACLEntry{Number: numbers[i], Action: policy.Verdict(rapid.IntRange(0, 1).Draw(t, "action")), Service: drawService(t), CIDR: drawBlock(t)}
	}
	return list
}

// table compiles entries as the switch does.
func table(list []vswitch.NetworkACLEntry) *nacl.Table {
	var out []nacl.Entry
	for _, e := range list {
		out = append(out, nacl.Entry{Number: e.Number, Action: e.Action, Service: e.Service, Prefix: e.CIDR})
	}
	return nacl.Compile(out, nil)
}

// each calls f with every packet of the universe.
func each(f func(p classify.Packet)) {
	for _, a := range universe {
		for _, p := range kinds {
			p.Remote = a
			f(p)
		}
	}
}

// A network ACL's rule is shadowed if, and only if, the network ACL that the
// switch uses never comes to it, and by the rules that it comes to instead.
func shadowedACL(t *rapid.T) {
	list := drawACL(t)
	cfg := vswitch.Config{VPC: vswitch.VPC{CIDR: netip.MustParsePrefix("10.0.0.0/16")}}
	cfg.NetworkACLs = []vswitch.NetworkACL{{Name: "a", Ingress: list}}
	got := map[string][]string{}
	for _, s := range lint.Shadowed(&cfg) {
		if s.Rule.Object != "nacl:a" || s.Rule.Direction != policy.Ingress {
			t.Fatalf("got %+v", s.Rule)
		}
		for _, by := range s.By {
			got[s.Rule.ID] = append(got[s.Rule.ID], by.ID)
		}
	}
	slices.SortFunc(list, func(a, b vswitch.NetworkACLEntry) int { return a.Number - b.Number })
	whole := table(list)
	want := map[string][]string{}
	for i, e := range list {
		alone, instead := table(list[i:i+1]), map[int]bool{}
		each(func(p classify.Packet) {
			if alone.Judge(policy.Ingress, &p).Entry != nil {
				instead[whole.Judge(policy.Ingress, &p).Entry.Number] = true
			}
		})
		if instead[e.Number] {
			continue
		}
		for _, o := range list {
			if instead[o.Number] {
				want[fmt.Sprint(e.Number)] = append(want[fmt.Sprint(e.Number)], fmt.Sprint(o.Number))
			}
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%+v: got %v, want %v", list, got, want)
	}
}

func TestShadowedACLEqualsTheSwitch(t *testing.T) { rapid.Check(t, shadowedACL) }

func FuzzShadowedACL(f *testing.F) { f.Fuzz(rapid.MakeFuzz(shadowedACL)) }

// groupIDs are the handles of the groups that rules may refer to.
var groupIDs = map[string]filter.GroupID{"g": 1, "h": 2}

// drawGroup draws a VPC and the rules of its group g.
func drawGroup(t *rapid.T) *vswitch.Config {
	peers := []vswitch.Peer{
		{Kind: vswitch.PeerSecurityGroup, Name: "g"}, {Kind: vswitch.PeerSecurityGroup, Name: "h"}, {Kind: vswitch.PeerPrefixList, Name: "l"},
		{Kind: vswitch.PeerSubnet, Name: "a"}, {Kind: vswitch.PeerInstance, Name: "a1"}, {Kind: vswitch.PeerInternet},
	}
	list := func(d policy.Direction) []vswitch.SecurityGroupRule {
		rules := make([]vswitch.SecurityGroupRule, rapid.IntRange(0, 6).Draw(t, "rules"))
		for i := range rules {
			rules[i] = vswitch.SecurityGroupRule{ID: fmt.Sprintf("sgr-%s-%d", d, i), Service: drawService(t)}
			if n := rapid.IntRange(-len(peers)/2, len(peers)-1).Draw(t, "peer"); n >= 0 {
				rules[i].Peer = peers[n]
			} else {
				rules[i].Peer = vswitch.Peer{Prefix: drawBlock(t)}
			}
		}
		return rules
	}
	c := &vswitch.Config{
		VPC:         vswitch.VPC{Name: "vst-lint", CIDR: netip.MustParsePrefix("10.0.0.0/16"), CIDR6: netip.MustParsePrefix("fd00::/56")},
		Subnets:     []vswitch.Subnet{{Name: "a", CIDR: netip.MustParsePrefix("10.0.1.0/24"), CIDR6: netip.MustParsePrefix("fd00::/64")}},
		Instances:   []vswitch.Instance{{Name: "a1", Subnet: "a", IP: netip.MustParseAddr("10.0.1.10"), SecurityGroups: []string{"g"}}},
		PrefixLists: []vswitch.PrefixList{{Name: "l", CIDRs: []netip.Prefix{drawBlock(t), drawBlock(t)}}},
	}
	c.SecurityGroups = []vswitch.SecurityGroup{{Name: "g", Ingress: list(policy.Ingress), Egress: list(policy.Egress)}, {Name: "h"}}
	return c
}

// compiled compiles the group g as the switch does.
func compiled(c *vswitch.Config) *filter.Policy {
	list := func(rules []vswitch.SecurityGroupRule) []filter.Rule {
		var out []filter.Rule
		for _, r := range rules {
			out = append(out, filter.Rule{
				ID: r.ID, Service: r.Service, Prefixes: c.PeerBlocks(r.Peer), Group: groupIDs[r.Peer.Name],
				Open: r.Peer.Kind == vswitch.PeerInternet || r.Peer.Kind == vswitch.PeerCIDR && r.Peer.Prefix.Bits() == 0,
			})
		}
		return out
	}
	g := &c.SecurityGroups[0]
	return filter.NewPolicy(filter.CompileGroup(list(g.Ingress), list(g.Egress)))
}

// eachQuery calls f with every packet of the universe, to and from members of
// any groups: whoever has an address in the VPC may be one.
func eachQuery(c *vswitch.Config, f func(q filter.Query)) {
	inVPC := func(a netip.Addr) bool {
		return c.VPC.CIDR.Contains(a) || c.VPC.CIDR6.Contains(a) || a.IsLinkLocalUnicast()
	}
	each(func(p classify.Packet) {
		if is4 := p.Remote.Is4(); is4 && p.Protocol == 58 || !is4 && p.Protocol == 1 {
			return // no packet: ICMP is IPv4's, and ICMPv6 is IPv6's
		}
		f(filter.Query{Packet: p})
		if inVPC(p.Remote) {
			f(filter.Query{Packet: p, RemoteGroups: []filter.GroupID{1}})
			f(filter.Query{Packet: p, RemoteGroups: []filter.GroupID{2}})
			f(filter.Query{Packet: p, RemoteGroups: []filter.GroupID{1, 2}})
		}
	})
}

// A security-group rule is shadowed if, and only if, the group that the switch
// uses never names it as the one that decides.
func shadowedGroup(t *rapid.T) {
	c := drawGroup(t)
	got := map[string]bool{}
	for _, s := range lint.Shadowed(c) {
		got[s.Rule.ID] = true
		if s.Rule.Object != "sg:g" || len(s.By) == 0 {
			t.Fatalf("got %+v", s)
		}
	}
	p := compiled(c)
	for _, d := range []policy.Direction{policy.Ingress, policy.Egress} {
		matches, decides := map[string]bool{}, map[string]bool{}
		for r := range p.Rules(d) {
			alone := *c
			kept := slices.DeleteFunc(slices.Clone(append(slices.Clone(c.SecurityGroups[0].Ingress), c.SecurityGroups[0].Egress...)), func(o vswitch.SecurityGroupRule) bool { return o.ID != r.ID })
			alone.SecurityGroups = []vswitch.SecurityGroup{{Name: "g", Ingress: kept, Egress: kept}}
			single := compiled(&alone)
			eachQuery(c, func(q filter.Query) {
				matches[r.ID] = matches[r.ID] || single.Judge(d, &q).Rule != nil
			})
		}
		eachQuery(c, func(q filter.Query) {
			if rule := p.Judge(d, &q).Rule; rule != nil {
				decides[rule.ID] = true
			}
		})
		for r := range p.Rules(d) {
			// A rule that matches nothing at all is in nobody's shadow.
			if want := matches[r.ID] && !decides[r.ID]; got[r.ID] != want {
				t.Fatalf("%+v: rule %s: shadowed %v, want %v", c.SecurityGroups[0], r.ID, got[r.ID], want)
			}
		}
	}
}

func TestShadowedGroupRuleEqualsTheSwitch(t *testing.T) { rapid.Check(t, shadowedGroup) }

func FuzzShadowedGroup(f *testing.F) { f.Fuzz(rapid.MakeFuzz(shadowedGroup)) }

// Without the rules that are called redundant, the same packets pass, and the same
// flows are tracked (SEM 2.2).
func redundantGroup(t *rapid.T) {
	c := drawGroup(t)
	redundant := map[string]bool{}
	for _, f := range lint.Run(c) {
		if f.Code == lint.SGRedundant {
			var id string
			fmt.Sscanf(f.Object, "security_group.g ingress %s", &id)
			fmt.Sscanf(f.Object, "security_group.g egress %s", &id)
			redundant[id] = true
		}
	}
	without := func(drop func(id string) bool) *filter.Policy {
		less := *c
		g := c.SecurityGroups[0]
		kept := func(list []vswitch.SecurityGroupRule) []vswitch.SecurityGroupRule {
			return slices.DeleteFunc(slices.Clone(list), func(r vswitch.SecurityGroupRule) bool { return drop(r.ID) })
		}
		less.SecurityGroups = []vswitch.SecurityGroup{{Name: "g", Ingress: kept(g.Ingress), Egress: kept(g.Egress)}}
		return compiled(&less)
	}
	before, after := compiled(c), without(func(id string) bool { return redundant[id] })
	for _, d := range []policy.Direction{policy.Ingress, policy.Egress} {
		eachQuery(c, func(q filter.Query) {
			for _, q.SourcePort = range []uint16{0, 2, 65535} {
				for _, q.MayReply = range []bool{false, true} {
					x, y := before.Judge(d, &q), after.Judge(d, &q)
					if (x.Rule == nil) != (y.Rule == nil) || x.Tracked != y.Tracked {
						t.Fatalf("%+v without %v: %s %+v: got %+v, want %+v", c.SecurityGroups[0], redundant, d, q, y, x)
					}
				}
			}
		})
	}
}

func TestRedundantRulesChangeNothing(t *testing.T) { rapid.Check(t, redundantGroup) }

func FuzzRedundantGroup(f *testing.F) { f.Fuzz(rapid.MakeFuzz(redundantGroup)) }
