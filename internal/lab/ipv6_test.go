package lab_test

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"vswitch/internal/lab"
	vswitch "vswitch/switch"
)

// vpc6 is vpc with IPv6 in subnet a alone: fd00:77:0:1::/64.
func vpc6(name string, instances ...vswitch.Instance) vswitch.Config {
	c := vpc(name, instances...)
	c.VPC.CIDR6 = netip.MustParsePrefix("fd00:77::/56")
	c.Subnets[0].CIDR6 = netip.MustParsePrefix("fd00:77:0:1::/64")
	return c
}

// A namespace has IPv6 iff its subnet has a block, and then what an EC2 instance
// has (SEM 5.1, 5.4): its addresses, the link-local one that follows from its
// MAC, and the router as the way out, all at once and for good.
func TestIPv6FollowsTheSubnet(t *testing.T) {
	requireRoot(t)
	const name = "vst-six"
	addr := netip.MustParseAddr
	c := vpc6(name,
		vswitch.Instance{Name: "one", IP6: addr("fd00:77:0:1::10"), ExtraIPs: []netip.Addr{addr("10.77.1.50"), addr("fd00:77:0:1::50")}},
		vswitch.Instance{Name: "bare"},
		vswitch.Instance{Name: "router", IP6: addr("fd00:77:0:1::11"), DisableSourceDestCheck: true},
		vswitch.Instance{Name: "four", Subnet: "b"})
	full := complete(t, c)
	up(t, open(t, stateDir(t)), c)

	for in, want := range map[string]struct {
		addresses []string // without the link-local one
		forward   string
	}{
		"one":    {[]string{"fd00:77:0:1::10/64", "fd00:77:0:1::50/64"}, "0"},
		"bare":   {nil, "0"},
		"router": {[]string{"fd00:77:0:1::11/64"}, "1"},
	} {
		face := full.Interface(in)
		v := look(t, name+"-"+in)
		eth0 := v.Links["eth0"]
		want.addresses = append(want.addresses, linkLocal(face)+"/64")
		got := slices.DeleteFunc(slices.Clone(eth0.Addresses), func(a string) bool { return strings.HasPrefix(a, "10.") })
		slices.Sort(got)
		slices.Sort(want.addresses)
		if !slices.Equal(got, want.addresses) || eth0.Unusable != nil {
			t.Errorf("%s: IPv6 addresses %v (unusable %v), want %v", in, got, eth0.Unusable, want.addresses)
		}
		if route := "::/0 via " + face.Router6.String() + " dev eth0"; !slices.Contains(v.Routes, route) || len(v.Routes) != 2 {
			t.Errorf("%s: routes %v, want %s and the one of IPv4", in, v.Routes, route)
		}
		for setting, value := range map[string]string{
			"net/ipv6/conf/all/disable_ipv6":    "0",
			"net/ipv6/conf/eth0/disable_ipv6":   "0",
			"net/ipv6/conf/eth0/accept_ra":      "0",
			"net/ipv6/conf/eth0/addr_gen_mode":  "0",
			"net/ipv6/conf/all/forwarding":      want.forward,
			"net/ipv4/ip_forward":               want.forward,
			"net/ipv4/conf/eth0/send_redirects": map[string]string{"0": "1", "1": "0"}[want.forward],
		} {
			if v.Settings[setting] != value {
				t.Errorf("%s: %s = %s, want %s", in, setting, v.Settings[setting], value)
			}
		}
		if lo := v.Links["lo"]; !slices.Contains(lo.Addresses, "::1/128") {
			t.Errorf("%s: lo is %+v", in, lo)
		}
		for _, line := range []string{"::1\tlocalhost ", "10.77.1.4\tone one.", "fd00:77:0:1::10\tone one.", "fd00:77:0:1::11\trouter "} {
			if !strings.Contains(v.Hosts, line) {
				t.Errorf("%s: hosts lacks %q:\n%s", in, line, v.Hosts)
			}
		}
		if n := strings.Count(v.Hosts, "\tone one."); n != 2 {
			t.Errorf("%s: %d addresses of one, want the first of each family:\n%s", in, n, v.Hosts)
		}
	}

	v := look(t, name+"-four")
	if eth0 := v.Links["eth0"]; len(eth0.Addresses) != 1 || len(v.Routes) != 1 || v.Settings["net/ipv6/conf/all/disable_ipv6"] != "1" {
		t.Errorf("an instance in a subnet without IPv6: %+v, routes %v", eth0, v.Routes)
	}
	if strings.Contains(v.Hosts, "fd00:") || strings.Contains(v.Hosts, "::1\t") {
		t.Errorf("an instance without IPv6 has names for addresses that it cannot reach:\n%s", v.Hosts)
	}
}

