package lint

import (
	"fmt"
	"net/netip"
	"strings"

	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// networkACLs looks at every network ACL.
func (l *linter) networkACLs() {
	for i := range l.c.NetworkACLs {
		a := &l.c.NetworkACLs[i]
		served := l.subnetsOf(a.Name)
		lists := [2]*entries{
			policy.Ingress: newACLEntries(a.Ingress),
			policy.Egress:  newACLEntries(a.Egress),
		}
		for _, d := range directions {
			l.shadowedEntries(a, d, lists[d])
			l.ownSubnetEntries(a, d, served)
		}
		if len(served) > 0 {
			l.replies(a, lists, served)
		}
	}
}

// subnetsOf returns the subnets that a network ACL serves.
func (l *linter) subnetsOf(acl string) []*vswitch.Subnet {
	var out []*vswitch.Subnet
	for i := range l.c.Subnets {
		if l.c.Subnets[i].NetworkACL == acl {
			out = append(out, &l.c.Subnets[i])
		}
	}
	return out
}

// entryObject names an entry: "nacl.private egress 100".
func entryObject(a *vswitch.NetworkACL, d policy.Direction, e *vswitch.NetworkACLEntry) string {
	return fmt.Sprintf("nacl.%s %s %d", a.Name, d, e.Number)
}

// entryWords returns what an entry matches: "tcp 443 <- 10.0.0.0/16".
func entryWords(d policy.Direction, e *vswitch.NetworkACLEntry) string {
	return fmt.Sprintf("%s %s %s", e.Service, arrow(d), e.CIDR)
}

// shadowedEntries finds the entries that can never decide: those that change
// nothing by that, and those whose verdict never takes effect.
func (l *linter) shadowedEntries(a *vswitch.NetworkACL, d policy.Direction, list *entries) {
	for i := range list.written {
		by, ok := list.behind(i)
		if !ok {
			continue
		}
		e := &list.written[i]
		f := Finding{Code: ACLRedundant, Object: entryObject(a, d, e), Origin: e.Origin}
		var same, opposite []string
		for _, o := range by {
			other := &list.written[o]
			f.Others = append(f.Others, other.Origin)
			words := fmt.Sprintf("%d (%s %s)", other.Number, other.Action, entryWords(d, other))
			if other.Action == e.Action {
				same = append(same, words)
			} else {
				opposite = append(opposite, words)
			}
		}
		first := list.written[by[0]].Number
		rule := plural(len(by), "rule ", "rules ")
		switch {
		case len(opposite) == 0:
			f.Message = fmt.Sprintf("%s %s never decides: %s%s does it already", e.Action, entryWords(d, e), rule, series(same, someNames))
			if len(by) > 1 {
				f.Message = strings.TrimSuffix(f.Message, " does it already") + " do it already"
			}
			f.Advice = "remove the rule: nothing changes"
		case len(same) == 0:
			f.Code = ACLShadowed
			f.Message = fmt.Sprintf("%s %s never takes effect: %s%s %s first", e.Action, entryWords(d, e), rule, series(opposite, someNames), plural(len(by), "decides", "decide"))
			f.Advice = fmt.Sprintf("number it before rule %d if it is meant, or remove it", first)
		default:
			f.Code = ACLShadowed
			f.Message = fmt.Sprintf("%s %s never takes effect: %s%s %s against it first, and %s %s the same",
				e.Action, entryWords(d, e), plural(len(opposite), "rule ", "rules "), series(opposite, someNames), plural(len(opposite), "decides", "decide"),
				series(same, someNames), plural(len(same), "decides", "decide"))
			f.Advice = fmt.Sprintf("number it before rule %d if it is meant, or remove it", first)
		}
		l.add(f)
	}
}

// ownSubnetEntries finds the entries for addresses of the only subnet that the
// network ACL serves. What stays inside a subnet never meets its network ACL
// (SEM 3.2). It says nothing as soon as an instance may forward packets of
// others, which could then come back over the edge.
func (l *linter) ownSubnetEntries(a *vswitch.NetworkACL, d policy.Direction, served []*vswitch.Subnet) {
	if len(served) != 1 || l.forwards() {
		return
	}
	s := served[0]
	list := a.Entries(d)
	for i := range list {
		e := &list[i]
		if !inside(e.CIDR, s.CIDR) && !inside(e.CIDR, s.CIDR6) {
			continue
		}
		l.add(Finding{
			Code:    ACLOwnSubnet,
			Object:  entryObject(a, d, e),
			Origin:  e.Origin,
			Message: fmt.Sprintf("%s %s never decides: %s is inside subnet %s, and what stays inside a subnet never meets its network ACL", e.Action, entryWords(d, e), e.CIDR, s.Name),
			Advice:  "use a security group between instances of one subnet, or put them into two subnets",
			Others:  []vswitch.Origin{s.Origin},
		})
	}
}

// forwards reports whether an instance may forward packets that are not its own.
func (l *linter) forwards() bool {
	for i := range l.c.Instances {
		if l.c.Instances[i].DisableSourceDestCheck {
			return true
		}
	}
	return false
}

// inside reports whether all of block lies in outer, which may be the zero
// Prefix.
func inside(block, outer netip.Prefix) bool {
	return outer.IsValid() && outer.Overlaps(block) && outer.Bits() <= block.Bits()
}
