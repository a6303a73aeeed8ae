package vswitch_test

import (
	"encoding/binary"
	"net/netip"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

// stray sends a frame that belongs to no talk: ARP, a ping of the router, a
// platform's address, what a hostile instance sends, or garbage.
func (w *world) stray() {
	e := w.model.enis[pick(w, w.config.Instances...).Name]
	if e.local.IsValid() && w.one(2) {
		w.stray6(e)
		return
	}
	f := &wiretest.Frame{
		SrcMAC: e.mac, DstMAC: e.routerMAC, Src: w.addressOf(e, false), Protocol: uint8(pick(w, policy.TCP, policy.UDP)),
		TTL: 64, Window: 64240, Scale: -1, Flags: wire.SYN, SrcPort: 40000, DstPort: pick(w, randomPorts...),
	}
	other := w.model.enis[pick(w, w.config.Instances...).Name]
	f.Dst = w.addressOf(other, false)
	switch w.r.IntN(10) {
	case 0, 1:
		w.arpFrame(e, f)
	case 2:
		f.Dst = w.model.router(pick(w, e, e, other))
		f.Protocol, f.Type, f.ID, f.Len = uint8(policy.ICMP), 8, 7, pick(w, 0, 56, 57)
		if w.one(4) {
			f.Code = 1
		}
	case 3:
		f.Dst = netip.MustParseAddr(pick(w, "10.0.0.2", "169.254.169.254", "169.254.169.123", "169.254.1.1", "10.0.1.1", "10.0.1.255",
			"10.0.2.15", "255.255.255.255", "224.0.0.251", "240.0.0.1", "127.0.0.1", "0.0.0.0"))
	case 4:
		f.Src = netip.MustParseAddr(pick(w, "10.9.9.9", "0.0.0.0", "127.0.0.1", "224.0.0.1", "10.0.1.1", "10.0.0.1", "203.0.113.1"))
	case 5:
		f.Src = w.addressOf(other, false)
	case 6:
		f.SrcMAC = pick(w, other.mac, wire.MAC{2, 0, 0, 0, 0, 9}, wire.MAC{})
	case 7:
		f.DstMAC = pick(w, wire.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, wire.MAC{1, 0, 0x5e, 0, 0, 0xfb}, wire.MAC{2, 0, 0, 0, 0, 9}, e.mac, other.mac)
		if w.one(3) {
			f.Protocol, f.Len = 2, 8 // IGMP
		}
	case 8:
		f.Protocol, f.Type, f.Code, f.Len = uint8(pick(w, policy.ICMP, policy.ICMP, policy.ICMPv6)), pick[uint8](w, 3, 5, 8, 0, 13), pick[uint8](w, 0, 4), 8
	case 9:
		w.send(e.name, w.malformed(f))
		return
	}
	w.finishFrame(f)
	w.send(e.name, f.Bytes())
}

// malformed returns a frame that is wrong in one way.
func (w *world) malformed(f *wiretest.Frame) []byte {
	const l3 = wire.VirtioSize + wire.EthernetSize
	switch w.r.IntN(14) {
	case 0:
		f.Len = 9100
	case 1:
		f.Flags, f.Len, f.GSO, f.Checksum = wire.ACK, 300, 1, wiretest.Partial
	case 2:
		f.TTL = 0
	case 3:
		f.Protocol = 0
	case 4:
		b := f.Bytes()
		return append(b[:l3-2:l3-2], append([]byte{0x81, 0, 0, 5}, b[l3-2:]...)...)
	case 5:
		f.ARP, f.ARPAt = wire.ARPRequest, f.SrcMAC
		b := f.Bytes()
		b[l3+w.r.IntN(6)]++
		return b
	case 6: // a first fragment that ends inside the header of TCP
		f.Protocol, f.Len = uint8(policy.TCP), 30
		return wiretest.Fragments(f.Bytes(), 16)[0]
	case 7: // a last fragment that ends behind what any datagram has
		f.Protocol, f.Len = uint8(policy.UDP), 16
		b := f.Bytes()
		binary.BigEndian.PutUint16(b[l3+6:], 0x1fff)
		putSum(b[l3:l3+20], 10, 0)
		return b
	default:
		return w.garbage(f.Bytes())
	}
	return f.Bytes()
}

// arpFrame makes f an ARP packet: a question mostly, by and about anybody.
func (w *world) arpFrame(e *modelENI, f *wiretest.Frame) {
	f.ARP = pick(w, wire.ARPRequest, wire.ARPRequest, wire.ARPRequest, wire.ARPRequest, wire.ARPReply, 3)
	f.DstMAC = pick(w, wire.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, e.routerMAC)
	f.ARPAt = e.mac
	f.Dst = pick(w, f.Dst, f.Dst, w.model.router(e), netip.MustParseAddr("10.0.1.99"), netip.MustParseAddr("10.0.0.1"))
	if w.one(6) {
		f.Src = pick(w, f.Dst, netip.IPv4Unspecified(), netip.MustParseAddr("10.0.1.1"))
	}
}

// stray6 is stray for IPv6.
func (w *world) stray6(e *modelENI) {
	other := w.model.enis[pick(w, w.config.Instances...).Name]
	f := &wiretest.Frame{
		SrcMAC: e.mac, DstMAC: e.routerMAC, Src: w.addressOf(e, true), Dst: w.addressOf(other, true), Protocol: uint8(policy.TCP),
		TTL: 64, Window: 64240, Scale: -1, Flags: wire.SYN, SrcPort: 40000, DstPort: pick(w, randomPorts...),
	}
	if f.Src.Is4() {
		f.Src = e.local
	}
	if f.Dst.Is4() {
		f.Dst = linkLocalOf(other.mac)
	}
	switch w.r.IntN(8) {
	case 7:
		f.DstMAC, f.Dst = wire.MAC{0x33, 0x33, 0, 0, 0, 0x16}, netip.MustParseAddr("ff02::16")
		f.Protocol, f.Type, f.Len = uint8(policy.ICMPv6), pick[uint8](w, 129, 130, 131, 132, 143), 20
	case 0, 1, 2:
		w.discoveryFrame(e, f)
	case 3:
		f.Dst = pick(w, linkLocalOf(e.routerMAC), linkLocalOf(other.routerMAC), netip.MustParseAddr("fe80:ec2::1"), netip.MustParseAddr("2001:db8:a:1::1"))
		f.Protocol, f.Type, f.ID, f.Len = uint8(policy.ICMPv6), 128, 7, pick(w, 0, 56, 57)
	case 4:
		f.Dst = netip.MustParseAddr(pick(w, "fd00:ec2::254", "fd00:ec2::253", "ff02::fb", "2001:db8:a:1::1", "::1", "fe80::1"))
	case 5:
		f.Src = netip.MustParseAddr(pick(w, "2001:db8:b::1", "::", "::1", "ff02::1", "2001:db8:a:1::1", "fe80::1", "fe80:ec2::1"))
	case 6:
		f.Protocol, f.SrcPort, f.DstPort = uint8(policy.UDP), 547, 546
	}
	w.finishFrame(f)
	w.send(e.name, f.Bytes())
}

// discoveryFrame makes f a message of neighbor discovery, by and about anybody.
func (w *world) discoveryFrame(e *modelENI, f *wiretest.Frame) {
	f.Protocol, f.TTL = uint8(policy.ICMPv6), 255
	f.Type = pick(w, wire.NeighborSolicitation, wire.NeighborSolicitation, wire.NeighborSolicitation, wire.RouterSolicitation,
		wire.NeighborAdvertisement, wire.RouterAdvertisement, wire.Redirect)
	target := pick(w, f.Dst, f.Dst, f.Src, linkLocalOf(e.routerMAC), netip.MustParseAddr("2001:db8:a:1::1"), netip.MustParseAddr("2001:db8:a:1::99"))
	f.ND = &wiretest.ND{Target: target, For: f.Dst, HasLinkLayer: w.one(2)}
	if w.one(6) {
		f.ND.LinkLayer = wire.MAC{2, 0, 0, 0, 0, 9}
	}
	if w.one(4) {
		f.Src, f.ND.HasLinkLayer = pick(w, netip.IPv6Unspecified(), f.Dst), false
	}
	group := target.As16()
	if !w.one(4) {
		f.DstMAC = wire.MAC{0x33, 0x33, 0xff, group[13], group[14], group[15]}
		f.Dst = netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff, 13: group[13], 14: group[14], 15: group[15]})
	}
}

