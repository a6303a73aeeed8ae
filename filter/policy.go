package filter

import (
	"iter"

	"vswitch/internal/policy"
)

// A Policy is the security groups of one network interface, in the order in
// which the instance lists them. The zero Policy denies everything. It is
// immutable, so any number of goroutines may use it.
type Policy struct {
	groups []*Group

	// anyPort is the union over the groups: by direction and family, the
	// protocols that some open rule permits to every port.
	anyPort [2][families]portProtocols
}

// NewPolicy returns the union of the groups (SEM 1.2), none of which may be nil.
func NewPolicy(groups ...*Group) *Policy {
	p := &Policy{groups: append([]*Group(nil), groups...)}
	for _, g := range groups {
		for d := range g.sides {
			for f := range families {
				p.anyPort[d][f] |= g.sides[d].anyPort[f]
			}
		}
	}
	return p
}

// Judge says whether the rules admit a packet that belongs to no tracked
// connection, travelling in direction d. The deciding rule is the first that
// matches: by the order of the instance's groups, then of the group's rules. It
// does not change q.
func (p *Policy) Judge(d policy.Direction, q *Query) Decision {
	for _, g := range p.groups {
		side := &g.sides[d]
		if i := side.first(q); i >= 0 {
			return Decision{Rule: &side.rules[i], Mark: side.briefs[i].mark, Tracked: p.tracks(d, q, &side.briefs[i])}
		}
	}
	return Decision{}
}

// Rules yields all the rules for direction d in the order in which they are
// preferred. They must not be changed.
func (p *Policy) Rules(d policy.Direction) iter.Seq[*Rule] {
	return func(yield func(*Rule) bool) {
		for _, g := range p.groups {
			rules := g.sides[d].rules
			for i := range rules {
				if !yield(&rules[i]) {
					return
				}
			}
		}
	}
}
