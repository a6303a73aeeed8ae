package expect_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"vswitch/internal/cover"
	"vswitch/internal/expect"
	"vswitch/internal/explain"
	"vswitch/internal/explain/explaintest"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// tiers is a VPC in which the cases below have their lines.
const tiers = `[vpc]
name = "tiers"
cidr = "10.0.0.0/16"
cidr6 = "2001:db8:a::/56"
[subnet.public]
cidr = "10.0.1.0/24"
cidr6 = "2001:db8:a:1::/64"
[subnet.private]
cidr = "10.0.2.0/24"
nacl = "private"
[security_group.web]
egress = [
  { id = "sgr-web-any", proto = "tcp", ports = "8000-8999", to = "10.0.0.0/16" },
  { id = "sgr-web-app", proto = "tcp", ports = 8080, to = "sg:app" },
  { id = "sgr-web-dns", proto = "udp", ports = 53, to = "sg:app" },
  { id = "sgr-web-ping", proto = "icmp", type = "echo-request", to = "sg:app" },
  { id = "sgr-web-six", proto = "tcp", ports = 443, to = "sg:web" },
]
ingress = [{ id = "sgr-web-four", proto = "tcp", ports = 443, from = "10.0.0.0/16" }]
[security_group.app]
ingress = [
  { id = "sgr-app-web", proto = "tcp", ports = "8080-8090", from = "sg:web" },
  { id = "sgr-app-dns", proto = "udp", ports = 53, from = "sg:web" },
  { id = "sgr-app-ping", proto = "icmp", type = "echo-request", from = "sg:web" },
]
egress = []
[nacl.private]
ingress = [
  { rule = 90, action = "deny", proto = "tcp", ports = 8085, from = "0.0.0.0/0" },
  { rule = 95, action = "deny", proto = "all", from = "10.0.1.66/32" },
  { rule = 100, action = "allow", proto = "all", from = "0.0.0.0/0" },
]
egress = [
  { rule = 90, action = "deny", proto = "udp", ports = "50000-65535", to = "0.0.0.0/0" },
  { rule = 100, action = "allow", proto = "all", to = "10.0.1.10/32" },
]
[instance.web1]
subnet = "public"
ip = "10.0.1.10"
ip6 = "2001:db8:a:1::10"
sg = ["web"]
[instance.web2]
subnet = "public"
ip = "10.0.1.66"
ip6 = "2001:db8:a:1::66"
sg = ["web"]
[instance.web3]
subnet = "public"
ip = "10.0.1.70"
sg = ["web"]
[instance.app1]
subnet = "private"
ip = "10.0.2.10"
sg = ["app"]
`

