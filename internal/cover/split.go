package cover

import "net/netip"

// A Rule is a rule without its verdict: the packets of some services to or from
// one block of addresses.
type Rule struct {
	Block    netip.Prefix // without host bits
	Services Set
}

// Nobody is the rule of a share that none of the rules has.
const Nobody = -1

// Split divides what target matches among the rules of an ordered list: each
// packet is the share of the first rule that matches it, or of Nobody. It calls
// visit for one share after the other: the packets of a block of addresses and
// of a set of services. The shares of a target do not overlap, and together they
// are all of it; a rule may have several. Split ends early, and returns false,
// when visit returns false.
//
// The two families never meet: a rule for IPv4 has no share of an IPv6 target.
func Split(target Rule, rules []Rule, visit func(share Rule, rule int) bool) bool {
	if target.Services.Empty() {
		return true
	}
	s := splitter{rules: rules, visit: visit}
	candidates := make([]int, 0, len(rules))
	for i := range rules {
		if rules[i].Block.Overlaps(target.Block) && rules[i].Services.Overlaps(target.Services) {
			candidates = append(candidates, i)
		}
	}
	return s.block(target, candidates)
}

// A splitter is one run of Split.
type splitter struct {
	rules []Rule
	visit func(share Rule, rule int) bool
}

// block divides target among candidates, which ascend and all overlap it. The
// rules that cover its whole block are asked first, as long as no narrower one
// stands before them; where one does, the block is halved. A block of n rules
// needs no more than two halvings for each bit of each of them.
func (s *splitter) block(target Rule, candidates []int) bool {
	var later []int // those whose share depends on where in the block one looks
	rest := target.Services
	for n, i := range candidates {
		r := &s.rules[i]
		if r.Block.Bits() > target.Block.Bits() {
			later = s.behind(target.Block, rest, candidates[n:])
			break
		}
		share := rest.Intersect(r.Services)
		if share.Empty() {
			continue
		}
		if !s.visit(Rule{target.Block, share}, i) {
			return false
		}
		if rest = rest.Minus(share); rest.Empty() {
			return true
		}
	}
	if !s.anyNarrower(target.Block, later) {
		// What is left of later covers the whole block, too.
		for _, i := range later {
			share := rest.Intersect(s.rules[i].Services)
			if !share.Empty() && !s.visit(Rule{target.Block, share}, i) {
				return false
			}
			rest = rest.Minus(share)
		}
		return rest.Empty() || s.visit(Rule{target.Block, rest}, Nobody)
	}
	for _, half := range halves(target.Block) {
		var inside []int
		for _, i := range later {
			if s.rules[i].Block.Overlaps(half) {
				inside = append(inside, i)
			}
		}
		if !s.block(Rule{half, rest}, inside) {
			return false
		}
	}
	return true
}

// behind returns those of the candidates that may have a share of services in
// the block: none behind the rules that leave nothing of it anywhere.
func (s *splitter) behind(block netip.Prefix, services Set, candidates []int) []int {
	var out []int
	rest := services
	for _, i := range candidates {
		r := &s.rules[i]
		if !r.Services.Overlaps(rest) {
			continue
		}
		out = append(out, i)
		if r.Block.Bits() > block.Bits() {
			continue
		}
		if rest = rest.Minus(r.Services); rest.Empty() {
			break
		}
	}
	return out
}

// anyNarrower reports whether a rule covers a part of the block only.
func (s *splitter) anyNarrower(block netip.Prefix, candidates []int) bool {
	for _, i := range candidates {
		if s.rules[i].Block.Bits() > block.Bits() {
			return true
		}
	}
	return false
}

// halves returns the two halves of a block that is larger than one address.
func halves(p netip.Prefix) [2]netip.Prefix {
	bits := p.Bits()
	low := netip.PrefixFrom(p.Addr(), bits+1)
	raw := p.Addr().AsSlice()
	raw[bits/8] |= 0x80 >> (bits % 8)
	high, _ := netip.AddrFromSlice(raw)
	return [2]netip.Prefix{low, netip.PrefixFrom(high, bits+1)}
}

// Behind returns the rules that have a share of target, ascending, if they leave
// nothing of it to Nobody. It returns false if they leave something: target, if
// it stood behind them, would decide for that.
func Behind(target Rule, rules []Rule) (by []int, covered bool) {
	has := make(map[int]bool)
	covered = Split(target, rules, func(_ Rule, rule int) bool {
		has[rule] = true
		return rule != Nobody
	})
	if !covered {
		return nil, false
	}
	for i := range rules {
		if has[i] {
			by = append(by, i)
		}
	}
	return by, true
}
