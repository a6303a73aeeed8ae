package classify

import (
	"math"
	"slices"

	"vswitch/internal/policy"
)

// none is the rule of a segment that no rule covers. It is larger than every
// index, so that the minimum of two rules needs no special case.
const none int32 = math.MaxInt32

// Services is a compiled list of services: it finds the first one that a packet
// belongs to, wherever the packet comes from. The zero Services holds none. It
// is immutable, so any number of goroutines may use it.
type Services struct {
	// segments are the intervals into which the services cut the line of keys,
	// in ascending order. The first starts at key 0; each ends where the next
	// starts; two neighbours never have the same rule.
	segments []segment
}

// A segment is an interval of keys of which all belong to the same first rule.
type segment struct {
	from key
	rule int32 // index of the rule, or none
}

// CompileServices compiles the list. A service that no packet can belong to
// (ports upside down, a type above 255) is never found.
func CompileServices(list []policy.Service) Services {
	var p painter
	for i, s := range list {
		p.add(s, int32(i))
	}
	return Services{p.paint(nil)}
}

// First returns the index of the first service that the packet belongs to, or
// -1. It does not look at the packet's Remote.
func (s *Services) First(p *Packet) int {
	if r := s.first(p.key()); r != none {
		return int(r)
	}
	return -1
}

// first returns the rule at k, or none.
func (s *Services) first(k key) int32 {
	// The segment that holds k is the last one that starts at or before it.
	lo, hi := 0, len(s.segments)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if s.segments[mid].from <= k {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 {
		return none // the zero Services
	}
	return s.segments[lo-1].rule
}

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
	first := key(s.Protocol) << protocolShift
	switch {
	case s.Protocol == policy.AllProtocols:
		p.spans = append(p.spans, span{0, lastKey, rule})
	case s.Protocol < 0 || s.Protocol > 255:
		// Not a protocol number: no packet carries it.
	case s.Protocol.HasPorts():
		// Ports upside down make an empty span, which paints nothing.
		p.spans = append(p.spans, span{first + key(s.Ports.From), first + key(s.Ports.To), rule})
	case s.Protocol.HasTypes():
		p.addTypes(first, s.Type, s.Code, rule)
	default:
		p.spans = append(p.spans, span{first, first + wholeProtocol, rule})
	}
}

// addTypes records the keys of an ICMP or ICMPv6 service; first is the first
// key of the protocol.
func (p *painter) addTypes(first key, typ, code int16, rule int32) {
	if typ < policy.AnyICMP || typ > math.MaxUint8 || code < policy.AnyICMP || code > math.MaxUint8 {
		return
	}
	switch {
	case typ == policy.AnyICMP && code == policy.AnyICMP:
		p.spans = append(p.spans, span{first, first + wholeProtocol, rule})
	case typ == policy.AnyICMP:
		// AWS has no such rule (SEM 1.3), but policy.Service can say it.
		for t := key(0); t <= math.MaxUint8; t++ {
			k := first + t<<typeShift + key(code)
			p.spans = append(p.spans, span{k, k, rule})
		}
	case code == policy.AnyICMP:
		k := first + key(typ)<<typeShift
		p.spans = append(p.spans, span{k, k + wholeType, rule})
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
