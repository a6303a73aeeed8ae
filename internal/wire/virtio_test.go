package wire_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

// bytesOf returns the bytes of a line of text.
func bytesOf(t testing.TB, text string) []byte {
	t.Helper()
	return wiretest.Bytes(t, macA, macB, text)
}

// fragmentsOf returns the packet of a line of text in fragments of at most size
// bytes.
func fragmentsOf(t testing.TB, text string, size int) [][]byte {
	t.Helper()
	return wiretest.Fragments(bytesOf(t, text), size)
}

// Edits of the virtio header.
func flags(v byte) edit     { return put(0, v) }
func gsoType(v byte) edit   { return put(1, v) }
func gsoSize(v int) edit    { return put(4, byte(v), byte(v>>8)) }
func csumStart(v int) edit  { return put(6, byte(v), byte(v>>8)) }
func csumOffset(v int) edit { return put(8, byte(v), byte(v>>8)) }

// TestParseChecksumOffload holds V1 and V2: a checksum is completed in the
// checksum field or nowhere.
func TestParseChecksumOffload(t *testing.T) {
	check(t, []refusal{
		{"TCP", pending, nil, policy.None},
		{"UDP", datagram + " csum=partial", nil, policy.None},
		{"TCP over IPv6", syn6 + " csum=partial", nil, policy.None},
		{"UDP over IPv6", "[fd00::1]:1 > [fd00::2]:2 udp csum=partial", nil, policy.None},
		{"behind IP options", pending, all(options(1, 1, 1, 0), csumStart(38)), policy.None},
		{"verified by the kernel", ack, flags(2), policy.None},
		{"fields without the flag mean nothing", ack, all(csumStart(60), csumOffset(9)), policy.None},
		{"V1 in the IP header", pending, csumStart(20), policy.VirtioChecksum},
		{"V1 in the payload", pending, csumStart(60), policy.VirtioChecksum},
		{"V1 in the Ethernet header", pending, csumStart(0), policy.VirtioChecksum},
		{"V1 past the end", pending, csumStart(65535), policy.VirtioChecksum},
		{"V1 where it would be without the options", pending, options(1, 1, 1, 0), policy.VirtioChecksum},
		{"V2 in the source port", pending, csumOffset(0), policy.VirtioChecksum},
		{"V2 in the destination port", pending, csumOffset(2), policy.VirtioChecksum},
		{"V2 start and offset add up to the checksum", pending, all(csumStart(36), csumOffset(14)), policy.VirtioChecksum},
		{"V1 UDP's offset in TCP", pending, csumOffset(6), policy.VirtioChecksum},
		{"V1 TCP's offset in UDP", datagram + " csum=partial", csumOffset(16), policy.VirtioChecksum},
		{"V1 ICMP", request, all(flags(1), csumStart(34), csumOffset(2)), policy.VirtioChecksum},
		{"V1 GRE", "10.0.1.10 > 10.0.2.20 proto 47 len=20", all(flags(1), csumStart(34), csumOffset(16)), policy.VirtioChecksum},
		{"V1 ARP", whoHas, all(flags(1), csumStart(14), csumOffset(16)), policy.VirtioChecksum},
		{"V1 first fragment", datagram + " mf len=24 csum=partial", nil, policy.VirtioChecksum},
		{"V1 later fragment", "10.0.1.10 > 10.0.2.20 udp frag=1480 len=24 csum=partial", nil, policy.VirtioChecksum},
		{"V1 GRE, at its first byte", "10.0.1.10 > 10.0.2.20 proto 47 len=20", all(flags(1), csumStart(34)), policy.VirtioChecksum},
		{"V1 first fragment, at its first byte", datagram + " mf len=24", all(flags(1), csumStart(34)), policy.VirtioChecksum},
		{"behind IPv6 extension headers", syn6 + " hbh dst csum=partial", nil, policy.None},
		{"behind the fragment header of a datagram in one", syn6 + " frag=0 csum=partial", nil, policy.None},
		{"V1 where it would be without the extension header", syn6 + " hbh csum=partial", csumStart(54), policy.VirtioChecksum},
		{"V1 another destination behind a routing header", syn6 + " rh4 csum=partial", nil, policy.VirtioChecksum},
		{"no other destination is left", syn6 + " rh4 csum=partial", put(l4v6+3, 0), policy.None},
		{"V1 first fragment over IPv6", "[fd00::1]:1 > [fd00::2]:2 udp len=8 frag=0,mf csum=partial", nil, policy.VirtioChecksum},
		{"V1 ICMPv6", request6, all(flags(1), csumStart(54), csumOffset(2)), policy.VirtioChecksum},
		{"V1 behind no next header", "fd00::1 > fd00::2 proto 59 len=40", all(flags(1), csumStart(54), csumOffset(16)), policy.VirtioChecksum},
		{"V1 pending and verified at once", pending, flags(3), policy.VirtioChecksum},
		{"V1 unknown flag", ack, flags(4), policy.VirtioChecksum},
		{"V1 all flags", ack, flags(255), policy.VirtioChecksum},
	})
}

