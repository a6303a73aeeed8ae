package wire_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/netip"
	"testing"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// FuzzParse gives Parse any bytes. It must not panic, and what it accepts must
// be what a second, plain reading of the bytes finds there.
func FuzzParse(f *testing.F) {
	// Short frames, since the fuzzer tries to make all that it finds shorter.
	for _, text := range []string{syn, "10.0.1.10:1 > 10.0.2.20:2 udp len=3 csum=partial",
		"10.0.1.10:1 > 10.0.2.20:2 tcp A len=24 gso=8", "[fd00::1]:1 > [fd00::2]:2 udp len=24 gso=8",
		"10.0.1.10 > 10.0.2.20 icmp echo-request id=7", syn6, whoHas,
		"10.0.1.10 > 10.0.2.20 udp frag=1480 mf len=8", "10.0.1.10 > 10.0.2.20 proto 47 len=8 pad=6",
		"10.0.2.20 > 10.0.1.10 icmp 3/4 about 10.0.1.10:40000 > 10.0.2.20:22 tcp A",
		"fd00::2 > fd00::1 icmpv6 1 about [fd00::1]:40000 > [fd00::2]:22 tcp A dst",
		"[fd00::1]:1 > [fd00::2]:2 udp hbh dst rh4", "[fd00::1]:1 > [fd00::2]:2 udp frag=0,mf dst len=8", "fd00::1 > fd00::2 udp frag=16 len=3",
		neighbor, router, "nd advert fd00::2 from fd00::2 to fd00::1 lladdr", "nd router-advert from fe80::1 mtu=9", "nd redirect fd00::2 for fd00::2 from fe80::1 to fd00::1"} {
		f.Add(bytesOf(f, text), uint16(mtu), true)
	}
	f.Fuzz(func(t *testing.T, input []byte, mtu uint16, mended bool) {
		b := bytes.Clone(input)
		// Random bytes hardly ever have a right header checksum, and Parse would
		// look no further.
		switch {
		case mended && len(b) >= l4 && b[eth+12] == 0x08 && b[l3]&15 >= 5:
			b = mend(b)
		case mended && len(b) >= l4v6+4 && b[eth+12] == 0x86 && b[l3+6] == 58:
			b = mendICMPv6(b)
		}
		before := bytes.Clone(b)
		var got wire.Frame
		reason := got.Parse(b, int(mtu))
		if reason != policy.None {
			if got.Kind != wire.KindNone {
				t.Errorf("Kind = %d of a frame refused with %v", got.Kind, reason)
			}
			if !bytes.Equal(b, before) {
				t.Error("Parse changed a frame that it refused")
			}
			return
		}
		if !bytes.Equal(b[wire.VirtioSize:], before[wire.VirtioSize:]) {
			t.Error("Parse changed the packet")
		}
		checkInvariants(t, &got, int(mtu))
		checkGlimpse(t, &got, before)
		if got.Kind == wire.KindARP {
			return
		}
		if want := readSlowly(before); want != meaningOf(&got) {
			t.Errorf("Parse says %+v\nthe bytes say %+v", meaningOf(&got), want)
		}
		completeChecksum(t, &got)
		checkAccessors(t, &got)
	})
}

// checkGlimpse checks that Glimpse knows the tuple of a frame that Parse has accepted,
// if its shape is the usual one, and says nothing of others.
func checkGlimpse(t *testing.T, f *wire.Frame, before []byte) {
	t.Helper()
	p := policy.Protocol(f.Tuple.Protocol)
	usual := f.Kind == wire.KindIPv4 && f.L4 == f.L3+20 || f.Kind == wire.KindIPv6 && f.L4 == f.L3+40
	want := usual && !f.Fragment && (p == policy.TCP || p == policy.UDP)
	if got, ok := wire.Glimpse(before); ok != want || ok && got != f.Tuple {
		t.Errorf("Glimpse says %v, %v; Parse says %v, usual: %v", got, ok, f.Tuple, want)
	}
}

