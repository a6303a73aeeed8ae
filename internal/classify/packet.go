// Package classify finds the first rule of a list that a packet matches: the
// classifier under security groups and network ACLs.
//
// A rule has two dimensions: the remote end, a set of address blocks, and the
// service, a protocol with its ports or its ICMP type and code. The local end
// is no dimension: it is the interface or the subnet that the list belongs to.
// [Compile] gives every distinct block the rules that name it, and folds the
// services of those rules into sorted intervals. A lookup finds the longest
// block that contains the address, then asks that block and the shorter ones
// around it, of which there are at most 32 (IPv6: 128) whatever the number of
// rules. Memory grows with the number of blocks that the rules name.
package classify

import (
	"net/netip"

	"vswitch/internal/policy"
)

// A Packet is what rules can tell packets apart by.
type Packet struct {
	Remote   netip.Addr // source for ingress, destination for egress; an IPv4-mapped address counts as IPv4
	Protocol uint8      // of the upper layer
	Port     uint16     // destination port, in both directions (SEM 1.3); valid iff TCP or UDP
	Type     uint8      // valid iff ICMP or ICMPv6
	Code     uint8      // valid iff ICMP or ICMPv6
}

// Is4 reports whether the packet is an IPv4 packet.
func (p *Packet) Is4() bool { return p.Remote.Is4() || p.Remote.Is4In6() }

// A key is a point on the line of all services: the protocol in bits 16 to 23,
// and below it the port, or the ICMP type and code in 8 bits each, or 0 where
// the protocol has neither. Every service of a rule is one interval of this
// line, or, for one ICMP code of any type, 256 points: so one sorted list of
// cuts answers for all protocols.
type key uint32

const (
	protocolShift     = 16
	typeShift         = 8
	wholeProtocol key = 1<<protocolShift - 1 // distance from a protocol's first key to its last
	wholeType     key = 1<<typeShift - 1     // distance from an ICMP type's first key to its last
	lastKey       key = 1<<24 - 1
)

// key returns the packet's point.
func (p *Packet) key() key {
	k := key(p.Protocol) << protocolShift
	switch policy.Protocol(p.Protocol) {
	case policy.TCP, policy.UDP:
		k |= key(p.Port)
	case policy.ICMP, policy.ICMPv6:
		k |= key(p.Type)<<typeShift | key(p.Code)
	}
	return k
}
