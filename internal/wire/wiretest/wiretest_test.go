package wiretest_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

var (
	macA = wire.MAC{0x02, 0, 0, 0, 0, 0x0a}
	macB = wire.MAC{0x02, 0, 0, 0, 0, 0x0b}
)

// TestRoundTrip checks that a line becomes a frame that is printed as the same
// line, and that package wire accepts those that are well-formed.
func TestRoundTrip(t *testing.T) {
	for _, c := range []struct {
		text string
		want policy.Reason
	}{
		{"10.0.1.10:40000 > 10.0.2.20:22 tcp S seq=1 ack=2 win=1000 wscale=7 len=10", policy.None},
		{"10.0.1.10:40000 > 10.0.2.20:22 tcp SA", policy.None},
		{"10.0.1.10:40000 > 10.0.2.20:22 tcp FPAUEW", policy.None},
		{"10.0.1.10:40000 > 10.0.2.20:22 tcp RA", policy.None},
		{"10.0.1.10:40000 > 10.0.2.20:22 tcp", policy.TCPFlags},
		{"10.0.1.10:40000 > 10.0.2.20:22 tcp A len=3000 gso=1000", policy.None},
		{"10.0.1.10:40000 > 10.0.2.20:22 tcp A csum=partial", policy.None},
		{"10.0.1.10:40000 > 10.0.2.20:22 tcp A csum=bad", policy.None},
		{"10.0.1.10:40000 > 10.0.2.20:22 tcp A ipcsum=bad", policy.IPChecksum},
		{"10.0.1.10:5353 > 10.0.2.20:53 udp len=30 ttl=3 df", policy.None},
		{"10.0.1.10:5353 > 10.0.2.20:53 udp len=24 ipid=9 mf", policy.None},
		{"10.0.1.10 > 10.0.2.20 udp len=24 ipid=9 frag=1480", policy.None},
		{"10.0.1.10:5353 > 10.0.2.20:53 udp len=2400 gso=800", policy.None},
		{"10.0.1.10:5353 > 10.0.2.20:53 udp ttl=0 pad=18", policy.IPTTL},
		{"10.0.1.10 > 10.0.2.20 icmp echo-request id=7 seq=1 len=56", policy.None},
		{"10.0.1.10 > 10.0.2.20 icmp destination-unreachable/4 seq=1400", policy.None},
		{"10.0.1.10 > 10.0.2.20 icmp 42", policy.None},
		{"10.0.1.10 > 10.0.2.20 icmp frag=16 len=8", policy.None},
		{"10.0.1.10 > 10.0.2.20 proto 47 len=8", policy.None},
		{"[fd00::1]:40000 > [fd00::2]:22 tcp S wscale=7 ttl=1", policy.None},
		{"[fd00::1]:40000 > [fd00::2]:22 tcp A len=3000 gso=1000", policy.None},
		{"fd00::1 > fd00::2 icmpv6 echo-request id=7 len=3", policy.None},
		{"fd00::1 > fd00::2 proto 59", policy.None},
		{"[2001:db8:a:1::10]:40000 > [2001:db8:a:2::20]:22 tcp S hbh dst=24 rh2 dst rh4=40", policy.None},
		{"[fd00::1]:40000 > [fd00::2]:22 tcp S rh0", policy.IPSourceRoute},
		{"[fd00::1]:40000 > [fd00::2]:22 tcp A hbh=264 csum=bad", policy.None},
		{"[fd00::1]:40000 > [fd00::2]:22 tcp A hbh csum=partial", policy.None},
		{"[fd00::1]:5353 > [fd00::2]:53 udp len=16 ipid=4294967295 hbh frag=0,mf dst", policy.None},
		{"[fd00::1]:5353 > [fd00::2]:53 udp len=3 frag=0", policy.None},
		{"fd00::1 > fd00::2 udp len=24 ipid=9 dst frag=1480,mf", policy.None},
		{"fd00::1 > fd00::2 proto 60 len=24 ipid=9 frag=1480", policy.None},
		{"fd00::1 > fd00::2 icmpv6 hbh frag=16 len=8", policy.None},
		{"nd solicit fd00::2 from fd00::1 lladdr", policy.None},
		{"nd solicit fd00::2 from :: ttl=254", policy.NDInvalid},
		{"nd solicit fd00::2 from fd00::1 to fd00::2 lladdr=02:00:00:00:00:07 code=1", policy.NDInvalid},
		{"nd advert fd00::2 from fd00::2 to fd00::1 router solicited override lladdr", policy.None},
		{"nd advert fd00::2 from fd00::2 to ff02::1", policy.None},
		{"nd router-solicit from :: hbh", policy.NDInvalid},
		{"nd router-solicit from fe80::1 lladdr=02:00:00:00:00:07 csum=bad", policy.NDInvalid},
		{"nd router-advert from fe80::1", policy.None},
		{"nd router-advert from fe80::1 to fe80::2 managed hops=255 lifetime=0 mtu=9001 prefix=fd00::/64 onlink auto valid=1 preferred=4294967295 lladdr", policy.None},
		{"nd redirect fe80::2 for fd00::2 from fe80::1 to fd00::1 lladdr=02:00:00:00:00:07", policy.None},
		{"nd redirect fe80::2 for fd00::2 from fe80::1 to fd00::1 frag=0,mf", policy.NDInvalid},
		{"arp who-has 10.0.1.1 tell 10.0.1.10", policy.None},
		{"arp reply 10.0.1.1 is-at 02:00:00:00:00:01 tell 10.0.1.10", policy.None},
	} {
		t.Run(c.text, func(t *testing.T) {
			b := wiretest.Bytes(t, macA, macB, c.text)
			if got := wiretest.Format(b); got != c.text {
				t.Errorf("printed as %q", got)
			}
			f, err := wiretest.Decode(b)
			if err != nil || f.SrcMAC != macA || f.DstMAC != macB {
				t.Errorf("decoded as %v > %v, %v", f.SrcMAC, f.DstMAC, err)
			}
			if got := f.Bytes(); !strings.Contains(c.text, "bad") && !bytes.Equal(got, b) {
				t.Errorf("built again:\n%x\n%x", got, b)
			}
			if got := new(wire.Frame).Parse(b, 1500); got != c.want {
				t.Errorf("Parse = %v, want %v", got, c.want)
			}
		})
	}
}