func evaluator(t testing.TB, c vswitch.Config) *expect.Evaluator {
	t.Helper()
	e, err := expect.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func TestEvaluate(t *testing.T) {
	for _, c := range []struct {
		from, to, port, want, by string
		passed                   bool
		got, reason              string
	}{
		// One port, and what decides.
		{`"web1"`, `"app1"`, "tcp/8080", "allow", "", true, "allow", "sgr-web-any, sgr-app-web"},
		{`"web1"`, `"app1"`, "tcp/8080", "deny", "", false, "allow", "sgr-web-any, sgr-app-web"},
		{`"web1"`, `"app1"`, "tcp/22", "deny", "", true, "deny", "sg web egress: no rule"},
		{`"web1"`, `"app1"`, "tcp/22", "allow", "", false, "deny", "sg web egress: no rule"},
		{`"app1"`, `"web1"`, "tcp/443", "deny", "", true, "deny", "sg app egress: no rule"},
		{`"web1"`, `"app1"`, "tcp/8085", "deny", "", true, "deny", "nacl private ingress 90"},
		{`"web2"`, `"app1"`, "tcp/8080", "deny", "", true, "deny", "nacl private ingress 95"},
		{`"web3"`, `"app1"`, "tcp/8080", "deny", "", true, "deny (reply)", "nacl private egress *"},
		{`"web3"`, `"app1"`, "tcp/8080", "allow", "", false, "deny (reply)", "nacl private egress *"},

		// The reply comes back to some ports of the client: neither of the two.
		{`"web1"`, `"app1"`, "udp/53", "allow", "", false, "partial", "nacl private egress 90"},
		{`"web1"`, `"app1"`, "udp/53", "deny", "", false, "partial", "nacl private egress 90"},

		// A range: each port of it.
		{`"web1"`, `"app1"`, "tcp/8080-8084", "allow", "", true, "allow", "sgr-web-any, sgr-app-web"},
		{`"web1"`, `"app1"`, "tcp/8080-8090", "allow", "", false, "deny", "web1 -> app1 tcp 8085: nacl private ingress 90"},
		{`"web1"`, `"app1"`, "tcp/1-8079", "deny", "", true, "deny", "sg web egress: no rule"},
		{`"web1"`, `"app1"`, "tcp/1-65535", "deny", "", false, "allow", "web1 -> app1 tcp 8080: sgr-web-any, sgr-app-web"},
		{`"web1"`, `"app1"`, "icmp/echo-request", "allow", "", true, "allow", "sgr-web-ping, sgr-app-ping"},
		{`"web1"`, `"app1"`, "icmp", "allow", "", false, "deny", "web1 -> app1 icmp echo-reply: sg web egress: no rule"},
		{`"web1"`, `"app1"`, "all", "deny", "", false, "allow", "web1 -> app1 icmp echo-request: sgr-web-ping, sgr-app-ping"},
		{`"web1"`, `"app1"`, "47", "deny", "", true, "deny", "sg web egress: no rule"},

		// By: the rule matches, though another may stand before it.
		{`"web1"`, `"app1"`, "tcp/8080", "allow", "sgr-web-any", true, "allow", "sgr-web-any"},
		{`"web1"`, `"app1"`, "tcp/8080", "allow", "sgr-web-app", true, "allow", "sgr-web-app"},
		{`"web1"`, `"app1"`, "tcp/8080", "allow", "sgr-app-dns", false, "another rule", "sgr-web-any, sgr-app-web"},
		{`"web1"`, `"app1"`, "tcp/8080-8081", "allow", "sgr-web-app", false, "another rule", "web1 -> app1 tcp 8081: sgr-web-any, sgr-app-web"},
		{`"web1"`, `"app1"`, "tcp/8085", "deny", "sgr-web-any", true, "deny", "nacl private ingress 90"},
		{`"web1"`, `"app1"`, "tcp/22", "deny", "sgr-web-any", false, "another rule", "sg web egress: no rule"},

		// Lists and blocks: all pairs, without those of an instance and itself.
		{`["web1", "web2"]`, `"app1"`, "tcp/8080", "allow", "", false, "deny", "web2 -> app1 tcp 8080: nacl private ingress 95"},
		{`"10.0.1.0/24"`, `"app1"`, "tcp/8080", "allow", "", false, "deny", "web2 -> app1 tcp 8080: nacl private ingress 95"},
		{`"10.0.1.10/31"`, `"app1"`, "tcp/8080", "allow", "", true, "allow", "sgr-web-any, sgr-app-web"},
		{`"10.0.0.0/8"`, `"10.0.0.0/8"`, "tcp/22", "deny", "", true, "deny", "sg web egress: no rule"},
		{`"10.0.9.0/24"`, `"app1"`, "tcp/8080", "deny", "", true, "deny", "no instance has 10.0.9.0, and only instances send"},
		{`"10.0.9.0/24"`, `"app1"`, "tcp/8080", "allow", "", false, "deny", "no instance has 10.0.9.0, and only instances send"},
		{`"web1"`, `"10.0.9.0/24"`, "tcp/8080", "deny", "", true, "deny", "route main: no network interface has 10.0.9.0"},
		{`"web1"`, `"web1"`, "tcp/22", "allow", "", true, "allow", "an instance reaches its own addresses inside itself: the VPC never sees the packet"},

		// The internet: there is no gateway.
		{`"internet"`, `"web1"`, "tcp/443", "deny", "", true, "deny", "nothing comes in from internet: this VPC has no gateway"},
		{`"app1"`, `"internet"`, "tcp/443", "deny", "", true, "deny", "sg app egress: no rule"},

		// Names stand for both families that both ends have.
		{`"web1"`, `"web2"`, "tcp/443", "allow", "", false, "deny", "web1 -> web2 tcp 443 over IPv6: sg web ingress: no rule"},
		{`"10.0.1.10"`, `"web2"`, "tcp/443", "allow", "", true, "allow", "sgr-web-six, sgr-web-four"},
		{`"web1"`, `"web3"`, "tcp/443", "allow", "", true, "allow", "sgr-web-six, sgr-web-four"},
		{`"2001:db8:a:1::10"`, `"web3"`, "tcp/443", "deny", "", true, "deny", "no packet of tcp 443 can go between addresses of these ends"},
		{`"web1"`, `"app1"`, "icmpv6", "allow", "", false, "deny", "no packet of icmpv6 can go between addresses of these ends"},
	} {
		text := fmt.Sprintf("[[test]]\nname = \"it\"\nfrom = %s\nto = %s\nport = %q\nwant = %q\n", c.from, c.to, c.port, c.want)
		if c.by != "" {
			text += fmt.Sprintf("by = %q\n", c.by)
		}
		cfg := explaintest.Parse(t, tiers+text)
		r, err := evaluator(t, cfg).Evaluate(&cfg.Tests[0])
		if err != nil {
			t.Fatal(err)
		}
		if r.Passed != c.passed || r.Got != c.got || r.Reason != c.reason {
			t.Errorf("%s got passed %v, %q, %q\nwant passed %v, %q, %q", text, r.Passed, r.Got, r.Reason, c.passed, c.got, c.reason)
		}
	}
}

// The line of the rule that decided is known, and none where no rule did.
func TestOriginOfResult(t *testing.T) {
	const test = "[[test]]\nname = \"it\"\nfrom = %q\nto = \"app1\"\nport = %q\nwant = \"deny\"\n"
	for _, c := range []struct{ from, port, line string }{
		{"web1", "tcp/8085", `{ rule = 90, action = "deny", proto = "tcp"`},
		{"web1", "tcp/8080", `id = "sgr-app-web"`},
		{"web1", "tcp/22", ""},
		{"web3", "tcp/8080", ""},
	} {
		text := tiers + fmt.Sprintf(test, c.from, c.port)
		cfg := explaintest.Parse(t, text)
		r, err := evaluator(t, cfg).Evaluate(&cfg.Tests[0])
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for i, line := range strings.Split(text, "\n") {
			if c.line != "" && strings.Contains(line, c.line) {
				want = i + 1
			}
		}
		if r.Origin.Line != want {
			t.Errorf("%s %s: got line %d, want %d", c.from, c.port, r.Origin.Line, want)
		}
	}
}

// A range is judged once for each part that rules tell apart, and the verdict is
// that of every port.
func TestRangesAreExactAndCheap(t *testing.T) {
	outcomes := map[string]int{}
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 8))
		c := explaintest.RandomVPC(r)
		x := explaintest.Explainer(t, c)
		e := evaluator(t, c)
		a, b := &c.Instances[0], &c.Instances[1]
		from := uint16(r.UintN(9000))
		test := vswitch.Test{From: []string{a.IP.String()}, To: []string{b.IP.String()}, Want: policy.Allow}
		test.Service = policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: from, To: from + uint16(r.UintN(500))}}
		allowed, answered := true, false
		for port := int(test.Service.Ports.From); port <= int(test.Service.Ports.To); port++ {
			k := cover.Kind{Protocol: policy.TCP, Port: uint16(port)}
			o, err := x.Judge(explain.QueryFor(k, explain.Endpoint{Instance: a.Name, Address: a.IP}, explain.Endpoint{Instance: b.Name, Address: b.IP}))
			if err != nil {
				t.Fatal(err)
			}
			allowed = allowed && o == explain.Passed
			answered = answered || o == explain.Passed || o == explain.HalfAnswered
		}
		for want, holds := range map[policy.Verdict]bool{policy.Allow: allowed, policy.Deny: !answered} {
			test.Want = want
			before := e.Judged()
			got, err := e.Evaluate(&test)
			if err != nil {
				t.Fatal(err)
			}
			if got.Passed != holds {
				t.Fatalf("VPC %d: %v %v of %v: got %v, and port by port %v", seed, test.Service, want, test.From, got.Passed, holds)
			}
			if n := e.Judged() - before; n > 60 {
				t.Errorf("VPC %d: %v: %d judgements for %d ports", seed, test.Service, n, test.Service.Ports.To-test.Service.Ports.From+1)
			}
			outcomes[fmt.Sprint(want, holds)]++
		}
	}
	if len(outcomes) != 4 {
		t.Errorf("not every outcome was met: %v", outcomes)
	}
}

