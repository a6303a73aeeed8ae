package reach_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"vswitch/internal/api"
	"vswitch/internal/cover"
	"vswitch/internal/explain"
	"vswitch/internal/explain/explaintest"
	"vswitch/internal/policy"
	"vswitch/internal/reach"
	vswitch "vswitch/switch"
)

// verdicts returns what a document says of every service, by pair and family.
func verdicts(t *testing.T, d *api.Reach) map[string]map[string]cover.Set {
	t.Helper()
	all := map[string]map[string]cover.Set{}
	for _, f := range d.Flows {
		key := f.From + ">" + f.To + " " + f.Family
		if all[key] == nil {
			all[key] = map[string]cover.Set{}
		}
		for _, words := range f.Services {
			all[key][f.Verdict] = all[key][f.Verdict].Union(parse(t, words))
		}
	}
	return all
}

// parse reads the words of a service.
func parse(t *testing.T, words string) cover.Set {
	t.Helper()
	var a, b int
	if n, _ := fmt.Sscanf(words, "protocols %d-%d", &a, &b); n == 2 {
		var set cover.Set
		for p := a; p <= b; p++ {
			set = set.Union(cover.Of(policy.Service{Protocol: policy.Protocol(p)}))
		}
		return set
	}
	var name, rest string
	_, _ = fmt.Sscanf(words, "%s %s", &name, &rest)
	s := policy.Service{Ports: policy.AllPorts, Type: policy.AnyICMP, Code: policy.AnyICMP}
	for p := policy.AllProtocols; p <= 255; p++ {
		if p.String() == name {
			s.Protocol = p
		}
	}
	switch {
	case rest == "":
	case s.Protocol.HasPorts():
		if n, _ := fmt.Sscanf(rest, "%d-%d", &s.Ports.From, &s.Ports.To); n == 1 {
			s.Ports.To = s.Ports.From
		}
	default:
		for i := range rest {
			if rest[i] == '/' {
				if _, err := fmt.Sscan(rest[i+1:], &s.Code); err != nil {
					t.Fatalf("%q: %v", words, err)
				}
				rest = rest[:i]
				break
			}
		}
		if typ, ok := policy.ICMPType(s.Protocol, rest); ok {
			s.Type = typ
		} else if _, err := fmt.Sscan(rest, &s.Type); err != nil {
			t.Fatalf("%q: %v", words, err)
		}
	}
	return cover.Of(s)
}

// What reach says of random pairs and services is what explain says.
func TestReachEqualsExplain(t *testing.T) {
	met := map[string]int{}
	for seed := range uint64(250) {
		r := rand.New(rand.NewPCG(seed, 6))
		c := explaintest.RandomVPC(r)
		x := explaintest.Explainer(t, c)
		d, err := reach.Document(x, api.ReachRequest{})
		if err != nil {
			t.Fatal(err)
		}
		said := verdicts(t, &d)
		for range 60 {
			a, b := &c.Instances[r.IntN(len(c.Instances))], &c.Instances[r.IntN(len(c.Instances))]
			six := r.IntN(2) == 0
			from, to := explain.Endpoint{Instance: a.Name, Address: a.IP}, explain.Endpoint{Instance: b.Name, Address: b.IP}
			family := api.FamilyIPv4
			if six {
				from.Address, to.Address, family = a.IP6, b.IP6, api.FamilyIPv6
			}
			if a == b || !from.Address.IsValid() || !to.Address.IsValid() {
				continue
			}
			var k cover.Kind
			k.Protocol, k.Port, k.Type, k.Code = explaintest.RandomKind(r, six)
			if k.Protocol == policy.ICMPv6 && !six || k.Protocol == policy.ICMP && six {
				continue
			}
			e, err := x.Explain(explain.QueryFor(k, from, to))
			if err != nil {
				t.Fatal(err)
			}
			want := api.VerdictDeny
			switch e.Outcome() {
			case explain.Passed:
				want = api.VerdictAllow
			case explain.HalfAnswered, explain.Unanswered:
				want = api.VerdictPartial
			}
			got := api.VerdictDeny
			point := cover.Of(policy.Service{Protocol: k.Protocol, Ports: policy.Ports{From: k.Port, To: k.Port}, Type: int16(k.Type), Code: int16(k.Code)})
			for verdict, set := range said[a.Name+">"+b.Name+" "+family] {
				if set.Overlaps(point) {
					got = verdict
				}
			}
			if got != want {
				t.Fatalf("VPC %d: %s > %s %s %v: reach says %s, explain %s", seed, a.Name, b.Name, family, point.Words(), got, want)
			}
			met[got]++
		}
	}
	for _, v := range []string{api.VerdictAllow, api.VerdictPartial, api.VerdictDeny} {
		if met[v] < 100 {
			t.Errorf("%s was met %d times: too few to compare", v, met[v])
		}
	}
}

