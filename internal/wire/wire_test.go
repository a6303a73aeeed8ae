package wire_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

// The stage of these tests: two hosts, a router, and the MTU of a port.
var (
	macA = wire.MAC{0x02, 0, 0, 0, 0, 0x0a}
	macB = wire.MAC{0x02, 0, 0, 0, 0, 0x0b}
)

const mtu = 1500 // bytes, without the Ethernet header

// Where the headers of a frame without IP options begin, in bytes.
const (
	eth  = wire.VirtioSize
	l3   = eth + wire.EthernetSize
	l4   = l3 + 20
	l4v6 = l3 + 40
)

// An edit breaks a frame that wiretest made well-formed.
type edit func(b []byte) []byte

// put overwrites the bytes at an offset of the frame.
func put(at int, v ...byte) edit {
	return func(b []byte) []byte {
		copy(b[at:at+len(v)], v)
		return b
	}
}

// ip overwrites bytes of the IPv4 header, and mends its checksum.
func ip(at int, v ...byte) edit {
	return func(b []byte) []byte {
		copy(b[l3+at:l3+at+len(v)], v)
		return mend(b)
	}
}

// length states another total length in the IPv4 header.
func length(n int) edit { return ip(2, byte(n>>8), byte(n)) }

// options inserts IPv4 options, whose number must be a multiple of four.
func options(v ...byte) edit {
	return func(b []byte) []byte {
		b = append(b[:l4:l4], append(v, b[l4:]...)...)
		b[l3] += byte(len(v) / 4)
		binary.BigEndian.PutUint16(b[l3+2:], binary.BigEndian.Uint16(b[l3+2:])+uint16(len(v)))
		return mend(b)
	}
}

// cut takes n bytes off the end of the frame, and leaves its headers as they are.
func cut(n int) edit { return func(b []byte) []byte { return b[:len(b)-n] } }

// to cuts the frame to n bytes.
func to(n int) edit { return func(b []byte) []byte { return b[:n] } }

// ends cuts the frame so that the IPv4 packet is n bytes, and says so in it.
func ends(n int) edit { return func(b []byte) []byte { return length(n)(b[:l3+n]) } }

// grow adds n zero bytes to the end of the frame.
func grow(n int) edit { return func(b []byte) []byte { return append(b, make([]byte, n)...) } }

// all applies several edits.
func all(edits ...edit) edit {
	return func(b []byte) []byte {
		for _, e := range edits {
			b = e(b)
		}
		return b
	}
}

// length6 states another payload length in the IPv6 header.
func length6(n int) edit { return put(l3+4, byte(n>>8), byte(n)) }

// ends6 cuts the frame so that there are n bytes behind the fixed IPv6 header, and
// says so in it.
func ends6(n int) edit { return func(b []byte) []byte { return length6(n)(b[:l4v6+n]) } }

// mend makes the checksum of the IPv4 header right.
func mend(b []byte) []byte {
	h := b[l3:min(len(b), l3+int(b[l3]&15)*4)]
	clear(h[10:12])
	s := uint32(0)
	for i := 0; i+1 < len(h); i += 2 {
		s += uint32(h[i])<<8 | uint32(h[i+1])
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	binary.BigEndian.PutUint16(h[10:], ^uint16(s))
	return b
}

// A refusal is one frame and the reason that Parse has to give.
type refusal struct {
	name string
	text string
	edit edit // nil for none
	want policy.Reason
}

// check parses each frame at the MTU of the stage. Of those refused, Parse must
// not have touched a byte.
func check(t *testing.T, cases []refusal) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := wiretest.Bytes(t, macA, macB, c.text)
			if c.edit != nil {
				b = c.edit(b)
			}
			before := bytes.Clone(b)
			var f wire.Frame
			got := f.Parse(b, mtu)
			if got != c.want {
				t.Fatalf("Parse = %v, want %v\n%s", got, c.want, wiretest.Format(before))
			}
			if (got == policy.None) != (f.Kind != wire.KindNone) {
				t.Errorf("Kind = %d with reason %v", f.Kind, got)
			}
			if got != policy.None && !bytes.Equal(b, before) {
				t.Errorf("Parse changed a frame that it refused:\n%x\n%x", before, b)
			}
		})
	}
}

// parse returns the frame of text, which must be well-formed.
func parse(t testing.TB, text string) *wire.Frame {
	t.Helper()
	f := new(wire.Frame)
	if r := f.Parse(wiretest.Bytes(t, macA, macB, text), wire.MaxDatagram); r != policy.None {
		t.Fatalf("%s: %v", text, r)
	}
	return f
}

// Lines that many cases start from.
const (
	syn      = "10.0.1.10:40000 > 10.0.2.20:22 tcp S seq=1 wscale=7"
	ack      = "10.0.1.10:40000 > 10.0.2.20:22 tcp A seq=1 ack=2 len=100"
	pending  = "10.0.1.10:40000 > 10.0.2.20:22 tcp A seq=1 ack=2 len=100 csum=partial"
	super    = "10.0.1.10:40000 > 10.0.2.20:22 tcp AP seq=1 ack=2 len=14000 gso=1400"
	superUDP = "10.0.1.10:40000 > 10.0.2.20:53 udp len=12000 gso=1200"
	datagram = "10.0.1.10:40000 > 10.0.2.20:53 udp len=100"
	request  = "10.0.1.10 > 10.0.2.20 icmp echo-request id=7 seq=1 len=56"
	syn6     = "[fd00::1]:40000 > [fd00::2]:22 tcp S seq=1 wscale=7"
	super6   = "[fd00::1]:40000 > [fd00::2]:22 tcp A seq=1 len=14000 gso=1400"
	request6 = "fd00::1 > fd00::2 icmpv6 echo-request id=7 seq=1 len=56"
	neighbor = "nd solicit fd00::2 from fd00::1 lladdr"
	router   = "nd router-solicit from fe80::a lladdr"
	whoHas   = "arp who-has 10.0.1.1 tell 10.0.1.10"
)