// many returns a configuration of n tests, of all kinds.
func many(t testing.TB, n int) vswitch.Config {
	var b strings.Builder
	b.WriteString(tiers)
	for i := range n {
		from, port, want := `"web1"`, fmt.Sprintf("tcp/%d", 8080+i%5), "allow"
		switch i % 4 {
		case 1:
			port, want = fmt.Sprintf("tcp/%d", 1+i), "deny"
		case 2:
			from, port, want = `["web1", "10.0.1.0/24"]`, "tcp/1-7999", "deny"
		}
		fmt.Fprintf(&b, "[[test]]\nname = \"t%d\"\nfrom = %s\nto = \"app1\"\nport = %q\nwant = %q\n", i, from, port, want)
	}
	return explaintest.Parse(t, b.String())
}

// A thousand tests take few judgements: one for each port or part of a range, and
// pair of ends.
func TestThousandTestsAreCheap(t *testing.T) {
	c := many(t, 1000)
	e := evaluator(t, c)
	for i := range c.Tests {
		r, err := e.Evaluate(&c.Tests[i])
		if err != nil || !r.Passed {
			t.Fatalf("%s: %+v, %v", c.Tests[i].Name, r, err)
		}
	}
	// 750 of one port, and 250 from three instances over the parts of 1 to 7999,
	// which edges at 53, 443 and 8000 and the port 0 make.
	if got := e.Judged(); got < 1500 || got > 750+250*3*6 {
		t.Errorf("%d judgements, want 1,500 to 5,250", got)
	}
}

