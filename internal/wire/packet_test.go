package wire_test

import (
	"net/netip"
	"testing"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

// A packet is, to the byte, what a host would send: the independent maker of
// frames for tests agrees, and the parser takes it.
func TestPacket(t *testing.T) {
	addr := func(s string) wire.Addr { return wire.AddrFrom(netip.MustParseAddr(s)) }
	for _, c := range []struct {
		text string
		p    wire.Packet
	}{
		{"10.0.1.10:40000 > 10.0.2.20:22 tcp S seq=1", wire.Packet{Protocol: 6, SrcPort: 40000, DstPort: 22, Seq: 1, Flags: wire.SYN}},
		{"10.0.2.20:22 > 10.0.1.10:40000 tcp SA seq=7 ack=2", wire.Packet{Protocol: 6, SrcPort: 22, DstPort: 40000, Seq: 7, Ack: 2, Flags: wire.SYN | wire.ACK}},
		{"10.0.1.10:40000 > 10.0.2.20:53 udp", wire.Packet{Protocol: 17, SrcPort: 40000, DstPort: 53}},
		{"10.0.1.10 > 10.0.2.20 icmp echo-request id=1", wire.Packet{Protocol: 1, Type: 8, ID: 1}},
		{"10.0.1.10 > 10.0.2.20 icmp echo-reply id=513", wire.Packet{Protocol: 1, Type: 0, ID: 513}},
		{"10.0.1.10 > 10.0.2.20 icmp 3/4", wire.Packet{Protocol: 1, Type: 3, Code: 4}},
		{"10.0.1.10 > 10.0.2.20 proto 47", wire.Packet{Protocol: 47}},
		{"[fd00::1]:40000 > [fd00::2]:22 tcp S seq=1", wire.Packet{Protocol: 6, SrcPort: 40000, DstPort: 22, Seq: 1, Flags: wire.SYN}},
		{"[fd00::1]:40000 > [fd00::2]:53 udp", wire.Packet{Protocol: 17, SrcPort: 40000, DstPort: 53}},
		{"fd00::1 > fd00::2 icmpv6 echo-request id=1", wire.Packet{Protocol: 58, Type: 128, ID: 1}},
		{"fd00::1 > fd00::2 proto 47", wire.Packet{Protocol: 47}},
	} {
		want := parse(t, c.text)
		p := c.p
		p.Src, p.Dst, p.SrcMAC, p.DstMAC = want.Tuple.Src, want.Tuple.Dst, want.Src, want.Dst
		var got wire.Frame
		if r := got.Parse(p.Bytes(), 1500); r != policy.None {
			t.Errorf("%s: refused: %s: %s", c.text, r, wiretest.Format(p.Bytes()))
			continue
		}
		if got.Tuple != want.Tuple || got.Src != want.Src || got.Dst != want.Dst || got.Type != want.Type || got.Code != want.Code {
			t.Errorf("%s: %s", c.text, wiretest.Format(p.Bytes()))
		}
		if got.TCP.Seq != want.TCP.Seq || got.TCP.Ack != want.TCP.Ack || got.TCP.Flags != want.TCP.Flags {
			t.Errorf("%s: TCP is %+v", c.text, got.TCP)
		}
		if !got.TransportChecksumOK() || len(got.Bytes) != got.Payload {
			t.Errorf("%s: checksum right: %v, %d bytes behind the headers", c.text, got.TransportChecksumOK(), len(got.Bytes)-got.Payload)
		}
	}
	// RFC 768: a sum of zero is written as all ones. This source port makes one.
	p := wire.Packet{Src: addr("10.0.0.1"), Dst: addr("10.0.0.2"), Protocol: 17}
	for p.SrcPort = 1; ; p.SrcPort++ {
		if b := p.Bytes(); b[len(b)-2] == 0xff && b[len(b)-1] == 0xff {
			break
		}
		if p.SrcPort == 65535 {
			t.Fatal("no source port has the checksum 0xffff, which stands for zero")
		}
	}
	var f wire.Frame
	if r := f.Parse(p.Bytes(), 1500); r != policy.None || !f.TransportChecksumOK() {
		t.Errorf("the checksum that stands for zero: %s", r)
	}
}

func TestReplyType(t *testing.T) {
	for _, c := range []struct {
		protocol, typ, want uint8
		ok                  bool
	}{{1, 8, 0, true}, {1, 13, 14, true}, {1, 0, 0, false}, {1, 3, 0, false}, {58, 128, 129, true}, {58, 129, 0, false}, {58, 8, 0, false}} {
		if got, ok := wire.ReplyType(c.protocol, c.typ); got != c.want || ok != c.ok {
			t.Errorf("protocol %d type %d: %d, %v", c.protocol, c.typ, got, ok)
		}
	}
}
