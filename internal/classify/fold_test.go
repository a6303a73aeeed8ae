package classify_test

import (
	"net/netip"
	"testing"

	"vswitch/internal/classify"
	"vswitch/internal/classify/classifytest"
	"vswitch/internal/policy"
)

// compareNested draws rules for blocks that lie in one another, and asks both
// evaluators.
func compareNested(t reporter, pick classifytest.Pick) {
	t.Helper()
	nest := pick.Nest()
	table := classify.Compile(nest.Rules)
	for range 64 {
		p := nest.Packet(pick)
		if got, want := table.First(&p), slowFirst(nest.Rules, p); got != want {
			t.Fatalf("rules %+v\npacket %+v\nTable.First = %d, the model says %d", nest.Rules, p, got, want)
		}
	}
	if !table.Ordered() {
		t.Fatalf("rules %+v: the segments of a node do not ascend, or two neighbours have one rule", nest.Rules)
	}
	if own := ownSegments(nest.Rules); table.Segments() > 17*own {
		t.Fatalf("%d rules, of %d segments, take %d: folding added more than 16 times as many", len(nest.Rules), own, table.Segments())
	}
}

// ownSegments returns how many segments the prefixes of the rules have, each
// compiled alone.
func ownSegments(rules []classify.Rule) int {
	byPrefix := make(map[netip.Prefix][]classify.Rule)
	for _, r := range rules {
		for _, p := range r.Prefixes {
			p = p.Masked()
			byPrefix[p] = append(byPrefix[p], classify.Rule{Prefixes: []netip.Prefix{p}, Service: r.Service})
		}
	}
	n := 0
	for _, alone := range byPrefix {
		n += classify.Compile(alone).Segments()
	}
	return n
}

func TestNestedRulesMatchModel(t *testing.T) {
	for seed := range uint64(300) {
		compareNested(t, classifytest.FromSeed(seed))
	}
}

func FuzzNestedRulesMatchModel(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x00\x00\x00\x40\x00\x20\x00\x04\x00\x01\x00\x18\x00\x01\x00\x05\x00\x02\x00\x00\x00\x07\x00\x02"))
	f.Fuzz(func(t *testing.T, data []byte) { compareNested(t, classifytest.FromBytes(data)) })
}

// A chain of rules names the blocks of all lengths around one address, one after
// the other, each for its own ports.
func chain(n int, around string) []classify.Rule {
	a := netip.MustParseAddr(around)
	return list(n, func(i int) (netip.Prefix, uint16) { return netip.PrefixFrom(a, i%(a.BitLen()+1)), uint16(2 * i) })
}

// One search decides wherever there is memory for it, and where there is not, few
// do.
func TestSearches(t *testing.T) {
	hosts := shapes[len(shapes)-1].rules
	inner := list(1000, func(i int) (netip.Prefix, uint16) { return netip.PrefixFrom(host(0).Addr(), 16), uint16(i) })
	for _, test := range []struct {
		name  string
		rules []classify.Rule
		want  int
	}{
		{"no rules", nil, 0},
		{"one block", shapes[1].rules(10_000), 1},
		{"blocks beside each other", shapes[0].rules(10_000), 1},
		{"33 blocks in one another", chain(10_000, "10.0.1.10"), 1},
		{"20 hosts in a block of 20 services", hosts(40), 1},
		{"5,000 hosts in a block of 5,000 services", hosts(10_000), 2},
		{"the same, in two blocks", append(inner, hosts(10_000)...), 2},
		{"129 blocks in one another", chain(10_000, "2001:db8::1"), 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			table := classify.Compile(test.rules)
			if got := table.Searches(); got != test.want {
				t.Errorf("%d searches, want %d", got, test.want)
			}
			if own := ownSegments(test.rules); table.Segments() > 17*own {
				t.Errorf("%d segments of %d", table.Segments(), own)
			}
		})
	}
}

// However many the rules of a block are, a search chooses from few segments, if
// they lie about evenly.
func TestRunsAreShort(t *testing.T) {
	all := classify.Rule{Prefixes: []netip.Prefix{anywhere}, Service: policy.AllTraffic}
	every := func(n int, p policy.Protocol) []classify.Rule {
		rules := list(n, func(i int) (netip.Prefix, uint16) { return anywhere, uint16(i * (65536 / n)) })
		for i := range rules {
			rules[i].Service.Protocol = p
		}
		return rules
	}
	for _, test := range []struct {
		name  string
		rules []classify.Rule
		want  int
	}{
		{"few", every(3, policy.TCP), 6},
		{"10", every(10, policy.TCP), 3},
		{"1,000", every(1000, policy.UDP), 3},
		{"10,000", every(10_000, policy.UDP), 3},
		{"10,000, then all traffic", append(every(10_000, policy.UDP), all), 3},
		{"5,000 of each of two protocols", append(every(5000, policy.TCP), every(5000, policy.UDP)...), 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := classify.Compile(test.rules).LongestRun(); got != test.want {
				t.Errorf("a search chooses from %d segments, want %d", got, test.want)
			}
		})
	}
}
