package cover_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"vswitch/internal/classify"
	"vswitch/internal/cover"
	"vswitch/internal/policy"
)

// universe are the addresses that the tests know, of both families: 16 that the
// blocks of drawBlock tell apart, and one outside all but the widest.
var universe = func() []netip.Addr {
	all := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8:1::1")}
	for _, first := range []string{"10.0.0.0", "2001:db8::"} {
		a := netip.MustParseAddr(first)
		for range 16 {
			all, a = append(all, a), a.Next()
		}
	}
	return all
}()

// drawBlock draws a block that is a union of addresses of the universe.
func drawBlock(t *rapid.T) netip.Prefix {
	a := rapid.SampledFrom(universe[2:]).Draw(t, "address")
	up := rapid.SampledFrom([]int{0, 1, 2, 3, 4, a.BitLen()}).Draw(t, "host bits")
	return netip.PrefixFrom(a, a.BitLen()-up).Masked()
}

// A written rule is a rule as classify and as cover has it.
type written struct {
	block   netip.Prefix
	service policy.Service
}

func (w written) rule() cover.Rule { return cover.Rule{Block: w.block, Services: cover.Of(w.service)} }

func (w written) matches(p *classify.Packet) bool {
	return w.block.Contains(p.Remote) && w.service.Contains(p.Protocol, p.Port, p.Type, p.Code)
}

// checkSplit compares Split and Behind with the classifier that judges packets:
// every packet of the universe is the share of the rule that decides for it.
func checkSplit(t interface{ Fatalf(string, ...any) }, target written, list []written) {
	var rules []cover.Rule
	var compiled []classify.Rule
	for _, w := range list {
		rules = append(rules, w.rule())
		compiled = append(compiled, classify.Rule{Prefixes: []netip.Prefix{w.block}, Service: w.service})
	}
	table := classify.Compile(compiled)
	type share struct {
		cover.Rule
		rule int
	}
	var shares []share
	cover.Split(target.rule(), rules, func(s cover.Rule, rule int) bool {
		shares = append(shares, share{s, rule})
		return true
	})
	decide := map[int]bool{}
	for _, a := range universe {
		for _, k := range kinds {
			p := classify.Packet{Remote: a, Protocol: k.protocol, Port: k.port, Type: k.typ, Code: k.code}
			var got []int
			for _, s := range shares {
				if s.Block.Contains(a) && s.Services.Overlaps(k.set()) {
					got = append(got, s.rule)
				}
			}
			var want []int
			if target.matches(&p) {
				first := table.First(&p)
				want, decide[first] = []int{first}, true
			}
			if !slices.Equal(got, want) {
				t.Fatalf("target %v, rules %v: packet %+v is the share of %v, want %v", target, list, p, got, want)
			}
		}
	}
	var want []int
	if !decide[cover.Nobody] {
		for i := range list {
			if decide[i] {
				want = append(want, i)
			}
		}
	}
	by, covered := cover.Behind(target.rule(), rules)
	if !slices.Equal(by, want) || covered == decide[cover.Nobody] {
		t.Fatalf("target %v, rules %v: behind %v, %v; want %v, %v", target, list, by, covered, want, !decide[cover.Nobody])
	}
}

// drawRule draws a rule, of either family.
func drawRule(t *rapid.T) written { return written{drawBlock(t), drawService(t)} }

func property(t *rapid.T) {
	checkSplit(t, drawRule(t), rapid.SliceOfN(rapid.Custom(drawRule), 0, 7).Draw(t, "rules"))
}

func TestSplitIsWhatTheClassifierDecides(t *testing.T) { rapid.Check(t, property) }

func FuzzSplit(f *testing.F) { f.Fuzz(rapid.MakeFuzz(property)) }