// TestParseGSO holds V3, V4 and V5: a superframe is what its virtio header says.
func TestParseGSO(t *testing.T) {
	tcp := func(segments, size int) string {
		return fmt.Sprintf("10.0.1.10:1 > 10.0.2.20:2 tcp A len=%d gso=%d", segments*size, size)
	}
	check(t, []refusal{
		{"TCP", super, nil, policy.None},
		{"TCP with ECN", super, gsoType(0x81), policy.None},
		{"TCP with FIN", "10.0.1.10:1 > 10.0.2.20:2 tcp FAP len=14000 gso=1400", nil, policy.None},
		{"TCP over IPv6", super6, nil, policy.None},
		{"UDP", superUDP, nil, policy.None},
		{"UDP over IPv6", "[fd00::1]:1 > [fd00::2]:2 udp len=12000 gso=1200", nil, policy.None},
		{"the longest of all", "10.0.1.10:1 > 10.0.2.20:2 tcp A len=65495 gso=1448", nil, policy.None},
		{"a single segment", tcp(1, 1000), nil, policy.None},
		{"V3 128 segments", tcp(128, 500), nil, policy.None},
		{"V3 129 segments", tcp(129, 500), nil, policy.VirtioSegments},
		{"V3 128 segments and a byte", "10.0.1.10:1 > 10.0.2.20:2 tcp A len=64001 gso=500", nil, policy.VirtioSegments},
		{"V3 gso_size 1", super, gsoSize(1), policy.VirtioSegments},
		{"V3 UDP, 129 segments", "10.0.1.10:1 > 10.0.2.20:2 udp len=12900 gso=100", nil, policy.VirtioSegments},
		{"V4 gso_size 0", super, gsoSize(0), policy.VirtioGSO},
		{"V4 no payload", "10.0.1.10:1 > 10.0.2.20:2 tcp A gso=1400", nil, policy.VirtioGSO},
		{"V4 UFO", superUDP, gsoType(3), policy.VirtioGSO},
		{"V4 unknown kind", super, gsoType(2), policy.VirtioGSO},
		{"V4 ECN of nothing", pending, gsoType(0x80), policy.VirtioGSO},
		{"V4 ECN of UDP", superUDP, gsoType(0x85), policy.VirtioGSO},
		{"V4 TCP's on UDP", superUDP, gsoType(1), policy.VirtioGSO},
		{"V4 UDP's on TCP", super, gsoType(5), policy.VirtioGSO},
		{"V4 IPv6's on IPv4", super, gsoType(4), policy.VirtioGSO},
		{"V4 IPv4's on IPv6", super6, gsoType(1), policy.VirtioGSO},
		{"V4 on ICMP", request, gsoType(1), policy.VirtioGSO},
		{"V4 on GRE", "10.0.1.10 > 10.0.2.20 proto 47 len=2000", all(gsoType(1), gsoSize(100)), policy.VirtioGSO},
		{"V4 on ARP", whoHas, all(gsoType(1), gsoSize(100)), policy.VirtioGSO},
		{"V4 TCP behind an IPv6 extension header", super6 + " dst", nil, policy.VirtioGSO},
		{"V4 UDP behind an IPv6 extension header", "[fd00::1]:1 > [fd00::2]:2 udp len=12000 gso=1200 hbh", nil, policy.VirtioGSO},
		{"V4 in an IPv6 fragment", super6 + " frag=0,mf", nil, policy.VirtioGSO},
		{"V4 behind the fragment header of a datagram in one", super6 + " frag=0", nil, policy.VirtioGSO},
		{"V4 on neighbor discovery", neighbor, all(gsoType(4), gsoSize(100)), policy.VirtioGSO},
		{"V4 payload length past the frame", super6, length6(65535), policy.VirtioGSO},
		{"V4 with MF", super + " mf", nil, policy.VirtioGSO},
		{"V4 with a fragment offset", super, ip(6, 0, 13), policy.VirtioGSO},
		{"V4 with SYN", "10.0.1.10:1 > 10.0.2.20:2 tcp S len=14000 gso=1400", nil, policy.VirtioGSO},
		{"V4 with SYN and ACK", "10.0.1.10:1 > 10.0.2.20:2 tcp SA len=14000 gso=1400", nil, policy.VirtioGSO},
		{"V4 with RST", "10.0.1.10:1 > 10.0.2.20:2 tcp RA len=14000 gso=1400", nil, policy.VirtioGSO},
		{"V4 doff past the frame", tcp(1, 8), put(l4+12, 0xf0), policy.TransportHeader},
		{"V4 checksum not pending", super, flags(0), policy.VirtioGSO},
		{"V4 checksum verified", super, flags(2), policy.VirtioGSO},
		{"V1 checksum elsewhere", super, csumStart(60), policy.VirtioChecksum},
		{"V5 total length 0", super, length(0), policy.VirtioGSO},
		{"V5 total length of the headers", super, length(40), policy.VirtioGSO},
		{"V5 padding", super + " pad=1", nil, policy.VirtioGSO},
		{"V5 padding over IPv6", super6 + " pad=1", nil, policy.VirtioGSO},
		{"V5 UDP length of one segment", superUDP, put(l4+4, 0x04, 0xb8), policy.VirtioGSO},
		{"segments as long as the MTU", tcp(10, 1460), nil, policy.None},
		{"segments longer than the MTU", tcp(10, 1461), nil, policy.FrameTooLong},
		{"a superframe that is one long segment", tcp(1, 9000), nil, policy.FrameTooLong},
	})
}

