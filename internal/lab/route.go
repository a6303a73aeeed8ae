package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// addAddress adds an address to a link, which may have it.
func addAddress(h *netlink.Handle, link netlink.Link, a netip.Prefix) error {
	if err := h.AddrReplace(link, &netlink.Addr{IPNet: ipNet(a)}); err != nil {
		return fmt.Errorf("link %s: address %s: %w", link.Attrs().Name, a, err)
	}
	return nil
}

// changeAddresses makes the link's addresses those of e. The order matters: the
// first of IPv4 is the source of what the instance sends, and removing it removes
// the others of its subnet. So a new primary address means all of IPv4 anew, and
// anything less touches only what differs.
func (e *endpoint) changeAddresses(h *netlink.Handle, link netlink.Link, old *endpoint) error {
	gone := except(old.addresses, e.addresses)
	if old.addresses[0] != e.addresses[0] {
		gone = slices.DeleteFunc(slices.Clone(old.addresses), func(a netip.Prefix) bool {
			return a.Addr().Is6() && slices.Contains(e.addresses, a)
		})
	}
	for _, a := range gone {
		err := h.AddrDel(link, &netlink.Addr{IPNet: ipNet(a)})
		// It went with the primary one, or with IPv6; ENXIO: the link is too narrow for
		// IPv6 now.
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENXIO) {
			return fmt.Errorf("link %s: remove address %s: %w", e.device, a, err)
		}
	}
	// Those that are there stay as they are.
	for _, a := range e.addresses {
		if err := addAddress(h, link, a); err != nil {
			return err
		}
	}
	return nil
}

// except returns what is in a and not in b.
func except(a, b []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(a), func(p netip.Prefix) bool { return slices.Contains(b, p) })
}

// routes are the routes through the subnet's router: the default routes in a
// namespace, the VPC's blocks in the host's, which keeps its own default routes.
// There, each TAP's routes have a metric of their own, since two TAPs may lead to
// the same VPC.
func (e *endpoint) routes(link netlink.Link) []*netlink.Route {
	to, metric := e.blocks, link.Attrs().Index
	if !e.host() {
		to, metric = []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0)}, 0
		if e.ipv6() {
			to = append(to, netip.PrefixFrom(netip.IPv6Unspecified(), 0))
		}
	}
	var all []*netlink.Route
	for _, b := range to {
		all = append(all, &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(b), Gw: e.routerFor(b).AsSlice(), Priority: metric})
	}
	return all
}

func (e *endpoint) addRoutes(h *netlink.Handle, link netlink.Link) error {
	for _, r := range e.routes(link) {
		if err := h.RouteAdd(r); err != nil {
			return fmt.Errorf("link %s: route to %s via %s: %w", e.device, r.Dst, r.Gw, err)
		}
	}
	return nil
}

// changeRoutes makes the link's routes those of e. All of e's are set again,
// since some may have gone with an address.
func (e *endpoint) changeRoutes(h *netlink.Handle, link netlink.Link, old *endpoint) error {
	for _, b := range except(old.blocks, e.blocks) {
		err := h.RouteDel(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(b), Priority: link.Attrs().Index})
		if err != nil && !errors.Is(err, unix.ESRCH) { // it went with an address
			return fmt.Errorf("link %s: remove route to %s: %w", e.device, b, err)
		}
	}
	for _, r := range e.routes(link) {
		if err := h.RouteReplace(r); err != nil {
			return fmt.Errorf("link %s: route to %s via %s: %w", e.device, r.Dst, r.Gw, err)
		}
	}
	return nil
}

// routeConflict returns an error if the host already has a way into one of the
// endpoint's blocks, other than the default route and the links of ours: the
// endpoint's routes would take traffic away from it, or get none.
func (e *endpoint) routeConflict(ours map[int]bool) error {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("routes of this host: %w", err)
	}
	for _, r := range routes {
		if r.Dst == nil || ours[r.LinkIndex] {
			continue
		}
		ones, _ := r.Dst.Mask.Size()
		address, ok := netip.AddrFromSlice(r.Dst.IP)
		if !ok || ones == 0 {
			continue
		}
		there := netip.PrefixFrom(address.Unmap(), ones)
		for _, b := range e.blocks {
			if b.Overlaps(there) {
				return fmt.Errorf("this host has a route to %s, which overlaps the VPC's %s: a TAP of kind host would cut it off; use another block, or kind netns", there, b)
			}
		}
	}
	return nil
}
