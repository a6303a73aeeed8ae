package lab_test

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"vswitch/internal/lab"
	vswitch "vswitch/switch"
)

func TestRollbackLeavesNothing(t *testing.T) {
	requireRoot(t)
	dir := stateDir(t)
	l := open(t, dir)
	full := complete(t, vpc("vst-back", vswitch.Instance{Name: "one"}, vswitch.Instance{Name: "two"}))
	before := descriptors(t)
	change, err := l.Prepare(full)
	if err != nil {
		t.Fatal(err)
	}
	if inode(t, "vst-back-one") == 0 || inode(t, "vst-back-two") == 0 {
		t.Error("prepare made no namespaces")
	}
	if _, err := l.Prepare(full); err == nil {
		t.Error("a second change was opened")
	}
	if err := change.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := change.Rollback(); err != nil {
		t.Errorf("second rollback: %v", err)
	}
	if err := change.Commit(); err == nil {
		t.Error("commit after rollback")
	}
	if left := list(t, "/run/netns"); left != nil {
		t.Errorf("left in /run/netns: %v", left)
	}
	if left := list(t, "/etc/netns"); left != nil {
		t.Errorf("left in /etc/netns: %v", left)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors, before %d", after, before)
	}
	if report, err := l.Down(); err != nil || report.Anything() {
		t.Errorf("down: %+v, %v", report, err)
	}
}

// What stands in the way is found only after a namespace was made.
func TestPrepareThatFailsHalfWay(t *testing.T) {
	requireRoot(t)
	l := open(t, stateDir(t))
	up(t, l, vpc("vst-back", vswitch.Instance{Name: "one"}))
	space := inode(t, "vst-back-one")
	c := complete(t, vpc("vst-back",
		vswitch.Instance{Name: "one", IP: netip.MustParseAddr("10.77.1.99")},
		vswitch.Instance{Name: "two"},
		vswitch.Instance{Name: "three", Kind: vswitch.KindHost}))
	c.Instances[2].Interface = "lo" // Complete would refuse this one, which every host has
	if _, err := l.Prepare(c); err == nil || !strings.Contains(err.Error(), "instance three: link lo: exists") {
		t.Fatalf("prepare: %v", err)
	}
	if left := list(t, "/run/netns"); !slices.Equal(left, []string{"vst-back-one"}) || inode(t, "vst-back-one") != space {
		t.Errorf("namespaces: %v", left)
	}
	if left := list(t, "/etc/netns"); !slices.Equal(left, []string{"vst-back-one"}) {
		t.Errorf("hosts directories: %v", left)
	}
	if v := look(t, "vst-back-one"); !slices.Equal(v.Links["eth0"].Addresses, []string{"10.77.1.4/24"}) || strings.Contains(v.Hosts, "two") {
		t.Errorf("the running instance was changed: %+v", v)
	}
	if report, err := l.Down(); err != nil || report.Removed != 2 {
		t.Errorf("down: %+v, %v", report, err)
	}
}

