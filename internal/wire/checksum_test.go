package wire_test

import (
	"bytes"
	"fmt"
	"testing"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

// TestTransportChecksumOK holds I8.
func TestTransportChecksumOK(t *testing.T) {
	for _, c := range []struct {
		name, text string
		edit       edit
		want       bool
	}{
		{"TCP", ack, nil, true},
		{"TCP of odd length", "10.0.1.10:1 > 10.0.2.20:2 tcp A len=101", nil, true},
		{"TCP, wrong", ack + " csum=bad", nil, false},
		{"TCP, one bit of the payload", ack, put(l4+119, 0), false},
		{"TCP, the last byte of odd length", "10.0.1.10:1 > 10.0.2.20:2 tcp A len=101", put(l4+120, 0), false},
		{"TCP, an address", ack, ip(19, 21), false},
		{"TCP, pending", pending, nil, true},
		{"TCP, verified by the kernel", ack + " csum=bad", flags(2), true},
		{"TCP superframe", super, nil, true},
		{"TCP with padding", ack + " pad=3", nil, true},
		{"UDP", datagram, nil, true},
		{"UDP, wrong", datagram + " csum=bad", nil, false},
		{"UDP without checksum", datagram, put(l4+6, 0, 0), true},
		{"UDP with a surplus area, which it does not cover", "10.0.1.10:1 > 10.0.2.20:2 udp", all(grow(4), length(32), put(l4+8, 1, 2, 3, 4)), true},
		{"ICMP", request, nil, true},
		{"ICMP, wrong", request + " csum=bad", nil, false},
		{"fragment, wrong or not", datagram + " mf len=24 csum=bad", nil, true},
		{"later fragment", "10.0.1.10 > 10.0.2.20 udp frag=1480 len=24", nil, true},
		{"protocol without one", "10.0.1.10 > 10.0.2.20 proto 47 len=5", nil, true},
		{"ICMPv6 over IPv4 is opaque", "10.0.1.10 > 10.0.2.20 proto 58 len=5", nil, true},
		{"ICMP over IPv6 is opaque", "fd00::1 > fd00::2 proto 1 len=5", nil, true},
		{"ARP", whoHas, nil, true},
		{"TCP over IPv6", syn6, nil, true},
		{"TCP over IPv6, wrong", syn6 + " csum=bad", nil, false},
		{"UDP over IPv6", "[fd00::1]:1 > [fd00::2]:2 udp len=9", nil, true},
		{"UDP over IPv6 without checksum", "[fd00::1]:1 > [fd00::2]:2 udp len=9", put(l4v6+6, 0, 0), false},
		{"UDP over IPv6 without checksum, behind extension headers", "[fd00::1]:1 > [fd00::2]:2 udp len=9 hbh dst", put(l4v6+22, 0, 0), false},
		{"TCP behind extension headers", syn6 + " hbh dst rh4 frag=0", put(l4v6+19, 0), true},
		{"TCP behind extension headers, wrong", syn6 + " hbh dst csum=bad", nil, false},
		{"TCP behind a routing header with nothing left, wrong", syn6 + " rh4 csum=bad", put(l4v6+3, 0), false},
		{"TCP to a destination that a routing header names", syn6 + " rh4 csum=bad", nil, true},
		{"TCP to a destination that the first of two routing headers names", syn6 + " rh4 rh4 csum=bad", put(l4v6+27, 0), true},
		{"fragment over IPv6, wrong or not", "[fd00::1]:1 > [fd00::2]:2 udp len=8 frag=0,mf csum=bad", nil, true},
		{"ICMPv6 behind an extension header, wrong", request6 + " dst csum=bad", nil, false},
		{"ICMPv6", "fd00::1 > fd00::2 icmpv6 echo-request id=7 len=9", nil, true},
		{"ICMPv6, wrong", "fd00::1 > fd00::2 icmpv6 echo-request id=7 len=9 csum=bad", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bytesOf(t, c.text)
			if c.edit != nil {
				b = c.edit(b)
			}
			var f wire.Frame
			if r := f.Parse(b, mtu); r != policy.None {
				t.Fatal(r)
			}
			if got := f.TransportChecksumOK(); got != c.want {
				t.Errorf("TransportChecksumOK = %v, want %v", got, c.want)
			}
		})
	}
}

// TestFinishChecksum checks that a finished frame is the one that the sender
// would have sent without offload, whatever it left in the checksum field.
func TestFinishChecksum(t *testing.T) {
	for _, text := range []string{
		"10.0.1.10:40000 > 10.0.2.20:22 tcp A seq=1 ack=2 len=101",
		"10.0.1.10:40000 > 10.0.2.20:53 udp len=100",
		"10.0.1.10:40000 > 10.0.2.20:53 udp",
		"[fd00::1]:40000 > [fd00::2]:22 tcp S seq=1 wscale=7",
		"[fd00::1]:1 > [fd00::2]:2 udp len=9",
		"[fd00::1]:1 > [fd00::2]:2 udp len=9 hbh dst=24",
		"[fd00::1]:40000 > [fd00::2]:22 tcp A len=5 frag=0",
	} {
		for _, lie := range []bool{false, true} {
			b := bytesOf(t, text+" csum=partial")
			if lie {
				b[eth+int(b[6])+int(b[8])] ^= 0x55
			}
			var f wire.Frame
			if r := f.Parse(b, mtu); r != policy.None {
				t.Fatal(r)
			}
			f.FinishChecksum()
			if want := bytesOf(t, text); !bytes.Equal(f.Bytes, want) {
				t.Errorf("%s:\n got %x\nwant %x", text, f.Bytes, want)
			}
			if !f.TransportChecksumOK() {
				t.Errorf("%s: wrong when finished", text)
			}
		}
	}
}

// TestFinishChecksumLeavesOthers checks that a frame which has its checksum, right
// or wrong, is left alone.
func TestFinishChecksumLeavesOthers(t *testing.T) {
	for _, text := range []string{ack, ack + " csum=bad", request, whoHas} {
		f := parse(t, text)
		f.FinishChecksum()
		if !bytes.Equal(f.Bytes, bytesOf(t, text)) {
			t.Errorf("%s became %s", text, wiretest.Format(f.Bytes))
		}
	}
}

// TestFinishChecksumOfUDPIsNeverZero holds RFC 768: zero would mean that there is
// none. The ports are chosen so that the sum comes out as zero.
func TestFinishChecksumOfUDPIsNeverZero(t *testing.T) {
	seen := false
	for port := range 1 << 16 {
		text := fmt.Sprintf("10.0.1.10:%d > 10.0.2.20:53 udp csum=partial", port)
		f := parse(t, text)
		f.FinishChecksum()
		switch [2]byte(f.Bytes[l4+6:]) {
		case [2]byte{0, 0}:
			t.Fatalf("%s: checksum 0", text)
		case [2]byte{0xff, 0xff}:
			seen = true
		}
		if !f.TransportChecksumOK() {
			t.Fatalf("%s: wrong when finished", text)
		}
	}
	if !seen {
		t.Error("no port gives the checksum 0xffff")
	}
}
