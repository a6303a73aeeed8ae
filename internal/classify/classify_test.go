package classify_test

import (
	"net/netip"
	"runtime"
	"testing"

	"vswitch/internal/classify"
	"vswitch/internal/classify/classifytest"
	"vswitch/internal/policy"
)

// compile compiles rules written as "tcp 22 10.0.1.0/24".
func compile(t testing.TB, texts ...string) *classify.Table {
	t.Helper()
	rules := make([]classify.Rule, len(texts))
	for i, text := range texts {
		service, prefix := classifytest.CutLast(t, text)
		rules[i] = classify.Rule{
			Prefixes: []netip.Prefix{netip.MustParsePrefix(prefix)},
			Service:  classifytest.Service(t, service),
		}
	}
	return classify.Compile(rules)
}

func TestFirst(t *testing.T) {
	for _, test := range []struct {
		name   string
		rules  []string
		packet string
		want   int
	}{
		{"no rules", nil, "10.0.1.10 tcp 22", -1},
		{"the lowest index wins over the longest prefix", []string{"tcp 22 10.0.0.0/8", "tcp 22 10.0.1.10/32"}, "10.0.1.10 tcp 22", 0},
		{"a longer prefix may still be the first", []string{"tcp 22 10.0.1.10/32", "tcp 22 10.0.0.0/8"}, "10.0.1.10 tcp 22", 0},
		{"a prefix in between matches by its own service", []string{"tcp 80 10.0.1.10/32", "tcp 22 10.0.1.0/24", "all 0.0.0.0/0"}, "10.0.1.10 tcp 22", 1},
		{"the shortest prefix is asked too", []string{"tcp 80 10.0.1.10/32", "tcp 22 10.0.1.0/24", "all 0.0.0.0/0"}, "10.0.1.10 udp 53", 2},
		{"a neighbouring prefix is not", []string{"all 10.0.2.0/24", "tcp 80 10.0.1.0/24"}, "10.0.1.10 tcp 22", -1},
		{"host bits are ignored", []string{"tcp 22 10.0.1.77/24"}, "10.0.1.10 tcp 22", 0},
		{"first port of a range", []string{"tcp 8000-8010 10.0.0.0/8"}, "10.0.1.10 tcp 8000", 0},
		{"last port of a range", []string{"tcp 8000-8010 10.0.0.0/8"}, "10.0.1.10 tcp 8010", 0},
		{"before a range", []string{"tcp 8000-8010 10.0.0.0/8"}, "10.0.1.10 tcp 7999", -1},
		{"after a range", []string{"tcp 8000-8010 10.0.0.0/8"}, "10.0.1.10 tcp 8011", -1},
		{"port 65535 does not run into the next protocol", []string{"tcp 65535 10.0.0.0/8"}, "10.0.1.10 7", -1},
		{"upside down", []string{"tcp 80-22 10.0.0.0/8"}, "10.0.1.10 tcp 50", -1},
		{"a later range shows where an earlier one ends", []string{"tcp 20-30 10.0.0.0/8", "tcp 10-40 10.0.0.0/8"}, "10.0.1.10 tcp 31", 1},
		{"an earlier range hides a later one", []string{"tcp 10-40 10.0.0.0/8", "tcp 20-30 10.0.0.0/8"}, "10.0.1.10 tcp 25", 0},
		{"udp is not tcp", []string{"udp 53 10.0.0.0/8"}, "10.0.1.10 tcp 53", -1},
		{"type with any code", []string{"icmp 8 10.0.0.0/8"}, "10.0.1.10 icmp 8/3", 0},
		{"type and code", []string{"icmp 3/4 10.0.0.0/8"}, "10.0.1.10 icmp 3/4", 0},
		{"other code", []string{"icmp 3/4 10.0.0.0/8"}, "10.0.1.10 icmp 3/3", -1},
		{"any type and code", []string{"icmp 10.0.0.0/8"}, "10.0.1.10 icmp 255/255", 0},
		{"one code of any type", []string{"icmp -1/4 10.0.0.0/8"}, "10.0.1.10 icmp 200/4", 0},
		{"another code of any type", []string{"icmp -1/4 10.0.0.0/8"}, "10.0.1.10 icmp 200/5", -1},
		{"type out of range", []string{"icmp 300 10.0.0.0/8"}, "10.0.1.10 icmp 44/0", -1},
		{"code out of range", []string{"icmp 3/300 10.0.0.0/8"}, "10.0.1.10 icmp 4/44", -1},
		{"protocol number", []string{"47 10.0.0.0/8"}, "10.0.1.10 47", 0},
		{"other protocol number", []string{"47 10.0.0.0/8"}, "10.0.1.10 50", -1},
		{"protocol number out of range", []string{"262 10.0.0.0/8"}, "10.0.1.10 tcp 22", -1},
		{"all protocols", []string{"all 10.0.0.0/8"}, "10.0.1.10 255", 0},
		{"IPv4 rule, IPv6 packet (SEM 3.3)", []string{"all 0.0.0.0/0"}, "2001:db8::1 tcp 22", -1},
		{"IPv6 rule, IPv4 packet (SEM 3.3)", []string{"all ::/0"}, "10.0.1.10 tcp 22", -1},
		{"IPv6 rule, IPv4-mapped packet", []string{"all ::/0"}, "::ffff:10.0.1.10 tcp 22", -1},
		{"IPv4 rule, IPv4-mapped packet", []string{"all 10.0.0.0/8"}, "::ffff:10.0.1.10 tcp 22", 0},
		{"IPv6 rule", []string{"tcp 22 2001:db8::/32", "all ::/0"}, "2001:db8::1 tcp 22", 0},
		{"a zone does not matter", []string{"all fe80::/10"}, "fe80::1%eth0 tcp 22", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := classifytest.Packet(t, test.packet)
			if got := compile(t, test.rules...).First(&p); got != test.want {
				t.Errorf("%s against %q: rule %d, want %d", test.packet, test.rules, got, test.want)
			}
		})
	}
}

