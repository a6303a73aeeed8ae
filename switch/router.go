package vswitch

import (
	"net/netip"

	"vswitch/internal/policy"
)

// route returns the block of the route that a packet to dst takes. Every subnet
// has the same table so far: the local routes, one for each block of the VPC
// (SEM 5.2). A packet that no route matches is dropped silently (SEM 5.3).
func (p *plane) route(dst netip.Addr) (netip.Prefix, policy.Reason) {
	for _, block := range p.local {
		if block.Contains(dst) {
			return block, policy.None
		}
	}
	return netip.Prefix{}, policy.NoRoute
}
