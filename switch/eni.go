package vswitch

import (
	"net/netip"
	"slices"

	"vswitch/conntrack"
	"vswitch/filter"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/port"
)

// An eni is the network interface of one instance as one plane has it:
// immutable, compiled, with direct pointers to all that judges its frames. What
// outlives a plane (connections, counters) the worker keeps under handle.
type eni struct {
	handle uint32 // names the interface from its first plane to its last; from 1
	since  uint32 // generation of the first plane that judges its frames as this one does
	name   string // the instance's
	iface  Interface

	mac       wire.MAC
	address   wire.Addr   // the primary one
	addresses []wire.Addr // all, the primary one first, the link-local one last if the subnet has IPv6
	subnet    *subnet
	groups    []filter.GroupID
	members   []*filter.Group // what the groups say
	policy    *filter.Policy  // of members
	limits    conntrack.Limits

	// checkAddress is AWS's source/dest check: the interface sends only from, and
	// receives only to, its own addresses. Without it the instance may forward.
	checkAddress bool

	queues   []port.Device // of its device, one for each worker to write to, by index; none while the instance has no device
	read     int           // how many of them there are, each read by the worker of its index; the others repeat them. 0 without a device
	offloads port.Offloads
	mtu      int // bytes, without the Ethernet header
}

// A subnet is the running counterpart of Subnet.
type subnet struct {
	name       string
	cidr       netip.Prefix
	cidr6      netip.Prefix // the zero Prefix without IPv6
	router     wire.Addr    // the first address of the block, the instances' gateway (SEM 5.1)
	routers6   []wire.Addr  // its IPv6 addresses; none without IPv6
	routerMAC  wire.MAC
	broadcast  wire.Addr // the last address of the block
	acl        *compiledACL
	aclName    string
	neighbours map[wire.MAC]*eni
	linkLocal  map[wire.Addr]*eni // the neighbours by their link-local addresses
	routes     *routeTable
	onLink     [2]route // of packets that do not leave the subnet: IPv4, IPv6
}

// contains reports whether an address lies in the subnet's blocks.
func (s *subnet) contains(a netip.Addr) bool { return s.cidr.Contains(a) || s.cidr6.Contains(a) }

// onTheLink reports whether packets to an address stay in the subnet.
func (s *subnet) onTheLink(a *wire.Addr) bool { return isLinkLocal6(a) || s.contains(a.Netip()) }

// isRouter reports whether an address is one of the subnet's router.
func (s *subnet) isRouter(a *wire.Addr) bool {
	return *a == s.router || slices.Contains(s.routers6, *a)
}

// owns reports whether a is one of the interface's own addresses.
func (e *eni) owns(a *wire.Addr) bool {
	for i := range e.addresses {
		if e.addresses[i] == *a {
			return true
		}
	}
	return false
}

// identify checks that the frame is the interface's own, and meant for somebody
// it can reach: the source MAC always, the source address unless the source/dest
// check is off, and no destination that a VPC does not carry (reliability rows
// L1, L2, L10, L11). It comes before the flow cache, for every frame.
func (e *eni) identify(f *wire.Frame) policy.Reason {
	switch {
	case f.Src != e.mac:
		return policy.SourceMAC
	case f.Kind == wire.KindARP:
		return policy.None // answerARP checks the sender
	case f.Dst[0]&1 != 0:
		if f.IsND() {
			return policy.None // answerND checks the sender
		}
		if f.Dst == broadcastMAC {
			return policy.Broadcast
		}
		if joins(f) {
			return policy.MulticastMembership
		}
		return policy.Multicast
	case f.Tuple.Src == e.address || e.owns(&f.Tuple.Src):
		return policy.None
	case e.checkAddress || !forwardable(&f.Tuple.Src) || e.subnet.isRouter(&f.Tuple.Src):
		return policy.SourceAddress
	}
	return policy.None
}

// joins reports whether f is IGMP, or a message of multicast listener discovery
// (RFC 2710, RFC 3810), which every kernel with IPv6 sends unasked.
func joins(f *wire.Frame) bool {
	switch policy.Protocol(f.Tuple.Protocol) {
	case 2:
		return f.Kind == wire.KindIPv4
	case policy.ICMPv6:
		return f.Type == 143 || 130 <= f.Type && f.Type <= 132
	}
	return false
}

var broadcastMAC = wire.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// forwardable reports whether an instance that forwards for others may send from
// a: not this network, loopback, link-local IPv6, multicast or reserved (RFC
// 6890), from which nothing is forwarded.
func forwardable(a *wire.Addr) bool {
	if a.Is4() {
		return a[12] != 0 && a[12] != 127 && a[12] < 224
	}
	return a[0] != 0xff && !isLinkLocal6(a) && *(*[15]byte)(a[:]) != [15]byte{}
}

// isLinkLocal6 reports whether a lies in fe80::/10.
func isLinkLocal6(a *wire.Addr) bool { return a[0] == 0xfe && a[1]&0xc0 == 0x80 }
