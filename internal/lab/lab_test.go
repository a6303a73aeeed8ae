package lab_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"vswitch/internal/lab"
	vswitch "vswitch/switch"
)

func TestCheckAllowsRoot(t *testing.T) {
	requireRoot(t)
	if err := lab.Check(); err != nil {
		t.Fatal(err)
	}
}

func TestInstanceIsAsAnEC2InstanceFindsItself(t *testing.T) {
	requireRoot(t)
	const name = "vst-made"
	c := vpc(name, vswitch.Instance{Name: "one"}, vswitch.Instance{Name: "router", Subnet: "b", DisableSourceDestCheck: true})
	full := complete(t, c)
	l := open(t, stateDir(t))
	devices := up(t, l, c)
	if len(devices) != 2 || devices["one"] == nil || devices["router"] == nil {
		t.Fatalf("devices: %v", devices)
	}
	for _, in := range full.Instances {
		face := full.Interface(in.Name)
		v := look(t, name+"-"+in.Name)
		eth0 := v.Links["eth0"]
		if want := (netipMAC(face)); eth0.MAC != want || eth0.MTU != 9001 || eth0.Queue != 1000 || !eth0.Up || !eth0.Carrier {
			t.Errorf("%s: eth0 is %+v, want MAC %s", in.Name, eth0, want)
		}
		if want := []string{in.IP.String() + "/24"}; !slices.Equal(eth0.Addresses, want) {
			t.Errorf("%s: addresses %v, want %v: an IPv6 address?", in.Name, eth0.Addresses, want)
		}
		if lo := v.Links["lo"]; !lo.Up || !slices.Equal(lo.Addresses, []string{"127.0.0.1/8"}) {
			t.Errorf("%s: lo is %+v", in.Name, lo)
		}
		if want := []string{"0.0.0.0/0 via " + face.Router.String() + " dev eth0"}; !slices.Equal(v.Routes, want) {
			t.Errorf("%s: routes %v, want %v", in.Name, v.Routes, want)
		}
		forward := "0"
		if in.DisableSourceDestCheck {
			forward = "1"
		}
		for setting, want := range map[string]string{
			"net/ipv4/ip_forward":             forward,
			"net/ipv4/ping_group_range":       "0 2147483647",
			"net/ipv6/conf/all/disable_ipv6":  "1",
			"net/ipv6/conf/eth0/disable_ipv6": "1",
		} {
			if v.Settings[setting] != want {
				t.Errorf("%s: %s = %s, want %s", in.Name, setting, v.Settings[setting], want)
			}
		}
		if !slices.Equal(v.SysNet, []string{"eth0", "lo"}) {
			t.Errorf("%s: /sys/class/net shows %v", in.Name, v.SysNet)
		}
	}
}

