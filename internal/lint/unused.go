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
	acls, tables := map[string]bool{}, map[string]bool{}
	for i := range l.c.Subnets {
		acls[l.c.Subnets[i].NetworkACL] = true
		tables[l.c.Subnets[i].RouteTable] = true
	}
	found := func(code Code, table, name string, at vswitch.Origin, message, advice, value string) {
		l.add(Finding{
			Code: code, Object: table + "." + name, Origin: at, Message: message,
			Advice: fmt.Sprintf("%s = %s), or remove it", advice, fmt.Sprintf(value, name)),
		})
	}
	for i := range l.c.SecurityGroups {
		if g := &l.c.SecurityGroups[i]; !groups[g.Name] && g.Name != defaultName {
			found(SGUnused, "security_group", g.Name, g.Origin, "no instance is in it, and no rule of another group refers to it", "put an instance into it (sg", `["%s"]`)
		}
	}
	for i := range l.c.PrefixLists {
		if p := &l.c.PrefixLists[i]; !lists[p.Name] {
			found(ListUnused, "prefix_list", p.Name, p.Origin, "no rule refers to it", "name it in a rule (from", `"pl:%s"`)
		}
	}
	for i := range l.c.NetworkACLs {
		if a := &l.c.NetworkACLs[i]; !acls[a.Name] && a.Name != defaultName {
			found(ACLUnused, "nacl", a.Name, a.Origin, "no subnet has it", "give it to a subnet (nacl", `"%s"`)
		}
	}
	for i := range l.c.RouteTables {
		if t := &l.c.RouteTables[i]; !tables[t.Name] && t.Name != mainRouteTable {
			found(RouteUnused, "route", t.Name, t.Origin, "no subnet has it", "give it to a subnet (route", `"%s"`)
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
			for _, r := range g.Rules(d) {
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