func BenchmarkThousandTests(b *testing.B) {
	c := many(b, 1000)
	for b.Loop() {
		e, err := expect.New(c)
		if err != nil {
			b.Fatal(err)
		}
		for i := range c.Tests {
			if r, err := e.Evaluate(&c.Tests[i]); err != nil || !r.Passed {
				b.Fatalf("%+v, %v", r, err)
			}
		}
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func TestSamples(t *testing.T) {
	for _, c := range []struct {
		from, to, port string
		limit          int
		want           string
		left           string
	}{
		{`"web1"`, `"app1"`, "tcp/8080", 8, "web1>app1 tcp 8080", "map[]"},
		{`"web1"`, `"app1"`, "tcp/8079-8091", 8, "8079 8080 8081 8085 8086 8091", "map[]"},
		{`"web1"`, `"app1"`, "tcp/8079-8091", 3, "8079 8081 8091", "map[within ranges that others stand for:3]"},
		{`"web1"`, `"app1"`, "tcp", 2, "1 65535", ""},
		{`"web1"`, `"app1"`, "icmp", 8, "web1>app1 icmp 0", ""},
		{`"web1"`, `"app1"`, "47", 8, "", "map[of a protocol or ICMP type that is not sent:1]"},
		{`"internet"`, `"app1"`, "tcp/80", 8, "", "map[that nobody in the VPC sends:1]"},
		{`"web1"`, `"web1"`, "tcp/80", 8, "", "map[from an instance to itself:2]"},
	} {
		cfg := explaintest.Parse(t, tiers+fmt.Sprintf("[[test]]\nname = \"it\"\nfrom = %s\nto = %s\nport = %q\nwant = \"deny\"\n", c.from, c.to, c.port))
		e := evaluator(t, cfg)
		r, err := e.Evaluate(&cfg.Tests[0])
		if err != nil {
			t.Fatal(err)
		}
		left := expect.Left{}
		samples, err := e.Samples(&r, c.limit, left)
		if err != nil {
			t.Fatal(err)
		}
		var words []string
		for i := range samples {
			s := &samples[i]
			if strings.Contains(c.want, ">") {
				words = append(words, fmt.Sprintf("%s>%s %s %d", s.From.Name(), s.To.Name(), s.Protocol, s.Port))
			} else {
				words = append(words, fmt.Sprint(s.Port))
			}
		}
		if got := strings.Join(words, " "); got != c.want {
			t.Errorf("%s %s: got %q, want %q", c.from, c.port, got, c.want)
		}
		if got := fmt.Sprint(map[string]int(left)); c.left != "" && got != c.left {
			t.Errorf("%s %s: left %s, want %s", c.from, c.port, got, c.left)
		}
	}
}

// Whether an answer comes back may depend on the client's port.
func TestAnsweredFromAPort(t *testing.T) {
	cfg := explaintest.Parse(t, tiers+"[[test]]\nname = \"it\"\nfrom = \"web1\"\nto = \"app1\"\nport = \"udp/53\"\nwant = \"allow\"\n")
	e := evaluator(t, cfg)
	r, err := e.Evaluate(&cfg.Tests[0])
	if err != nil {
		t.Fatal(err)
	}
	samples, err := e.Samples(&r, 8, expect.Left{})
	if err != nil || len(samples) != 1 {
		t.Fatalf("%v, %v", samples, err)
	}
	for port, want := range map[uint16]bool{1024: true, 49999: true, 50000: false} {
		if got, err := e.Answered(&samples[0], port); err != nil || got != want {
			t.Errorf("from port %d: got %v, %v, want %v", port, got, err, want)
		}
	}
	if s := samples[0]; s.Target().String() != "10.0.2.10:53" {
		t.Errorf("target %s", s.Target())
	}
}