func TestSplit(t *testing.T) {
	rule := func(block string, s policy.Service) written { return written{netip.MustParsePrefix(block), s} }
	all := policy.AllTraffic
	for _, c := range []struct {
		name   string
		target written
		rules  []written
		want   string
	}{
		{"nothing before it", rule("10.0.0.0/28", all), nil, "[] false"},
		{"a wider rule", rule("10.0.0.0/28", ports(1, 3)), []written{rule("0.0.0.0/0", ports(0, 4))}, "[0] true"},
		{"two halves of the block", rule("10.0.0.0/28", all), []written{rule("10.0.0.0/29", all), rule("10.0.0.8/29", all)}, "[0 1] true"},
		{"two halves of the ports", rule("10.0.0.0/28", ports(1, 7)), []written{rule("10.0.0.0/28", ports(0, 3)), rule("10.0.0.0/28", ports(4, 7))}, "[0 1] true"},
		{"a checkerboard", rule("10.0.0.0/28", ports(1, 7)),
			[]written{rule("10.0.0.0/29", ports(0, 3)), rule("10.0.0.8/29", ports(4, 7)), rule("10.0.0.0/29", ports(4, 7)), rule("10.0.0.8/29", ports(0, 3))}, "[0 1 2 3] true"},
		{"one address short", rule("10.0.0.0/30", all), []written{rule("10.0.0.0/31", all), rule("10.0.0.2/32", all)}, "[] false"},
		{"one port short", rule("10.0.0.0/28", ports(1, 7)), []written{rule("10.0.0.0/28", ports(1, 6))}, "[] false"},
		{"a rule without a share is not named", rule("10.0.0.0/28", all), []written{rule("0.0.0.0/0", all), rule("10.0.0.0/29", all)}, "[0] true"},
		{"the other family", rule("0.0.0.0/0", all), []written{rule("::/0", all)}, "[] false"},
	} {
		by, covered := cover.Behind(c.target.rule(), toRules(c.rules))
		if got := fmt.Sprint(by, covered); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func toRules(list []written) []cover.Rule {
	var out []cover.Rule
	for _, w := range list {
		out = append(out, w.rule())
	}
	return out
}

// A visitor that has seen enough is asked no more.
func TestSplitEndsEarly(t *testing.T) {
	target := written{netip.MustParsePrefix("10.0.0.0/28"), policy.AllTraffic}
	narrow := written{netip.MustParsePrefix("10.0.0.4/32"), policy.AllTraffic}
	for stop := 1; stop <= 4; stop++ {
		n := 0
		if cover.Split(target.rule(), toRules([]written{narrow}), func(cover.Rule, int) bool { n++; return n < stop }) || n != stop {
			t.Errorf("stop after %d: asked %d times", stop, n)
		}
	}
}

// The cost of a long list stays bearable: each of 10,000 rules is compared with
// those before it. In the middle of the second list a rule covers everything, so
// that those behind it are all behind it.
func BenchmarkBehind10000(b *testing.B) {
	list := func() (rules []cover.Rule) {
		for i := range 10_000 {
			block := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24-i%9).Masked()
			rules = append(rules, cover.Rule{Block: block, Services: cover.Of(ports(uint16(i), uint16(i)))})
		}
		return rules
	}
	half := list()
	half[5000] = cover.Rule{Block: netip.MustParsePrefix("0.0.0.0/0"), Services: cover.All()}
	for _, c := range []struct {
		name    string
		rules   []cover.Rule
		covered int
	}{{"apart", list(), 0}, {"half", half, 4999}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				n := 0
				for i := range c.rules {
					if _, covered := cover.Behind(c.rules[i], c.rules[:i]); covered {
						n++
					}
				}
				if n != c.covered {
					b.Fatalf("%d rules are covered, want %d", n, c.covered)
				}
			}
		})
	}
	all := cover.Rule{Block: netip.MustParsePrefix("0.0.0.0/0"), Services: cover.All()}
	b.Run("last", func(b *testing.B) { // one rule behind all of half
		for b.Loop() {
			if by, covered := cover.Behind(all, half); !covered || len(by) != 5001 {
				b.Fatalf("%d rules, covered %v", len(by), covered)
			}
		}
	})
}
