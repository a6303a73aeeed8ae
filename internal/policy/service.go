package policy

import (
	"fmt"
	"strconv"
)

// A Protocol is an IP protocol number, or AllProtocols. The zero Protocol is
// number 0, the IPv6 hop-by-hop option, which no packet carries as its
// upper-layer protocol.
type Protocol int16

// Protocols with a name in AWS's rules (SEM 1.3).
const (
	AllProtocols Protocol = -1
	ICMP         Protocol = 1
	TCP          Protocol = 6
	UDP          Protocol = 17
	ICMPv6       Protocol = 58
)

// HasPorts reports whether p is TCP or UDP: the protocols whose rules name
// destination ports.
func (p Protocol) HasPorts() bool { return p == TCP || p == UDP }

// HasTypes reports whether p is ICMP or ICMPv6: the protocols whose rules name
// a type and a code.
func (p Protocol) HasTypes() bool { return p == ICMP || p == ICMPv6 }

// String returns tcp, udp, icmp, icmpv6, all, or the decimal number, as AWS
// normalises them (SEM 1.3).
func (p Protocol) String() string {
	switch p {
	case AllProtocols:
		return "all"
	case ICMP:
		return "icmp"
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case ICMPv6:
		return "icmpv6"
	}
	return strconv.Itoa(int(p))
}

// Ports is an inclusive range of destination ports. AWS rules name the
// destination port in both directions, never the source port (SEM 1.3, 3.3).
// The zero Ports is port 0 alone.
type Ports struct{ From, To uint16 }

// AllPorts is the range that every port is in.
var AllPorts = Ports{0, 65535}

// Contains reports whether port lies in the range.
func (r Ports) Contains(port uint16) bool { return r.From <= port && port <= r.To }

// String returns "443" or "1024-65535".
func (r Ports) String() string {
	if r.From == r.To {
		return strconv.Itoa(int(r.From))
	}
	return fmt.Sprintf("%d-%d", r.From, r.To)
}

// AnyICMP matches every type, or every code (SEM 1.3: -1).
const AnyICMP int16 = -1

// A Service is what a rule says about a packet besides its remote end: a
// protocol with its destination ports or its ICMP type and code.
type Service struct {
	Protocol Protocol
	Ports    Ports // valid iff Protocol.HasPorts()
	Type     int16 // valid iff Protocol.HasTypes(); AnyICMP for all
	Code     int16 // valid iff Protocol.HasTypes(); AnyICMP for all
}

// AllTraffic is the service of a rule that names no protocol.
var AllTraffic = Service{Protocol: AllProtocols}

// Contains reports whether a packet of the given protocol belongs to the
// service. port is the destination port of TCP and UDP; typ and code are those
// of ICMP. A rule for another protocol matches whatever its ports (SEM 1.3).
func (s Service) Contains(proto uint8, port uint16, typ, code uint8) bool {
	if s.Protocol == AllProtocols {
		return true
	}
	if s.Protocol != Protocol(proto) {
		return false
	}
	switch {
	case s.Protocol.HasPorts():
		return s.Ports.Contains(port)
	case s.Protocol.HasTypes():
		return (s.Type == AnyICMP || s.Type == int16(typ)) && (s.Code == AnyICMP || s.Code == int16(code))
	}
	return true
}

// Words returns a rule about the service in words, with its remote end as the
// direction has it: "tcp 8080 -> 10.0.2.0/24", "icmp <- sg:web".
func (s Service) Words(d Direction, peer string) string {
	if d == Egress {
		return s.String() + " -> " + peer
	}
	return s.String() + " <- " + peer
}

// String returns the service in the words of a rule: "tcp 443",
// "tcp 1024-65535", "icmp echo-request", "icmp 3/4", "all", "47".
func (s Service) String() string {
	switch {
	case s.Protocol.HasPorts():
		if s.Ports == AllPorts {
			return s.Protocol.String()
		}
		return s.Protocol.String() + " " + s.Ports.String()
	case s.Protocol.HasTypes():
		if s.Type == AnyICMP {
			return s.Protocol.String()
		}
		name := ICMPTypeName(s.Protocol, s.Type)
		if s.Code == AnyICMP {
			return s.Protocol.String() + " " + name
		}
		return fmt.Sprintf("%s %s/%d", s.Protocol, name, s.Code)
	}
	return s.Protocol.String()
}

// icmpNames are the types that a rule may name in words, by protocol; from the
// IANA registries "ICMP Type Numbers" and "ICMPv6 Type Numbers".
var icmpNames = map[Protocol]map[int16]string{
	ICMP: {
		0: "echo-reply", 3: "destination-unreachable", 5: "redirect", 8: "echo-request", 9: "router-advertisement",
		10: "router-solicitation", 11: "time-exceeded", 12: "parameter-problem", 13: "timestamp", 14: "timestamp-reply",
	},
	ICMPv6: {
		1: "destination-unreachable", 2: "packet-too-big", 3: "time-exceeded", 4: "parameter-problem", 128: "echo-request",
		129: "echo-reply", 133: "router-solicitation", 134: "router-advertisement", 135: "neighbor-solicitation",
		136: "neighbor-advertisement", 137: "redirect",
	},
}

// ICMPTypeName returns the registered name of an ICMP or ICMPv6 type, or its
// number where it has none.
func ICMPTypeName(p Protocol, typ int16) string {
	if name, ok := icmpNames[p][typ]; ok {
		return name
	}
	return strconv.Itoa(int(typ))
}

// ICMPType returns the type that a name stands for.
func ICMPType(p Protocol, name string) (typ int16, ok bool) {
	for t, n := range icmpNames[p] {
		if n == name {
			return t, true
		}
	}
	return 0, false
}

// ICMPTypeNames returns all the names that ICMPType takes, in no order.
func ICMPTypeNames(p Protocol) []string {
	names := make([]string, 0, len(icmpNames[p]))
	for _, n := range icmpNames[p] {
		names = append(names, n)
	}
	return names
}
