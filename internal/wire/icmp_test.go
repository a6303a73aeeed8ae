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
		{"echo over IPv6 with a code", "fd00::1 > fd00::2 icmpv6 128/3 id=7", "fd00::2 > fd00::1 icmpv6 129/3 id=7", true},
		{"echo over IPv6, another identifier", "fd00::1 > fd00::2 icmpv6 echo-request id=7", "fd00::2 > fd00::1 icmpv6 echo-reply id=8", false},
		{"echo over IPv6 behind extension headers", "fd00::1 > fd00::2 icmpv6 echo-request id=7 hbh", "fd00::2 > fd00::1 icmpv6 echo-reply id=7 dst frag=0", true},
		{"neighbor discovery", "nd solicit fd00::2 from fd00::1 to fd00::2", "nd advert fd00::2 from fd00::2 to fd00::1", false},
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
		{"about ICMPv6 over IPv4, which is opaque", "10.0.2.20 > 10.0.1.10 icmp 3/2 about 10.0.1.10 > 10.0.2.20 icmpv6 echo-request id=7", nil, "10.0.1.10 > 10.0.2.20 icmpv6"},

		{"no error", request, nil, ""},
		{"redirect", "10.0.2.20 > 10.0.1.10 icmp 5 about 10.0.1.10:40000 > 10.0.2.20:22 tcp A", nil, ""},
		{"TCP", ack, nil, ""},
		{"ARP", whoHas, nil, ""},
		{"an IPv4 packet quoted by ICMPv6", "fd00::1 > fd00::2 icmpv6 3 quote=40 about 10.0.1.10:40000 > 10.0.2.20:22 tcp A len=40", nil, ""},
		{"ICMPv6 over IPv4", "10.0.2.20 > 10.0.1.10 icmpv6 1 about 10.0.1.10:40000 > 10.0.2.20:22 tcp A", nil, ""},
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
		t.Run(c.name, func(t *testing.T) { checkICMPError(t, c.text, c.edit, c.want) })
	}
}

// mendICMP makes the checksum of an ICMP message right.
func mendICMP(b []byte) []byte { return mendMessage(b, b[l4:], nil) }

// mendICMPv6 makes the checksum of an ICMPv6 message without extension headers
// right.
func mendICMPv6(b []byte) []byte {
	n := len(b) - l4v6
	return mendMessage(b, b[l4v6:], append(bytes.Clone(b[l3+8:l4v6]), 0, 58, byte(n>>8), byte(n)))
}