func netipMAC(f vswitch.Interface) string {
	m := f.MAC
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

func TestNamesResolveFromTheHostsFileAlone(t *testing.T) {
	requireRoot(t)
	const name = "vst-names"
	l := open(t, stateDir(t))
	up(t, l, vpc(name, vswitch.Instance{Name: "one"}, vswitch.Instance{Name: "two"}))
	for _, namespace := range []string{name + "-one", name + "-two"} {
		v := look(t, namespace)
		for _, want := range []string{"127.0.0.1\tlocalhost\n", "\tone one." + name + ".internal\n", "\ttwo two." + name + ".internal\n"} {
			if !strings.Contains(v.Hosts, want) {
				t.Errorf("%s: hosts lacks %q:\n%s", namespace, want, v.Hosts)
			}
		}
		if strings.Contains(v.Resolv, "nameserver") {
			t.Errorf("%s: resolv.conf names a server:\n%s", namespace, v.Resolv)
		}
		data, err := os.ReadFile(filepath.Join("/etc/netns", namespace, "nsswitch.conf"))
		if exists("/etc/nsswitch.conf") && (err != nil || strings.Count(string(data), "hosts:") != 1 || !strings.Contains(string(data), "hosts: files\n")) {
			t.Errorf("%s: nsswitch.conf: %v\n%s", namespace, err, data)
		}
	}
	if data, err := os.ReadFile("/etc/hosts"); err != nil || strings.Contains(string(data), name) {
		t.Errorf("the host's own /etc/hosts was touched: %v\n%s", err, data)
	}
}

func TestDownRemovesExactlyWhatWasMade(t *testing.T) {
	requireRoot(t)
	const name = "vst-down"
	before := [][]string{list(t, "/run/netns"), list(t, "/etc/netns")}
	foreign := open(t, stateDir(t))
	up(t, foreign, vpc("vst-foreign", vswitch.Instance{Name: "x"}))

	dir := stateDir(t)
	l := open(t, dir)
	up(t, l, vpc(name, vswitch.Instance{Name: "one", Run: "sleep 1000"}))
	pid := processOf(t, l, "one").PID
	theirs := filepath.Join("/etc/netns", name+"-one", "motd")
	if err := os.WriteFile(theirs, []byte("somebody else's\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(filepath.Dir(theirs)) })

	report, err := l.Down()
	if err != nil {
		t.Fatal(err)
	}
	if report.Removed != 3 || len(report.Left) != 1 || !strings.Contains(report.Left[0], "/etc/netns/"+name+"-one") {
		t.Errorf("report %+v: want a process, a namespace and a hosts directory removed, and the directory's other file left", report)
	}
	if alive(pid) || inode(t, name+"-one") != 0 || exists(filepath.Join("/etc/netns", name+"-one", "hosts")) {
		t.Errorf("something is left")
	}
	if !exists(theirs) || inode(t, "vst-foreign-x") == 0 {
		t.Errorf("something of somebody else's is gone")
	}
	if report, err = l.Down(); err != nil || report.Anything() {
		t.Errorf("second down: %+v, %v", report, err)
	}
	if err := l.Close(); err != nil || exists(dir) {
		t.Errorf("close: %v; state directory left: %v", err, exists(dir))
	}
	if err := os.RemoveAll(filepath.Dir(theirs)); err != nil {
		t.Fatal(err)
	}
	if _, err := foreign.Down(); err != nil {
		t.Fatal(err)
	}
	if after := [][]string{list(t, "/run/netns"), list(t, "/etc/netns")}; fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("left: %v, before %v", after, before)
	}
}

// list returns the names in a directory that these tests could have made.
func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "vst-down") || strings.HasPrefix(e.Name(), "vst-foreign") || strings.HasPrefix(e.Name(), "vst-back") {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestOneLabForAStateDirectory(t *testing.T) {
	dir := stateDir(t)
	l, err := lab.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Open(dir); !errors.Is(err, lab.ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("second open: %v, want ErrInUse and our pid", err)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if exists(dir) {
		t.Error("an empty state directory is left")
	}
}

func TestStateDirectoryThatSomebodyLaidThere(t *testing.T) {
	dir := stateDir(t)
	if err := os.Symlink(t.TempDir(), dir); err != nil {
		t.Fatal(err)
	}
	if l, err := lab.Open(dir); err == nil {
		l.Close()
		t.Error("a symbolic link was accepted")
	}
}

func TestJournalThatCannotBeRead(t *testing.T) {
	for what, content := range map[string]string{
		"syntax":  `{"version": 1,`,
		"version": `{"version": 99}`,
	} {
		dir := stateDir(t)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "journal.json"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if l, err := lab.Open(dir); err == nil {
			l.Close()
			t.Errorf("%s: accepted", what)
		} else if !strings.Contains(err.Error(), "journal") {
			t.Errorf("%s: %v does not say what is wrong", what, err)
		}
	}
}

func TestTwentyNamespacesAndNoDescriptorLeft(t *testing.T) {
	requireRoot(t)
	c := vpc("vst-many")
	for i := range 20 {
		c.Instances = append(c.Instances, vswitch.Instance{Name: fmt.Sprintf("i%d", i), Subnet: "a", Run: "exit 0"})
	}
	full := complete(t, c)
	dir := stateDir(t)
	cycle := func() {
		l := open(t, dir)
		begin := time.Now()
		change, err := l.Prepare(full)
		if err != nil {
			t.Fatal(err)
		}
		prepared := time.Since(begin)
		if err := change.Commit(); err != nil {
			t.Fatal(err)
		}
		t.Logf("20 namespaces: prepare %v, with commit %v", prepared, time.Since(begin))
		for _, d := range change.Devices() {
			for _, q := range d {
				if err := q.Close(); err != nil {
					t.Error(err)
				}
			}
		}
		begin = time.Now()
		if report, err := l.Down(); err != nil || report.Removed != 60 {
			t.Errorf("down: %+v, %v", report, err)
		}
		t.Logf("down %v", time.Since(begin))
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	cycle() // the runtime opens descriptors of its own once
	before := descriptors(t)
	cycle()
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors, before %d", after, before)
	}
	goleak.VerifyNone(t)
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