// TestParseSegments checks what a superframe is said to stand for.
func TestParseSegments(t *testing.T) {
	for _, c := range []struct {
		text                string
		gso                 wire.GSO
		segments, size, mtu int
	}{
		{ack, wire.GSONone, 1, 0, 140},
		{"10.0.1.10:1 > 10.0.2.20:2 tcp A len=14000 gso=1400", wire.GSOTCP4, 10, 1400, 1440},
		{"10.0.1.10:1 > 10.0.2.20:2 tcp A len=14001 gso=1400", wire.GSOTCP4, 11, 1400, 1440},
		{"10.0.1.10:1 > 10.0.2.20:2 tcp A wscale=1 len=700 gso=1400", wire.GSOTCP4, 1, 1400, 744},
		{super6, wire.GSOTCP6, 10, 1400, 1460},
		{superUDP, wire.GSOUDP, 10, 1200, 1228},
		{whoHas, wire.GSONone, 1, 0, 28},
	} {
		f := parse(t, c.text)
		if f.GSO != c.gso || f.Segments != c.segments || f.GSOSize != c.size || f.PacketLen() != c.mtu {
			t.Errorf("%s: kind %d, %d segments of %d, packet of %d bytes; want %d, %d of %d, %d",
				c.text, f.GSO, f.Segments, f.GSOSize, f.PacketLen(), c.gso, c.segments, c.size, c.mtu)
		}
	}
}

// TestParseWritesVirtio holds V7: the virtio header of an accepted frame says
// what was checked, and nothing that the sender left in it.
func TestParseWritesVirtio(t *testing.T) {
	for _, c := range []struct {
		name, text string
		edit       edit
		want       [wire.VirtioSize]byte // flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, num_buffers
	}{
		{"nothing pending, all fields full", ack, put(2, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9), [12]byte{}},
		{"verified", ack, flags(2), [12]byte{}},
		{"pending", pending, all(put(2, 0xff, 0xff, 9, 9), put(10, 9, 9)), [12]byte{1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0}},
		{"superframe with hdr_len of the linear buffer", super, all(put(2, 0xee, 0x0b), put(10, 1, 0)),
			[12]byte{1, 1, 54, 0, 0x78, 0x05, 34, 0, 16, 0, 0, 0}},
		{"superframe with ECN", super, gsoType(0x81), [12]byte{1, 0x81, 54, 0, 0x78, 0x05, 34, 0, 16, 0, 0, 0}},
		{"UDP superframe", superUDP, nil, [12]byte{1, 5, 42, 0, 0xb0, 0x04, 34, 0, 6, 0, 0, 0}},
		{"ARP", whoHas, put(0, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10), [12]byte{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bytesOf(t, c.text)
			if c.edit != nil {
				b = c.edit(b)
			}
			frame := bytes.Clone(b[eth:])
			var f wire.Frame
			if r := f.Parse(b, mtu); r != policy.None {
				t.Fatal(r)
			}
			if got := [wire.VirtioSize]byte(f.Bytes); got != c.want {
				t.Errorf("virtio header %v, want %v", got, c.want)
			}
			if !bytes.Equal(f.Bytes[eth:], frame) {
				t.Error("Parse changed the frame behind the virtio header")
			}
			var again wire.Frame
			if r := again.Parse(bytes.Clone(f.Bytes), mtu); r != policy.None || again.Tuple != f.Tuple || again.Segments != f.Segments {
				t.Errorf("parsed a second time: %v, %v", r, again.Tuple)
			}
		})
	}
}

