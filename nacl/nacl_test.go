package nacl_test

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"vswitch/internal/classify/classifytest"
	"vswitch/internal/policy"
	"vswitch/nacl"
)

// implicit stands for the rule `*`, which no entry is.
const implicit = 0

// entry reads "100 allow tcp 22 10.0.1.0/24".
func entry(t testing.TB, text string) nacl.Entry {
	t.Helper()
	words := strings.SplitN(text, " ", 3)
	number, err := strconv.Atoi(words[0])
	if err != nil || len(words) != 3 {
		t.Fatalf("entry %q: want number, action, service and block", text)
	}
	service, prefix := classifytest.CutLast(t, words[2])
	e := nacl.Entry{Number: number, Service: classifytest.Service(t, service), Prefix: netip.MustParsePrefix(prefix)}
	switch words[1] {
	case policy.Allow.String():
		e.Action = policy.Allow
	case policy.Deny.String():
		e.Action = policy.Deny
	default:
		t.Fatalf("entry %q: want allow or deny", text)
	}
	return e
}

// table reads entries that begin with "in" or "out".
func table(t testing.TB, texts ...string) *nacl.Table {
	t.Helper()
	var ingress, egress []nacl.Entry
	for _, text := range texts {
		if in, ok := strings.CutPrefix(text, "in "); ok {
			ingress = append(ingress, entry(t, in))
		} else if out, ok := strings.CutPrefix(text, "out "); ok {
			egress = append(egress, entry(t, out))
		} else {
			t.Fatalf("entry %q: want in or out", text)
		}
	}
	return nacl.Compile(ingress, egress)
}

// judge reads "in 10.0.1.10 tcp 22" and returns the verdict and the number of
// the entry that decided.
func judge(t testing.TB, table *nacl.Table, text string) (policy.Verdict, int) {
	t.Helper()
	direction, packet, _ := strings.Cut(text, " ")
	d := policy.Ingress
	if direction == "out" {
		d = policy.Egress
	}
	p := classifytest.Packet(t, packet)
	got := table.Judge(d, &p)
	if got.Entry == nil {
		return got.Verdict, implicit
	}
	if got.Verdict != got.Entry.Action {
		t.Errorf("%s: verdict %s by an entry that says %s", text, got.Verdict, got.Entry.Action)
	}
	return got.Verdict, got.Entry.Number
}

