package lint

import (
	"fmt"

	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// The objects that AWS gives every VPC: that nobody uses them is no finding, and
// to empty them is good practice.
const (
	defaultName    = "default"
	mainRouteTable = "main"
)

// unused finds objects that nothing refers to.
func (l *linter) unused() {
	groups, lists := l.used()
	for i := range l.c.SecurityGroups {
		if g := &l.c.SecurityGroups[i]; !groups[g.Name] && g.Name != defaultName {
			l.add(Finding{
				Code: SGUnused, Object: "security_group." + g.Name, Origin: g.Origin,
				Message: "no instance is in it, and no rule of another group refers to it",
				Advice:  fmt.Sprintf("put an instance into it (sg = [%q]), or remove it", g.Name),
			})
		}
	}
	for i := range l.c.PrefixLists {
		if p := &l.c.PrefixLists[i]; !lists[p.Name] {
			l.add(Finding{
				Code: ListUnused, Object: "prefix_list." + p.Name, Origin: p.Origin,
				Message: "no rule refers to it",
				Advice:  fmt.Sprintf("name it in a rule (from = %q), or remove it", "pl:"+p.Name),
			})
		}
	}
	acls, tables := map[string]bool{defaultName: true}, map[string]bool{mainRouteTable: true}
	for i := range l.c.Subnets {
		acls[l.c.Subnets[i].NetworkACL] = true
		tables[l.c.Subnets[i].RouteTable] = true
	}
	for i := range l.c.NetworkACLs {
		if a := &l.c.NetworkACLs[i]; !acls[a.Name] {
			l.add(Finding{
				Code: ACLUnused, Object: "nacl." + a.Name, Origin: a.Origin,
				Message: "no subnet has it",
				Advice:  fmt.Sprintf("give it to a subnet (nacl = %q), or remove it", a.Name),
			})
		}
	}
	for i := range l.c.RouteTables {
		if t := &l.c.RouteTables[i]; !tables[t.Name] {
			l.add(Finding{
				Code: RouteUnused, Object: "route." + t.Name, Origin: t.Origin,
				Message: "no subnet has it",
				Advice:  fmt.Sprintf("give it to a subnet (route = %q), or remove it", t.Name),
			})
		}
	}
}

// used returns the groups that an instance is in or a rule of another group refers
// to, and the prefix lists that a rule refers to.
func (l *linter) used() (groups, lists map[string]bool) {
	groups, lists = make(map[string]bool), make(map[string]bool)
	for i := range l.c.Instances {
		for _, g := range l.c.Instances[i].SecurityGroups {
			groups[g] = true
		}
	}
	for i := range l.c.SecurityGroups {
		g := &l.c.SecurityGroups[i]
		for _, d := range []policy.Direction{policy.Ingress, policy.Egress} {
			for _, r := range groupRules(g, d) {
				switch {
				case r.Peer.Kind == vswitch.PeerPrefixList:
					lists[r.Peer.Name] = true
				case r.Peer.Kind == vswitch.PeerSecurityGroup && r.Peer.Name != g.Name:
					groups[r.Peer.Name] = true
				}
			}
		}
	}
	return groups, lists
}
