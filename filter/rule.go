// Package filter evaluates security groups: it says whether the rules of a
// network interface admit a packet that belongs to no tracked connection, and
// whether the connection it starts is tracked. It holds no state.
package filter

import (
	"net/netip"

	"vswitch/internal/classify"
	"vswitch/internal/policy"
)

// A GroupID names a security group, as a reference in a rule and as a
// membership of a network interface. Whoever compiles the groups hands out the
// numbers, from 1; the zero GroupID is no group.
type GroupID uint32

// A Rule allows one service to or from one peer. Security groups know no other
// kind: nothing denies (SEM 1.1). A rule that names both prefixes and a group
// matches either.
type Rule struct {
	ID       string // sgr-...; not interpreted here
	Service  policy.Service
	Prefixes []netip.Prefix // the peer as address blocks; empty if the peer is a group
	Group    GroupID        // the peer as the members of a group (SEM 1.4); 0 if it is address blocks

	Mark uint16 // the caller's; not interpreted here

	// Open says that the author wrote the any-address block as the peer, and
	// not a prefix list that happens to hold it: only such a rule can leave a
	// flow untracked (SEM 2.2, rows b and l). It counts for each family whose
	// zero-length block is among Prefixes.
	Open bool
}

// matchesFamily reports whether the rule can match packets of the family at
// all. ICMP belongs to IPv4 and ICMPv6 to IPv6 (SEM 1.3).
func (r *Rule) matchesFamily(f family) bool {
	switch r.Service.Protocol {
	case policy.ICMP:
		return f == ipv4
	case policy.ICMPv6:
		return f == ipv6
	}
	return true
}

// isOpen reports whether the rule counts as open for packets of the family.
func (r *Rule) isOpen(f family) bool {
	if !r.Open {
		return false
	}
	for _, p := range r.Prefixes {
		if familyOf(p.Addr()) == f && p.Bits() == 0 {
			return true
		}
	}
	return false
}

// A family is an address family. IPv4 and IPv6 are judged apart everywhere
// (SEM 0.1, item 6).
type family uint8

const (
	ipv4 family = iota
	ipv6
	families // how many there are
)

// familyOf returns the family of an address.
func familyOf(a netip.Addr) family {
	if a.Is4() {
		return ipv4
	}
	return ipv6
}

// A Query is a packet, and what the rules must know of its remote end.
type Query struct {
	Packet classify.Packet

	// RemoteGroups are the groups of the network interface at the remote end:
	// for ingress, the one that emitted the packet into the VPC; for egress, the
	// one that has the destination address. It must be empty where a reference
	// to a group does not match: the packet was translated or passed through a
	// middlebox, or the remote end is outside the VPC (SEM 1.4).
	RemoteGroups []GroupID

	// MayReply says that the packet may answer one of a flow that nobody
	// remembers, because it is not tracked; SourcePort is then the port that the
	// other one was sent to. A TCP SYN without ACK answers nothing.
	MayReply   bool
	SourcePort uint16 // valid iff MayReply
}

// family returns the family of the packet.
func (q *Query) family() family {
	if q.Packet.Is4() {
		return ipv4
	}
	return ipv6
}

// A Decision says what became of a packet. The zero Decision denies it.
type Decision struct {
	Rule *Rule  // the first rule that admits the packet; nil if none does. Not to be changed.
	Mark uint16 // the rule's, without a look at the rule: of many, it is not at hand

	// Tracked says that the flow needs an entry in the connection table
	// (SEM 2.2). It is false for a packet that is denied. A flow through a
	// component that is always tracked is for the caller to know.
	Tracked bool
}
