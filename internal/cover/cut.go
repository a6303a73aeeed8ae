package cover

import (
	"slices"

	"vswitch/internal/policy"
)

// Edges are the points where sets begin, and those right behind where they end,
// ascending. Between two of them, kinds of packets belong to the same sets.
type Edges []uint32

// EdgesOf returns the edges of sets.
func EdgesOf(sets ...Set) Edges {
	var e Edges
	for _, s := range sets {
		for _, v := range s {
			e = append(e, v.from, v.to+1)
		}
	}
	slices.Sort(e)
	return slices.Compact(e)
}

// Join returns the edges of e and of all others.
func (e Edges) Join(others ...Edges) Edges {
	all := slices.Concat(append(others, e)...)
	slices.Sort(all)
	return slices.Compact(all)
}

// Cut divides s at edges. The parts are ascending intervals, and together all
// of s.
func (s Set) Cut(edges Edges) []Set {
	var parts []Set
	for _, v := range s {
		from := v.from
		at, _ := slices.BinarySearch(edges, from+1)
		for ; at < len(edges) && edges[at] <= v.to; at++ {
			parts = append(parts, Set{{from, edges[at] - 1}})
			from = edges[at]
		}
		parts = append(parts, Set{{from, v.to}})
	}
	return parts
}

// Fill returns s with those intervals of holes right before and right behind which
// s lies: what is meant where nobody can tell the difference.
func (s Set) Fill(holes Set) Set {
	var filling Set
	for _, h := range holes {
		before := h.from > 0 && s.Overlaps(Set{{h.from - 1, h.from - 1}})
		if before && s.Overlaps(Set{{h.to + 1, h.to + 1}}) {
			filling = append(filling, h)
		}
	}
	return s.Union(filling)
}

// A Kind is one kind of packet.
type Kind struct {
	Protocol   policy.Protocol
	Port       uint16 // the destination's; valid iff Protocol.HasPorts()
	Type, Code uint8  // valid iff Protocol.HasTypes()
}

// First returns the first kind of packet in s, which must not be empty.
func (s Set) First() Kind { return kindAt(s[0].from) }

// Last returns the last kind of packet in s, which must not be empty.
func (s Set) Last() Kind { return kindAt(s[len(s)-1].to) }

func kindAt(point uint32) Kind {
	k := Kind{Protocol: policy.Protocol(point >> protocolShift)}
	switch {
	case k.Protocol.HasPorts():
		k.Port = uint16(point)
	case k.Protocol.HasTypes():
		k.Type, k.Code = uint8(point>>typeShift), uint8(point)
	}
	return k
}
