package reach

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	vswitch "vswitch/switch"
)

// classes returns the class of each instance: those of one class have the same
// groups, network ACL and routes, and their addresses lie in the same of all
// blocks that rules and routes name. Nothing else tells them apart at a gate. An
// instance that routes lead to is a class of its own.
func classes(c *vswitch.Config) map[string]string {
	blocks := blocksOf(c)
	relays := make(map[string]bool)
	for i := range c.RouteTables {
		for _, r := range c.RouteTables[i].Routes {
			if r.Target.Kind == vswitch.TargetInstance {
				relays[r.Target.Name] = true
			}
		}
	}
	all := make(map[string]string, len(c.Instances))
	for i := range c.Instances {
		in := &c.Instances[i]
		subnet := c.Subnet(in.Subnet)
		var b strings.Builder
		if len(relays) > 0 { // whether they share the subnet of one counts, too
			b.WriteString(in.Subnet)
		}
		if relays[in.Name] {
			b.WriteString("|" + in.Name)
		}
		fmt.Fprintf(&b, "|%s|%s|%q|", subnet.NetworkACL, subnet.RouteTable, slices.Sorted(slices.Values(in.SecurityGroups)))
		for j, block := range blocks {
			if block.Contains(in.IP) || in.IP6.IsValid() && block.Contains(in.IP6) {
				fmt.Fprintf(&b, " %d", j)
			}
		}
		fmt.Fprintf(&b, "|%v", in.IP6.IsValid())
		all[in.Name] = b.String()
	}
	return all
}

// blocksOf returns all blocks that rules and routes name.
func blocksOf(c *vswitch.Config) []netip.Prefix {
	seen := make(map[netip.Prefix]bool)
	var all []netip.Prefix
	add := func(blocks ...netip.Prefix) {
		for _, b := range blocks {
			if !seen[b] {
				seen[b], all = true, append(all, b)
			}
		}
	}
	for i := range c.SecurityGroups {
		g := &c.SecurityGroups[i]
		for _, rules := range [][]vswitch.SecurityGroupRule{g.Ingress, g.Egress} {
			for j := range rules {
				add(c.PeerBlocks(rules[j].Peer)...)
			}
		}
	}
	for i := range c.NetworkACLs {
		for _, entries := range [][]vswitch.NetworkACLEntry{c.NetworkACLs[i].Ingress, c.NetworkACLs[i].Egress} {
			for j := range entries {
				add(entries[j].CIDR)
			}
		}
	}
	for i := range c.RouteTables {
		for _, r := range c.RouteTables[i].Routes {
			add(r.Destination)
		}
	}
	return all
}
