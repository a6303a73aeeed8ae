// Package classify finds the first rule of a list that a packet matches: the
// classifier under security groups and network ACLs.
//
// A rule has two dimensions: the remote end, a set of address blocks, and the
// service, a protocol with its ports or its ICMP type and code. The local end
// is no dimension: it is the interface or the subnet that the list belongs to.
// [Compile] gives every distinct block the rules that name it, folds their
// services into sorted intervals, and gives a block also the intervals of those
// around it, as far as memory that is linear in the rules allows. A lookup finds
// the longest block that contains the address and the interval that contains the
// service; usually that is all, whatever the number of rules.
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

// A key is a point on the line of all services: the ports of TCP, then those of
// UDP, the types and codes of ICMP, those of ICMPv6, and one point for each
// protocol number. Every service of a rule is one interval of this line, or, for
// one ICMP code of any type, 256 points: so one sorted list of segments answers
// for all protocols. The line is short, so that the segments lie close together.
type key uint32

const (
	tcpKeys    key = iota << 16 // and the port
	udpKeys                     // and the port
	icmpKeys                    // and the type in bits 8 to 15, the code below
	icmpv6Keys                  // and the same
	otherKeys                   // and the protocol number

	keys      key = otherKeys + 1<<8 // how many there are
	typeShift     = 8
)

// key returns the packet's point.
func (p *Packet) key() key {
	switch policy.Protocol(p.Protocol) {
	case policy.TCP:
		return tcpKeys + key(p.Port)
	case policy.UDP:
		return udpKeys + key(p.Port)
	case policy.ICMP:
		return icmpKeys + key(p.Type)<<typeShift + key(p.Code)
	case policy.ICMPv6:
		return icmpv6Keys + key(p.Type)<<typeShift + key(p.Code)
	}
	return otherKeys + key(p.Protocol)
}