// TestKnownFrame compares with the bytes of RFC 791, 792 and 793 worked out by
// hand, so that builder and reader cannot agree on an error.
func TestKnownFrame(t *testing.T) {
	for _, c := range []struct {
		text string
		want []byte
	}{
		{"10.0.0.1:1 > 10.0.0.2:2 udp len=2", []byte{
			0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
			2, 0, 0, 0, 0, 0x0b, 2, 0, 0, 0, 0, 0x0a, 8, 0,
			0x45, 0, 0, 30, 0, 0, 0, 0, 64, 17, 0x66, 0xcd, 10, 0, 0, 1, 10, 0, 0, 2,
			0, 1, 0, 2, 0, 10, 0x8a, 0x72, 'a', 'b'}},
		{"arp who-has 10.0.0.2 tell 10.0.0.1", []byte{
			0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
			2, 0, 0, 0, 0, 0x0b, 2, 0, 0, 0, 0, 0x0a, 8, 6,
			0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 0x0a, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2}},
		{"nd solicit fd00::1:2 from fd00::1 lladdr", []byte{
			0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
			2, 0, 0, 0, 0, 0x0b, 2, 0, 0, 0, 0, 0x0a, 0x86, 0xdd,
			0x60, 0, 0, 0, 0, 32, 58, 255,
			0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
			0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 1, 0, 2,
			135, 0, 0x7d, 0x8c, 0, 0, 0, 0, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 1, 1, 2, 0, 0, 0, 0, 0x0a}},
		{"fd00::1 > fd00::2 proto 59 ipid=258 hbh rh4 frag=16,mf", []byte{
			0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
			2, 0, 0, 0, 0, 0x0b, 2, 0, 0, 0, 0, 0x0a, 0x86, 0xdd,
			0x60, 0, 0, 0, 0, 40, 0, 64,
			0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
			0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
			43, 0, 1, 4, 0, 0, 0, 0,
			44, 2, 4, 1, 0, 0, 0, 0, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
			59, 0, 0, 17, 0, 0, 1, 2}},
		{"10.0.0.1:1 > 10.0.0.2:2 tcp A len=2 gso=1", []byte{
			1, 1, 54, 0, 1, 0, 34, 0, 16, 0, 0, 0,
			2, 0, 0, 0, 0, 0x0b, 2, 0, 0, 0, 0, 0x0a, 8, 0,
			0x45, 0, 0, 42, 0, 0, 0, 0, 64, 6, 0x66, 0xcc, 10, 0, 0, 1, 10, 0, 0, 2,
			0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0xfa, 0xf0, 0x14, 0x1f, 0, 0, 'a', 'b'}},
	} {
		if got := wiretest.Bytes(t, macA, macB, c.text); !bytes.Equal(got, c.want) {
			t.Errorf("%s:\n got %x\nwant %x", c.text, got, c.want)
		}
	}
}

