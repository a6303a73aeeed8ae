package explain_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"vswitch/internal/api"
	"vswitch/internal/explain"
	"vswitch/internal/explain/explaintest"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// two is a VPC in which everything passes but for what a case says.
const two = `[vpc]
name = "two"
cidr = "10.0.0.0/16"
cidr6 = "fd00:10::/56"

[subnet.A]
cidr = "10.0.1.0/24"
cidr6 = "fd00:10:0:1::/64"
nacl = "a"

[subnet.B]
cidr = "10.0.2.0/24"
cidr6 = "fd00:10:0:2::/64"

[nacl.a]
egress = [{ rule = 100, action = "allow", proto = "all", to = "0.0.0.0/0" }, { rule = 101, action = "allow", proto = "all", to = "::/0" }]
ingress = [
  { rule = 50, action = "deny", proto = "tcp", ports = "2000-3000", from = "10.0.2.20/32" },
  { rule = 60, action = "deny", proto = "udp", ports = "0-65535", from = "10.0.2.20/32" },
  { rule = 100, action = "allow", proto = "all", from = "0.0.0.0/0" },
  { rule = 101, action = "allow", proto = "all", from = "::/0" },
]

[security_group.any]
ingress = [{ id = "sgr-any4", proto = "all", from = "0.0.0.0/0" }, { proto = "icmpv6", from = "::/0" }]

[security_group.narrow]
ingress = [{ id = "sgr-narrow", proto = "all", from = "10.0.0.0/16" }, { proto = "icmpv6", from = "fd00:10::/56" }]

[instance.a1]
subnet = "A"
ip = "10.0.1.10"
ip6 = "fd00:10:0:1::10"
extra_ips = ["10.0.1.99"]
sg = ["narrow"]

[instance.a2]
subnet = "A"
ip = "10.0.1.11"
sg = ["any"]

[instance.b1]
subnet = "B"
ip = "10.0.2.20"
ip6 = "fd00:10:0:2::20"
sg = ["narrow"]

[instance.b2]
subnet = "B"
ip = "10.0.2.21"
sg = ["any"]
`

// What is asked for, and what comes back in short: the verdict, the summary, and
// where the flow is not tracked.
func TestExplain(t *testing.T) {
	x := explainer(t, two)
	face := stageInterface(t, "b1")
	for _, c := range []struct{ query, want string }{
		{"a1 b2 tcp/22", "allow; untracked at b2"},
		{"a1 a2 tcp/22", "allow; untracked at a2"},
		{"a2 b2 tcp/22", "allow; untracked at a2, b2"},
		{"a2 b2 icmp", "allow"},                                               // SEM 2.2 row c: ICMP always is
		{"a2 b2 47", "allow"},                                                 // row k
		{"a2:10.0.1.11 b2:10.0.2.21 udp/53 70", "allow; untracked at a2, b2"}, // rows i
		{"a1 b1 tcp/22", "partial: the SYN arrives, the SYN-ACK does not enter the subnet: clients see a timeout from source ports 2000-3000"},
		{"a1 b1 tcp/22 2500", "deny: the SYN arrives, the SYN-ACK does not enter the subnet: clients see a timeout"},
		{"a1 b1 tcp/22 3001", "allow"},
		{"a1 b1 udp/53", "deny: the datagram arrives, its answer does not enter the subnet: clients get no answer, and no error"},
		{"b1 a1 udp/53", "deny: the datagram does not enter the subnet: clients get no answer, and no error"},
		{"b1 a1 tcp/2500", "deny: the SYN does not enter the subnet: clients see a timeout"},
		{"a1 10.0.2.20 icmp", "allow"},
		{face.ID + " " + face.InstanceID + " icmp", "allow"},
		{"a1 b1 icmpv6", "allow"},
		{"a1:fd00:10:0:1::10 fd00:10:0:2::20 icmpv6/128", "allow"},
		{"a1 fd00:10:0:2::20 tcp/22", "deny: the SYN does not get into b1: clients see a timeout"},
		{"b1 a1:10.0.1.99 icmp", "allow"},
		{"b1 10.0.1.99 icmp", "allow"},
		{"a1 a1 tcp/22", "allow"},
		{"a1 10.0.1.99 tcp/22", "allow"},
		{"a1 10.0.1.1 icmp", "allow"},
		{"a1 10.0.2.1 icmp", "deny: the echo request is answered by nobody: ping sees no answer"},
		{"a1 10.0.1.1 tcp/22", "deny: the SYN is answered by nobody: clients see a timeout"},
		{"a1 10.0.0.2 udp/53", "deny: the datagram is answered by nobody: clients get no answer, and no error"},
		{"a1 10.0.1.50 tcp/22", "deny: nobody answers the ARP request for 10.0.1.50: clients see \"no route to host\""},
		{"a1 fd00:10:0:1::50 tcp/22", "deny: nobody answers the neighbor solicitation for fd00:10:0:1::50: clients see \"no route to host\""},
		{"a1 10.0.2.50 tcp/22", "deny: the SYN has nowhere to go: clients see a timeout"},
		{"a1 internet tcp/443", "deny: the SYN has nowhere to go: clients see a timeout"},
		{"a1 internet icmpv6", "deny: the echo request has nowhere to go: ping sees no answer"},
		{"internet b1 tcp/443", "deny: nobody sends it"},
		{"a1 b1 icmp/3:4", "allow"},
		{"a1 255.255.255.255 udp/67 68", "deny: the datagram is dropped: clients get no answer, and no error"},
		{"a1 10.0.1.255 udp/9", "deny: the datagram is dropped: clients get no answer, and no error"},
		{"a1 ff02::5 udp/9", "deny: the datagram is dropped: clients get no answer, and no error"},
	} {
		if got := short(ask(t, x, c.query)); got != c.want {
			t.Errorf("%s: %s; want %s", c.query, got, c.want)
		}
	}
}

