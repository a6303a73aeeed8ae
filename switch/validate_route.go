package vswitch

import "net/netip"

// maxRoutes is how many routes of one family a table may hold besides the local
// ones (SEM 5.2).
const maxRoutes = 500

// platformBlocks hold the addresses of AWS's own services: no route leads there
// or to a part of them (SEM 5.3).
var platformBlocks = prefixes("169.254.168.0/22", "fd00:ec2::/32")

// checkRouteTables checks every route table.
func (v *validator) checkRouteTables() {
	seen := make(map[string]string, len(v.c.RouteTables))
	for i := range v.c.RouteTables {
		t := &v.c.RouteTables[i]
		at := place{table: "route", name: t.Name}
		v.checkName(at.path(), t.Name)
		v.unique(seen, at.path(), t.Name, t.Name)
		count := map[bool]int{}
		destinations := make(map[netip.Prefix]bool, len(t.Routes))
		for j := range t.Routes {
			r := &t.Routes[j]
			path := at.path(r.Destination.String())
			if !r.Destination.IsValid() {
				v.problem(path, "the destination is no block")
				continue
			}
			block := r.Destination.Masked()
			if destinations[block] {
				v.problem(path, "the table has another route to %s", block)
			}
			destinations[block] = true
			count[block.Addr().Is4()]++
			v.checkRoute(path, block, r.Target)
		}
		for is4, n := range count {
			if n > maxRoutes {
				v.problem(at.path(), "%d %s routes; AWS allows %d", n, familyName(is4), maxRoutes)
			}
		}
	}
}

func familyName(is4 bool) string {
	if is4 {
		return "IPv4"
	}
	return "IPv6"
}

// checkRoute checks the destination and the target of one route.
func (v *validator) checkRoute(path []string, block netip.Prefix, target Target) {
	if target.Kind == TargetInstance && !v.instances.has(target.Name) {
		v.problem(path, "no instance %q", target.Name)
		v.hintNearest(target.Name, append([]string{"local", "blackhole"}, v.instances.order...))
	}
	for _, p := range platformBlocks {
		if p.Overlaps(block) && p.Bits() <= block.Bits() {
			v.problem(path, "AWS routes nothing into %s", p)
			return
		}
	}
	local, inside := v.localBlock(block)
	switch {
	case !inside && target.Kind == TargetLocal:
		v.problem(path, "only the VPC's own blocks are local")
	case inside && target.Kind == TargetBlackhole:
		v.problem(path, "a route inside the VPC's block %s leads to an instance", local)
	case inside && local != block && !v.isSubnetBlock(block):
		v.problem(path, "a route more specific than the VPC's block %s must be for the whole block of a subnet (SEM 5.3)", local)
	}
}

// localBlock returns the VPC's block that holds b, if one does.
func (v *validator) localBlock(b netip.Prefix) (netip.Prefix, bool) {
	for _, local := range append(v.vpcBlocks4(), v.c.VPC.CIDR6) {
		if local.IsValid() && local.Overlaps(b) && local.Bits() <= b.Bits() {
			return local.Masked(), true
		}
	}
	return netip.Prefix{}, false
}

// isSubnetBlock reports whether b is the whole block of a subnet.
func (v *validator) isSubnetBlock(b netip.Prefix) bool {
	for i := range v.c.Subnets {
		s := &v.c.Subnets[i]
		if s.CIDR.IsValid() && s.CIDR.Masked() == b || s.CIDR6.IsValid() && s.CIDR6.Masked() == b {
			return true
		}
	}
	return false
}