func TestReloadChangesAddsAndRemoves(t *testing.T) {
	requireRoot(t)
	const name = "vst-reload"
	l := open(t, stateDir(t))
	address := netip.MustParseAddr
	up(t, l, vpc(name,
		vswitch.Instance{Name: "stays", IP: address("10.77.1.10"), ExtraIPs: []netip.Addr{address("10.77.1.11")}},
		vswitch.Instance{Name: "moves", IP: address("10.77.1.20"), ExtraIPs: []netip.Addr{address("10.77.1.21")}},
		vswitch.Instance{Name: "goes"}))
	stays := inode(t, name+"-stays")

	c := vpc(name,
		vswitch.Instance{Name: "stays", IP: address("10.77.1.10"), ExtraIPs: []netip.Addr{address("10.77.1.12")}, DisableSourceDestCheck: true},
		vswitch.Instance{Name: "moves", Subnet: "b", IP: address("10.77.2.20")},
		vswitch.Instance{Name: "comes"})
	c.VPC.MTU = 1500
	devices := up(t, l, c)
	if len(devices) != 1 || devices["comes"] == nil {
		t.Errorf("new devices: %v", devices)
	}
	if inode(t, name+"-stays") != stays || inode(t, name+"-goes") != 0 || exists("/etc/netns/"+name+"-goes") {
		t.Error("namespaces are not those of the new configuration")
	}
	v := look(t, name+"-stays")
	if eth0 := v.Links["eth0"]; !slices.Equal(eth0.Addresses, []string{"10.77.1.10/24", "10.77.1.12/24"}) || eth0.MTU != 1500 || !eth0.Carrier {
		t.Errorf("stays: %+v", eth0)
	}
	if !slices.Equal(v.Routes, []string{"0.0.0.0/0 via 10.77.1.1 dev eth0"}) || v.Settings["net/ipv4/ip_forward"] != "1" {
		t.Errorf("stays: %+v", v)
	}
	if !strings.Contains(v.Hosts, "10.77.2.20\tmoves ") || !strings.Contains(v.Hosts, "\tcomes ") || strings.Contains(v.Hosts, "goes") {
		t.Errorf("stays: hosts:\n%s", v.Hosts)
	}
	v = look(t, name+"-moves")
	if !slices.Equal(v.Links["eth0"].Addresses, []string{"10.77.2.20/24"}) || !slices.Equal(v.Routes, []string{"0.0.0.0/0 via 10.77.2.1 dev eth0"}) {
		t.Errorf("moves: %+v", v)
	}
}

func TestNamespaceOfAnInstanceThatStays(t *testing.T) {
	requireRoot(t)
	l := open(t, stateDir(t))
	up(t, l, vpc("vst-move", vswitch.Instance{Name: "one", Namespace: "vst-move-x"}))
	taken := complete(t, vpc("vst-move", vswitch.Instance{Name: "two", Namespace: "vst-move-x"}))
	if _, err := l.Prepare(taken); err == nil || !strings.Contains(err.Error(), "still belongs to instance one") {
		t.Errorf("a namespace passed to another instance: %v", err)
	}
	devices := up(t, l, vpc("vst-move", vswitch.Instance{Name: "one", Namespace: "vst-move-y"}))
	if devices["one"] == nil || inode(t, "vst-move-x") != 0 || inode(t, "vst-move-y") == 0 {
		t.Errorf("a namespace renamed: devices %v", devices)
	}
}

