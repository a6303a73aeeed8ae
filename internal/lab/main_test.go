package lab_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vswitch/internal/lab"
	"vswitch/port"
	vswitch "vswitch/switch"
)

// TestMain makes the test binary serve as vswitch, for the subcommands that lab
// runs again (enter) or that the tests run in a process of its own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "enter": // enter NAMESPACE -- CMD...
			fmt.Fprintln(os.Stderr, lab.Exec(os.Args[2], os.Args[4:]))
			os.Exit(126)
		case "probe":
			probe()
			return
		case "daemon":
			daemon(os.Args[2])
			return
		}
	}
	// A process under the race detector otherwise waits a second before it ends.
	if err := os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0")); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// requireRoot skips a test that needs root, or fails it where root is promised.
func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("VSWITCH_REQUIRE_ROOT") == "1" {
		t.Fatal("not root, and VSWITCH_REQUIRE_ROOT=1")
	}
	t.Skip("SKIPPED: not root: nothing of this test ran")
}

// vpc returns a configuration with one subnet, 10.77.1.0/24, and the instances. A
// VPC's name is that of one test, so that tests do not meet.
func vpc(name string, instances ...vswitch.Instance) vswitch.Config {
	c := vswitch.Config{
		VPC:       vswitch.VPC{Name: name, CIDR: netip.MustParsePrefix("10.77.0.0/16")},
		Subnets:   []vswitch.Subnet{{Name: "a", CIDR: netip.MustParsePrefix("10.77.1.0/24")}, {Name: "b", CIDR: netip.MustParsePrefix("10.77.2.0/24")}},
		Instances: instances,
	}
	for i := range c.Instances {
		if c.Instances[i].Subnet == "" {
			c.Instances[i].Subnet = "a"
		}
	}
	return c
}

// complete is vswitch.Complete for a configuration without mistakes.
func complete(t *testing.T, c vswitch.Config) vswitch.Config {
	t.Helper()
	full, err := vswitch.Complete(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return full
}

// open opens a lab in dir, and takes it down when the test ends.
func open(t *testing.T, dir string) *lab.Lab {
	t.Helper()
	l, err := lab.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		last, err := lab.Open(dir)
		if err != nil {
			t.Errorf("open to clean up: %v", err)
			return
		}
		if _, err := last.Down(); err != nil {
			t.Errorf("down: %v", err)
		}
		if err := last.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return l
}

func stateDir(t *testing.T) string { return filepath.Join(t.TempDir(), "state") }

// up brings the lab to c, and returns the devices that are new, which are closed
// when the test ends.
func up(t *testing.T, l *lab.Lab, c vswitch.Config) map[string][]port.Device {
	t.Helper()
	change, err := l.Prepare(complete(t, c))
	if err != nil {
		t.Fatalf("prepare: %v", err)
	}
	devices := change.Devices()
	t.Cleanup(func() {
		for _, queues := range devices {
			for _, q := range queues {
				q.Close()
			}
		}
	})
	if err := change.Commit(); err != nil {
		t.Fatalf("commit: %v", err)
	}
	return devices
}

// A view is what probe finds in a namespace.
type view struct {
	Links    map[string]viewLink
	Routes   []string // those that are not the kernel's own
	Settings map[string]string
	Hosts    string
	Resolv   string
	SysNet   []string // what /sys/class/net lists
}

type viewLink struct {
	MAC         string
	MTU, Queue  int
	Up, Carrier bool
	Addresses   []string
	Unusable    []string // those of them that the kernel does not use yet, or any more
}

// probe prints a view of the namespace that the process is in.
func probe() {
	v := view{Links: map[string]viewLink{}, Settings: map[string]string{}}
	links, err := netlink.LinkList()
	must(err)
	names := map[int]string{}
	for _, l := range links {
		a := l.Attrs()
		names[a.Index] = a.Name
		seen := viewLink{
			MAC: a.HardwareAddr.String(), MTU: a.MTU, Queue: a.TxQLen,
			Up: a.RawFlags&unix.IFF_UP != 0, Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0,
		}
		addresses, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		must(err)
		for _, address := range addresses {
			seen.Addresses = append(seen.Addresses, address.IPNet.String())
			if address.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 {
				seen.Unusable = append(seen.Unusable, address.IPNet.String())
			}
		}
		v.Links[a.Name] = seen
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	must(err)
	for _, r := range routes {
		if r.Protocol != unix.RTPROT_KERNEL {
			v.Routes = append(v.Routes, fmt.Sprintf("%s via %s dev %s", r.Dst, r.Gw, names[r.LinkIndex]))
		}
	}
	for _, s := range []string{
		"net/ipv4/ip_forward", "net/ipv4/ping_group_range", "net/ipv4/conf/eth0/send_redirects",
		"net/ipv6/conf/all/disable_ipv6", "net/ipv6/conf/eth0/disable_ipv6", "net/ipv6/conf/all/forwarding",
		"net/ipv6/conf/eth0/accept_ra", "net/ipv6/conf/eth0/addr_gen_mode",
	} {
		data, err := os.ReadFile("/proc/sys/" + s)
		if os.IsNotExist(err) {
			continue // there is no eth0
		}
		must(err)
		v.Settings[s] = strings.Join(strings.Fields(string(data)), " ")
	}
	for path, to := range map[string]*string{"/etc/hosts": &v.Hosts, "/etc/resolv.conf": &v.Resolv} {
		data, err := os.ReadFile(path)
		must(err)
		*to = string(data)
	}
	entries, err := os.ReadDir("/sys/class/net")
	must(err)
	for _, e := range entries {
		v.SysNet = append(v.SysNet, e.Name())
	}
	must(json.NewEncoder(os.Stdout).Encode(v))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// look returns what probe finds in a namespace.
func look(t *testing.T, namespace string) view {
	t.Helper()
	out := output(t, lab.Command(namespace, self(t), "probe"))
	var v view
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatalf("namespace %s: %v: %s", namespace, err, out)
	}
	return v
}

func output(t *testing.T, cmd *exec.Cmd) []byte {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", cmd.Args, err, stderr.String())
	}
	return out
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// inode returns the inode of a namespace's name, or 0 if there is none.
func inode(t *testing.T, namespace string) uint64 {
	t.Helper()
	var st unix.Stat_t
	err := unix.Stat("/run/netns/"+namespace, &st)
	if os.IsNotExist(err) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// exists reports whether there is a file or directory at path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// processOf returns the process of an instance's command.
func processOf(t *testing.T, l *lab.Lab, instance string) lab.Process {
	t.Helper()
	for _, p := range l.Processes() {
		if p.Instance == instance {
			return p
		}
	}
	t.Fatalf("no process of %s in %v", instance, l.Processes())
	return lab.Process{}
}

// alive reports whether a process of that number runs.
func alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	return !strings.HasPrefix(rest, "Z")
}
