package explain_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"vswitch/internal/cover"
	"vswitch/internal/explain"
	"vswitch/internal/explain/explaintest"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// ends returns two different instances with addresses of one family, and false if
// there are none.
func ends(r *rand.Rand, c *vswitch.Config, six bool) (from, to explain.Endpoint, ok bool) {
	end := func(in *vswitch.Instance) explain.Endpoint {
		e := explain.Endpoint{Instance: in.Name, Address: in.IP}
		if six {
			e.Address = in.IP6
		}
		return e
	}
	for range 20 {
		a, b := &c.Instances[r.IntN(len(c.Instances))], &c.Instances[r.IntN(len(c.Instances))]
		from, to = end(a), end(b)
		if a != b && from.Address.IsValid() && to.Address.IsValid() {
			return from, to, true
		}
	}
	return from, to, false
}

// Judge says what Explain says, and of each of the Parts one kind of packet stands
// for all.
func TestJudgeAndPartsEqualExplain(t *testing.T) {
	met := map[explain.Outcome]int{}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 5))
		c := explaintest.RandomVPC(r)
		x := explaintest.Explainer(t, c)
		for range 40 {
			six := c.VPC.CIDR6.IsValid() && r.IntN(2) == 0
			from, to, ok := ends(r, &c, six)
			if !ok {
				continue
			}
			var k cover.Kind
			k.Protocol, k.Port, k.Type, k.Code = explaintest.RandomKind(r, six)
			q := explain.QueryFor(k, from, to)
			if k.Protocol.HasPorts() && r.IntN(3) == 0 {
				q.SourcePort = uint16(1 + r.IntN(65535))
			}
			e, err := x.Explain(q)
			if err != nil {
				t.Fatalf("VPC %d: %+v: %v", seed, q, err)
			}
			got, err := x.Judge(q)
			if err != nil || got != e.Outcome() {
				t.Fatalf("VPC %d: %+v: Judge says %v, %v; Explain %v", seed, q, got, err, e.Outcome())
			}
			met[got]++

			q.SourcePort = 0
			if got, err = x.Judge(q); err != nil {
				t.Fatal(err)
			}
			point := cover.Of(service(k))
			for _, part := range x.Parts(cover.All(), six, from.Instance, to.Instance) {
				if !part.Contains(point) {
					continue
				}
				first, err := x.Judge(explain.QueryFor(part.First(), from, to))
				if err != nil || first != got {
					t.Fatalf("VPC %d: %+v: %v; but the first of its part %v: %v, %v", seed, q, got, part.Words(), first, err)
				}
			}
		}
	}
	for _, o := range []explain.Outcome{explain.Stopped, explain.Unanswered, explain.HalfAnswered, explain.Passed} {
		if met[o] < 10 {
			t.Errorf("outcome %d was met %d times: too few to compare", o, met[o])
		}
	}
}

// service returns the service of one kind of packet.
func service(k cover.Kind) policy.Service {
	return policy.Service{
		Protocol: k.Protocol, Ports: policy.Ports{From: k.Port, To: k.Port}, Type: int16(k.Type), Code: int16(k.Code),
	}
}

// Whoever nobody is sends nothing, and an instance reaches itself.
func TestJudgeOfOddEnds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	c := explaintest.RandomVPC(r)
	x := explaintest.Explainer(t, c)
	in := explain.Endpoint{Instance: c.Instances[0].Name}
	for _, q := range []explain.Query{
		{From: explain.Endpoint{Internet: true}, To: in, Protocol: policy.TCP, Port: 80},
		{From: in, To: explain.Endpoint{Internet: true}, Protocol: policy.TCP, Port: 80},
		{From: explain.Endpoint{Address: netip.MustParseAddr("10.0.1.200")}, To: in, Protocol: policy.TCP, Port: 80},
		{From: in, To: in, Protocol: policy.TCP, Port: 80},
		{From: in, To: explain.Endpoint{Address: netip.MustParseAddr("10.0.0.1")}, Protocol: policy.ICMP, Type: 8},
		{From: in, To: explain.Endpoint{Address: netip.MustParseAddr("224.0.0.1")}, Protocol: policy.UDP, Port: 5353},
	} {
		e, err := x.Explain(q)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := x.Judge(q); err != nil || got != e.Outcome() {
			t.Errorf("%+v: Judge says %v, %v; Explain %v", q, got, err, e.Outcome())
		}
	}
	if _, err := x.Judge(explain.Query{From: in, To: in, Protocol: policy.AllProtocols}); err == nil {
		t.Error("a query about no packet is answered")
	}
}

