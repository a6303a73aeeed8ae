package wire_test

import (
	"bytes"
	"testing"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

// TestICMPTuplesMirror holds SEM 2.1: a question and its answer are one flow in
// two directions, and nothing else is.
func TestICMPTuplesMirror(t *testing.T) {
	const there, back = "10.0.1.10 > 10.0.2.20 ", "10.0.2.20 > 10.0.1.10 "
	for _, c := range []struct {
		name, one, other string
		mirror           bool
	}{
		{"echo", there + "icmp echo-request id=7 seq=1", back + "icmp echo-reply id=7 seq=1", true},
		{"echo, another sequence number", there + "icmp echo-request id=7 seq=1", back + "icmp echo-reply id=7 seq=2", true},
		{"echo, identifier 0", there + "icmp echo-request", back + "icmp echo-reply", true},
		{"echo, another identifier", there + "icmp echo-request id=7", back + "icmp echo-reply id=8", false},
		{"echo with a code", there + "icmp 8/1 id=7", back + "icmp 0/1 id=7", true},
		{"echo, another code", there + "icmp 8/1 id=7", back + "icmp 0/0 id=7", false},
		{"timestamp", there + "icmp timestamp id=7", back + "icmp timestamp-reply id=7", true},
		{"timestamp answered by echo", there + "icmp timestamp id=7", back + "icmp echo-reply id=7", false},
		{"two hosts ask each other with one identifier", there + "icmp echo-request id=7", back + "icmp echo-request id=7", false},
		{"two answers", there + "icmp echo-reply id=7", back + "icmp echo-reply id=7", false},
		{"errors", there + "icmp 3/4", back + "icmp 3/4", false},
		{"router solicitation", there + "icmp 10", back + "icmp 9", false},
		{"echo over IPv6", "fd00::1 > fd00::2 icmpv6 echo-request id=7", "fd00::2 > fd00::1 icmpv6 echo-reply id=7", true},
		{"neighbor discovery", "fd00::1 > fd00::2 icmpv6 135", "fd00::2 > fd00::1 icmpv6 136", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			one, other := parse(t, c.one).Tuple, parse(t, c.other).Tuple
			if got := one.Reverse() == other; got != c.mirror {
				t.Errorf("%v and %v: mirror %v, want %v", one, other, got, c.mirror)
			}
		})
	}
}

// TestICMPError holds T4: which flow an ICMP error is about, and what is not to
// be believed.
func TestICMPError(t *testing.T) {
	const about = "10.0.2.20 > 10.0.1.10 icmp 3/4 about 10.0.1.10:40000 > 10.0.2.20:22 tcp A seq=1 len=50"
	quote := l4 + 8 // where the quoted packet begins
	for _, c := range []struct {
		name, text string
		edit       edit
		want       string // "" if there is no flow
	}{
		{"fragmentation needed", about, nil, "10.0.1.10:40000 > 10.0.2.20:22 tcp"},
		{"from a router on the way", "10.0.0.1 > 10.0.1.10 icmp 11 about 10.0.1.10:40000 > 10.0.2.20:53 udp len=9", nil, "10.0.1.10:40000 > 10.0.2.20:53 udp"},
		{"parameter problem", "10.0.2.20 > 10.0.1.10 icmp 12 about 10.0.1.10 > 10.0.2.20 proto 47 len=9", nil, "10.0.1.10 > 10.0.2.20 47"},
		{"about a ping", "10.0.2.20 > 10.0.1.10 icmp 3/1 about 10.0.1.10 > 10.0.2.20 icmp echo-request id=7", nil, "10.0.1.10 > 10.0.2.20 icmp echo-request id 7"},
		{"about the first fragment", "10.0.2.20 > 10.0.1.10 icmp 11/1 about 10.0.1.10:1 > 10.0.2.20:2 udp mf len=24", nil, "10.0.1.10:1 > 10.0.2.20:2 udp"},
		{"quoted whole", "10.0.2.20 > 10.0.1.10 icmp 3/4 quote=500 about 10.0.1.10:40000 > 10.0.2.20:22 tcp A len=500", nil, "10.0.1.10:40000 > 10.0.2.20:22 tcp"},
		{"verified by the kernel", about, flags(2), "10.0.1.10:40000 > 10.0.2.20:22 tcp"},

		{"no error", request, nil, ""},
		{"redirect", "10.0.2.20 > 10.0.1.10 icmp 5 about 10.0.1.10:40000 > 10.0.2.20:22 tcp A", nil, ""},
		{"TCP", ack, nil, ""},
		{"ARP", whoHas, nil, ""},
		{"ICMPv6", "fd00::1 > fd00::2 icmpv6 3 about 10.0.1.10:40000 > 10.0.2.20:22 tcp A", nil, ""},
		{"wrong checksum", "10.0.2.20 > 10.0.1.10 icmp 3/4 csum=bad about 10.0.1.10:40000 > 10.0.2.20:22 tcp A", nil, ""},
		{"to another than the quoted source", "10.0.2.20 > 10.0.1.11 icmp 3/4 about 10.0.1.10:40000 > 10.0.2.20:22 tcp A", nil, ""},
		{"4 bytes of the transport header", "10.0.2.20 > 10.0.1.10 icmp 3/4 quote=4 about 10.0.1.10:40000 > 10.0.2.20:22 tcp A", nil, ""},
		{"7 bytes", "10.0.2.20 > 10.0.1.10 icmp 3/4 quote=7 about 10.0.1.10:40000 > 10.0.2.20:22 tcp A", nil, ""},
		{"no quote", "10.0.2.20 > 10.0.1.10 icmp 3/4", nil, ""},
		{"a header without its unused word", "10.0.2.20 > 10.0.1.10 icmp 3/4", ends(24), ""},
		{"a quote that is no packet", "10.0.2.20 > 10.0.1.10 icmp 3/4 len=40", nil, ""},
		{"quoted version 6", about, all(put(quote, 0x65), mendICMP), ""},
		{"quoted header of 16 bytes", about, all(put(quote, 0x44), mendICMP), ""},
		{"quoted header past the end", about, all(put(quote, 0x4f), mendICMP), ""},
		{"about a later fragment", "10.0.2.20 > 10.0.1.10 icmp 11/1 about 10.0.1.10 > 10.0.2.20 udp frag=1480 len=24", nil, ""},
		{"in a fragment", "10.0.2.20 > 10.0.1.10 icmp 3/4 mf quote=12 about 10.0.1.10:40000 > 10.0.2.20:22 tcp A", nil, ""},
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
			inner, ok := f.ICMPError()
			if ok != (c.want != "") {
				t.Fatalf("ICMPError = %v, %v; want %q", inner, ok, c.want)
			}
			if ok && inner.String() != c.want {
				t.Errorf("ICMPError = %v, want %s", inner, c.want)
			}
		})
	}
}

