package vswitch

import (
	"net/netip"
	"slices"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// A routeTable is the running counterpart of RouteTable: the local routes
// included, the longest block first, so that the first that matches decides.
// There are few routes, and only the first packet of a flow asks.
type routeTable struct {
	name   string
	routes []route
}

type route struct {
	block  netip.Prefix
	target Target
	via    *eni // valid iff target is an instance
	origin Origin
}

// compileRoutes compiles a table. A route for a block of the VPC replaces the
// local one (SEM 5.2). The targets are resolved with the interfaces.
func compileRoutes(t *RouteTable, local []netip.Prefix) *routeTable {
	table := &routeTable{name: t.Name}
	for _, r := range t.Routes {
		table.routes = append(table.routes, route{block: r.Destination, target: r.Target, origin: r.Origin})
	}
	for _, block := range local {
		if !slices.ContainsFunc(t.Routes, func(r Route) bool { return r.Destination == block }) {
			table.routes = append(table.routes, route{block: block})
		}
	}
	slices.SortStableFunc(table.routes, func(a, b route) int { return b.block.Bits() - a.block.Bits() })
	return table
}

// lookup returns the route to an address, or nil.
func (t *routeTable) lookup(dst netip.Addr) *route {
	for i := range t.routes {
		if t.routes[i].block.Contains(dst) {
			return &t.routes[i]
		}
	}
	return nil
}

// route returns the route that a packet from an interface takes, and the
// interface it leads to, which is never the same. A packet to an address of the
// subnet itself stays there, whatever the routes: traffic inside a subnet cannot be
// sent through an appliance (SEM 4.2). A packet that no route matches, or that a
// blackhole takes, is dropped silently (SEM 5.3), and so is one that would carry a
// link-local address to another link (RFC 4291 section 2.5.6).
func (p *plane) route(in *eni, t *wire.FiveTuple) (*route, *eni, policy.Reason) {
	addr, s := t.Dst.Netip(), in.subnet
	r := s.routes.lookup(addr)
	switch {
	case s.cidr.Contains(addr):
		r = &s.onLink[0]
	case s.cidr6.Contains(addr):
		r = &s.onLink[1]
	}
	switch {
	case r == nil, isLinkLocal6(&t.Dst), isLinkLocal6(&t.Src) && !s.contains(addr):
		return nil, nil, policy.NoRoute
	case r.target.Kind == TargetBlackhole:
		return r, nil, policy.Blackhole
	case r.target.Kind == TargetInstance && r.via == in:
		return r, nil, policy.Hairpin
	case r.target.Kind == TargetInstance:
		return r, r.via, policy.None
	}
	if owner := p.byAddress[t.Dst]; owner != nil {
		return r, owner, policy.None
	}
	return r, nil, policy.Unassigned
}