// The scenarios of SEM 9.3 that one evaluation of the entries can show, and
// the matching rules of SEM 3.3.
func TestScenarios(t *testing.T) {
	type outcome struct {
		verdict policy.Verdict
		number  int
	}
	denied := outcome{policy.Deny, implicit}
	allowed := func(number int) outcome { return outcome{policy.Allow, number} }
	refused := func(number int) outcome { return outcome{policy.Deny, number} }

	for _, test := range []struct {
		name    string
		entries []string
		want    map[string]outcome
	}{
		{"NA-01 a custom ACL without rules denies everything", nil, map[string]outcome{
			"in 10.0.1.10 tcp 22":  denied,
			"out 10.0.1.10 tcp 22": denied,
		}},
		{"NA-02 the lower number decides", []string{"in 100 deny tcp 22 10.0.1.0/24", "in 110 allow all 0.0.0.0/0"}, map[string]outcome{
			"in 10.0.1.10 tcp 22": refused(100),
			"in 10.0.1.10 tcp 23": allowed(110),
		}},
		{"NA-02 in whatever order they are written", []string{"in 110 allow all 0.0.0.0/0", "in 100 deny tcp 22 10.0.1.0/24"}, map[string]outcome{
			"in 10.0.1.10 tcp 22": refused(100),
		}},
		{"NA-03 an exception before a rule", []string{"in 90 allow tcp 22 10.0.1.0/24", "in 100 deny tcp 22 0.0.0.0/0", "in 110 allow all 0.0.0.0/0"}, map[string]outcome{
			"in 10.0.1.10 tcp 22":  allowed(90),
			"in 10.0.3.10 tcp 22":  refused(100),
			"in 10.0.3.10 tcp 443": allowed(110),
		}},
		{"NA-04 the reply needs a rule of its own", []string{"in 100 allow tcp 22 0.0.0.0/0"}, map[string]outcome{
			"in 10.0.1.10 tcp 22":     allowed(100),
			"out 10.0.1.10 tcp 40000": denied,
		}},
		{"NA-05, NA-06 ephemeral ports", []string{"in 100 allow tcp 22 0.0.0.0/0", "out 100 allow tcp 1024-65535 0.0.0.0/0"}, map[string]outcome{
			"out 10.0.1.10 tcp 40000": allowed(100),
			"out 10.0.1.10 tcp 1024":  allowed(100),
			"out 10.0.1.10 tcp 900":   denied,
		}},
		{"NA-07 ephemeral ports of Linux only", []string{"out 100 allow all 0.0.0.0/0", "in 100 allow tcp 32768-60999 0.0.0.0/0"}, map[string]outcome{
			"in 10.0.2.20 tcp 50000": allowed(100),
			"in 10.0.2.20 tcp 61500": denied,
		}},
		{"NA-10 ping", []string{"in 100 allow icmp 8/-1 0.0.0.0/0", "out 100 allow icmp 0/-1 0.0.0.0/0"}, map[string]outcome{
			"in 10.0.1.10 icmp 8/0":  allowed(100),
			"out 10.0.1.10 icmp 0/0": allowed(100),
			"out 10.0.1.10 icmp 8/0": denied,
		}},
		{"NA-14 an IPv4 entry does not cover IPv6", []string{"in 100 allow all 0.0.0.0/0"}, map[string]outcome{
			"in 2001:db8:a:1::10 tcp 22": denied,
		}},
		{"NA-14 nor the other way", []string{"in 101 allow all ::/0"}, map[string]outcome{
			"in 10.0.1.10 tcp 22":        denied,
			"in 2001:db8:a:1::10 tcp 22": allowed(101),
		}},
		{"NA-16 one type and code", []string{"in 100 allow icmp 3/4 0.0.0.0/0"}, map[string]outcome{
			"in 203.0.113.12 icmp 3/4": allowed(100),
			"in 203.0.113.12 icmp 3/3": denied,
		}},
		{"NA-17 host bits are ignored", []string{"in 100 allow all 100.68.0.18/18"}, map[string]outcome{
			"in 100.68.63.255 tcp 1": allowed(100),
			"in 100.68.64.0 tcp 1":   denied,
		}},
		{"NA-18 the directions are numbered apart", []string{"in 100 allow tcp 22 0.0.0.0/0", "out 100 deny all 0.0.0.0/0"}, map[string]outcome{
			"in 10.0.1.10 tcp 22":  allowed(100),
			"out 10.0.1.10 tcp 22": refused(100),
		}},
		{"SEM 3.3 any type", []string{"in 100 allow icmp 0.0.0.0/0"}, map[string]outcome{
			"in 10.0.1.10 icmp 3/4": allowed(100),
		}},
		{"SEM 3.3 protocol 58 with an IPv4 block: types and codes are ignored", []string{"in 100 allow icmpv6 128/0 0.0.0.0/0"}, map[string]outcome{
			"in 10.0.1.10 icmpv6 1/3": allowed(100),
			"in 10.0.1.10 icmp 1/3":   denied,
		}},
		{"SEM 3.3 protocol 58 with an IPv6 block: they count", []string{"in 100 allow icmpv6 128/0 ::/0"}, map[string]outcome{
			"in 2001:db8::1 icmpv6 128/0": allowed(100),
			"in 2001:db8::1 icmpv6 1/3":   denied,
		}},
		{"of one number twice, the first written decides", []string{"in 100 deny all 10.0.0.0/8", "in 100 allow all 0.0.0.0/0"}, map[string]outcome{
			"in 10.0.1.10 tcp 22":    refused(100),
			"in 203.0.113.12 tcp 22": allowed(100),
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			table := table(t, test.entries...)
			for packet, want := range test.want {
				if verdict, number := judge(t, table, packet); verdict != want.verdict || number != want.number {
					t.Errorf("%s: %s by entry %d, want %s by %d", packet, verdict, number, want.verdict, want.number)
				}
			}
		})
	}
}

