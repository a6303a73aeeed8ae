package wire_test

import (
	"net/netip"
	"testing"

	"vswitch/internal/wire"
)

func TestAddr(t *testing.T) {
	for _, c := range []struct {
		text string
		is4  bool
	}{{"10.0.1.10", true}, {"0.0.0.0", true}, {"255.255.255.255", true}, {"::", false}, {"fd00::1", false}, {"::1", false}} {
		a := wire.AddrFrom(netip.MustParseAddr(c.text))
		if a.String() != c.text || a.Is4() != c.is4 {
			t.Errorf("%s: %v, Is4 %v", c.text, a, a.Is4())
		}
	}
	if wire.AddrFrom4([]byte{10, 0, 1, 10}) != wire.AddrFrom(netip.MustParseAddr("10.0.1.10")) {
		t.Error("AddrFrom4 and AddrFrom disagree")
	}
	if wire.AddrFrom(netip.Addr{}) != (wire.Addr{}) {
		t.Error("the zero netip.Addr is not the zero Addr")
	}
}

func TestFiveTupleString(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{ack, "10.0.1.10:40000 > 10.0.2.20:22 tcp"},
		{syn6, "[fd00::1]:40000 > [fd00::2]:22 tcp"},
		{datagram, "10.0.1.10:40000 > 10.0.2.20:53 udp"},
		{"10.0.1.10 > 10.0.2.20 udp frag=8 len=1", "10.0.1.10:0 > 10.0.2.20:0 udp"},
		{"10.0.1.10 > 10.0.2.20 proto 47", "10.0.1.10 > 10.0.2.20 47"},
		{"10.0.1.10 > 10.0.2.20 icmp echo-request id=7", "10.0.1.10 > 10.0.2.20 icmp echo-request id 7"},
		{"10.0.1.10 > 10.0.2.20 icmp echo-reply id=7", "10.0.1.10 > 10.0.2.20 icmp echo-reply id 7"},
		{"10.0.1.10 > 10.0.2.20 icmp echo-request", "10.0.1.10 > 10.0.2.20 icmp echo-request id 0"},
		{"10.0.1.10 > 10.0.2.20 icmp echo-reply", "10.0.1.10 > 10.0.2.20 icmp echo-reply id 0"},
		{"10.0.1.10 > 10.0.2.20 icmp 8/3 id=7", "10.0.1.10 > 10.0.2.20 icmp echo-request/3 id 7"},
		{"10.0.1.10 > 10.0.2.20 icmp 0/3 id=7", "10.0.1.10 > 10.0.2.20 icmp echo-reply/3 id 7"},
		{"10.0.1.10 > 10.0.2.20 icmp timestamp id=7", "10.0.1.10 > 10.0.2.20 icmp timestamp id 7"},
		{"10.0.1.10 > 10.0.2.20 icmp timestamp-reply id=7", "10.0.1.10 > 10.0.2.20 icmp timestamp-reply id 7"},
		// An identifier that reads as a question: 0x0801 is echo-request/1.
		{"10.0.1.10 > 10.0.2.20 icmp echo-request id=2049", "10.0.1.10 > 10.0.2.20 icmp echo-request id 2049"},
		{"10.0.1.10 > 10.0.2.20 icmp echo-reply id=2049", "10.0.1.10 > 10.0.2.20 icmp echo-reply id 2049"},
		{"10.0.1.10 > 10.0.2.20 icmp 3/4", "10.0.1.10 > 10.0.2.20 icmp destination-unreachable/4"},
		{"10.0.1.10 > 10.0.2.20 icmp 11", "10.0.1.10 > 10.0.2.20 icmp time-exceeded/0"},
		{"10.0.1.10 > 10.0.2.20 icmp 42/1", "10.0.1.10 > 10.0.2.20 icmp 42/1"},
		{"10.0.1.10 > 10.0.2.20 icmp frag=8 len=1", "10.0.1.10 > 10.0.2.20 icmp"},
		{"fd00::1 > fd00::2 icmpv6 echo-request id=7", "fd00::1 > fd00::2 icmpv6 echo-request id 7"},
		{"fd00::1 > fd00::2 icmpv6 echo-reply id=7", "fd00::1 > fd00::2 icmpv6 echo-reply id 7"},
		{"fd00::1 > fd00::2 icmpv6 2", "fd00::1 > fd00::2 icmpv6 packet-too-big/0"},
	} {
		if got := parse(t, c.text).Tuple.String(); got != c.want {
			t.Errorf("%s: %q, want %q", c.text, got, c.want)
		}
	}
}

func TestMACString(t *testing.T) {
	if got := (wire.MAC{0x02, 0, 0x0a, 0, 1, 0xff}).String(); got != "02:00:0a:00:01:ff" {
		t.Error(got)
	}
}