// TestParseRefuses checks that a mistake in a test's text is an error and not
// another frame.
func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "no words"},
		{"10.0.1.10:1 10.0.2.20:2 tcp S", "not of the form"},
		{"10.0.1.300:1 > 10.0.2.20:2 tcp S", "IPv4 field"},
		{"10.0.1.10:1 > 10.0.2.20:70000 tcp S", "unexpected character"},
		{"10.0.1.10 > fd00::1 proto 47", "two families"},
		{"10.0.1.10:1 > 10.0.2.20:2 tpc S", `protocol "tpc"`},
		{"10.0.1.10:1 > 10.0.2.20:2 tcp SX", "SX: no such option"},
		{"10.0.1.10:1 > 10.0.2.20:2 tcp S len=", "len=: "},
		{"10.0.1.10:1 > 10.0.2.20:2 tcp S len=65536", "out of range"},
		{"10.0.1.10:1 > 10.0.2.20:2 tcp S length=5", "no such option"},
		{"10.0.1.10:1 > 10.0.2.20:2 tcp S csum=right", "neither partial nor bad"},
		{"10.0.1.10:1 > 10.0.2.20:2 tcp S ipcsum=partial", "not bad"},
		{"10.0.1.10 > 10.0.2.20 udp frag=9", "not a multiple of 8"},
		{"10.0.1.10 > 10.0.2.20 icmp echo", `"echo" is no type of icmp`},
		{"10.0.1.10 > 10.0.2.20 icmp 3/x", "code: "},
		{"10.0.1.10 > 10.0.2.20 icmp 3/4 about nothing", "not of the form"},
		{"10.0.1.10 > 10.0.2.20 proto 256", "proto: "},
		{"fd00::1 > fd00::2 udp mf", "mf: not of IPv6"},
		{"fd00::1 > fd00::2 udp frag=8,df", "neither frag=N nor frag=N,mf"},
		{"fd00::1 > fd00::2 udp frag=7", "not a multiple of 8"},
		{"fd00::1 > fd00::2 udp frag=", "invalid syntax"},
		{"fd00::1 > fd00::2 udp frag=8 dst", "dst: behind a later fragment's header"},
		{"fd00::1 > fd00::2 udp hbh=12", "hbh=12: not a multiple of 8 from 8"},
		{"fd00::1 > fd00::2 udp dst=2056", "dst=2056: not a multiple of 8 from 8 to 2048"},
		{"fd00::1 > fd00::2 udp rh256", "rh256: "},
		{"fd00::1 > fd00::2 udp ipid=4294967296", "out of range"},
		{"10.0.1.10 > 10.0.2.20 udp hbh", "no such option"},
		{"10.0.1.10 > 10.0.2.20 udp frag=8,mf", "invalid syntax"},
		{"10.0.1.10 > 10.0.2.20 udp ipid=65536", "out of range"},
		{"nd", "neither solicit, advert"},
		{"nd ask fd00::1 from fd00::2", "neither solicit, advert"},
		{"nd solicit", "no address at the end"},
		{"nd solicit 10.0.1.10 from fd00::2", "10.0.1.10 is not an IPv6 address"},
		{"nd solicit fd00::1 fd00::2", `"from" expected`},
		{"nd solicit fd00::1 from fd00", "unable to parse"},
		{"nd advert fd00::1 from fd00::1", `"to" expected`},
		{"nd redirect fd00::1 from fd00::1 to fd00::2", `"for" expected`},
		{"nd solicit fd00::1 from fd00::2 router", "router: "},
		{"nd solicit fd00::1 from fd00::2 lladdr=x", "lladdr=x: "},
		{"nd solicit fd00::1 from fd00::2 code=256", "out of range"},
		{"nd router-advert from fe80::1 prefix=fd00::", "prefix=fd00::: "},
		{"nd router-advert from fe80::1 mtu=4294967296", "out of range"},
		{"fd00::1 > fd00::2 icmpv6 135 code=1", "no such option"},
		{"arp who-is 10.0.1.1 tell 10.0.1.10", "neither arp who-has"},
		{"arp who-has 10.0.1 tell 10.0.1.10", "IPv4"},
		{"arp reply 10.0.1 is-at 02:00:00:00:00:01 tell 10.0.1.10", "IPv4"},
		{"arp reply 10.0.1.1 is-at x tell 10.0.1.10", "invalid MAC"},
		{"arp reply 10.0.1.1 is-at 02:00:00:00:00:00:00:01 tell 10.0.1.10", "no Ethernet address"},
	} {
		_, err := wiretest.Parse(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want an error with %q", c.text, err, c.want)
		}
	}
}

