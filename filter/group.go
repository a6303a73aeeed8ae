package filter

import (
	"cmp"
	"net/netip"
	"slices"

	"vswitch/internal/classify"
	"vswitch/internal/policy"
)

// A Group is one compiled security group. The zero Group admits nothing. It is
// immutable: all network interfaces that are members share it, and any number
// of goroutines may use it.
type Group struct {
	sides [2]side // by policy.Direction
}

// A side is the rules of a group for one direction.
type side struct {
	rules  []Rule
	briefs []brief         // of the rules, by index
	blocks *classify.Table // of all rules, by Prefixes; nil iff there are no rules
	groups []reference     // ascending by group, then family

	open    [families]classify.Services // of the open rules
	anyPort [families]portProtocols     // that some open rule permits to every port
}

// A brief is what a decision needs of a rule: four bytes of some seventy, so that
// those of many rules stay at hand.
type brief struct {
	mark uint16
	open [families]bool // isOpen
}

// A reference is all the rules of a side that name the same group, as far as
// they can match packets of one family.
type reference struct {
	group    GroupID
	family   family
	services classify.Services
	rules    []int32 // indices into side.rules, in the order of services
}

// compare orders references by group, then family.
func (r *reference) compare(group GroupID, f family) int {
	return cmp.Or(cmp.Compare(r.group, group), cmp.Compare(r.family, f))
}

// CompileGroup compiles the rules of a group. The order of the rules is that in
// which Judge prefers them. The group keeps copies of the rules, but shares
// their prefixes, which must not change.
func CompileGroup(ingress, egress []Rule) *Group {
	return &Group{sides: [2]side{policy.Ingress: compileSide(ingress), policy.Egress: compileSide(egress)}}
}

// compileSide compiles the rules of one direction.
func compileSide(rules []Rule) side {
	if len(rules) == 0 {
		return side{}
	}
	s := side{rules: slices.Clone(rules)}
	s.briefs = make([]brief, len(s.rules))
	blocks := make([]classify.Rule, len(s.rules))
	for i := range s.rules {
		r := &s.rules[i]
		s.briefs[i] = brief{mark: r.Mark, open: [families]bool{ipv4: r.isOpen(ipv4), ipv6: r.isOpen(ipv6)}}
		blocks[i] = classify.Rule{Service: r.Service, Prefixes: r.Prefixes}
		if r.Service.Protocol.HasTypes() {
			blocks[i].Prefixes = slices.DeleteFunc(slices.Clone(r.Prefixes), func(p netip.Prefix) bool {
				return !r.matchesFamily(familyOf(p.Addr()))
			})
		}
	}
	s.blocks = classify.Compile(blocks)
	s.groups = compileReferences(s.rules)
	for f := range families {
		var open []policy.Service
		for i := range s.rules {
			if r := &s.rules[i]; s.briefs[i].open[f] {
				open = append(open, r.Service)
				s.anyPort[f] |= portProtocolsOf(r.Service)
			}
		}
		s.open[f] = classify.CompileServices(open)
	}
	return s
}

// compileReferences gathers the rules that name the same group.
func compileReferences(rules []Rule) []reference {
	var order []int32 // the rules with a reference, by group and then by index
	for i := range rules {
		if rules[i].Group != 0 {
			order = append(order, int32(i))
		}
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(rules[a].Group, rules[b].Group), cmp.Compare(a, b))
	})

	var refs []reference
	for len(order) > 0 {
		group, n := rules[order[0]].Group, 1
		for n < len(order) && rules[order[n]].Group == group {
			n++
		}
		for f := range families {
			ref := reference{group: group, family: f}
			var services []policy.Service
			for _, i := range order[:n] {
				if rules[i].matchesFamily(f) {
					services = append(services, rules[i].Service)
					ref.rules = append(ref.rules, i)
				}
			}
			ref.services = classify.CompileServices(services)
			refs = append(refs, ref)
		}
		order = order[n:]
	}
	return refs
}

// first returns the index of the first rule that admits the packet, or -1.
func (s *side) first(q *Query) int {
	if len(s.rules) == 0 {
		return -1
	}
	best := s.blocks.First(&q.Packet)
	if len(s.groups) > 0 {
		f := q.family()
		for _, group := range q.RemoteGroups {
			if i := s.firstOf(group, f, &q.Packet); i >= 0 && (best < 0 || i < best) {
				best = i
			}
		}
	}
	return best
}

// firstOf returns the first rule that refers to the group and whose service the
// packet belongs to, or -1.
func (s *side) firstOf(group GroupID, f family, p *classify.Packet) int {
	lo, hi := 0, len(s.groups)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if s.groups[mid].compare(group, f) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(s.groups) || s.groups[lo].compare(group, f) != 0 {
		return -1
	}
	i := s.groups[lo].services.First(p)
	if i < 0 {
		return -1
	}
	return int(s.groups[lo].rules[i])
}