// crowd returns a VPC of n instances in 10 groups and 4 subnets with 100 rules in
// all.
func crowd(n int) vswitch.Config {
	c := vswitch.Config{VPC: vswitch.VPC{Name: "crowd", CIDR: netip.MustParsePrefix("10.0.0.0/16")}}
	for i := range 4 {
		c.Subnets = append(c.Subnets, vswitch.Subnet{
			Name: fmt.Sprintf("s%d", i), CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24), NetworkACL: []string{"", "edge"}[i%2],
		})
	}
	edge := vswitch.NetworkACL{Name: "edge"}
	for i := range 10 {
		s := policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: uint16(1000 * i), To: uint16(1000*i + 500)}}
		e := vswitch.NetworkACLEntry{Number: i + 1, Action: []policy.Verdict{policy.Allow, policy.Deny}[i%2], Service: s, CIDR: netip.MustParsePrefix("10.0.0.0/16")}
		edge.Ingress, edge.Egress = append(edge.Ingress, e), append(edge.Egress, e)
	}
	all := vswitch.NetworkACLEntry{Number: 100, Action: policy.Allow, Service: policy.AllTraffic, CIDR: netip.MustParsePrefix("0.0.0.0/0")}
	edge.Ingress, edge.Egress = append(edge.Ingress, all), append(edge.Egress, all)
	c.NetworkACLs = []vswitch.NetworkACL{edge}
	for i := range 10 {
		g := vswitch.SecurityGroup{Name: fmt.Sprintf("g%d", i)}
		for j := range 8 {
			s := policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: uint16(100*j + 10*i), To: uint16(100*j + 10*i + 5)}}
			g.Ingress = append(g.Ingress, vswitch.SecurityGroupRule{Service: s, Peer: vswitch.Peer{Kind: vswitch.PeerSecurityGroup, Name: fmt.Sprintf("g%d", (i+j)%10)}})
		}
		c.SecurityGroups = append(c.SecurityGroups, g)
	}
	for i := range n {
		c.Instances = append(c.Instances, vswitch.Instance{
			Name: fmt.Sprintf("i%d", i), Subnet: fmt.Sprintf("s%d", i%4), IP: netip.AddrFrom4([4]byte{10, 0, byte(i % 4), byte(4 + i/4)}),
			SecurityGroups: []string{fmt.Sprintf("g%d", i/4%10)},
		})
	}
	return c
}

// alike are VPCs whose instances are alike but for what a case says. All of their
// groups allow everything.
const alike = `[vpc]
name = "alike"
cidr = "10.0.0.0/16"
[security_group.open]
ingress = [{ proto = "all", from = "0.0.0.0/0" }]
[nacl.closed]
[nacl.out]
ingress = [{ rule = 10, action = "allow", proto = "all", from = "0.0.0.0/0" }]
egress = [
  { rule = 10, action = "deny", proto = "tcp", ports = 80, to = "0.0.0.0/0" },
  { rule = 20, action = "allow", proto = "all", to = "0.0.0.0/0" },
]
`