// mendICMP makes the checksum of an ICMP message right.
func mendICMP(b []byte) []byte {
	m := b[l4:]
	clear(m[2:4])
	s := uint32(0)
	for i, v := range m {
		s += uint32(v) << (8 * (1 - i%2))
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	m[2], m[3] = byte(^s>>8), byte(^s)
	return b
}

// TestEchoReply checks the gateway's answer byte for byte.
func TestEchoReply(t *testing.T) {
	for _, c := range []struct{ ask, answer string }{
		{"10.0.1.10 > 10.0.1.1 icmp echo-request id=7 seq=1 len=56", "10.0.1.1 > 10.0.1.10 icmp echo-reply id=7 seq=1 len=56"},
		{"10.0.1.10 > 10.0.1.1 icmp echo-request id=7 seq=2 len=57 ttl=1 ipid=9 df", "10.0.1.1 > 10.0.1.10 icmp echo-reply id=7 seq=2 len=57 ipid=9 df"},
		{"10.0.1.10 > 10.0.1.1 icmp echo-request ttl=255", "10.0.1.1 > 10.0.1.10 icmp echo-reply"},
		{"10.0.1.10 > 10.0.1.1 icmp 8/3 id=7", "10.0.1.1 > 10.0.1.10 icmp 0/3 id=7"},
		{"10.0.1.10 > 10.0.1.1 icmp echo-request id=7 len=3 pad=5", "10.0.1.1 > 10.0.1.10 icmp echo-reply id=7 len=3"},
	} {
		f := parse(t, c.ask)
		before := f.Tuple
		wire.EchoReply(f)
		want := wiretest.Bytes(t, macB, macA, c.answer)
		if !bytes.Equal(f.Bytes, want) {
			t.Errorf("%s:\n got %s\nwant %s", c.ask, wiretest.Format(f.Bytes), wiretest.Format(want))
		}
		if f.Src != macB || f.Dst != macA || f.Type != 0 || f.Tuple != before.Reverse() {
			t.Errorf("%s: the fields say %v > %v, type %d, %v", c.ask, f.Src, f.Dst, f.Type, f.Tuple)
		}
		if !f.TransportChecksumOK() {
			t.Errorf("%s: wrong checksum", c.ask)
		}
	}
}

// TestEchoReplyKeepsDamage checks that the switch does not make a wrong checksum
// right: the sender is to see what the way did to its question.
func TestEchoReplyKeepsDamage(t *testing.T) {
	f := parse(t, "10.0.1.10 > 10.0.1.1 icmp echo-request id=7 len=56 csum=bad")
	wire.EchoReply(f)
	if f.TransportChecksumOK() {
		t.Error("the checksum has become right")
	}
}

// TestEchoReplyWithOptions checks that the header checksum stays right with IP
// options, whatever the identifier adds to the sums.
func TestEchoReplyWithOptions(t *testing.T) {
	for id := range 1 << 16 {
		b := bytesOf(t, "10.0.1.10 > 10.0.1.1 icmp echo-request len=2")
		b[l4+4], b[l4+5] = byte(id>>8), byte(id)
		b = all(mendICMP, options(7, 7, 4, byte(id>>8), byte(id), 0, 0, 0), flags(2))(b)
		var f wire.Frame
		if r := f.Parse(b, mtu); r != policy.None {
			t.Fatal(r)
		}
		wire.EchoReply(&f)
		if [wire.VirtioSize]byte(f.Bytes) != [wire.VirtioSize]byte{} {
			t.Fatal("the virtio header is not zero")
		}
		var reply wire.Frame
		if r := reply.Parse(f.Bytes, mtu); r != policy.None || !reply.TransportChecksumOK() {
			t.Fatalf("identifier %d: %v, %s", id, r, wiretest.Format(f.Bytes))
		}
	}
}
