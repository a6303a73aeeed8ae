package vswitch

import (
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"testing"

	"vswitch/internal/wire"
)

func TestInterface(t *testing.T) {
	c := small()
	c.Instances[0].IP6 = netip.MustParseAddr("fd00:10:0:1::10")
	c.Instances[0].ExtraIPs = []netip.Addr{netip.MustParseAddr("10.0.1.11")}
	c.Instances[1].Kind = KindHost
	full := complete(t, c, nil)
	got := full.Interface("one")
	want := Interface{
		Instance: "one", ID: ID("eni", "lab", "one"), InstanceID: ID("i", "lab", "one"),
		MAC: got.MAC, RouterMAC: got.RouterMAC, // their values have a test of their own
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.1.10"), netip.MustParseAddr("fd00:10:0:1::10"), netip.MustParseAddr("10.0.1.11")},
		Prefix:    24, Router: netip.MustParseAddr("10.0.1.1"), Prefix6: 64, Router6: got.Router6, MTU: 9001, Subnet: "a", Namespace: "lab-one", Device: "eth0",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	// The router's MAC is 0e:05:94:a2:0f:3d (TestMACIsStable): its EUI-64 has the
	// universal bit inverted and ff:fe in the middle.
	if want := netip.MustParseAddr("fe80::c05:94ff:fea2:f3d"); got.Router6 != want {
		t.Errorf("the router of subnet a: got %s, want %s", got.Router6, want)
	}
	if two := full.Interface("two"); two.Router6.IsValid() || two.Prefix6 != 0 {
		t.Errorf("a subnet without IPv6: got the router %s, /%d", two.Router6, two.Prefix6)
	}
	if host := full.Interface("two"); host.Device != "tap-two" || host.Namespace != "" || host.Prefix != 28 {
		t.Errorf("kind host: got %+v", host)
	}
	if none := full.Interface("nobody"); !reflect.DeepEqual(none, Interface{}) {
		t.Errorf("an unknown instance: got %+v, want the zero Interface", none)
	}
}

// MAC addresses are the same in every run, whatever else is in the VPC. The
// values are written down here so that a new version does not change them
// unnoticed: a guest sees its own.
func TestMACIsStable(t *testing.T) {
	c := small()
	full := complete(t, c, nil)
	one := full.Interface("one")
	if got, want := fmt.Sprintf("%s %s", one.MAC, one.RouterMAC), "02:82:7e:2f:bf:f4 0e:05:94:a2:0f:3d"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	c.Instances = append([]Instance{{Name: "zero", Subnet: "a"}}, c.Instances...)
	full = complete(t, c, nil)
	if again := full.Interface("one"); again.MAC != one.MAC || again.RouterMAC != one.RouterMAC {
		t.Errorf("beside another instance: got %s, want %s", again.MAC, one.MAC)
	}
	if zero := full.Interface("zero"); zero.RouterMAC != one.RouterMAC {
		t.Errorf("the subnet's router is %s to one instance and %s to another", one.RouterMAC, zero.RouterMAC)
	}
	if two := full.Interface("two"); two.RouterMAC == one.RouterMAC {
		t.Error("two subnets have the same router address")
	}
}

// Every MAC address is unicast, locally administered, and nobody else's.
func TestMACForm(t *testing.T) {
	first := make(map[byte]int)
	seen := make(map[wire.MAC]bool)
	for i := range 10_000 {
		mac := deriveMAC(0, "lab", "instance", fmt.Sprint("i", i))
		if mac[0]&0xf3 != 0x02 {
			t.Fatalf("%s: the first octet is not one of 02, 06, 0a, 0e", mac)
		}
		first[mac[0]]++
		if seen[mac] {
			t.Fatalf("%s twice among 10,000 names", mac)
		}
		seen[mac] = true
	}
	for _, octet := range []byte{0x02, 0x06, 0x0a, 0x0e} {
		if first[octet] < 2000 {
			t.Errorf("first octet %02x: %d of 10,000, want about 2,500", octet, first[octet])
		}
	}
}

// Where names of a subnet lead to the same address, the earlier instance has it,
// the later takes its next one, and nobody has the router's.
func TestMACCollision(t *testing.T) {
	choices := map[string][]byte{"router": {1}, "p": {2}, "q": {2, 1, 3}, "r": {1, 3, 4}, "s": {9}}
	m := subnetMACs{vpc: "lab", subnet: "a", instances: []string{"p", "q", "r", "s"}, derive: func(n uint64, identity ...string) wire.MAC {
		key := identity[2]
		if identity[1] == "router" {
			key = "router"
		}
		return wire.MAC{0x02, 5: choices[key][n]}
	}}
	for _, c := range []struct {
		instance string
		want     byte
	}{{"p", 2}, {"q", 3}, {"r", 4}, {"s", 9}} {
		router, mac := m.of(c.instance)
		if router[5] != 1 || mac[5] != c.want {
			t.Errorf("%s: got %s behind router %s, want %d behind 1", c.instance, mac, router, c.want)
		}
	}
}

// Every object has an id of AWS's form, which follows from the names alone.
func TestIDs(t *testing.T) {
	c := complete(t, small(), nil)
	ids := c.IDs()
	form := regexp.MustCompile(`^(vpc|subnet|sg|acl|rtb|pl|i)-[0-9a-f]{17}$`)
	seen := map[string]string{}
	for object, id := range ids {
		if !form.MatchString(id) || seen[id] != "" {
			t.Errorf("%s: id %q, which %q has too", object, id, seen[id])
		}
		seen[id] = object
	}
	for _, object := range []string{"vpc", "security_group.default", "nacl.default", "route.main"} {
		if ids[object] == "" {
			t.Errorf("no id for %s", object)
		}
	}
	c.VPC.Name = "another"
	if other := c.IDs(); other["security_group.default"] == ids["security_group.default"] {
		t.Error("two VPCs share the id of a group")
	}
}
