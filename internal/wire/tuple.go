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
// ports are zero; for ICMP and ICMPv6 echo, both are the identifier, so that a
// request and its reply are mirror images (SEM 2.1).
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

// String returns "10.0.1.10:40000 > 10.0.2.20:22 tcp".
func (t FiveTuple) String() string {
	p := policy.Protocol(t.Protocol)
	switch {
	case p.HasPorts():
		return fmt.Sprintf("%s > %s %s", netip.AddrPortFrom(t.Src.Netip(), t.SrcPort), netip.AddrPortFrom(t.Dst.Netip(), t.DstPort), p)
	case p.HasTypes() && t.SrcPort != 0:
		return fmt.Sprintf("%s > %s %s id %d", t.Src, t.Dst, p, t.SrcPort)
	}
	return fmt.Sprintf("%s > %s %s", t.Src, t.Dst, p)
}
