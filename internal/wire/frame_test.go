package wire_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

// TestFields checks every field that Parse fills in, for one frame of each kind.
func TestFields(t *testing.T) {
	a, b := wire.AddrFrom4([]byte{10, 0, 1, 10}), wire.AddrFrom4([]byte{10, 0, 2, 20})
	c, d := wire.Addr{0: 0xfd, 15: 1}, wire.Addr{0: 0xfd, 15: 2}
	for _, test := range []struct {
		text string
		want wire.Frame // Bytes, Src, Dst and L3 are the same for all
	}{
		{
			"10.0.1.10:40000 > 10.0.2.20:22 tcp SEW seq=4294967295 ack=3 win=1000 wscale=7 ipid=9 len=5",
			wire.Frame{Kind: wire.KindIPv4, Tuple: wire.FiveTuple{Src: a, Dst: b, SrcPort: 40000, DstPort: 22, Protocol: 6},
				L4: l4, Payload: l4 + 24, ID: 9, Segments: 1,
				TCP: wire.TCP{Seq: 4294967295, Ack: 3, Window: 1000, Flags: wire.SYN | wire.ECE | wire.CWR, Scale: 7, Length: 5}},
		},
		{
			"10.0.1.10:40000 > 10.0.2.20:22 tcp S wscale=15",
			wire.Frame{Kind: wire.KindIPv4, Tuple: wire.FiveTuple{Src: a, Dst: b, SrcPort: 40000, DstPort: 22, Protocol: 6},
				L4: l4, Payload: l4 + 24, Segments: 1, TCP: wire.TCP{Window: 64240, Flags: wire.SYN, Scale: 14}},
		},
		{
			"10.0.1.10:40000 > 10.0.2.20:22 tcp FPAU len=7",
			wire.Frame{Kind: wire.KindIPv4, Tuple: wire.FiveTuple{Src: a, Dst: b, SrcPort: 40000, DstPort: 22, Protocol: 6},
				L4: l4, Payload: l4 + 20, Segments: 1,
				TCP: wire.TCP{Window: 64240, Flags: wire.FIN | wire.PSH | wire.ACK | wire.URG, Scale: -1, Length: 7}},
		},
		{
			"10.0.1.10:5353 > 10.0.2.20:53 udp len=10 pad=8",
			wire.Frame{Kind: wire.KindIPv4, Tuple: wire.FiveTuple{Src: a, Dst: b, SrcPort: 5353, DstPort: 53, Protocol: 17},
				L4: l4, Payload: l4 + 8, Segments: 1},
		},
		{
			"10.0.1.10:5353 > 10.0.2.20:53 udp mf len=16 ipid=7",
			wire.Frame{Kind: wire.KindIPv4, Tuple: wire.FiveTuple{Src: a, Dst: b, SrcPort: 5353, DstPort: 53, Protocol: 17},
				L4: l4, Payload: l4 + 8, Segments: 1, ID: 7, Fragment: true, More: true, Data: l4},
		},
		{
			"10.0.1.10 > 10.0.2.20 tcp frag=1480 mf len=16 ipid=7",
			wire.Frame{Kind: wire.KindIPv4, Tuple: wire.FiveTuple{Src: a, Dst: b, Protocol: 6},
				L4: l4, Payload: l4, Segments: 1, ID: 7, Fragment: true, Later: true, More: true, Offset: 1480, Data: l4},
		},
		{
			"10.0.1.10 > 10.0.2.20 icmp echo-request id=7 seq=1 len=4",
			wire.Frame{Kind: wire.KindIPv4, Tuple: wire.FiveTuple{Src: a, Dst: b, SrcPort: 7, DstPort: 0x0800, Protocol: 1},
				L4: l4, Payload: l4 + 8, Segments: 1, Type: 8},
		},
		{
			"10.0.1.10 > 10.0.2.20 icmp 3/4 seq=1400",
			wire.Frame{Kind: wire.KindIPv4, Tuple: wire.FiveTuple{Src: a, Dst: b, DstPort: 0x0304, Protocol: 1},
				L4: l4, Payload: l4 + 8, Segments: 1, Type: 3, Code: 4},
		},
		{
			"10.0.1.10 > 10.0.2.20 proto 47 len=9",
			wire.Frame{Kind: wire.KindIPv4, Tuple: wire.FiveTuple{Src: a, Dst: b, Protocol: 47}, L4: l4, Payload: l4, Segments: 1},
		},
		{
			"fd00::1 > fd00::2 icmpv6 echo-reply id=7",
			wire.Frame{Kind: wire.KindIPv6, Tuple: wire.FiveTuple{Src: wire.Addr{0: 0xfd, 15: 1}, Dst: wire.Addr{0: 0xfd, 15: 2},
				SrcPort: 0x8000, DstPort: 7, Protocol: 58}, L4: l4v6, Payload: l4v6 + 8, Segments: 1, Type: 129},
		},
		{
			"[fd00::1]:5353 > [fd00::2]:53 udp len=3 hbh dst=48",
			wire.Frame{Kind: wire.KindIPv6, Tuple: wire.FiveTuple{Src: c, Dst: d, SrcPort: 5353, DstPort: 53, Protocol: 17},
				L4: l4v6 + 56, Payload: l4v6 + 64, Segments: 1},
		},
		{
			"[fd00::1]:5353 > [fd00::2]:53 udp len=16 ipid=4294967295 hbh frag=0,mf dst=16",
			wire.Frame{Kind: wire.KindIPv6, Tuple: wire.FiveTuple{Src: c, Dst: d, SrcPort: 5353, DstPort: 53, Protocol: 17},
				L4: l4v6 + 32, Payload: l4v6 + 40, Segments: 1, ID: 4294967295, Fragment: true, More: true, Data: l4v6 + 16},
		},
		{
			"fd00::1 > fd00::2 proto 60 len=9 ipid=7 dst frag=1480",
			wire.Frame{Kind: wire.KindIPv6, Tuple: wire.FiveTuple{Src: c, Dst: d, Protocol: 60},
				L4: l4v6 + 16, Payload: l4v6 + 16, Segments: 1, ID: 7, Fragment: true, Later: true, Offset: 1480, Data: l4v6 + 16},
		},
		{
			// RFC 6946: this is no fragment, so its identification means nothing.
			"[fd00::1]:5353 > [fd00::2]:53 udp len=3 ipid=7 frag=0",
			wire.Frame{Kind: wire.KindIPv6, Tuple: wire.FiveTuple{Src: c, Dst: d, SrcPort: 5353, DstPort: 53, Protocol: 17},
				L4: l4v6 + 8, Payload: l4v6 + 16, Segments: 1},
		},
		{
			"nd advert fd00::2 from fd00::1 to fd00::2 lladdr=02:00:00:00:00:07",
			wire.Frame{Kind: wire.KindIPv6, Tuple: wire.FiveTuple{Src: c, Dst: d, DstPort: 0x8800, Protocol: 58},
				L4: l4v6, Payload: l4v6 + 8, Segments: 1, Type: 136,
				ND: wire.ND{Type: wire.NeighborAdvertisement, Target: d, LinkLayer: wire.MAC{2, 5: 7}, HasLinkLayer: true}},
		},
		{
			"nd router-solicit from fd00::1 to fd00::2",
			wire.Frame{Kind: wire.KindIPv6, Tuple: wire.FiveTuple{Src: c, Dst: d, DstPort: 0x8500, Protocol: 58},
				L4: l4v6, Payload: l4v6 + 8, Segments: 1, Type: 133, ND: wire.ND{Type: wire.RouterSolicitation}},
		},
		{
			"arp who-has 10.0.1.1 tell 10.0.1.10",
			wire.Frame{Kind: wire.KindARP, Segments: 1,
				ARP: wire.ARP{Op: wire.ARPRequest, SenderMAC: macA, SenderIP: [4]byte{10, 0, 1, 10}, TargetIP: [4]byte{10, 0, 1, 1}}},
		},
		{
			"arp reply 10.0.1.10 is-at 02:00:00:00:00:0a tell 10.0.1.1",
			wire.Frame{Kind: wire.KindARP, Segments: 1,
				ARP: wire.ARP{Op: wire.ARPReply, SenderMAC: macA, SenderIP: [4]byte{10, 0, 1, 10}, TargetIP: [4]byte{10, 0, 1, 1}}},
		},
	} {
		t.Run(test.text, func(t *testing.T) {
			f := parse(t, test.text)
			got := *f
			if got.Src != macA || got.Dst != macB || got.L3 != l3 {
				t.Errorf("%v > %v, L3 %d", got.Src, got.Dst, got.L3)
			}
			got.Bytes, got.Src, got.Dst, got.L3 = nil, wire.MAC{}, wire.MAC{}, 0
			// A Frame holds a slice, so == is not for it; %+v shows every field.
			if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", test.want); g != w {
				t.Errorf("got  %s\nwant %s", g, w)
			}
		})
	}
}

