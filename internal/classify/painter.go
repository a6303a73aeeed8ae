package classify

import (
	"math"
	"slices"

	"vswitch/internal/policy"
)

// A painter folds services into segments. It may be used again after paint,
// and then reuses its memory.
type painter struct {
	spans  []span
	cuts   []key   // where segments may start, ascending, without duplicates
	colour []int32 // the rule of the segment that starts at the cut of the same index
	next   []int32 // a cut at or after the one of the same index that is still unpainted, path-halved
}

// A span is one interval of keys that belongs to a rule. Both ends are in it;
// it is empty if from is above to.
type span struct {
	from, to key
	rule     int32
}

// add records the keys of a service. Rules must be added in ascending order.
func (p *painter) add(s policy.Service, rule int32) {
	// Ports upside down make an empty span, which paints nothing.
	from, to := key(s.Ports.From), key(s.Ports.To)
	switch s.Protocol {
	case policy.AllProtocols:
		p.spans = append(p.spans, span{0, keys - 1, rule})
	case policy.TCP:
		p.spans = append(p.spans, span{tcpKeys + from, tcpKeys + to, rule})
	case policy.UDP:
		p.spans = append(p.spans, span{udpKeys + from, udpKeys + to, rule})
	case policy.ICMP:
		p.addTypes(icmpKeys, s.Type, s.Code, rule)
	case policy.ICMPv6:
		p.addTypes(icmpv6Keys, s.Type, s.Code, rule)
	default:
		if s.Protocol < 0 || s.Protocol > math.MaxUint8 {
			return // not a protocol number: no packet carries it
		}
		k := otherKeys + key(s.Protocol)
		p.spans = append(p.spans, span{k, k, rule})
	}
}

// addTypes records the keys of an ICMP or ICMPv6 service; first is the first
// key of the protocol.
func (p *painter) addTypes(first key, typ, code int16, rule int32) {
	if typ < policy.AnyICMP || typ > math.MaxUint8 || code < policy.AnyICMP || code > math.MaxUint8 {
		return
	}
	const last = math.MaxUint8
	switch {
	case typ == policy.AnyICMP && code == policy.AnyICMP:
		p.spans = append(p.spans, span{first, first + last<<typeShift + last, rule})
	case typ == policy.AnyICMP:
		// AWS has no such rule (SEM 1.3), but policy.Service can say it.
		for t := key(0); t <= last; t++ {
			k := first + t<<typeShift + key(code)
			p.spans = append(p.spans, span{k, k, rule})
		}
	case code == policy.AnyICMP:
		k := first + key(typ)<<typeShift
		p.spans = append(p.spans, span{k, k + last, rule})
	default:
		k := first + key(typ)<<typeShift + key(code)
		p.spans = append(p.spans, span{k, k, rule})
	}
}

// paint appends the segments of the services added since the last paint to
// out, and forgets the services. It costs O(n log n) for n services: every
// segment is painted once, by the first rule that covers it, and the later
// rules jump over it.
func (p *painter) paint(out []segment) []segment {
	p.cuts = append(p.cuts[:0], 0)
	for _, s := range p.spans {
		p.cuts = append(p.cuts, s.from, s.to+1)
	}
	slices.Sort(p.cuts)
	p.cuts = slices.Compact(p.cuts)

	p.colour = p.colour[:0]
	p.next = p.next[:0]
	for i := range p.cuts {
		p.colour = append(p.colour, none)
		p.next = append(p.next, int32(i))
	}
	p.next = append(p.next, int32(len(p.cuts))) // the end, never painted
	for _, s := range p.spans {
		i, _ := slices.BinarySearch(p.cuts, s.from)
		for i = p.unpainted(i); i < len(p.cuts) && p.cuts[i] <= s.to; i = p.unpainted(i) {
			p.colour[i] = s.rule
			p.next[i] = int32(i + 1)
		}
	}
	p.spans = p.spans[:0]

	for i, c := range p.cuts {
		if c == keys {
			break // past the end
		}
		if i == 0 || out[len(out)-1].rule != p.colour[i] {
			out = append(out, segment{c, p.colour[i]})
		}
	}
	return out
}

// unpainted returns the first cut at or after i that has no rule yet.
func (p *painter) unpainted(i int) int {
	for int(p.next[i]) != i {
		p.next[i] = p.next[p.next[i]]
		i = int(p.next[i])
	}
	return i
}