// linkLocal returns the link-local address of an interface, by the recipe of
// RFC 4291, appendix A.
func linkLocal(face vswitch.Interface) string {
	m := face.MAC
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]}).String()
}

// A reload turns IPv6 on and off in a running namespace, and adds and removes
// addresses. What stays, stays: a connection from it would too.
func TestIPv6ComesAndGoes(t *testing.T) {
	requireRoot(t)
	l := open(t, stateDir(t))
	addr := netip.MustParseAddr
	six := vpc6("vst-six", vswitch.Instance{Name: "one", IP6: addr("fd00:77:0:1::10"), ExtraIPs: []netip.Addr{addr("fd00:77:0:1::50")}})
	less := vpc6("vst-six", vswitch.Instance{Name: "one", IP: addr("10.77.1.9"), IP6: addr("fd00:77:0:1::10")})
	other := vpc6("vst-six", vswitch.Instance{Name: "one", IP6: addr("fd00:77:0:1::77"), DisableSourceDestCheck: true})
	four := vpc("vst-six", vswitch.Instance{Name: "one"})
	// IPv6 does not exist on a link of less than 1280 bytes (RFC 8200, section 5).
	narrow := vpc("vst-six", vswitch.Instance{Name: "one"})
	narrow.VPC.MTU = 576
	moved := vpc6("vst-six", vswitch.Instance{Name: "one", Subnet: "b"})

	for i, step := range []struct {
		config vswitch.Config
		want   []string // the IPv6 addresses, without the link-local one
		on     bool
	}{
		{four, nil, false},
		{six, []string{"fd00:77:0:1::10/64", "fd00:77:0:1::50/64"}, true},
		{less, []string{"fd00:77:0:1::10/64"}, true},
		{other, []string{"fd00:77:0:1::77/64"}, true},
		{four, nil, false},
		{other, []string{"fd00:77:0:1::77/64"}, true},
		{narrow, nil, false},
		{six, []string{"fd00:77:0:1::10/64", "fd00:77:0:1::50/64"}, true},
		{moved, nil, false},
		{six, []string{"fd00:77:0:1::10/64", "fd00:77:0:1::50/64"}, true},
	} {
		up(t, l, step.config)
		v := look(t, "vst-six-one")
		full := complete(t, step.config)
		face := full.Interface("one")
		want, hosts, routes := append([]string{face.Addresses[0].String() + "/24"}, step.want...), 1, 1
		if step.on {
			want, hosts, routes = append(want, linkLocal(face)+"/64"), 2, 2
		}
		got := slices.Clone(v.Links["eth0"].Addresses)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) || v.Links["eth0"].Unusable != nil {
			t.Errorf("step %d: addresses %v (unusable %v), want %v", i, got, v.Links["eth0"].Unusable, want)
		}
		if len(v.Routes) != routes || step.on && !slices.Contains(v.Routes, "::/0 via "+face.Router6.String()+" dev eth0") {
			t.Errorf("step %d: routes %v", i, v.Routes)
		}
		if n := strings.Count(v.Hosts, "\tone one."); n != hosts {
			t.Errorf("step %d: %d lines for one, want %d:\n%s", i, n, hosts, v.Hosts)
		}
		if step.on && (v.Settings["net/ipv6/conf/all/forwarding"] == "1") != full.Instances[0].DisableSourceDestCheck {
			t.Errorf("step %d: forwarding is %s", i, v.Settings["net/ipv6/conf/all/forwarding"])
		}
	}
}