// TestParseTrims holds V5: no byte behind the packet is left to forward.
func TestParseTrims(t *testing.T) {
	for _, text := range []string{ack, datagram, request, "10.0.1.10 > 10.0.2.20 proto 47 len=3", syn6,
		syn6 + " hbh dst", "fd00::1 > fd00::2 udp len=3 frag=1480", neighbor, whoHas} {
		whole := bytesOf(t, text)
		var f wire.Frame
		if r := f.Parse(append(bytes.Clone(whole), "secret"...), mtu); r != policy.None {
			t.Fatal(r)
		}
		if !bytes.Equal(f.Bytes, whole) {
			t.Errorf("%s: %d bytes are left of %d with 6 of padding", text, len(f.Bytes), len(whole))
		}
	}
}

// TestParseRefusedKeepsDiagnosis checks that a refused frame shows as much as
// was parsed, and nothing of the frame before it.
func TestParseRefusedKeepsDiagnosis(t *testing.T) {
	f := parse(t, "10.9.9.9:1 > 10.8.8.8:2 tcp A seq=5 len=9")
	b := bytesOf(t, "10.0.1.10:40000 > 10.0.2.20:22 tcp FS")
	if r := f.Parse(b, mtu); r != policy.TCPFlags {
		t.Fatal(r)
	}
	if f.Kind != wire.KindNone || f.Src != macA || f.Dst != macB || f.Tuple.String() != "10.0.1.10:40000 > 10.0.2.20:22 tcp" || f.TCP.Flags != wire.FIN|wire.SYN {
		t.Errorf("Kind %d, %v > %v, %v, flags %b", f.Kind, f.Src, f.Dst, f.Tuple, f.TCP.Flags)
	}
	if r := f.Parse(b[:eth+14], mtu); r != policy.IPHeader {
		t.Fatal(r)
	}
	if f.Tuple != (wire.FiveTuple{}) || f.TCP != (wire.TCP{}) {
		t.Errorf("left of the frame before: %v, %+v", f.Tuple, f.TCP)
	}
}

