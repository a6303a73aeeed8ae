package vswitch

import (
	"net/netip"

	"vswitch/conntrack"
	"vswitch/filter"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/nacl"
	"vswitch/port"
)

// An eni is the network interface of one instance as one plane has it:
// immutable, compiled, with direct pointers to all that judges its frames. What
// outlives a plane (connections, counters) the worker keeps under handle.
type eni struct {
	handle uint32 // names the interface from its first plane to its last; from 1
	name   string // the instance's
	iface  Interface

	mac       wire.MAC
	address   wire.Addr   // the primary one
	addresses []wire.Addr // all, the primary one first
	subnet    *subnet
	groups    []filter.GroupID
	policy    *filter.Policy
	limits    conntrack.Limits

	// checkAddress is AWS's source/dest check: the interface sends only from, and
	// receives only to, its own addresses. Without it the instance may forward.
	checkAddress bool

	device   port.Device // nil while the instance has none
	offloads port.Offloads
	mtu      int // bytes, without the Ethernet header
}

// A subnet is the running counterpart of Subnet.
type subnet struct {
	name       string
	cidr       netip.Prefix
	router     wire.Addr // the first address of the block, the instances' gateway (SEM 5.1)
	routerMAC  wire.MAC
	broadcast  wire.Addr // the last address of the block
	acl        *nacl.Table
	aclName    string
	neighbours map[wire.MAC]*eni
	routes     *routeTable
	onLink     route // of packets that do not leave the subnet
}

// contains reports whether an address is one of the subnet's.
func (s *subnet) contains(a netip.Addr) bool { return s.cidr.Contains(a) }

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
	if f.Src != e.mac {
		return policy.SourceMAC
	}
	if f.Kind == wire.KindARP {
		return policy.None // answerARP checks the sender
	}
	if f.Dst[0]&1 != 0 {
		if f.Dst == broadcastMAC {
			return policy.Broadcast
		}
		return policy.Multicast
	}
	if f.Kind == wire.KindIPv6 {
		return policy.IPv6Unsupported
	}
	if f.Tuple.Src == e.address || e.owns(&f.Tuple.Src) {
		return policy.None
	}
	if e.checkAddress || !forwardable(&f.Tuple.Src) || f.Tuple.Src == e.subnet.router {
		return policy.SourceAddress
	}
	return policy.None
}

var broadcastMAC = wire.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// forwardable reports whether an instance that forwards for others may send
// from the IPv4 address a: not 0.0.0.0/8, loopback, multicast or reserved
// (RFC 6890), which no host has.
func forwardable(a *wire.Addr) bool {
	return a[12] != 0 && a[12] != 127 && a[12] < 224
}