// checkInvariants checks what holds of any accepted frame.
func checkInvariants(t *testing.T, f *wire.Frame, mtu int) {
	t.Helper()
	n := len(f.Bytes)
	if f.L3 != wire.VirtioSize+wire.EthernetSize || f.L3 > n {
		t.Errorf("L3 = %d of %d bytes", f.L3, n)
	}
	if f.Kind != wire.KindARP && (f.L4 < f.L3+20 || f.Payload < f.L4 || f.Payload > n) {
		t.Errorf("L3 %d, L4 %d, payload %d, end %d", f.L3, f.L4, f.Payload, n)
	}
	if f.Segments < 1 || f.Segments > wire.MaxSegments || f.GSO == wire.GSONone && f.Segments != 1 {
		t.Errorf("%d segments", f.Segments)
	}
	if f.PacketLen() > mtu {
		t.Errorf("packet of %d bytes at an MTU of %d", f.PacketLen(), mtu)
	}
	if f.Fragment && (f.Data < f.L3+20 || f.Data > f.L4 || f.Data >= n || f.Later && f.Data != f.L4) {
		t.Errorf("data at %d, L4 %d, end %d", f.Data, f.L4, n)
	}
	if f.IsND() && (f.Fragment || f.L4 != l4v6 || f.Bytes[l3+7] != 255 || f.Code != 0 || f.ND.Type != f.Type || !f.TransportChecksumOK()) {
		t.Errorf("neighbor discovery that nobody should believe: %+v", f)
	}
	if f.Later && !f.Fragment || f.Fragment && f.Later != (f.Offset > 0) || f.Fragment && !f.Later && !f.More {
		t.Errorf("fragment %v, later %v, more %v, offset %d", f.Fragment, f.Later, f.More, f.Offset)
	}
	if f.Fragment && f.GSO != wire.GSONone {
		t.Error("a superframe that is a fragment")
	}
}

// checkAccessors calls what may be called of any accepted IP frame: nothing may
// panic, and SetMACs and the MACs must agree.
func checkAccessors(t *testing.T, f *wire.Frame) {
	t.Helper()
	inner, ok := f.ICMPError()
	if ok && inner.Src != f.Tuple.Dst {
		t.Errorf("an ICMP error to %v about a packet from %v", f.Tuple.Dst, inner.Src)
	}
	f.TransportChecksumOK()
	_ = f.Tuple.String()
	if pending := f.Bytes[0]&1 != 0; pending && f.GSO == wire.GSONone {
		f.FinishChecksum()
		if !f.TransportChecksumOK() || f.Bytes[0] != 0 {
			t.Errorf("a finished checksum is right: %v, virtio flags %d", f.TransportChecksumOK(), f.Bytes[0])
		}
	}
	f.SetMACs(macA, macB)
	if f.Src != macA || f.Dst != macB || wire.MAC(f.Bytes[18:]) != macA || wire.MAC(f.Bytes[12:]) != macB {
		t.Error("SetMACs set something else")
	}
}

// completeChecksum does what the receiving kernel does with a pending checksum:
// it believes the virtio header, and writes where that says. The packet must
// still be the one that was judged (V2).
func completeChecksum(t *testing.T, judged *wire.Frame) {
	t.Helper()
	b := bytes.Clone(judged.Bytes)
	if b[0]&1 != 0 {
		start := wire.VirtioSize + int(binary.LittleEndian.Uint16(b[6:]))
		field := b[start+int(binary.LittleEndian.Uint16(b[8:])):]
		sum := uint64(0)
		for i := start; i < len(b); i++ {
			sum += uint64(b[i]) << (8 * (1 - (i-start)%2))
		}
		for sum > 0xffff {
			sum = sum>>16 + sum&0xffff
		}
		binary.BigEndian.PutUint16(field, ^uint16(sum))
	}
	clear(b[:wire.VirtioSize])
	var left wire.Frame
	if r := left.Parse(b, math.MaxUint16); r != policy.None {
		t.Fatalf("the frame as it leaves: %v", r)
	}
	if meaningOf(&left) != meaningOf(judged) {
		t.Errorf("judged %+v\nleft as %+v", meaningOf(judged), meaningOf(&left))
	}
}

// A meaning is what rules and connection tracking read of an IP packet.
type meaning struct {
	src, dst     netip.Addr
	proto        uint8
	sport, dport uint16
	typ, code    uint8
	seq, ack     uint32
	window       uint16
	flags        uint8
	scale        int
	length       int // TCP payload
	id           uint32
	offset       int
	data         int // where the data of a fragment begins
	nd           wire.ND
	fragment     bool
	more         bool
	end          int // of the packet, in the frame
}

func meaningOf(f *wire.Frame) meaning {
	return meaning{
		src: f.Tuple.Src.Netip(), dst: f.Tuple.Dst.Netip(), proto: f.Tuple.Protocol, sport: f.Tuple.SrcPort, dport: f.Tuple.DstPort,
		typ: f.Type, code: f.Code, seq: f.TCP.Seq, ack: f.TCP.Ack, window: f.TCP.Window, flags: f.TCP.Flags, scale: int(f.TCP.Scale),
		length: f.TCP.Length, id: f.ID, offset: f.Offset, data: f.Data, nd: f.ND, fragment: f.Fragment, more: f.More, end: len(f.Bytes),
	}
}

// A cursor reads numbers one after the other.
type cursor struct{ b []byte }

func (c *cursor) take(n int) []byte {
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) number(n int) (v int) {
	for _, x := range c.take(n) {
		v = v<<8 | int(x)
	}
	return v
}