// garbage breaks a frame: its end is missing, a byte is another, or its virtio
// header lies.
func (w *world) garbage(b []byte) []byte {
	switch w.r.IntN(3) {
	case 0:
		return b[:wire.VirtioSize+w.r.IntN(len(b)-wire.VirtioSize)]
	case 1:
		at := wire.VirtioSize + wire.EthernetSize - 2 + w.r.IntN(len(b)-wire.VirtioSize-wire.EthernetSize+2)
		b[at] ^= 1 << w.r.IntN(8)
		if version := b[wire.VirtioSize+wire.EthernetSize] >> 4; version == 4 && at >= wire.VirtioSize+wire.EthernetSize && w.one(2) {
			mendHeader(b)
		}
	case 2:
		b[w.r.IntN(wire.VirtioSize)] = uint8(w.r.Uint32())
	}
	return b
}

// mendHeader makes the checksum of an IPv4 header right, so that a frame with
// another byte gets past it.
func mendHeader(b []byte) {
	ip := b[wire.VirtioSize+wire.EthernetSize:]
	if len(ip) >= 20 {
		if size := int(ip[0]&15) * 4; size >= 20 && size <= len(ip) {
			putSum(ip[:size], 10, 0)
		}
	}
}

// fragments are what is left to send of a datagram that an instance has cut.
type fragments struct {
	from   string
	frames [][]byte
}