// TestFormatBroken checks that what is no frame is still printed.
func TestFormatBroken(t *testing.T) {
	whole := wiretest.Bytes(t, macA, macB, "10.0.1.10:1 > 10.0.2.20:2 tcp S")
	chained := wiretest.Bytes(t, macA, macB, "[fd00::1]:1 > [fd00::2]:2 udp dst")
	// longer states that the IPv6 packet ends where the frame ends, and that its
	// extension header is n*8 bytes longer than 8.
	longer := func(b []byte, n byte) []byte {
		b = bytes.Clone(b)
		b[26+5] = byte(len(b) - 66)
		if len(b) > 67 {
			b[67] = n
		}
		return b
	}
	tagged := bytes.Clone(whole)
	tagged[24], tagged[25] = 0x81, 0
	for _, c := range []struct {
		b    []byte
		want string
	}{
		{nil, "frame of 0 bytes, cut short: "},
		{whole[:30], "frame of 30 bytes, cut short: 000000"},
		{whole[:60], "frame of 60 bytes, IPv4 header of 20 bytes, packet of 40: 0000"},
		{chained[:70], "frame of 70 bytes, cut short: 0000"},
		{longer(chained[:72], 255), "frame of 72 bytes, cut short: 0000"},
		{longer(chained[:68], 0), "frame of 68 bytes, cut short: 0000"},
		{tagged, "frame of 66 bytes, EtherType 0x8100: 0000"},
	} {
		if got := wiretest.Format(c.b); !strings.HasPrefix(got, c.want) {
			t.Errorf("%q, want %q...", got, c.want)
		}
	}
}

