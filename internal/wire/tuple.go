package wire

import (
	"fmt"
	"net/netip"

	"vswitch/internal/policy"
)

// An Addr is an IP address as 16 bytes; IPv4 addresses are mapped
// (::ffff:a.b.c.d). It is the form in which table keys hold addresses: netip.Addr
// carries a pointer, which would make every table visible to the garbage
// collector. The zero Addr is ::.
type Addr [16]byte

// AddrFrom returns a as an Addr. The zero netip.Addr becomes the zero Addr.
func AddrFrom(a netip.Addr) Addr {
	if !a.IsValid() {
		return Addr{}
	}
	return Addr(a.As16())
}

// AddrFrom4 returns the IPv4 address in the first four bytes of b.
func AddrFrom4(b []byte) Addr {
	_ = b[3]
	return Addr{10: 0xff, 11: 0xff, 12: b[0], 13: b[1], 14: b[2], 15: b[3]}
}

// Is4 reports whether a is an IPv4 address.
func (a *Addr) Is4() bool {
	return *(*[12]byte)(a[:]) == [12]byte{10: 0xff, 11: 0xff}
}

// Netip returns a as a netip.Addr, IPv4 unmapped.
func (a Addr) Netip() netip.Addr { return netip.AddrFrom16(a).Unmap() }

// String returns the usual text form: 10.0.0.1, fd00::1.
func (a Addr) String() string { return a.Netip().String() }

// A FiveTuple names a flow in one direction. It holds no pointers and is
// comparable: tables use it as their key. For protocols without ports both
// ports are zero.
//
// For ICMP and ICMPv6 the ports are made so that a question and its answer are
// mirror images (SEM 2.1), and that two hosts which ask each other with the
// same identifier have two flows: a question (echo 8, timestamp 13, ICMPv6 echo
// 128) has its identifier as SrcPort and type<<8|code as DstPort; its answer
// has those two the other way round; any other message has zero as SrcPort and
// type<<8|code as DstPort. An identifier that itself reads as the type and code
// of a question, like 0x0800, makes question and answer look alike.
type FiveTuple struct {
	Src, Dst         Addr
	SrcPort, DstPort uint16 // host byte order
	Protocol         uint8
	_                [3]byte
}

// Reverse returns the tuple of the reply.
func (t FiveTuple) Reverse() FiveTuple {
	t.Src, t.Dst = t.Dst, t.Src
	t.SrcPort, t.DstPort = t.DstPort, t.SrcPort
	return t
}

// String returns "10.0.1.10:40000 > 10.0.2.20:22 tcp",
// "10.0.1.10 > 10.0.2.20 icmp echo-request id 7", "10.0.1.1 > 10.0.1.10 icmp
// destination-unreachable/4", or "10.0.1.10 > 10.0.2.20 47".
func (t FiveTuple) String() string {
	p := policy.Protocol(t.Protocol)
	if p.HasPorts() {
		return fmt.Sprintf("%s > %s %s", netip.AddrPortFrom(t.Src.Netip(), t.SrcPort), netip.AddrPortFrom(t.Dst.Netip(), t.DstPort), p)
	}
	s := fmt.Sprintf("%s > %s %s", t.Src, t.Dst, p)
	if p.HasTypes() && (t.SrcPort != 0 || t.DstPort != 0) {
		s += " " + t.icmpString()
	}
	return s
}

// icmpString returns what the ports of an ICMP flow stand for. Where they can be
// read as a question and as an answer, it takes the reading whose code is zero,
// and the question before the answer.
func (t FiveTuple) icmpString() string {
	asks, _ := icmpQuery(t.Protocol, uint8(t.DstPort>>8))
	asked, _ := icmpQuery(t.Protocol, uint8(t.SrcPort>>8))
	name := func(typ uint8) string { return policy.ICMPTypeName(policy.Protocol(t.Protocol), int16(typ)) }
	code := func(port uint16) string {
		if uint8(port) == 0 {
			return ""
		}
		return fmt.Sprintf("/%d", uint8(port))
	}
	switch {
	case asks && (!asked || uint8(t.DstPort) == 0):
		return fmt.Sprintf("%s%s id %d", name(uint8(t.DstPort>>8)), code(t.DstPort), t.SrcPort)
	case asked:
		return fmt.Sprintf("%s%s id %d", name(replyTo(uint8(t.SrcPort>>8))), code(t.SrcPort), t.DstPort)
	}
	return fmt.Sprintf("%s/%d", name(uint8(t.DstPort>>8)), uint8(t.DstPort))
}