// sendFragment sends one fragment: of a new datagram, of one on its way, in any
// order, sometimes twice, with other bytes, or one that does not fit (I4).
func (w *world) sendFragment() {
	if len(w.parts) == 0 || len(w.parts) < 4 && w.one(3) {
		w.parts = append(w.parts, w.newFragments())
	}
	n := w.r.IntN(len(w.parts))
	p := &w.parts[n]
	i := w.r.IntN(len(p.frames))
	if !w.one(3) {
		i = 0
	}
	b := append([]byte(nil), p.frames[i]...)
	switch k := w.r.IntN(30); {
	case k == 0:
		b[len(b)-1] ^= 0x55 // the data is other than it would be
	case k == 1: // its place is another
		ip := b[wire.VirtioSize+wire.EthernetSize:]
		if ip[0]>>4 == 6 {
			binary.BigEndian.PutUint16(ip[42:], binary.BigEndian.Uint16(ip[42:])+pick[uint16](w, 8, 16, 1, 64000))
			break
		}
		binary.BigEndian.PutUint16(ip[6:], binary.BigEndian.Uint16(ip[6:])+pick[uint16](w, 1, 2, 0x2000, 8000))
		putSum(ip[:20], 10, 0)
	case k > 3: // else it will be sent again
		p.frames = append(p.frames[:i:i], p.frames[i+1:]...)
	}
	from := p.from
	if len(p.frames) == 0 || w.one(40) {
		w.parts = append(w.parts[:n], w.parts[n+1:]...)
	}
	w.send(from, b)
}

// newFragments cuts a datagram of a talk, or a flood of beginnings.
func (w *world) newFragments() fragments {
	t := w.newTalk()
	if len(w.talks) > 0 && w.one(2) {
		t = w.talks[w.r.IntN(len(w.talks))]
	}
	end := w.r.IntN(2)
	from := &t.ends[end]
	f := &wiretest.Frame{
		Src: from.addr, Dst: t.ends[1-end].addr, Protocol: uint8(t.protocol), TTL: 64, Window: 64240, Scale: -1,
		SrcPort: from.port, DstPort: t.ends[1-end].port, Seq: from.next, Ack: from.heard, Flags: pick(w, wire.ACK, wire.SYN),
		Type: t.question, ID: t.id, Len: pick(w, 40, 100, 300), Ident: uint32(w.r.IntN(3)),
	}
	if w.one(200) && !w.crews {
		return fragments{from.name, w.flood(from.name, f)}
	}
	if !w.one(4) {
		return fragments{from.name, wiretest.Fragments(w.address(from.name, f), pick(w, 24, 48, 80))}
	}
	f.Len = 3000 // longer than one MTU, and shorter than another
	frames := wiretest.Fragments(w.address(from.name, f), 1352)
	if f.Src.Is4() && w.one(2) {
		frames = append(wiretest.Fragments(frames[0], 680), frames[1:]...)
	}
	return fragments{from.name, frames}
}

// flood sends more beginnings of datagrams than a port may have (I6), and returns
// one more.
func (w *world) flood(from string, f *wiretest.Frame) [][]byte {
	var first [][]byte
	for i := range modelPortDatagrams + 2 {
		f.Ident = uint32(100 + i)
		f.Len = 40 + i // of IPv6, the bytes make the identification
		first = wiretest.Fragments(w.address(from, f), 24)[:1]
		if w.mismatch != "" {
			break
		}
		w.send(from, first[0])
	}
	return first
}
