package vswitch

import (
	"maps"
	"slices"
)

// What decide reads of a plane is the two interfaces of the flow with all that
// they point to, which judgedAs compares, and what belongs to no interface, which
// topologyDiffers does. A flow whose interfaces are judged as before gets the same
// verdict as before, so that its entry in the flow cache stays good. Whoever makes
// decide read something else must compare it here; TestSinceIsTrue and
// TestSwitchEqualsModel find out if he does not.

// topologyDiffers reports whether p differs from prev in an address that is judged
// whoever sends to it, or whether their generations cannot be compared.
func (p *plane) topologyDiffers(prev *plane) bool {
	return prev == nil || p.generation < prev.generation || !maps.Equal(p.routers, prev.routers) || !maps.Equal(p.services, prev.services)
}

// judgedAs reports whether the packets that e sends and receives are judged as
// those of old, the same instance in the plane before. Devices do not count: a
// verdict does not depend on them.
func (e *eni) judgedAs(old *eni) bool {
	return e.handle == old.handle && e.mac == old.mac && e.mtu == old.mtu &&
		e.checkAddress == old.checkAddress && e.limits == old.limits &&
		slices.Equal(e.addresses, old.addresses) &&
		slices.Equal(e.members, old.members) && // and with them the groups' handles
		e.subnet.judgedAs(old.subnet)
}

// judgedAs reports whether the packets at the edge of s and at its router are
// judged as those of old. The neighbours do not count: each is an interface of its
// own, and an entry of the flow cache names the one it leads to.
func (s *subnet) judgedAs(old *subnet) bool {
	return s.cidr == old.cidr && s.cidr6 == old.cidr6 && s.routerMAC == old.routerMAC &&
		s.acl == old.acl && slices.EqualFunc(s.routes.routes, old.routes.routes, sameWay)
}

// sameWay reports whether two routes lead the same packets to the same target. An
// instance that has been replaced by another of its name is a target of its own,
// and so is new to the flow cache.
func sameWay(a, b route) bool { return a.block == b.block && a.target == b.target }