// mendMessage makes the checksum of a message in b right; pseudo is its pseudo
// header.
func mendMessage(b, m, pseudo []byte) []byte {
	clear(m[2:4])
	s := uint32(0)
	for i, v := range append(pseudo, m...) {
		s += uint32(v) << (8 * (1 - i%2))
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	m[2], m[3] = byte(^s>>8), byte(^s)
	return b
}

// TestICMPv6Error holds T4 over IPv6 (RFC 4443 section 3).
func TestICMPv6Error(t *testing.T) {
	const (
		about = "fd00::2 > fd00::1 icmpv6 2 about [fd00::1]:40000 > [fd00::2]:22 tcp A seq=1 len=50"
		tcp   = "[fd00::1]:40000 > [fd00::2]:22 tcp"
	)
	quote := l4v6 + 8 // where the quoted packet begins
	for _, c := range []struct {
		name, text string
		edit       edit
		want       string // "" if there is no flow
	}{
		{"packet too big", about, nil, tcp},
		{"unreachable, from a router on the way", "fd00::9 > fd00::1 icmpv6 1/3 about [fd00::1]:40000 > [fd00::2]:53 udp len=9", nil, "[fd00::1]:40000 > [fd00::2]:53 udp"},
		{"time exceeded, about a ping", "fd00::9 > fd00::1 icmpv6 3 about fd00::1 > fd00::2 icmpv6 echo-request id=7", nil, "fd00::1 > fd00::2 icmpv6 echo-request id 7"},
		{"parameter problem, about what has no ports", "fd00::2 > fd00::1 icmpv6 4 about fd00::1 > fd00::2 proto 47 len=9", nil, "fd00::1 > fd00::2 47"},
		{"about ICMP over IPv6, which is opaque", "fd00::2 > fd00::1 icmpv6 4/1 about fd00::1 > fd00::2 icmp echo-request id=7", nil, "fd00::1 > fd00::2 icmp"},
		{"quoted whole", "fd00::2 > fd00::1 icmpv6 1 quote=500 about [fd00::1]:40000 > [fd00::2]:22 tcp A len=500", nil, tcp},
		{"behind extension headers", "fd00::2 > fd00::1 icmpv6 1 hbh dst about [fd00::1]:40000 > [fd00::2]:22 tcp A", nil, tcp},
		{"about extension headers", "fd00::2 > fd00::1 icmpv6 1 about [fd00::1]:40000 > [fd00::2]:22 tcp A hbh dst=48 rh4", nil, tcp},
		{"about the first fragment", "fd00::2 > fd00::1 icmpv6 1 about [fd00::1]:1 > [fd00::2]:2 udp frag=0,mf len=8", nil, "[fd00::1]:1 > [fd00::2]:2 udp"},
		{"about a datagram in one fragment", "fd00::2 > fd00::1 icmpv6 1 about [fd00::1]:1 > [fd00::2]:2 udp frag=0", nil, "[fd00::1]:1 > [fd00::2]:2 udp"},
		{"verified by the kernel", about + " csum=bad", flags(2), tcp},

		{"no error", request6, nil, ""},
		{"an error that RFC 4443 does not have", "fd00::2 > fd00::1 icmpv6 5 about [fd00::1]:40000 > [fd00::2]:22 tcp A", nil, ""},
		{"type 0", "fd00::2 > fd00::1 icmpv6 0 about [fd00::1]:40000 > [fd00::2]:22 tcp A", nil, ""},
		{"TCP", syn6, nil, ""},
		{"wrong checksum", "fd00::2 > fd00::1 icmpv6 1 csum=bad about [fd00::1]:40000 > [fd00::2]:22 tcp A", nil, ""},
		{"to another than the quoted source", "fd00::2 > fd00::3 icmpv6 1 about [fd00::1]:40000 > [fd00::2]:22 tcp A", nil, ""},
		{"7 bytes of the transport header", "fd00::2 > fd00::1 icmpv6 1 quote=7 about [fd00::1]:40000 > [fd00::2]:22 tcp A", nil, ""},
		{"7 bytes behind extension headers", "fd00::2 > fd00::1 icmpv6 1 quote=7 about [fd00::1]:40000 > [fd00::2]:22 tcp A dst", nil, ""},
		{"the quote ends in an extension header", about + " dst=1008", all(ends6(8+40+16), mendICMPv6), ""},
		{"the quote ends in the IPv6 header", about, all(ends6(8+39), mendICMPv6), ""},
		{"a header without its unused word", about, all(ends6(4), mendICMPv6), ""},
		{"quoted version 4", about, all(put(quote, 0x40), mendICMPv6), ""},
		{"quoted destination IPv4-mapped", about, all(put(quote+24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff), mendICMPv6), ""},
		{"about a later fragment", "fd00::2 > fd00::1 icmpv6 3/1 about fd00::1 > fd00::2 udp frag=1480 len=24", nil, ""},
		{"about source routing, which nobody can have sent", "fd00::2 > fd00::1 icmpv6 1 about [fd00::1]:40000 > [fd00::2]:22 tcp A rh0", nil, ""},
		{"about nine extension headers", "fd00::2 > fd00::1 icmpv6 1 about [fd00::1]:40000 > [fd00::2]:22 tcp A dst dst dst dst dst dst dst dst dst", nil, ""},
		{"in a fragment", "fd00::2 > fd00::1 icmpv6 1 frag=0,mf quote=16 about [fd00::1]:40000 > [fd00::2]:22 tcp A", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) { checkICMPError(t, c.text, c.edit, c.want) })
	}
}

// checkICMPError parses an ICMP error, and compares the flow that it is about;
// want is "" if it is about none.
func checkICMPError(t *testing.T, text string, edit edit, want string) {
	t.Helper()
	b := bytesOf(t, text)
	if edit != nil {
		b = edit(b)
	}
	var f wire.Frame
	if r := f.Parse(b, mtu); r != policy.None {
		t.Fatal(r)
	}
	inner, ok := f.ICMPError()
	if ok != (want != "") {
		t.Fatalf("ICMPError = %v, %v; want %q", inner, ok, want)
	}
	if ok && inner.String() != want {
		t.Errorf("ICMPError = %v, want %s", inner, want)
	}
}

