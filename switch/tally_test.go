package vswitch

import (
	"math/rand/v2"
	"slices"
	"testing"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// tcpFlow returns the n-th of many flows.
func tcpFlow(n int) wire.FiveTuple {
	return wire.FiveTuple{Src: wire.AddrFrom4([]byte{10, 0, byte(n >> 16), byte(n >> 8)}), Dst: wire.AddrFrom4([]byte{10, 1, 0, 1}), SrcPort: uint16(n), DstPort: 443, Protocol: 6}
}

// takeAll empties a tally, a few records at a time.
func takeAll(t *tally) (all []flowRecord) {
	out := make([]flowRecord, 100)
	for {
		n := t.take(out)
		all = append(all, out[:n]...)
		if n < len(out) {
			return all
		}
	}
}

// TestTallyAddsUp holds a tally against a map, with more flows than it has room
// for: the sums by port, outcome and rules are exact, and so is each flow that has
// a record of its own, together with those that count as one of many.
func TestTallyAddsUp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	ta := newTally(r.Uint64())
	type kind struct {
		in     uint32
		reason policy.Reason
		rules  [Gates]ruleNumber
	}
	for round, flows := range []int{10, 5_000, 100_000} {
		sent, got := map[kind]uint64{}, map[kind]uint64{}
		own := map[wire.FiveTuple]uint64{}
		for range 200_000 {
			k := kind{in: 1 + uint32(r.IntN(3)), reason: policy.Reason(r.IntN(4))}
			k.rules[r.IntN(Gates)] = ruleNumber(r.IntN(3))
			rec := flowRecord{tuple: tcpFlow(r.IntN(flows)), in: k.in, reason: k.reason, rules: k.rules}
			tuple := rec.tuple
			ta.record(&rec).addRaw(1, 60, int64(round))
			sent[k]++
			own[tuple]++
		}
		records := takeAll(&ta)
		many := 0
		for _, rec := range records {
			got[kind{rec.in, rec.reason, rec.rules}] += rec.sums.frames
			if rec.many {
				many++
				if rec.tuple != (wire.FiveTuple{}) {
					t.Error("a record of many flows has a tuple")
				}
				continue
			}
			if own[rec.tuple] < rec.sums.frames {
				t.Fatalf("%v has %d frames too many", rec.tuple, rec.sums.frames-own[rec.tuple])
			}
			own[rec.tuple] -= rec.sums.frames
			if rec.sums.bytes != 60*rec.sums.frames || rec.sums.first != int64(round) {
				t.Errorf("sums %+v", rec.sums)
			}
		}
		for k, n := range sent {
			if got[k] != n {
				t.Errorf("%d flows: %+v: %d frames, want %d", flows, k, got[k], n)
			}
		}
		if len(records) > flowPlaces+mostMany {
			t.Errorf("%d records", len(records))
		}
		if wantMany := flows > 10; (many > 0) != wantMany {
			t.Errorf("%d flows: %d records of many", flows, many)
		}
	}
	if ta.lost != 0 || len(takeAll(&ta)) != 0 {
		t.Error("something is lost, or left")
	}
}

// TestTallyIsBounded fills a tally with more kinds of drops than it has room for:
// what it cannot keep it counts.
func TestTallyIsBounded(t *testing.T) {
	ta := newTally(7)
	var kept, lost uint64
	for i := range 3 * flowPlaces {
		rec := flowRecord{tuple: tcpFlow(i), in: uint32(i), out: uint32(i), reason: policy.NoRoute}
		rec.sums.addRaw(2, 0, 1)
		ta.merge(&rec)
	}
	lost = ta.lost
	for _, rec := range takeAll(&ta) {
		kept += rec.sums.frames
	}
	if kept+lost != 2*3*flowPlaces || lost == 0 || kept < 2*flowPlaces*9/10 {
		t.Errorf("%d frames kept, %d lost", kept, lost)
	}
}

// TestTallyFindsWhatIsKept: also when it takes in no more kinds, each kind that it keeps
// goes on being counted, wherever it found room.
func TestTallyFindsWhatIsKept(t *testing.T) {
	ta := newTally(0x9e3779b97f4a7c15)
	kind := func(i int) *flowRecord {
		return &flowRecord{in: uint32(i), out: uint32(i), reason: policy.NoRoute, many: true}
	}
	kept := 0
	for ; ta.many < mostMany; kept++ {
		ta.record(kind(kept)).addRaw(1, 0, 1)
	}
	overflowed := 0
	for i := range kept {
		s := ta.record(kind(i))
		if s == nil || s.frames != 1 {
			t.Fatalf("kind %d of %d is not found", i, kept)
		}
		if h := ta.hash(kind(i)); !slices.Contains(ta.tags[flowPlaces+uint32(h)%(manyPlaces/tallyWays)*tallyWays:][:tallyWays], tagOf(h)) {
			overflowed++
		}
	}
	if overflowed == 0 {
		t.Error("no kind found its room in another set than its first: the test shows nothing")
	}
}

// TestRuleNumbersAreStable: a rule keeps its number while it exists, no two share
// one, and one that was removed is given out again as late as possible.
func TestRuleNumbersAreStable(t *testing.T) {
	config := func(ids ...string) *Config {
		c := &Config{SecurityGroups: []SecurityGroup{{Name: "g"}}}
		for _, id := range ids {
			c.SecurityGroups[0].Ingress = append(c.SecurityGroups[0].Ingress, SecurityGroupRule{ID: id})
		}
		return c
	}
	key := func(id string) RuleKey { return RuleKey{"sg:g", policy.Ingress, id} }
	p := &plane{numbers: numberRules(config("a", "b"), nil)}
	a, b := p.numbers.number(key("a")), p.numbers.number(key("b"))
	if a == 0 || b == 0 || a == b || p.numbers.key(a) != key("a") {
		t.Fatalf("numbers %d, %d", a, b)
	}
	if again := numberRules(config("a", "b"), p); again != p.numbers {
		t.Error("the same rules are numbered again")
	}
	seen := map[ruleNumber]bool{a: true, b: true}
	for i := range maxRules - 100 {
		p.numbers = numberRules(config("b", "n"+string(rune('a'+i%2))), p)
		if p.numbers.number(key("b")) != b {
			t.Fatal("a rule has lost its number")
		}
		n := p.numbers.number(key("n" + string(rune('a'+i%2))))
		if n == 0 || seen[n] {
			t.Fatalf("round %d: number %d was given out before", i, n)
		}
		seen[n] = true
	}
	for range 300 { // past the end
		p.numbers = numberRules(config("b", "x"), p)
		x := p.numbers.number(key("x"))
		p.numbers = numberRules(config("b", "y"), p)
		if y := p.numbers.number(key("y")); x == 0 || y == 0 || x == b || y == b || x == y {
			t.Fatalf("numbers %d and %d beside %d", x, y, b)
		}
	}
}
