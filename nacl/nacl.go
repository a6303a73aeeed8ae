// Package nacl evaluates network ACLs: ordered lists of numbered rules that
// judge every packet at the edge of a subnet, one by one and without memory
// (SEM 3).
package nacl

import (
	"cmp"
	"net/netip"
	"slices"

	"vswitch/internal/classify"
	"vswitch/internal/policy"
)

// An Entry is one numbered rule.
type Entry struct {
	Number  int // 1 to 32766, once in each direction (SEM 3.3)
	Action  policy.Verdict
	Service policy.Service
	Prefix  netip.Prefix // the source for ingress, the destination for egress
	Mark    uint16       // the caller's; not interpreted here
}

// A Table is a compiled network ACL. The zero Table denies everything, as does
// a network ACL without rules. It is immutable: all subnets that it is
// associated with share it, and any number of goroutines may use it.
type Table struct {
	lists [2]list // by policy.Direction
}

// A list is the entries for one direction.
type list struct {
	entries []Entry         // ascending by number
	rules   *classify.Table // of entries; nil iff there are none
}

// Compile compiles the entries of both directions, given in any order. Of two
// entries with the same number, which AWS refuses, the first given comes first.
func Compile(ingress, egress []Entry) *Table {
	return &Table{lists: [2]list{policy.Ingress: compile(ingress), policy.Egress: compile(egress)}}
}

// compile compiles the entries of one direction.
func compile(entries []Entry) list {
	if len(entries) == 0 {
		return list{}
	}
	l := list{entries: slices.Clone(entries)}
	slices.SortStableFunc(l.entries, func(a, b Entry) int { return cmp.Compare(a.Number, b.Number) })
	rules := make([]classify.Rule, len(l.entries))
	for i, e := range l.entries {
		rules[i] = classify.Rule{Prefixes: []netip.Prefix{e.Prefix}, Service: e.service()}
	}
	l.rules = classify.Compile(rules)
	return l
}

// service returns the service as AWS applies it: an entry for protocol 58 with
// an IPv4 block matches every type and code, whatever it names (SEM 3.3).
func (e *Entry) service() policy.Service {
	s := e.Service
	if s.Protocol == policy.ICMPv6 && e.Prefix.Addr().Is4() {
		s.Type, s.Code = policy.AnyICMP, policy.AnyICMP
	}
	return s
}

// A Decision is a verdict and what it rests on. The zero Decision is that of
// the implicit last rule, `*`, which denies (SEM 3.1).
type Decision struct {
	Verdict policy.Verdict
	Entry   *Entry // the entry that decided; nil if it was the implicit one. Not to be changed.
}

// Judge says whether the packet may cross the subnet's edge in direction d: as
// the lowest-numbered entry says that matches it.
func (t *Table) Judge(d policy.Direction, p *classify.Packet) Decision {
	l := &t.lists[d]
	if len(l.entries) == 0 {
		return Decision{}
	}
	i := l.rules.First(p)
	if i < 0 {
		return Decision{}
	}
	e := &l.entries[i]
	return Decision{Verdict: e.Action, Entry: e}
}