// TestICMPErrorRefused checks that a frame which Parse has refused is about no flow,
// though all of it was read.
func TestICMPErrorRefused(t *testing.T) {
	for _, text := range []string{"10.0.2.20 > 10.0.1.10 icmp 3/4 about 10.0.1.10:40000 > 10.0.2.20:22 tcp A",
		"fd00::2 > fd00::1 icmpv6 2 about [fd00::1]:40000 > [fd00::2]:22 tcp A"} {
		var f wire.Frame
		if r := f.Parse(flags(1)(bytesOf(t, text)), mtu); r != policy.VirtioChecksum {
			t.Fatal(r)
		}
		if inner, ok := f.ICMPError(); ok {
			t.Errorf("%s: %v", text, inner)
		}
	}
}

// TestEchoReply checks the gateway's answer byte for byte.
func TestEchoReply(t *testing.T) {
	for _, c := range []struct{ ask, answer string }{
		{"10.0.1.10 > 10.0.1.1 icmp echo-request id=7 seq=1 len=56", "10.0.1.1 > 10.0.1.10 icmp echo-reply id=7 seq=1 len=56"},
		{"10.0.1.10 > 10.0.1.1 icmp echo-request id=7 seq=2 len=57 ttl=1 ipid=9 df", "10.0.1.1 > 10.0.1.10 icmp echo-reply id=7 seq=2 len=57 ipid=9 df"},
		{"10.0.1.10 > 10.0.1.1 icmp echo-request ttl=255", "10.0.1.1 > 10.0.1.10 icmp echo-reply"},
		{"10.0.1.10 > 10.0.1.1 icmp 8/3 id=7", "10.0.1.1 > 10.0.1.10 icmp 0/3 id=7"},
		{"10.0.1.10 > 10.0.1.1 icmp echo-request id=7 len=3 pad=5", "10.0.1.1 > 10.0.1.10 icmp echo-reply id=7 len=3"},
		{request6, "fd00::2 > fd00::1 icmpv6 echo-reply id=7 seq=1 len=56"},
		{"fd00::1 > fd00::2 icmpv6 128/3 id=65535 seq=65535 len=57 ttl=1", "fd00::2 > fd00::1 icmpv6 129/3 id=65535 seq=65535 len=57"},
		{"fd00::1 > fd00::2 icmpv6 echo-request id=7 ttl=255 hbh dst pad=5", "fd00::2 > fd00::1 icmpv6 echo-reply id=7 hbh dst"},
	} {
		f := parse(t, c.ask)
		before := f.Tuple
		wire.EchoReply(f)
		want := wiretest.Bytes(t, macB, macA, c.answer)
		if !bytes.Equal(f.Bytes, want) {
			t.Errorf("%s:\n got %s\nwant %s", c.ask, wiretest.Format(f.Bytes), wiretest.Format(want))
		}
		if f.Src != macB || f.Dst != macA || f.Type != f.Bytes[f.L4] || f.Tuple != before.Reverse() {
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
	for _, text := range []string{"10.0.1.10 > 10.0.1.1 icmp echo-request id=7 len=56 csum=bad", request6 + " csum=bad"} {
		f := parse(t, text)
		wire.EchoReply(f)
		if f.TransportChecksumOK() {
			t.Errorf("%s: the checksum has become right", text)
		}
	}
}

// TestEchoReply6WhateverItsSum checks that the checksum stays right whatever the
// identifier adds to the sums.
func TestEchoReply6WhateverItsSum(t *testing.T) {
	b := bytesOf(t, "fd00::1 > fd00::2 icmpv6 echo-request len=2")
	for id := range 1 << 16 {
		b[l4v6], b[l4v6+4], b[l4v6+5] = 128, byte(id>>8), byte(id)
		var f wire.Frame
		if r := f.Parse(mendICMPv6(b), mtu); r != policy.None || !f.TransportChecksumOK() {
			t.Fatalf("identifier %d: %v", id, r)
		}
		wire.EchoReply(&f)
		var reply wire.Frame
		if r := reply.Parse(f.Bytes, mtu); r != policy.None || !reply.TransportChecksumOK() {
			t.Fatalf("identifier %d: %v, %s", id, r, wiretest.Format(f.Bytes))
		}
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