// readSlowly reads an IPv4 or IPv6 frame field by field, from front to back, as
// the RFCs draw them. It checks nothing: it is for frames that Parse accepts.
func readSlowly(b []byte) (m meaning) {
	c := &cursor{b}
	c.take(wire.VirtioSize)
	c.take(12)          // MACs
	var rest, front int // bytes behind the header, and how many of them are extension headers
	if c.number(2) == 0x0800 {
		size := c.number(1) & 15 * 4
		c.take(1) // TOS
		total := c.number(2)
		m.id = uint32(c.number(2))
		bits := c.number(2)
		m.more, m.offset = bits>>13&1 == 1, bits&0x1fff*8
		m.fragment = m.more || m.offset > 0
		c.take(1) // TTL
		m.proto = uint8(c.number(1))
		c.take(2) // checksum
		m.src, _ = netip.AddrFromSlice(c.take(4))
		m.dst, _ = netip.AddrFromSlice(c.take(4))
		c.take(size - 20)
		rest = total - size
		if m.fragment {
			m.data = len(b) - len(c.b)
		}
	} else {
		c.take(4) // version, traffic class, flow label
		rest = c.number(2)
		m.proto = uint8(c.number(1))
		c.take(1) // hop limit
		m.src, _ = netip.AddrFromSlice(c.take(16))
		m.dst, _ = netip.AddrFromSlice(c.take(16))
		front = m.readChain(b, c)
	}
	m.end = len(b) - len(c.b) + rest - front
	c.b = c.b[:rest-front]
	if m.offset == 0 {
		m.readTransport(c)
	}
	return m
}

// readChain reads the extension headers, and returns how many bytes they are. b is
// the frame that c is a part of.
func (m *meaning) readChain(b []byte, c *cursor) int {
	before := len(c.b)
	for m.offset == 0 {
		switch m.proto {
		case 0, 43, 60:
			m.proto = uint8(c.number(1))
			c.take(c.number(1)*8 + 6)
		case 44:
			m.proto = uint8(c.number(1))
			c.take(1) // reserved
			bits := c.number(2)
			id := uint32(c.number(4))
			if m.fragment = bits != 0; m.fragment {
				m.id, m.more, m.offset, m.data = id, bits%2 == 1, bits/8*8, len(b)-len(c.b)
			}
		default:
			return before - len(c.b)
		}
	}
	return before - len(c.b)
}

// readND reads a message of neighbor discovery behind its checksum.
func (m *meaning) readND(c *cursor) {
	m.nd.Type = m.typ
	c.take(4) // flags, reserved
	kind := 1
	switch m.typ {
	case 134:
		c.take(8) // timers
	case 135, 136, 137:
		m.nd.Target = wire.Addr(c.take(16))
	}
	if m.typ == 137 {
		c.take(16) // the destination
	}
	if m.typ >= 136 {
		kind = 2
	}
	for len(c.b) > 0 {
		option := c.number(1)
		value := c.take(c.number(1)*8 - 2)
		if option == kind {
			m.nd.LinkLayer, m.nd.HasLinkLayer = wire.MAC(value), true
		}
	}
}

// readTransport reads the transport header.
func (m *meaning) readTransport(c *cursor) {
	switch {
	case m.proto == 6:
		m.sport, m.dport = uint16(c.number(2)), uint16(c.number(2))
		m.seq, m.ack = uint32(c.number(4)), uint32(c.number(4))
		size := c.number(1) >> 4 * 4
		m.flags = uint8(c.number(1))
		m.window = uint16(c.number(2))
		c.take(4) // checksum, urgent pointer
		m.scale = -1
		options := c.take(size - 20)
		if m.flags&2 != 0 {
			m.readScale(options)
		}
		m.length = len(c.b)
	case m.proto == 17:
		m.sport, m.dport = uint16(c.number(2)), uint16(c.number(2))
	case m.proto == 1 && m.src.Is4(), m.proto == 58 && !m.src.Is4():
		m.typ, m.code = uint8(c.number(1)), uint8(c.number(1))
		c.take(2) // checksum
		asks := map[uint8][2]int{1: {8, 13}, 58: {128, 128}}[m.proto]
		answers := map[uint8][2]int{1: {0, 14}, 58: {129, 129}}[m.proto]
		m.dport = uint16(m.typ)<<8 | uint16(m.code)
		if m.proto == 58 && m.typ >= 133 && m.typ <= 137 {
			m.readND(c)
			return
		}
		for i := range asks {
			switch int(m.typ) {
			case asks[i]:
				m.sport = uint16(c.number(2))
				return
			case answers[i]:
				m.sport, m.dport = uint16(asks[i])<<8|uint16(m.code), uint16(c.number(2))
				return
			}
		}
	}
}

// readScale looks for the window scale in the options of a SYN.
func (m *meaning) readScale(b []byte) {
	for c := (&cursor{b}); len(c.b) > 0; {
		kind := c.number(1)
		if kind == 0 {
			return
		}
		if kind == 1 {
			continue
		}
		value := c.take(c.number(1) - 2)
		if kind == 3 {
			m.scale = min(int(value[0]), 14)
		}
	}
}