// Somebody deletes the device or the namespace under us: a reload makes it anew.
func TestReloadRepairs(t *testing.T) {
	requireRoot(t)
	l := open(t, stateDir(t))
	c := vpc("vst-repair", vswitch.Instance{Name: "one"}, vswitch.Instance{Name: "two"})
	for _, d := range up(t, l, c) {
		d[0].Close()
	}
	if devices := up(t, l, c); len(devices) != 2 {
		t.Errorf("new devices: %v", devices)
	}
	if v := look(t, "vst-repair-one"); !v.Links["eth0"].Carrier {
		t.Errorf("%+v", v)
	}
	if devices := up(t, l, c); len(devices) != 0 {
		t.Errorf("a reload that changes nothing made devices: %v", devices)
	}

	link := func(namespace string, change func(netlink.Link) error) {
		t.Helper()
		err := lab.Within(namespace, func() error {
			eth0, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			return change(eth0)
		})
		if err != nil {
			t.Fatalf("in %s: %v", namespace, err)
		}
	}
	link("vst-repair-one", netlink.LinkDel)
	if devices := up(t, l, c); devices["one"] == nil || len(devices) != 1 {
		t.Errorf("the link was deleted: new devices %v", devices)
	}
	if err := lab.Unpublish("vst-repair-two"); err != nil { // our device keeps it alive, without a name
		t.Fatal(err)
	}
	if devices := up(t, l, c); devices["two"] == nil || len(devices) != 1 {
		t.Errorf("the namespace was deleted: new devices %v", devices)
	}
	link("vst-repair-two", netlink.LinkSetDown)
	link("vst-repair-two", func(eth0 netlink.Link) error { return netlink.LinkSetName(eth0, "vst-other") })
	if devices := up(t, l, c); devices["two"] == nil || len(devices) != 1 {
		t.Errorf("the link was renamed: new devices %v", devices)
	}
	err := lab.WithNamespace(func(elsewhere int) error {
		link("vst-repair-one", func(eth0 netlink.Link) error { return netlink.LinkSetNsFd(eth0, elsewhere) })
		if devices := up(t, l, c); devices["one"] == nil || len(devices) != 1 {
			t.Errorf("the link was moved: new devices %v", devices)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The TAP of kind host goes to the namespace of the process, so the test runs
// again in one of its own.
func TestKindHost(t *testing.T) {
	requireRoot(t)
	if os.Getenv("VST_INNER") == "" {
		l := open(t, stateDir(t))
		up(t, l, vpc("vst-outer", vswitch.Instance{Name: "box"}))
		innerTest(t, "vst-outer-box", "TestKindHost")
		return
	}
	l := open(t, stateDir(t))
	host := func(in string) vswitch.Instance {
		return vswitch.Instance{Name: in, Kind: vswitch.KindHost, Interface: "vst-" + in}
	}
	c := vpc("vst-host", host("one"), host("two"))
	if _, err := l.Prepare(complete(t, c)); err == nil || !strings.Contains(err.Error(), "instance one: this host has a route to 10.77.1.0/24") {
		t.Errorf("a VPC over the host's own addresses: %v", err)
	}
	c.VPC.CIDR = netip.MustParsePrefix("10.99.0.0/16")
	c.Subnets = []vswitch.Subnet{{Name: "a", CIDR: netip.MustParsePrefix("10.99.1.0/24")}}
	foreign := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "vst-one"}}
	if err := netlink.LinkAdd(foreign); err == nil {
		if _, err := l.Prepare(complete(t, c)); err == nil || !strings.Contains(err.Error(), "link vst-one: exists") {
			t.Errorf("a foreign link: %v", err)
		}
		if err := netlink.LinkDel(foreign); err != nil {
			t.Fatalf("the foreign link was touched: %v", err)
		}
	}
	up(t, l, c)
	v := look(t, "")
	for i, in := range []string{"one", "two"} {
		link := v.Links["vst-"+in]
		if want := []string{fmt.Sprintf("10.99.1.%d/24", 4+i)}; !link.Up || !slices.Equal(link.Addresses, want) {
			t.Errorf("%s: %+v, want %v and no IPv6 address", in, link, want)
		}
	}
	slices.Sort(v.Routes)
	want := []string{"0.0.0.0/0 via 10.77.1.1 dev eth0", "10.99.0.0/16 via 10.99.1.1 dev vst-one", "10.99.0.0/16 via 10.99.1.1 dev vst-two"}
	if !slices.Equal(v.Routes, want) {
		t.Errorf("routes %v, want %v: the default route is the host's", v.Routes, want)
	}
	if v.Settings["net/ipv4/ip_forward"] != "0" {
		t.Error("the host's settings were changed")
	}
	c.Instances = c.Instances[:1]
	c.Instances[0].IP = netip.MustParseAddr("10.99.1.77")
	up(t, l, c)
	v = look(t, "")
	if _, left := v.Links["vst-two"]; left || !slices.Equal(v.Links["vst-one"].Addresses, []string{"10.99.1.77/24"}) {
		t.Errorf("after a reload: %+v", v.Links)
	}
	if !slices.Contains(v.Routes, want[1]) {
		t.Errorf("after a reload: routes %v lack %s", v.Routes, want[1])
	}
	if report, err := l.Down(); err != nil || report.Removed != 1 {
		t.Errorf("down: %+v, %v; want a link removed", report, err)
	}
	if v = look(t, ""); len(v.Links) != 2 {
		t.Errorf("links left: %v", v.Links)
	}
}