// Instances that something tells apart do not share an answer.
func TestReachTellsApart(t *testing.T) {
	subnet := func(n int, more string) string {
		return fmt.Sprintf("[subnet.s%d]\ncidr = \"10.0.%d.0/24\"\n%s\n", n, n, more)
	}
	instance := func(name string, n int, more string) string {
		return fmt.Sprintf("[instance.%s]\nsubnet = \"s%d\"\nsg = [\"open\"]\n%s\n", name, n, more)
	}
	for name, text := range map[string]string{
		"network ACL": subnet(0, "") + subnet(1, "") + subnet(2, `nacl = "closed"`) + instance("a", 0, "") + instance("b", 1, "") + instance("c", 2, ""),
		"same subnet": subnet(0, `nacl = "closed"`) + subnet(1, `nacl = "closed"`) + instance("a", 0, "") + instance("b", 0, "") + instance("c", 1, ""),
		// From the appliance to c it is one subnet, to d there are network ACLs between.
		"subnet of an appliance": "[route.r]\n\"10.0.0.0/16\" = \"relay\"\n" + subnet(0, `nacl = "out"`) + subnet(1, `route = "r"`) + subnet(2, `nacl = "out"`) +
			instance("a", 1, "") + instance("c", 0, "") + instance("d", 2, "") + instance("relay", 0, "source_dest_check = false"),
		// What comes through the appliance has lost its group, what goes to it has not.
		"appliance itself": "[route.r]\n\"10.0.0.0/16\" = \"relay\"\n[security_group.members]\ningress = [{ proto = \"all\", from = \"sg:open\" }]\n" +
			subnet(0, "") + subnet(1, `route = "r"`) + instance("a", 1, "") +
			strings.ReplaceAll(instance("relay", 0, "source_dest_check = false")+instance("x", 0, ""), `"open"`, `"members"`),
	} {
		c := explaintest.Parse(t, alike+text)
		x := explaintest.Explainer(t, c)
		d, err := reach.Document(x, api.ReachRequest{})
		if err != nil {
			t.Fatal(err)
		}
		said := verdicts(t, &d)
		met := map[bool]int{}
		for i := range c.Instances {
			for j := range c.Instances {
				a, b := c.Instances[i].Name, c.Instances[j].Name
				if a == b {
					continue
				}
				o, err := x.Judge(explain.Query{From: explain.Endpoint{Instance: a}, To: explain.Endpoint{Instance: b}, Protocol: policy.TCP, Port: 80})
				if err != nil {
					t.Fatal(err)
				}
				point := cover.Of(policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: 80, To: 80}})
				got := said[a+">"+b+" ipv4"][api.VerdictAllow].Overlaps(point)
				if got != (o == explain.Passed) {
					t.Errorf("%s: %s > %s: reach says %v, explain %v", name, a, b, got, o)
				}
				met[got]++
			}
		}
		if met[true] == 0 || met[false] == 0 {
			t.Errorf("%s: nothing to tell apart: %v", name, met)
		}
	}
}

// What no packet can be does not make a list longer.
func TestReachWords(t *testing.T) {
	c := explaintest.Parse(t, `[vpc]
name = "words"
cidr = "10.0.0.0/16"
cidr6 = "2001:db8::/56"
[subnet.s]
cidr = "10.0.0.0/24"
cidr6 = "2001:db8::/64"
[security_group.most]
ingress = [{ proto = "all", from = "0.0.0.0/0" }, { proto = "icmpv6", from = "::/0" }, { proto = 50, from = "::/0" }]
[instance.a]
subnet = "s"
ip6 = "2001:db8::10"
sg = ["most"]
[instance.b]
subnet = "s"
ip6 = "2001:db8::11"
sg = ["most"]
`)
	x := explaintest.Explainer(t, c)
	d, err := reach.Document(x, api.ReachRequest{From: "a", To: "b"})
	if err != nil {
		t.Fatal(err)
	}
	// The default egress rule of a group is for IPv4 and, where the VPC has it, IPv6.
	if got := fmt.Sprint(d.Flows); got != "[{a b ipv4 allow [all]} {a b ipv6 allow [50 icmpv6]}]" {
		t.Error(got)
	}
}

// The work grows with the variety of the instances, not with their number.
func TestReachOfManyIsBounded(t *testing.T) {
	judged := func(n int) int {
		x := explaintest.Explainer(t, crowd(n))
		d, err := reach.Document(x, api.ReachRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if n == 100 && len(d.Flows) < 1000 {
			t.Errorf("%d flows between 100 instances: too few to be a test", len(d.Flows))
		}
		return x.Judged()
	}
	few, many := judged(80), judged(240)
	if many > few+few/10 {
		t.Errorf("80 instances took %d judgements, 240 of the same kinds %d", few, many)
	}
	if few > 100_000 {
		t.Errorf("80 instances took %d judgements", few)
	}
}

func TestReachOfOnePair(t *testing.T) {
	x := explaintest.Explainer(t, crowd(8))
	all, err := reach.Document(x, api.ReachRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, f := range all.Flows {
		if f.From == "i4" && f.To == "i0" {
			want++
		}
	}
	one, err := reach.Document(x, api.ReachRequest{From: "10.0.0.5", To: "i0"})
	if err != nil || one.From != "i4" || one.To != "i0" || len(one.Flows) != want || want == 0 {
		t.Errorf("from i4 to i0: %+v, %v, want %d flows", one, err, want)
	}
	for _, bad := range []string{"i9", "10.0.0.200", "internet"} {
		if _, err := reach.Document(x, api.ReachRequest{To: bad}); err == nil {
			t.Errorf("to %q: no error", bad)
		}
	}
}

func BenchmarkReach(b *testing.B) {
	x := explaintest.Explainer(b, crowd(100))
	for b.Loop() {
		if _, err := reach.Document(x, api.ReachRequest{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(x.Judged())/float64(b.N), "judged/op")
}
