package main

import (
	"fmt"
	"strings"

	"vswitch/internal/api"
	vswitch "vswitch/switch"
)

// counts counts the objects that the file declares. Completing a configuration
// adds AWS's defaults, which nobody wrote: their origin has no line.
func counts(c *vswitch.Config) api.Counts {
	n := api.Counts{
		Subnets:     len(c.Subnets),
		Instances:   len(c.Instances),
		PrefixLists: len(c.PrefixLists),
		Tests:       len(c.Tests),
	}
	for i := range c.SecurityGroups {
		g := &c.SecurityGroups[i]
		if g.Line != 0 {
			n.SecurityGroups++
		}
		for _, rules := range [][]vswitch.SecurityGroupRule{g.Ingress, g.Egress} {
			for j := range rules {
				if rules[j].Line != 0 {
					n.SecurityGroupRules++
				}
			}
		}
	}
	for i := range c.NetworkACLs {
		a := &c.NetworkACLs[i]
		if a.Line != 0 {
			n.NetworkACLs++
		}
		for _, entries := range [][]vswitch.NetworkACLEntry{a.Ingress, a.Egress} {
			for j := range entries {
				if entries[j].Line != 0 {
					n.NetworkACLRules++
				}
			}
		}
	}
	return n
}

// summary returns the first line of what up and check print.
func summary(vpc, cidr string, n api.Counts) string {
	groups := count(n.SecurityGroups, "security group")
	if n.SecurityGroupRules > 0 {
		groups += fmt.Sprintf(" (%s)", count(n.SecurityGroupRules, "rule"))
	}
	parts := []string{vpc, cidr, count(n.Subnets, "subnet"), count(n.Instances, "instance"), groups, count(n.NetworkACLs, "network ACL")}
	return strings.Join(parts, "  ")
}
