package wire_test

import (
	"bytes"
	"net/netip"
	"testing"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

// nd breaks a message of neighbor discovery at an offset, and mends its checksum.
func nd(at int, v ...byte) edit { return all(put(l4v6+at, v...), mendICMPv6) }

// cutND cuts a message to n bytes, and mends its checksum.
func cutND(n int) edit { return all(ends6(n), mendICMPv6) }

// moreND appends bytes to a message, and mends its lengths and its checksum.
func moreND(v ...byte) edit {
	return func(b []byte) []byte {
		b = append(b, v...)
		return mendICMPv6(length6(len(b) - l4v6)(b))
	}
}

// option32 is an option of neighbor discovery that means nothing here.
var option32 = []byte{14, 4, 31: 0}

// TestParseND holds L4: a message of neighbor discovery is one that RFC 4861 has a
// receiver believe, in a packet by itself, or it is refused.
func TestParseND(t *testing.T) {
	const (
		advert   = "nd advert fd00::2 from fd00::2 to fd00::1 solicited override lladdr"
		routerAd = "nd router-advert from fe80::1 managed mtu=1500 prefix=fd00::/64 onlink lladdr"
		redirect = "nd redirect fe80::2 for fd00::2 from fe80::1 to fd00::1 lladdr"
	)
	check(t, []refusal{
		{"neighbor solicitation", neighbor, nil, policy.None},
		{"neighbor solicitation, to the target itself", "nd solicit fd00::2 from fd00::1 to fd00::2", nil, policy.None},
		{"duplicate address detection", "nd solicit fd00::2 from ::", nil, policy.None},
		{"neighbor advertisement", advert, nil, policy.None},
		{"unsolicited neighbor advertisement", "nd advert fd00::2 from fd00::2 to ff02::1 override lladdr", nil, policy.None},
		{"router solicitation", router, nil, policy.None},
		{"router solicitation without an address", "nd router-solicit from ::", nil, policy.None},
		{"router advertisement", routerAd, nil, policy.None},
		{"redirect", redirect, nil, policy.None},
		{"redirect of a neighbor", "nd redirect fd00::2 for fd00::2 from fe80::1 to fd00::1", nil, policy.None},
		{"options that mean nothing", neighbor, moreND(option32...), policy.None},
		{"the target's option in a solicitation means nothing", neighbor, nd(24, 2), policy.None},
		{"reserved bytes mean nothing", neighbor, nd(4, 1, 2, 3, 4), policy.None},
		{"16 options", neighbor, moreND(bytes.Repeat([]byte{14, 1, 0, 0, 0, 0, 0, 0}, 15)...), policy.None},
		{"MLD is none of it", "fd00::1 > ff02::16 icmpv6 143 ttl=1 hbh", nil, policy.None},
		{"type 132", "fd00::1 > ff02::16 icmpv6 132", nil, policy.None},
		{"type 138", "fd00::1 > ff02::16 icmpv6 138", nil, policy.None},
		{"type 135 of ICMP over IPv4", "10.0.1.10 > 10.0.2.20 icmp 135", nil, policy.None},

		{"L4 hop limit 254", neighbor + " ttl=254", nil, policy.NDInvalid},
		{"L4 hop limit 64", routerAd + " ttl=64", nil, policy.NDInvalid},
		{"L4 hop limit 1", redirect + " ttl=1", nil, policy.NDInvalid},
		{"L4 code 1", neighbor + " code=1", nil, policy.NDInvalid},
		{"L4 wrong checksum", neighbor + " csum=bad", nil, policy.NDInvalid},
		{"L4 wrong checksum, verified by the kernel", neighbor + " csum=bad", flags(2), policy.NDInvalid},
		{"verified by the kernel", neighbor, flags(2), policy.None},
		{"L4 checksum left to the receiver", neighbor + " csum=partial", nil, policy.NDInvalid},
		{"L4 behind hop-by-hop options", neighbor + " hbh", nil, policy.NDInvalid},
		{"L4 behind destination options", advert + " dst", nil, policy.NDInvalid},
		{"L4 router advertisement behind a routing header", routerAd + " rh4", nil, policy.NDInvalid},
		{"L4 RFC 6980 in the first fragment", routerAd + " frag=0,mf", nil, policy.NDInvalid},
		{"L4 RFC 6980 behind the fragment header of a datagram in one", routerAd + " frag=0", nil, policy.NDInvalid},

		{"L4 router solicitation of 4 bytes", "nd router-solicit from fe80::a", cutND(4), policy.NDInvalid},
		{"L4 router solicitation of 7 bytes", "nd router-solicit from fe80::a", cutND(7), policy.NDInvalid},
		{"L4 router advertisement of 15 bytes", routerAd, cutND(15), policy.NDInvalid},
		{"router advertisement of 16 bytes", routerAd, cutND(16), policy.None},
		{"L4 neighbor solicitation of 23 bytes", neighbor, cutND(23), policy.NDInvalid},
		{"neighbor solicitation of 24 bytes", neighbor, cutND(24), policy.None},
		{"L4 neighbor advertisement of 23 bytes", advert, cutND(23), policy.NDInvalid},
		{"L4 redirect of 39 bytes", redirect, cutND(39), policy.NDInvalid},
		{"redirect of 40 bytes", redirect, cutND(40), policy.None},

		{"L4 option of length 0", neighbor, nd(25, 0), policy.NDInvalid},
		{"L4 option of length 0 behind others", neighbor, moreND(14, 0, 0, 0, 0, 0, 0, 0), policy.NDInvalid},
		{"L4 option past the end", neighbor, nd(25, 2), policy.NDInvalid},
		{"L4 option of 7 bytes", neighbor, cutND(31), policy.NDInvalid},
		{"L4 one byte behind the options", neighbor, moreND(14), policy.NDInvalid},
		{"L4 17 options", neighbor, moreND(bytes.Repeat([]byte{14, 1, 0, 0, 0, 0, 0, 0}, 16)...), policy.NDInvalid},
		{"L4 two link-layer addresses", neighbor, moreND(1, 1, 2, 0, 0, 0, 0, 7), policy.NDInvalid},
		{"L4 link-layer address of 14 bytes", "nd solicit fd00::2 from fd00::1", moreND([]byte{1, 2, 15: 0}...), policy.NDInvalid},

		{"L4 neighbor solicitation for a group", "nd solicit ff02::2 from fd00::1", nil, policy.NDInvalid},
		{"L4 duplicate address detection with a link-layer address", "nd solicit fd00::2 from :: lladdr", nil, policy.NDInvalid},
		{"L4 duplicate address detection to all nodes", "nd solicit fd00::2 from :: to ff02::1", nil, policy.NDInvalid},
		{"L4 duplicate address detection to a host", "nd solicit fd00::2 from :: to fd00::2", nil, policy.NDInvalid},
		{"L4 neighbor advertisement for a group", "nd advert ff02::2 from fd00::2 to fd00::1", nil, policy.NDInvalid},
		{"L4 solicited neighbor advertisement to a group", "nd advert fd00::2 from fd00::2 to ff02::1 solicited", nil, policy.NDInvalid},
		{"L4 router solicitation from :: with a link-layer address", "nd router-solicit from :: lladdr", nil, policy.NDInvalid},
		{"L4 router advertisement not from a link-local address", "nd router-advert from fd00::1", nil, policy.NDInvalid},
		{"router advertisement from the other end of fe80::/10", "nd router-advert from febf::1", nil, policy.None},
		{"L4 router advertisement from fec0::1", "nd router-advert from fec0::1", nil, policy.NDInvalid},
		{"L4 redirect not from a link-local address", "nd redirect fe80::2 for fd00::2 from fd00::1 to fd00::3", nil, policy.NDInvalid},
		{"L4 redirect for a group", "nd redirect fe80::2 for ff02::2 from fe80::1 to fd00::1", nil, policy.NDInvalid},
		{"L4 redirect to what is no router", "nd redirect fd00::3 for fd00::2 from fe80::1 to fd00::1", nil, policy.NDInvalid},
	})
}

// TestIsND checks which accepted frames are neighbor discovery, and that refused
// ones are not.
func TestIsND(t *testing.T) {
	for text, want := range map[string]bool{
		neighbor: true, router: true, "nd router-advert from fe80::1": true, "nd advert fd00::2 from fd00::2 to fd00::1": true,
		"nd redirect fe80::2 for fd00::2 from fe80::1 to fd00::1": true,
		request6: false, syn6: false, "10.0.1.10 > 10.0.2.20 icmp 135": false, "10.0.1.10 > 10.0.2.20 proto 58 len=40": false, whoHas: false,
		"fd00::1 > fd00::2 icmpv6 frag=1480 len=24": false,
	} {
		if got := parse(t, text).IsND(); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	for _, e := range []edit{put(l3+7, 254), all(gsoType(4), gsoSize(9))} {
		var f wire.Frame
		if r := f.Parse(e(bytesOf(t, neighbor)), mtu); r == policy.None || f.IsND() {
			t.Errorf("%v, and IsND = %v", r, f.IsND())
		}
	}
}

// TestNDFields checks what a message says, with and without its option.
func TestNDFields(t *testing.T) {
	target, other := wire.Addr{0: 0xfd, 15: 2}, wire.MAC{2, 5: 7}
	for _, c := range []struct {
		text string
		edit edit
		want wire.ND
	}{
		{neighbor, nil, wire.ND{Type: 135, Target: target, LinkLayer: macA, HasLinkLayer: true}},
		{"nd solicit fd00::2 from ::", nil, wire.ND{Type: 135, Target: target}},
		{neighbor, nd(24, 2), wire.ND{Type: 135, Target: target}},
		{"nd solicit fd00::2 from fd00::1", moreND(append(bytes.Clone(option32), 1, 1, 2, 0, 0, 0, 0, 7)...),
			wire.ND{Type: 135, Target: target, LinkLayer: other, HasLinkLayer: true}},
		{"nd advert fd00::2 from fd00::2 to fd00::1 lladdr=02:00:00:00:00:07", nil, wire.ND{Type: 136, Target: target, LinkLayer: other, HasLinkLayer: true}},
		{"nd advert fd00::2 from fd00::2 to fd00::1 lladdr", nd(24, 1), wire.ND{Type: 136, Target: target}},
		{router, nil, wire.ND{Type: 133, LinkLayer: macA, HasLinkLayer: true}},
		{"nd router-advert from fe80::1 mtu=9 prefix=fd00::/64 lladdr", nil, wire.ND{Type: 134, LinkLayer: macA, HasLinkLayer: true}},
		{"nd redirect fd00::2 for fd00::2 from fe80::1 to fd00::1 lladdr", nil, wire.ND{Type: 137, Target: target, LinkLayer: macA, HasLinkLayer: true}},
	} {
		b := bytesOf(t, c.text)
		if c.edit != nil {
			b = c.edit(b)
		}
		var f wire.Frame
		if r := f.Parse(b, mtu); r != policy.None || f.ND != c.want {
			t.Errorf("%s: %v, %+v, want %+v", c.text, r, f.ND, c.want)
		}
	}
}

var routerMAC = wire.MAC{0x02, 0, 0, 0, 0, 0x01}

// TestAppendNeighborAdvertisement checks the answer byte for byte: it says no more
// than was asked, and holds nothing of what the buffer held before (V7).
func TestAppendNeighborAdvertisement(t *testing.T) {
	for _, c := range []struct {
		ask    string
		router bool
		answer string
	}{
		{neighbor, false, "nd advert fd00::2 from fd00::2 to fd00::1 solicited override lladdr"},
		{"nd solicit 2001:db8:a:1::1 from 2001:db8:a:1::10 lladdr", true,
			"nd advert 2001:db8:a:1::1 from 2001:db8:a:1::1 to 2001:db8:a:1::10 router solicited override lladdr"},
		{"nd solicit fe80::1 from fe80::a to fe80::1", true, "nd advert fe80::1 from fe80::1 to fe80::a router solicited override lladdr"},
	} {
		buf := bytes.Repeat([]byte{0xee}, 128)
		got := wire.AppendNeighborAdvertisement(buf[:0], parse(t, c.ask), routerMAC, c.router)
		checkAnswer(t, got, wiretest.Bytes(t, routerMAC, macA, c.answer))
	}
}

// TestAppendRouterAdvertisement checks the answer byte for byte (SEM 5.4).
func TestAppendRouterAdvertisement(t *testing.T) {
	const says = " managed mtu=9001 prefix=2001:db8:a:1::/64 onlink lladdr"
	for _, c := range []struct {
		ask, answer string
		to          wire.MAC
	}{
		{router, "nd router-advert from fe80::ff:fe00:1 to fe80::a" + says, macA},
		{"nd router-solicit from ::", "nd router-advert from fe80::ff:fe00:1" + says, wire.MAC{0x33, 0x33, 0, 0, 0, 1}},
	} {
		buf := bytes.Repeat([]byte{0xee}, 256)
		got := wire.AppendRouterAdvertisement(buf[:0], parse(t, c.ask), routerMAC, 9001, netip.MustParsePrefix("2001:db8:a:1::7/64"))
		checkAnswer(t, got, wiretest.Bytes(t, routerMAC, c.to, c.answer))
	}
}

// checkAnswer compares an answer with what it should be, and parses it.
func checkAnswer(t *testing.T, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("got  %s\nwant %s\n%x\n%x", wiretest.Format(got), wiretest.Format(want), got, want)
	}
	var f wire.Frame
	if r := f.Parse(got, mtu); r != policy.None || !f.IsND() || !f.TransportChecksumOK() {
		t.Errorf("the answer parses as %v, %+v", r, f.ND)
	}
}

// TestAppendNDAppends checks that what dst holds stays.
func TestAppendNDAppends(t *testing.T) {
	got := wire.AppendNeighborAdvertisement([]byte("before"), parse(t, neighbor), macB, false)
	got = wire.AppendRouterAdvertisement(got, parse(t, router), macB, mtu, netip.MustParsePrefix("fd00::/64"))
	if !bytes.HasPrefix(got, []byte("before")) || len(got) != len("before")+98+130 {
		t.Errorf("%d bytes: %x", len(got), got)
	}
}

// TestLinkLocal holds RFC 4291 appendix A, with its own example.
func TestLinkLocal(t *testing.T) {
	for mac, want := range map[wire.MAC]string{
		{0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde}: "fe80::3656:78ff:fe9a:bcde",
		{0x02, 0, 0, 0, 0, 0x01}:             "fe80::ff:fe00:1",
	} {
		if got := wire.LinkLocal(mac).String(); got != want {
			t.Errorf("%v: %s, want %s", mac, got, want)
		}
	}
}