// stageInterface returns an interface of two.
func stageInterface(t *testing.T, name string) vswitch.Interface {
	t.Helper()
	c, err := vswitch.Complete(explaintest.Parse(t, two), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Interface(name)
}

// short returns an explanation in short.
func short(e *explain.Explanation) string {
	s := e.Verdict.String()
	if e.Partial {
		s = "partial"
	}
	if e.Summary != "" {
		s += ": " + e.Summary
	}
	var untracked []string
	for _, tr := range e.Tracking {
		if !tr.Tracked {
			untracked = append(untracked, tr.Instance)
		}
	}
	if untracked != nil {
		s += "; untracked at " + strings.Join(untracked, ", ")
	}
	return s
}

// Ports that fare differently have legs of their own, which together are all the
// ports that clients use, in order and without overlap.
func TestRepliesCoverAllPorts(t *testing.T) {
	e := ask(t, explainer(t, two), "a1 b1 tcp/22")
	var got []string
	for _, l := range e.Replies {
		s := l.Steps[len(l.Steps)-1]
		got = append(got, fmt.Sprintf("%s %s %s", l.Ports, l.Verdict, s.Words))
	}
	want := []string{"1024-1999 allow tracked, allowed without a rule", "2000-3000 deny tcp 2000-3000 <- 10.0.2.20/32", "3001-65535 allow tracked, allowed without a rule"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if e.Request.Ports != (policy.Ports{From: 1024, To: 65535}) || len(e.Notes) != 0 {
		t.Errorf("request %s, notes %q", e.Request.Ports, e.Notes)
	}
	if e := ask(t, explainer(t, two), "a1 b1 icmp/3:4"); len(e.Replies) != 0 || len(e.Notes) != 1 {
		t.Errorf("an ICMP error has %d replies, notes %q", len(e.Replies), e.Notes)
	}
}

// The groups of an instance that only the reply passes judge its port, and refuse
// in strict mode what no SYN has opened there.
func TestReplyTakesAnotherWay(t *testing.T) {
	tables := map[string]string{
		"subnet.B": `route = "b"`, "route.b": `"10.0.1.0/24" = "m1"`, "instance.m1": `source_dest_check = false`,
		"security_group.g-b1": `ingress = [{ proto = "tcp", ports = 80, from = "10.0.1.0/24" }]`,
		"security_group.g-m1": `ingress = [{ proto = "tcp", ports = "2000-3000", from = "10.0.2.0/24" }]`,
	}
	got := replies(ask(t, explainer(t, fixture(maps.Clone(tables))), "a1 b1 tcp/80"))
	if want := "1024-1999 SG_INGRESS, 2000-3000 NONE, 3001-65535 SG_INGRESS"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	tables["conntrack"] = `tcp = "strict"`
	got = replies(ask(t, explainer(t, fixture(tables)), "a1 b1 tcp/80"))
	if want := "1024-1999 SG_INGRESS, 2000-3000 CONNTRACK_STRICT, 3001-65535 SG_INGRESS"; got != want {
		t.Errorf("strict: %s, want %s", got, want)
	}
}

// A datagram from a port that anybody may reach may be a reply itself, and is not
// remembered; one from another port is (SEM 2.2).
func TestDatagramMayBeAReply(t *testing.T) {
	x := explainer(t, fixture(map[string]string{
		"security_group.g-a1": `ingress = [{ proto = "udp", ports = "5000-6000", from = "0.0.0.0/0" }]`,
		"security_group.g-b1": `ingress = [{ proto = "udp", ports = 53, from = "10.0.1.0/24" }]`,
	}))
	e := ask(t, x, "a1 b1 udp/53")
	var rules []string
	for _, l := range e.Replies {
		rules = append(rules, l.Ports.String()+" "+l.Steps[len(l.Steps)-1].Words)
	}
	want := []string{"1024-4999 tracked, allowed without a rule", "5000-6000 udp 5000-6000 <- 0.0.0.0/0", "6001-65535 tracked, allowed without a rule"}
	if e.Verdict != policy.Allow || !slices.Equal(rules, want) {
		t.Errorf("%v %q, want %q", e.Verdict, rules, want)
	}
}

// replies returns how the replies fare, in short.
func replies(e *explain.Explanation) string {
	var all []string
	for _, l := range e.Replies {
		all = append(all, l.Ports.String()+" "+l.Reason.String())
	}
	return strings.Join(all, ", ")
}

// A destination range is cut where rules between the two ends begin and end.
func TestRanges(t *testing.T) {
	x := explainer(t, two)
	a, b := explain.Endpoint{Instance: "a1"}, explain.Endpoint{Instance: "b1"}
	got := fmt.Sprint(x.Ranges(policy.TCP, policy.Ports{From: 1, To: 2500}, a, b), x.Ranges(policy.UDP, policy.AllPorts, a, b))
	if want := "[1-1999 2000-2500] [0-65535]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// What cannot be asked says what is wrong and what may have been meant.
func TestMistakes(t *testing.T) {
	x := explainer(t, two)
	for _, c := range []struct{ from, to, service, want string }{
		{"a3", "b1", "tcp/22", `no instance "a3" in VPC two (did you mean "a1"?)`},
		{"a1", "intrenet", "tcp/22", `no instance "intrenet" in VPC two (did you mean "internet"?)`},
		{"a1", "b9x:10.0.2.20", "tcp/22", `no instance "b9x" in VPC two`},
		{"a1", "b1:10.0.1.10", "tcp/22", "instance b1: it has no address 10.0.1.10, but 10.0.2.20, fd00:10:0:2::20"},
		{"a1", "b1:22", "tcp", "b1:22: want INSTANCE:ADDRESS; a port belongs behind the protocol, as in tcp/443"},
		{"a1", "fe80::1", "icmpv6", "fe80::1: a link-local address means another interface on each link; name the instance"},
		{"a1", "b1", "tcp", "tcp needs a port, as in tcp/443"},
		{"a1", "b1", "tcp/0", "tcp/0: want one port from 1 to 65535"},
		{"a1", "b1", "tcp/1-5", "tcp/1-5: want one port from 1 to 65535"},
		{"a1", "b1", "tpc/22", `no protocol "tpc" (did you mean "tcp"?): want tcp/PORT, udp/PORT, icmp, icmp/TYPE:CODE, icmpv6, or a number from 1 to 255`},
		{"a1", "b1", "all", `"all" is no packet: ask for one, such as tcp/443, udp/53 or icmp`},
		{"a1", "b1", "0", `no protocol "0": want tcp/PORT, udp/PORT, icmp, icmp/TYPE:CODE, icmpv6, or a number from 1 to 255`},
		{"a1", "b1", "47/1", `"47/1": nothing follows the number of a protocol without ports`},
		{"a1", "b1", "icmp/echo-requst", `no icmp type "echo-requst" (did you mean "echo-request"?): want a name or 0 to 255`},
		{"a1", "b1", "icmp/3:256", "icmp/3:256: want a code from 0 to 255"},
		{"a1", "b1", "icmpv6/neighbor-solicitation", "icmpv6 neighbor-solicitation is neighbor discovery, which the VPC itself answers and no rule ever filters"},
		{"a1", "fd00:10:0:2::20", "icmp", "icmp is IPv4: over IPv6 say icmpv6"},
		{"a1", "10.0.2.20", "icmpv6", "icmpv6 is IPv6: over IPv4 say icmp"},
		{"a1:10.0.1.10", "fd00:10:0:2::20", "tcp/22", "10.0.1.10 and fd00:10:0:2::20 are of different address families"},
		{"a2", "b1", "icmpv6", "instance a2: it has no IPv6 address"},
	} {
		_, err := x.Document(api.ExplainRequest{From: c.from, To: c.to, Service: c.service})
		if err == nil || err.Error() != c.want {
			t.Errorf("%s %s %s: %v, want %s", c.from, c.to, c.service, err, c.want)
		}
	}
	if _, err := x.Document(api.ExplainRequest{From: "a1", To: "b1", Service: "icmp", SourcePort: 7}); err == nil || !strings.Contains(err.Error(), "has no ports") {
		t.Errorf("a source port of icmp: %v", err)
	}
}

// Routes that lead in a circle end, and say so.
func TestCircle(t *testing.T) {
	text := fixture(map[string]string{
		"subnet.A": `route = "a"`, "subnet.M": `route = "m"`, "subnet.P": `route = "p"`,
		"route.a": `"10.0.2.0/24" = "m1"`, "route.m": `"10.0.2.0/24" = "p1"`, "route.p": `"10.0.2.0/24" = "m1"`,
		"instance.m1": `source_dest_check = false`, "security_group.g-m1": `ingress = [{ proto = "all", from = "0.0.0.0/0" }]`,
		"instance.p1": `source_dest_check = false`, "security_group.g-p1": `ingress = [{ proto = "all", from = "0.0.0.0/0" }]`,
	})
	e := ask(t, explainer(t, text), "a1 b1 tcp/22")
	if l := e.Denied(); l == nil || l.Reason != policy.IPTTL || len(e.Notes) != 2 {
		t.Errorf("%+v", e)
	}
}

// The line above an explanation says what was asked.
func TestWordsOfAFlow(t *testing.T) {
	x := explainer(t, two)
	for service, want := range map[string]string{
		"tcp/22": "a2 10.0.1.11:* -> b2 10.0.2.21:22/tcp", "icmp": "a2 10.0.1.11 -> b2 10.0.2.21 icmp echo-request", "47": "a2 10.0.1.11 -> b2 10.0.2.21 protocol 47",
	} {
		if e, err := x.Document(api.ExplainRequest{From: "a2", To: "b2", Service: service}); err != nil || e.Words != want {
			t.Errorf("%s: %q, %v, want %q", service, e.Words, err, want)
		}
	}
}

// BenchmarkExplain is an exchange between two subnets, all gates passed both ways:
// `vswitch test` asks 1,000 of them.
func BenchmarkExplain(b *testing.B) {
	c, err := vswitch.Complete(explaintest.Parse(b, two), nil)
	if err != nil {
		b.Fatal(err)
	}
	x := explaintest.Explainer(b, c)
	q := explain.Query{From: explain.Endpoint{Instance: "a2"}, To: explain.Endpoint{Instance: "b2"}}
	if err := q.Service("tcp/22"); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if e, err := x.Explain(q); err != nil || e.Verdict != policy.Allow {
			b.Fatalf("%+v, %v", e, err)
		}
	}
}
