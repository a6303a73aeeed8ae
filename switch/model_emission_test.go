package vswitch_test

import (
	"encoding/binary"
	"net/netip"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

// transmit is step 8 of SEM 4.1: the same packet, to the byte, comes out of the
// receiver's port. Only the MACs change if the router was addressed; the TTL does
// not (SEM 5.4).
func (m *model) transmit(in, out *modelENI, f *wire.Frame) verdict {
	b := f.Bytes
	if f.Dst != out.mac {
		copy(b[wire.VirtioSize:], out.mac[:])
		copy(b[wire.VirtioSize+6:], out.routerMAC[:])
	}
	r := policy.PortDown
	switch {
	case out.port == nil:
	case !takes(out.port.offloads, f.GSO):
		r = m.writeSegments(out, f)
	default:
		if b[0] == 1 && !out.port.offloads.Checksum {
			finish(b, f)
		}
		r = m.write(out, b, f.Segments)
	}
	if r != policy.None {
		m.say("8: the port of %s does not take it: %s", out.name, r)
		return m.drop(in, r)
	}
	in.counters.Delivered++
	return verdict{to: out.name}
}

// write puts a frame into a port and counts it there.
func (m *model) write(e *modelENI, b []byte, packets int) policy.Reason {
	switch {
	case e.port == nil, e.port.down, e.port.removed:
		return policy.PortDown
	case e.port.room == 0:
		return policy.PortRefused
	}
	e.port.room--
	e.counters.TxFrames++
	e.counters.TxPackets += uint64(packets)
	e.counters.TxBytes += uint64(len(b) - wire.VirtioSize)
	m.emitted = append(m.emitted, emission{e.name, b})
	return policy.None
}

// answer sends what the platform itself says.
func (m *model) answer(in *modelENI, b []byte) verdict {
	if r := m.write(in, b, 1); r != policy.None {
		return m.drop(in, r)
	}
	in.counters.Answered++
	return verdict{answered: true}
}

// arp answers questions about the router and about live neighbours, to the one
// who asks, and believes nothing (SEM 5.4, L3).
func (m *model) arp(in *modelENI, f *wire.Frame) verdict {
	sender, target := netip.AddrFrom4(f.ARP.SenderIP), netip.AddrFrom4(f.ARP.TargetIP)
	probe := sender.IsUnspecified() // RFC 5227: has anybody this address? Nobody says so
	if f.ARP.SenderMAC != in.mac || !in.has(sender) && !probe {
		m.say("ARP: %s is not %s at %v", in.name, sender, f.ARP.SenderMAC)
		return m.drop(in, policy.ARPSpoofed)
	}
	var at wire.MAC
	switch {
	case f.ARP.Op != wire.ARPRequest || probe:
		return m.drop(in, policy.ARPUnanswered)
	default:
		if at = m.resolve(in, target); at == (wire.MAC{}) {
			return m.drop(in, policy.ARPUnanswered)
		}
	}
	reply := wiretest.Frame{SrcMAC: at, DstMAC: in.mac, ARP: wire.ARPReply, ARPAt: at, Src: target, Dst: sender, Pad: 60 - 42}
	return m.answer(in, reply.Bytes())
}

// resolve returns the MAC that the VPC tells an interface for an address, or the
// zero MAC: only its router and its live neighbours have one.
func (m *model) resolve(in *modelENI, target netip.Addr) wire.MAC {
	if m.isOwnRouter(in, target) {
		return in.routerMAC
	}
	owner := m.owner(in, target)
	if owner != nil && owner != in && owner.instance.Subnet == in.instance.Subnet && owner.port != nil && !owner.port.removed {
		return owner.mac
	}
	m.say("nobody answers for %s", target)
	return wire.MAC{}
}

// discovery does for IPv6 what arp does for IPv4 (SEM 5.4, L4).
func (m *model) discovery(in *modelENI, f *wire.Frame) verdict {
	src, target := f.Tuple.Src.Netip(), f.ND.Target.Netip()
	s := m.subnet(in)
	answer := wiretest.Frame{DstMAC: in.mac, SrcMAC: in.routerMAC, Dst: src, Protocol: uint8(policy.ICMPv6), TTL: 255}
	switch {
	case !in.has(src) && !src.IsUnspecified(), f.ND.HasLinkLayer && f.ND.LinkLayer != in.mac:
		m.say("neighbor discovery: %s is not %s at %v", in.name, src, f.ND.LinkLayer)
		return m.drop(in, policy.NDSpoofed)
	case f.ND.Type == wire.RouterSolicitation && s.CIDR6.IsValid():
		answer.Type, answer.Src = wire.RouterAdvertisement, linkLocalOf(in.routerMAC)
		answer.ND = &wiretest.ND{
			HasLinkLayer: true, LinkLayer: in.routerMAC, Managed: true, Hops: 64, Lifetime: 1800, MTU: uint32(m.mtu()),
			Prefix: s.CIDR6.Masked(), OnLink: true, Valid: 30 * 24 * 3600, Preferred: 7 * 24 * 3600,
		}
		if src.IsUnspecified() {
			answer.Dst, answer.DstMAC = netip.MustParseAddr("ff02::1"), wire.MAC{0x33, 0x33, 0, 0, 0, 1}
		}
	case f.ND.Type == wire.NeighborSolicitation && !src.IsUnspecified():
		at := m.resolve(in, target)
		if at == (wire.MAC{}) {
			return m.drop(in, policy.NDUnanswered)
		}
		answer.Type, answer.Src, answer.SrcMAC = wire.NeighborAdvertisement, target, at
		answer.ND = &wiretest.ND{Target: target, HasLinkLayer: true, LinkLayer: at, Solicited: true, Override: true, Router: at == in.routerMAC}
	case f.ND.Type == wire.NeighborSolicitation, f.ND.Type == wire.RouterSolicitation, f.ND.Type == wire.NeighborAdvertisement && in.has(target):
		return m.drop(in, policy.NDUnanswered) // a probe, no IPv6 here, or nothing new
	default:
		m.say("neighbor discovery: %s speaks for %s, or as a router", in.name, target)
		return m.drop(in, policy.NDSpoofed)
	}
	return m.answer(in, answer.Bytes())
}

// pingsRouter reports whether f is an echo request to the router of the sender's
// own subnet: answered whatever the rules say (SEM 1.6, 5.4).
func (m *model) pingsRouter(in *modelENI, f *wire.Frame) bool {
	p := packetOf(f)
	request := p.protocol == policy.ICMP && p.dst.Is4() && p.icmpType == 8 || p.protocol == policy.ICMPv6 && p.dst.Is6() && p.icmpType == 128
	return f.Dst == in.routerMAC && m.isOwnRouter(in, p.dst) && request && p.icmpCode == 0
}

// echo answers a ping of the router with its own bytes.
func (m *model) echo(in *modelENI, f *wire.Frame) verdict {
	if !f.TransportChecksumOK() {
		return m.drop(in, policy.TransportChecksum)
	}
	b := f.Bytes
	clear(b[:wire.VirtioSize])
	copy(b[wire.VirtioSize:], in.mac[:])
	copy(b[wire.VirtioSize+6:], in.routerMAC[:])
	ip, icmp := b[f.L3:f.L4], b[f.L4:]
	src, dst := f.Tuple.Src.Netip().AsSlice(), f.Tuple.Dst.Netip().AsSlice()
	if f.Kind == wire.KindIPv6 {
		copy(ip[8:], dst)
		copy(ip[24:], src)
		ip[7] = 64
		icmp[0] = 129
		putSum(icmp, 2, pseudoHeader(f, len(icmp)))
		return m.answer(in, b)
	}
	copy(ip[12:], dst)
	copy(ip[16:], src)
	ip[8] = 64
	putSum(ip, 10, 0)
	icmp[0] = 0
	putSum(icmp, 2, 0)
	return m.answer(in, b)
}

// finish computes the TCP or UDP checksum that a sender left to the hardware.
func finish(b []byte, f *wire.Frame) {
	l4, at := b[f.L4:], checksumAt(f)
	if at == 6 {
		l4 = l4[:binary.BigEndian.Uint16(l4[4:])]
	}
	putSum(l4, at, pseudoHeader(f, len(l4)))
	if at == 6 && l4[6] == 0 && l4[7] == 0 {
		l4[6], l4[7] = 0xff, 0xff // RFC 768
	}
	clear(b[:wire.VirtioSize])
}

// checksumAt returns where the checksum is in the header of TCP or UDP.
func checksumAt(f *wire.Frame) int {
	if policy.Protocol(f.Tuple.Protocol) == policy.UDP {
		return 6
	}
	return 16
}

// pseudoHeader returns what of the pseudo header counts for the checksum of n bytes
// (RFC 9293 section 3.1, RFC 8200 section 8.1).
func pseudoHeader(f *wire.Frame, n int) uint32 {
	addresses := append(f.Tuple.Src.Netip().AsSlice(), f.Tuple.Dst.Netip().AsSlice()...)
	return addWords(addresses, 0) + uint32(f.Tuple.Protocol) + uint32(n)
}

// addWords adds the 16-bit words of b to sum.
func addWords(b []byte, sum uint32) uint32 {
	for i, c := range b {
		sum += uint32(c) << (8 * (1 - i%2))
	}
	return sum
}

// putSum writes the Internet checksum of b (RFC 1071) at the offset at.
func putSum(b []byte, at int, pseudo uint32) {
	b[at], b[at+1] = 0, 0
	binary.BigEndian.PutUint16(b[at:], ^fold(addWords(b, pseudo)))
}

// fold makes a sum one of 16 bits, in ones' complement.
func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}