// What was judged before leaves nothing behind: no reply to it is let in.
func TestJudgeForgets(t *testing.T) {
	c := vswitch.Config{
		VPC:     vswitch.VPC{Name: "two", CIDR: netip.MustParsePrefix("10.0.0.0/16")},
		Subnets: []vswitch.Subnet{{Name: "s", CIDR: netip.MustParsePrefix("10.0.0.0/24")}},
		SecurityGroups: []vswitch.SecurityGroup{
			{Name: "client"},
			{Name: "server", Egress: []vswitch.SecurityGroupRule{}, Ingress: []vswitch.SecurityGroupRule{{Service: policy.AllTraffic, Peer: vswitch.Peer{Kind: vswitch.PeerSecurityGroup, Name: "client"}}}},
		},
		Instances: []vswitch.Instance{{Name: "c", Subnet: "s", SecurityGroups: []string{"client"}}, {Name: "s", Subnet: "s", SecurityGroups: []string{"server"}}},
	}
	x := explaintest.Explainer(t, c)
	client, server := explain.Endpoint{Instance: "c"}, explain.Endpoint{Instance: "s"}
	for range 2 {
		if got, err := x.Judge(explain.Query{From: client, To: server, Protocol: policy.UDP, Port: 53, SourcePort: 2000}); got != explain.Passed || err != nil {
			t.Errorf("the request: %v, %v", got, err)
		}
		if got, err := x.Judge(explain.Query{From: server, To: client, Protocol: policy.UDP, Port: 2000, SourcePort: 53}); got != explain.Stopped || err != nil {
			t.Errorf("a new flow that looks like its reply: %v, %v", got, err)
		}
	}
}

// The rules of who forwards count.
func TestPartsCountThoseWhoForward(t *testing.T) {
	open := []vswitch.SecurityGroupRule{{Service: policy.AllTraffic, Peer: vswitch.Peer{Kind: vswitch.PeerInternet}}}
	some := []vswitch.SecurityGroupRule{{Service: policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: 100, To: 200}}, Peer: vswitch.Peer{Kind: vswitch.PeerInternet}}}
	c := vswitch.Config{
		VPC:            vswitch.VPC{Name: "relay", CIDR: netip.MustParsePrefix("10.0.0.0/16")},
		Subnets:        []vswitch.Subnet{{Name: "near", CIDR: netip.MustParsePrefix("10.0.0.0/24"), RouteTable: "r"}, {Name: "far", CIDR: netip.MustParsePrefix("10.0.1.0/24")}, {Name: "mid", CIDR: netip.MustParsePrefix("10.0.2.0/24")}},
		SecurityGroups: []vswitch.SecurityGroup{{Name: "open", Ingress: open}, {Name: "some", Ingress: some}},
		RouteTables:    []vswitch.RouteTable{{Name: "r", Routes: []vswitch.Route{{Destination: netip.MustParsePrefix("10.0.1.0/24"), Target: vswitch.Target{Kind: vswitch.TargetInstance, Name: "relay"}}}}},
		Instances: []vswitch.Instance{
			{Name: "a", Subnet: "near", SecurityGroups: []string{"open"}}, {Name: "b", Subnet: "far", SecurityGroups: []string{"open"}},
			{Name: "relay", Subnet: "mid", SecurityGroups: []string{"some"}, DisableSourceDestCheck: true},
		},
	}
	x := explaintest.Explainer(t, c)
	passed := cover.Set(nil)
	all := cover.Of(policy.Service{Protocol: policy.TCP, Ports: policy.AllPorts})
	for _, part := range x.Parts(all, false, "a", "b") {
		o, err := x.Judge(explain.QueryFor(part.First(), explain.Endpoint{Instance: "a"}, explain.Endpoint{Instance: "b"}))
		if err != nil {
			t.Fatal(err)
		}
		if o != explain.Stopped {
			passed = passed.Union(part)
		}
	}
	if words := passed.Words(); len(words) != 1 || words[0] != "tcp 100-200" {
		t.Errorf("%v gets through the relay", words)
	}
}