// TestFragments cuts a datagram and puts it together again.
func TestFragments(t *testing.T) {
	whole := wiretest.Bytes(t, macA, macB, "10.0.1.10:5353 > 10.0.2.20:53 udp len=100 ipid=9")
	var data []byte
	var lines []string
	for _, b := range wiretest.Fragments(whole, 48) {
		var f wire.Frame
		if r := f.Parse(b, 1500); r != policy.None {
			t.Fatal(r)
		}
		if f.Offset != len(data) || f.ID != 9 {
			t.Errorf("offset %d, identification %d", f.Offset, f.ID)
		}
		data = append(data, f.Bytes[f.L4:]...)
		lines = append(lines, wiretest.Format(b))
	}
	if !bytes.Equal(data, whole[46:]) {
		t.Errorf("the fragments hold %x, want %x", data, whole[46:])
	}
	want := []string{
		"10.0.1.10:5353 > 10.0.2.20:53 udp len=40 ipid=9 mf",
		"10.0.1.10 > 10.0.2.20 udp len=48 ipid=9 mf frag=48",
		"10.0.1.10 > 10.0.2.20 udp len=12 ipid=9 frag=96",
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

// TestFragments6 cuts IPv6 packets with and without extension headers.
func TestFragments6(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"[fd00::1]:5353 > [fd00::2]:53 udp len=100", []string{
			"[fd00::1]:5353 > [fd00::2]:53 udp len=40 ipid=ID frag=0,mf",
			"fd00::1 > fd00::2 udp len=48 ipid=ID frag=48,mf",
			"fd00::1 > fd00::2 udp len=12 ipid=ID frag=96"}},
		{"[fd00::1]:5353 > [fd00::2]:53 udp len=40 hbh dst rh4 dst=24", []string{
			"[fd00::1]:5353 > [fd00::2]:53 udp len=16 ipid=ID hbh dst rh4 frag=0,mf dst=24",
			"fd00::1 > fd00::2 proto 60 len=24 ipid=ID hbh dst rh4 frag=48"}},
		{"fd00::1 > fd00::2 icmpv6 echo-request len=45 dst", []string{
			"fd00::1 > fd00::2 icmpv6 echo-request len=32 ipid=ID frag=0,mf dst",
			"fd00::1 > fd00::2 proto 60 len=13 ipid=ID frag=48"}},
	} {
		whole := wiretest.Bytes(t, macA, macB, c.text)
		var data []byte
		var lines []string
		ids := map[uint32]bool{}
		for _, b := range wiretest.Fragments(append(whole, "padding"...), 48) {
			var f wire.Frame
			if r := f.Parse(b, 1500); r != policy.None {
				t.Fatal(c.text, r)
			}
			if !f.Fragment || f.Offset != len(data) {
				t.Errorf("%s: fragment %v, offset %d", c.text, f.Fragment, f.Offset)
			}
			data = append(data, f.Bytes[f.Data:]...)
			ids[f.ID] = true
			lines = append(lines, strings.ReplaceAll(wiretest.Format(b), fmt.Sprintf("ipid=%d ", f.ID), "ipid=ID "))
		}
		if !bytes.HasSuffix(whole, data) || len(ids) != 1 {
			t.Errorf("%s: the fragments hold %x of %x, identifications %v", c.text, data, whole, ids)
		}
		if got := strings.Join(lines, "\n"); got != strings.Join(c.want, "\n") {
			t.Errorf("%s:\ngot\n%s\nwant\n%s", c.text, got, strings.Join(c.want, "\n"))
		}
	}
}

// TestFormatND checks that what a line cannot say of neighbor discovery is not
// left out: such a message is printed as any other of ICMPv6.
func TestFormatND(t *testing.T) {
	const text = "nd solicit fd00::2 from fd00::1 lladdr"
	for _, c := range []struct {
		name string
		at   int
		v    byte
	}{
		{"a reserved byte", 66 + 4, 1},
		{"an option of another kind", 66 + 24, 14},
		{"an option of length 0", 66 + 25, 0},
		{"an option past the end", 66 + 25, 2},
	} {
		b := wiretest.Bytes(t, macA, macB, text)
		b[c.at] = c.v
		if got := wiretest.Format(b); !strings.HasPrefix(got, "fd00::1 > ff02::1:ff00:2 icmpv6 neighbor-solicitation") || !strings.Contains(got, "len=24") {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

// TestQuote checks the packet inside an ICMP error.
func TestQuote(t *testing.T) {
	b := wiretest.Bytes(t, macA, macB, "10.0.2.20 > 10.0.1.10 icmp 3/4 quote=12 about 10.0.1.10:40000 > 10.0.2.20:22 tcp A seq=258 len=50")
	inner := wiretest.Bytes(t, wire.MAC{}, wire.MAC{}, "10.0.1.10:40000 > 10.0.2.20:22 tcp A seq=258 len=50")
	if want := inner[26 : 26+32]; !bytes.Equal(b[54:], want) {
		t.Errorf("quoted %x, want %x", b[54:], want)
	}
	f, err := wiretest.Parse("10.0.2.20 > 10.0.1.10 icmp 3/4 about 10.0.1.10:1 > 10.0.2.20:2 udp len=50")
	if err != nil {
		t.Fatal(err)
	}
	if got := f.String(); got != "10.0.2.20 > 10.0.1.10 icmp destination-unreachable/4 about 10.0.1.10:1 > 10.0.2.20:2 udp len=50" {
		t.Error(got)
	}
}

// TestTooLong checks that a length which IP cannot express is not cut off.
func TestTooLong(t *testing.T) {
	for _, text := range []string{"10.0.1.10:1 > 10.0.2.20:2 udp len=65520", "[fd00::1]:1 > [fd00::2]:2 udp len=65530"} {
		f, err := wiretest.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", text)
				}
			}()
			f.Bytes()
		}()
	}
}