// FuzzVirtio puts any virtio header on frames of every kind. Parse must accept
// just those that a plain statement of the rules accepts.
func FuzzVirtio(f *testing.F) {
	frames := []string{syn, ack, pending, super, datagram, superUDP, request, syn6, super6, whoHas,
		"10.0.1.10 > 10.0.2.20 udp frag=1480 len=24", "10.0.1.10:1 > 10.0.2.20:2 udp mf len=24", "10.0.1.10 > 10.0.2.20 proto 47 len=1400",
		"[fd00::1]:1 > [fd00::2]:2 udp len=1400 hbh", "[fd00::1]:1 > [fd00::2]:2 tcp A len=1400 hbh"}
	f.Add(uint8(3), []byte{1, 1, 54, 0, 0x78, 0x05, 34, 0, 16, 0, 0, 0})
	f.Add(uint8(5), []byte{1, 5, 42, 0, 0xb0, 0x04, 34, 0, 6, 0, 0, 0})
	f.Add(uint8(2), []byte{1, 0, 0, 0, 0, 0, 34, 0, 0, 0, 0, 0})
	f.Add(uint8(13), []byte{1, 0, 0, 0, 0, 0, 62, 0, 6, 0, 0, 0})
	f.Add(uint8(14), []byte{1, 4, 0, 0, 0x78, 0x05, 62, 0, 16, 0, 0, 0})
	f.Fuzz(func(t *testing.T, which uint8, header []byte) {
		if len(header) != wire.VirtioSize {
			return
		}
		b := bytesOf(t, frames[int(which)%len(frames)])
		copy(b, header)
		want := virtioLegal(b)
		var got wire.Frame
		r := got.Parse(b, mtu)
		if (r == policy.None) != want {
			t.Fatalf("%s, virtio header %x: Parse = %v, legal %v", frames[int(which)%len(frames)], header, r, want)
		}
		if r == policy.None {
			completeChecksum(t, &got)
		}
	})
}

// virtioLegal states the rules V1, V3 and V4 once more, for a frame that is
// well-formed but for its virtio header and has no options or padding.
func virtioLegal(b []byte) bool {
	le := binary.LittleEndian
	gso, size, start, offset := b[1], int(le.Uint16(b[4:])), int(le.Uint16(b[6:])), int(le.Uint16(b[8:]))
	packet := b[l3:]
	v6 := b[eth+12] == 0x86
	proto, l4 := packet[9], 20
	if v6 {
		proto, l4 = packet[6], 40
	}
	chained := v6 && proto == 0
	if chained { // hop-by-hop options of 8 bytes
		proto, l4 = packet[40], 48
	}
	arp := b[eth+13] == 0x06
	fragment := !v6 && !arp && binary.BigEndian.Uint16(packet[6:])&0x3fff != 0
	tcp, udp := !arp && !fragment && proto == 6, !arp && !fragment && proto == 17

	switch b[0] {
	case 0, 2:
		return gso == 0 && len(packet) <= mtu
	case 1:
	default:
		return false
	}
	if !(tcp && offset == 16 || udp && offset == 6) || start != wire.EthernetSize+l4 {
		return false
	}
	switch {
	case gso == 0:
		return len(packet) <= mtu
	case chained:
		return false
	}
	switch gso {
	case 1, 0x81:
		if !tcp || v6 {
			return false
		}
	case 4, 0x84:
		if !tcp || !v6 {
			return false
		}
	case 5:
		if !udp {
			return false
		}
	default:
		return false
	}
	header := l4 + 8
	if tcp {
		header = l4 + int(packet[l4+12]>>4)*4
		if packet[l4+13]&(wire.SYN|wire.RST) != 0 {
			return false
		}
	}
	payload := len(packet) - header
	return size > 0 && payload > 0 && payload <= 128*size && header+min(size, payload) <= mtu
}
