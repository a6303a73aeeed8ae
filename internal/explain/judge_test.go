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
		x, err := explain.New(c)
		if err != nil {
			t.Fatalf("VPC %d: %v", seed, err)
		}
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
		if err := x.Close(); err != nil {
			t.Fatal(err)
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
	x, err := explain.New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
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