// A rule may name several blocks, the same one twice, none, or an invalid one.
func TestRuleWithManyPrefixes(t *testing.T) {
	table := classify.Compile([]classify.Rule{
		{Service: policy.AllTraffic},
		{Prefixes: []netip.Prefix{{}}, Service: policy.AllTraffic},
		{
			Prefixes: []netip.Prefix{
				netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.0.1.0/24"), netip.MustParsePrefix("10.0.1.9/24"),
				netip.MustParsePrefix("2001:db8::/32"),
			},
			Service: policy.AllTraffic,
		},
	})
	for remote, want := range map[string]int{"10.0.1.10": 2, "10.9.9.9": 2, "2001:db8::1": 2, "11.0.0.1": -1} {
		p := classify.Packet{Remote: netip.MustParseAddr(remote), Protocol: uint8(policy.TCP)}
		if got := table.First(&p); got != want {
			t.Errorf("%s: rule %d, want %d", remote, got, want)
		}
	}
}

func TestZeroValuesMatchNothing(t *testing.T) {
	p := classifytest.Packet(t, "10.0.1.10 tcp 22")
	var table classify.Table
	if got := table.First(&p); got != -1 {
		t.Errorf("zero Table: rule %d, want -1", got)
	}
	var services classify.Services
	if got := services.First(&p); got != -1 {
		t.Errorf("zero Services: service %d, want -1", got)
	}
	p.Remote = netip.Addr{}
	if got := compile(t, "all 0.0.0.0/0", "all ::/0").First(&p); got != -1 {
		t.Errorf("packet without an address: rule %d, want -1", got)
	}
}

func TestFirstDoesNotAllocate(t *testing.T) {
	table := compile(t, "tcp 80 10.0.1.10/32", "tcp 22 10.0.1.0/24", "all 0.0.0.0/0", "all ::/0")
	for _, text := range []string{"10.0.1.10 tcp 22", "2001:db8::1 udp 53"} {
		p := classifytest.Packet(t, text)
		if n := testing.AllocsPerRun(100, func() { table.First(&p) }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", text, n)
		}
	}
}

// Threat T8: what a table costs depends on its rules alone, and grows in step with
// them; packets add nothing to it.
// Memory is linear in the number of rules: ten times as many must not cost
// much more than ten times the memory, whether they share a block or not.
func TestMemoryIsLinear(t *testing.T) {
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			small, large := heapOf(shape.rules(1000)), heapOf(shape.rules(10000))
			if large > 15*small {
				t.Errorf("1,000 rules take %d bytes, 10,000 take %d: more than 15 times as many", small, large)
			}
			if perRule := large / 10000; perRule > 400 {
				t.Errorf("%d bytes a rule, want 400 at most", perRule)
			}
		})
	}
}

// heapOf returns the bytes that the compiled rules keep.
func heapOf(rules []classify.Rule) int {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC() // what others have left in a sync.Pool goes with the second one
	runtime.ReadMemStats(&before)
	table := classify.Compile(rules)
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(table)
	runtime.KeepAlive(rules)
	return int(after.HeapAlloc) - int(before.HeapAlloc)
}

func TestIs4(t *testing.T) {
	for text, want := range map[string]bool{"10.0.1.10 tcp 22": true, "::ffff:10.0.1.10 tcp 22": true, "2001:db8::1 tcp 22": false} {
		if p := classifytest.Packet(t, text); p.Is4() != want {
			t.Errorf("%s: Is4 = %v, want %v", text, p.Is4(), want)
		}
	}
}