// An interface of kind host has IPv6 like any other; the host's own stays as it
// was. The test runs again in a namespace of its own.
func TestKindHostHasIPv6(t *testing.T) {
	requireRoot(t)
	if os.Getenv("VST_INNER") == "" {
		l := open(t, stateDir(t))
		up(t, l, vpc6("vst-outer6", vswitch.Instance{Name: "box", IP6: netip.MustParseAddr("fd00:77:0:1::10")}))
		innerTest(t, "vst-outer6-box", "TestKindHostHasIPv6")
		return
	}
	l := open(t, stateDir(t))
	host := vswitch.Instance{Name: "one", Kind: vswitch.KindHost, Interface: "vst-one", IP6: netip.MustParseAddr("fd00:77:0:1::20")}
	c := vpc6("vst-host6", host)
	c.VPC.CIDR = netip.MustParsePrefix("10.99.0.0/16")
	c.Subnets = []vswitch.Subnet{{Name: "a", CIDR: netip.MustParsePrefix("10.99.1.0/24"), CIDR6: c.Subnets[0].CIDR6}}
	if _, err := l.Prepare(complete(t, c)); err == nil || !strings.Contains(err.Error(), "instance one: this host has a route to fd00:77:0:1::/64") {
		t.Errorf("a VPC over the host's own IPv6 addresses: %v", err)
	}

	c.VPC.CIDR6 = netip.MustParsePrefix("fd00:99::/56")
	c.Subnets[0].CIDR6 = netip.MustParsePrefix("fd00:99:0:1::/64")
	c.Instances[0].IP6 = netip.MustParseAddr("fd00:99:0:1::20")
	before := look(t, "")
	up(t, l, c)
	full := complete(t, c)
	face := full.Interface("one")
	v := look(t, "")
	if got, want := v.Links["vst-one"].Addresses, []string{"10.99.1.4/24", "fd00:99:0:1::20/64", linkLocal(face) + "/64"}; !slices.Equal(got, want) {
		t.Errorf("addresses %v, want %v", got, want)
	}
	want := append(slices.Clone(before.Routes), "10.99.0.0/16 via 10.99.1.1 dev vst-one", "fd00:99::/56 via "+face.Router6.String()+" dev vst-one")
	slices.Sort(want)
	slices.Sort(v.Routes)
	if !slices.Equal(v.Routes, want) {
		t.Errorf("routes %v, want %v", v.Routes, want)
	}

	// Forwarding is the TAP's own.
	c.Instances[0].DisableSourceDestCheck = true
	up(t, l, c)
	data, err := os.ReadFile("/proc/sys/net/ipv6/conf/vst-one/force_forwarding")
	if err != nil || strings.TrimSpace(string(data)) != "1" {
		t.Errorf("force_forwarding of the TAP: %q, %v", data, err)
	}

	// Without IPv6 in the subnet, none on the TAP either.
	c.VPC.CIDR6, c.Subnets[0].CIDR6, c.Instances[0].IP6 = netip.Prefix{}, netip.Prefix{}, netip.Addr{}
	up(t, l, c)
	v = look(t, "")
	if got := v.Links["vst-one"].Addresses; !slices.Equal(got, []string{"10.99.1.4/24"}) {
		t.Errorf("addresses without IPv6: %v", got)
	}
	if link := before.Links["eth0"]; !slices.Equal(v.Links["eth0"].Addresses, link.Addresses) || v.Settings["net/ipv6/conf/all/forwarding"] != "0" || v.Settings["net/ipv6/conf/all/disable_ipv6"] != "0" {
		t.Errorf("the host's own settings were changed: %+v, before %+v", v, before)
	}
	for _, r := range v.Routes {
		if strings.HasPrefix(r, "fd00:99:") {
			t.Errorf("route left: %s", r)
		}
	}
}

// innerTest runs a test again inside a namespace.
func innerTest(t *testing.T, namespace, name string) {
	t.Helper()
	cmd := lab.Command(namespace, self(t), "-test.run=^"+name+"$", "-test.v")
	cmd.Env = append(os.Environ(), "VST_INNER=1", "VSWITCH_REQUIRE_ROOT=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+name) {
		t.Fatalf("in a namespace of its own: %v\n%s", err, out)
	}
}
