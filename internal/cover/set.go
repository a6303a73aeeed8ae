// Package cover computes exactly with what rules match: sets of services, and
// the shares that the rules of an ordered list leave to each other. It serves
// those who look at rules as a whole; a packet is judged by package classify.
package cover

import (
	"fmt"
	"slices"
	"strconv"

	"vswitch/internal/policy"
)

// A point is one kind of packet: the protocol in bits 16 to 23, and below it the
// destination port, or the ICMP type and code in 8 bits each, or 0 where the
// protocol has neither. Every service is a few intervals of this line.
const (
	protocolShift = 16
	typeShift     = 8
	protocolSize  = 1 << protocolShift
	typeSize      = 1 << typeShift
	lastPoint     = 1<<24 - 1
)

// A Set is a set of kinds of packets, whatever their remote end. The nil Set is
// empty. Its methods return new Sets and never change their operands.
type Set []interval // ascending, apart from each other by at least one point

// An interval is points from .. to, both included.
type interval struct{ from, to uint32 }

// All is the set of all kinds of packets.
func All() Set { return Set{{0, lastPoint}} }

// Of returns the packets that belong to a service. It is empty for a service to
// which none can belong.
func Of(s policy.Service) Set {
	first := uint32(s.Protocol) << protocolShift
	switch {
	case s.Protocol == policy.AllProtocols:
		return All()
	case s.Protocol < 0 || s.Protocol > 255:
		return nil
	case s.Protocol.HasPorts() && s.Ports.From > s.Ports.To:
		return nil
	case s.Protocol.HasPorts():
		return Set{{first + uint32(s.Ports.From), first + uint32(s.Ports.To)}}
	case !s.Protocol.HasTypes() || s.Type == policy.AnyICMP && s.Code == policy.AnyICMP:
		return Set{{first, first + protocolSize - 1}}
	case s.Type > 255 || s.Code > 255:
		return nil
	case s.Code == policy.AnyICMP:
		first += uint32(s.Type) << typeShift
		return Set{{first, first + typeSize - 1}}
	case s.Type == policy.AnyICMP:
		var set Set
		for typ := range uint32(256) {
			at := first + typ<<typeShift + uint32(s.Code)
			set = append(set, interval{at, at})
		}
		return set
	}
	at := first + uint32(s.Type)<<typeShift + uint32(s.Code)
	return Set{{at, at}}
}

// Empty reports whether nothing is in s.
func (s Set) Empty() bool { return len(s) == 0 }

// Equal reports whether s and t hold the same.
func (s Set) Equal(t Set) bool { return slices.Equal(s, t) }

// Contains reports whether all of t is in s.
func (s Set) Contains(t Set) bool { return t.Minus(s).Empty() }

// Intersect returns what is in both s and t.
func (s Set) Intersect(t Set) Set {
	var out Set
	for i, j := 0, 0; i < len(s) && j < len(t); {
		if from, to := max(s[i].from, t[j].from), min(s[i].to, t[j].to); from <= to {
			out = append(out, interval{from, to})
		}
		if s[i].to < t[j].to {
			i++
		} else {
			j++
		}
	}
	return out
}

// Overlaps reports whether something is in both s and t.
func (s Set) Overlaps(t Set) bool {
	for i, j := 0, 0; i < len(s) && j < len(t); {
		if max(s[i].from, t[j].from) <= min(s[i].to, t[j].to) {
			return true
		}
		if s[i].to < t[j].to {
			i++
		} else {
			j++
		}
	}
	return false
}

// Minus returns what is in s and not in t.
func (s Set) Minus(t Set) Set {
	var out Set
	j := 0
	for _, v := range s {
		for j < len(t) && t[j].to < v.from {
			j++
		}
		from := v.from
		for k := j; k < len(t) && t[k].from <= v.to; k++ {
			if t[k].from > from {
				out = append(out, interval{from, t[k].from - 1})
			}
			from = t[k].to + 1
		}
		if from <= v.to {
			out = append(out, interval{from, v.to})
		}
	}
	return out
}

// Union returns what is in s, in t, or in both.
func (s Set) Union(t Set) Set {
	all := slices.Concat(s, t)
	slices.SortFunc(all, func(a, b interval) int { return int(a.from) - int(b.from) })
	var out Set
	for _, v := range all {
		if n := len(out); n > 0 && v.from <= out[n-1].to+1 {
			out[n-1].to = max(out[n-1].to, v.to)
		} else {
			out = append(out, v)
		}
	}
	return out
}

// Words returns the set in the words of rules: {"tcp 443", "icmp echo-request"},
// and {"all"} for everything. Nothing is no words.
func (s Set) Words() []string {
	if s.Equal(All()) {
		return []string{policy.AllTraffic.String()}
	}
	var words []string
	for _, v := range s {
		for from := v.from; from <= v.to; {
			word, next := wordAt(from, v.to)
			words = append(words, word)
			from = next
		}
	}
	return words
}

// wordAt returns the widest word for points that begin at from and end at to or
// before it, and where the next one begins.
func wordAt(from, to uint32) (word string, next uint32) {
	p := policy.Protocol(from >> protocolShift)
	start := from &^ (protocolSize - 1)
	end := min(to, start+protocolSize-1)
	first, last := from-start, end-start
	switch {
	case p.HasPorts():
		ports := policy.Ports{From: uint16(first), To: uint16(last)}
		return policy.Service{Protocol: p, Ports: ports}.String(), end + 1
	case p.HasTypes() && first == 0 && last == protocolSize-1:
		return p.String(), end + 1
	case p.HasTypes():
		typ := policy.ICMPTypeName(p, int16(first>>typeShift))
		if first%typeSize == 0 && last-first >= typeSize-1 {
			return p.String() + " " + typ, from + typeSize
		}
		return fmt.Sprintf("%s %s/%d", p, typ, first%typeSize), from + 1
	}
	// Neighbours without ports, types or names are one word: "protocols 18-57".
	until := p
	for !named(until+1) && uint32(until+2)<<protocolShift-1 <= to {
		until++
	}
	if until == p {
		return p.String(), end + 1
	}
	return "protocols " + strconv.Itoa(int(p)) + "-" + strconv.Itoa(int(until)), uint32(until+1) << protocolShift
}

// named reports whether a protocol has ports or types.
func named(p policy.Protocol) bool { return p.HasPorts() || p.HasTypes() }
