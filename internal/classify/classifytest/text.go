// Package classifytest writes services, rules and packets as text, and draws
// them at random, for the tests of the packages that evaluate rules.
package classifytest

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"vswitch/internal/classify"
	"vswitch/internal/policy"
)

// Service reads "all", "tcp", "tcp 22", "udp 1024-65535", "icmp 8", "icmp 3/4",
// "icmp -1/-1" or "47".
func Service(t testing.TB, text string) policy.Service {
	t.Helper()
	name, detail, _ := strings.Cut(text, " ")
	s := policy.Service{Protocol: protocol(t, name)}
	switch {
	case s.Protocol.HasPorts() && detail == "":
		s.Ports = policy.AllPorts
	case s.Protocol.HasPorts():
		from, to, ranged := strings.Cut(detail, "-")
		if !ranged {
			to = from
		}
		s.Ports = policy.Ports{From: uint16(number(t, from)), To: uint16(number(t, to))}
	case s.Protocol.HasTypes():
		s.Type, s.Code = policy.AnyICMP, policy.AnyICMP
		typ, code, coded := strings.Cut(detail, "/")
		if typ != "" {
			s.Type = int16(number(t, typ))
		}
		if coded {
			s.Code = int16(number(t, code))
		}
	case detail != "":
		t.Fatalf("service %q: protocol %s has neither ports nor types", text, s.Protocol)
	}
	return s
}

// Packet reads a remote address, a protocol, and a port or a type and code:
// "10.0.1.10 tcp 22", "10.0.1.10 icmp 8/0", "10.0.1.10 47".
func Packet(t testing.TB, text string) classify.Packet {
	t.Helper()
	remote, rest, _ := strings.Cut(text, " ")
	name, detail, _ := strings.Cut(rest, " ")
	p := classify.Packet{Remote: netip.MustParseAddr(remote), Protocol: uint8(protocol(t, name))}
	switch proto := policy.Protocol(p.Protocol); {
	case proto.HasPorts():
		p.Port = uint16(number(t, detail))
	case proto.HasTypes():
		typ, code, _ := strings.Cut(detail, "/")
		p.Type, p.Code = uint8(number(t, typ)), uint8(number(t, code))
	case detail != "":
		t.Fatalf("packet %q: protocol %s has neither ports nor types", text, proto)
	}
	return p
}

// CutLast splits "tcp 22 10.0.1.0/24" before its last word, the peer.
func CutLast(t testing.TB, text string) (before, last string) {
	t.Helper()
	i := strings.LastIndexByte(text, ' ')
	if i < 0 {
		t.Fatalf("rule %q: want a service and a peer", text)
	}
	return text[:i], text[i+1:]
}

// protocol reads a protocol by name or number.
func protocol(t testing.TB, name string) policy.Protocol {
	t.Helper()
	for _, p := range []policy.Protocol{policy.AllProtocols, policy.ICMP, policy.TCP, policy.UDP, policy.ICMPv6} {
		if name == p.String() {
			return p
		}
	}
	return policy.Protocol(number(t, name))
}

// number reads a decimal number.
func number(t testing.TB, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("want a number: %v", err)
	}
	return n
}