// NA-13: the ports of an entry for all protocols, or for one without ports, are
// ignored; the text form of the other tests cannot even say them.
func TestPortsOfOtherProtocolsAreIgnored(t *testing.T) {
	e := entry(t, "100 allow all 0.0.0.0/0")
	e.Service.Ports = policy.Ports{From: 80, To: 80}
	gre := entry(t, "100 allow 47 0.0.0.0/0")
	gre.Service.Ports = policy.Ports{From: 80, To: 80}
	for _, test := range []struct {
		entry  nacl.Entry
		packet string
		want   policy.Verdict
	}{
		{e, "in 10.0.1.10 tcp 443", policy.Allow},
		{e, "in 10.0.1.10 udp 53", policy.Allow},
		{e, "in 10.0.1.10 icmp 8/0", policy.Allow},
		{gre, "in 10.0.1.10 47", policy.Allow},
		{gre, "in 10.0.1.10 tcp 80", policy.Deny},
	} {
		if got, _ := judge(t, nacl.Compile([]nacl.Entry{test.entry}, nil), test.packet); got != test.want {
			t.Errorf("%s by %q: %s, want %s", test.packet, test.entry.Service, got, test.want)
		}
	}
}

func TestZeroTableDenies(t *testing.T) {
	var zero nacl.Table
	for _, packet := range []string{"in 10.0.1.10 tcp 22", "out 10.0.1.10 tcp 22"} {
		if verdict, number := judge(t, &zero, packet); verdict != policy.Deny || number != implicit {
			t.Errorf("%s: %s by entry %d, want the implicit deny", packet, verdict, number)
		}
	}
	// An entry without an action denies, one without a block matches nothing.
	e := entry(t, "100 allow all 0.0.0.0/0")
	e.Action = 0
	if verdict, number := judge(t, nacl.Compile([]nacl.Entry{e}, nil), "in 10.0.1.10 tcp 22"); verdict != policy.Deny || number != 100 {
		t.Errorf("entry without action: %s by entry %d, want deny by 100", verdict, number)
	}
	e = nacl.Entry{Number: 100, Action: policy.Allow, Service: policy.AllTraffic}
	if verdict, number := judge(t, nacl.Compile([]nacl.Entry{e}, nil), "in 10.0.1.10 tcp 22"); verdict != policy.Deny || number != implicit {
		t.Errorf("entry without block: %s by entry %d, want the implicit deny", verdict, number)
	}
}

// What a table was compiled from may change, and keeps its order.
func TestCompileKeepsNothing(t *testing.T) {
	entries := []nacl.Entry{entry(t, "200 deny all 0.0.0.0/0"), entry(t, "100 allow all 0.0.0.0/0")}
	table := nacl.Compile(entries, nil)
	if entries[0].Number != 200 {
		t.Error("Compile sorted its argument")
	}
	entries[1].Action = policy.Deny
	if verdict, number := judge(t, table, "in 10.0.1.10 tcp 22"); verdict != policy.Allow || number != 100 {
		t.Errorf("%s by entry %d, want allow by 100", verdict, number)
	}
}

func TestJudgeDoesNotAllocate(t *testing.T) {
	table := table(t, "in 100 deny tcp 22 10.0.1.0/24", "in 110 allow all 0.0.0.0/0", "in 120 allow all ::/0")
	for _, packet := range []string{"10.0.1.10 tcp 22", "10.0.1.10 udp 53", "2001:db8::1 icmpv6 128/0"} {
		p := classifytest.Packet(t, packet)
		if n := testing.AllocsPerRun(100, func() { table.Judge(policy.Ingress, &p) }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", packet, n)
		}
	}
}