// TestSetMACs checks that the addresses change and nothing else.
func TestSetMACs(t *testing.T) {
	f := parse(t, pending)
	want := bytesOf(t, pending)
	router, target := wire.MAC{2, 1, 1, 1, 1, 1}, wire.MAC{2, 2, 2, 2, 2, 2}
	copy(want[eth:], target[:])
	copy(want[eth+6:], router[:])
	f.SetMACs(router, target)
	if !bytes.Equal(f.Bytes, want) {
		t.Errorf("got  %x\nwant %x", f.Bytes, want)
	}
	if f.Src != router || f.Dst != target {
		t.Errorf("Src %v, Dst %v", f.Src, f.Dst)
	}
}

// TestNoAllocation holds the invariant that a frame costs no allocation.
func TestNoAllocation(t *testing.T) {
	buf := make([]byte, 0, 256)
	prefix := netip.MustParsePrefix("2001:db8:a:1::/64")
	for _, text := range []string{syn, super, datagram, request, syn6, whoHas, "10.0.1.10:1 > 10.0.2.20:2 tcp FS",
		"10.0.2.20 > 10.0.1.10 icmp 3/4 about 10.0.1.10:40000 > 10.0.2.20:22 tcp A",
		"fd00::2 > fd00::1 icmpv6 1 about [fd00::1]:40000 > [fd00::2]:22 tcp A hbh dst",
		syn6 + " hbh dst rh4 dst", "[fd00::1]:1 > [fd00::2]:2 udp frag=0,mf dst len=8", syn6 + " rh0", request6, neighbor, router} {
		b := bytesOf(t, text)
		f := new(wire.Frame)
		n := testing.AllocsPerRun(100, func() {
			if f.Parse(b, mtu) != policy.None {
				return
			}
			f.TransportChecksumOK()
			f.ICMPError()
			f.SetMACs(macB, macA)
			if f.Kind == wire.KindARP {
				buf = wire.AppendARPReply(buf[:0], f, macB)
			}
			switch {
			case f.IsND():
				buf = wire.AppendNeighborAdvertisement(buf[:0], f, macB, true)
				buf = wire.AppendRouterAdvertisement(buf[:0], f, macB, mtu, prefix)
			case f.Type == 8:
				wire.EchoReply(f)
				b[l4] = 8 // for the next run; the checksum does not matter here
			case f.Type == 128:
				wire.EchoReply(f)
				b[l4v6] = 128
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", wiretest.Format(b), n)
		}
	}
}
