package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// withHost has an instance whose interface stays in the namespace that the
// switch itself runs in.
const withHost = `
[vpc]
name  = "test"
cidr  = "10.8.0.0/16"
cidr6 = "fd00:8::/56"

[subnet.main]
cidr  = "10.8.0.0/24"
cidr6 = "fd00:8::/64"

[subnet.far]
cidr  = "10.8.1.0/24"
cidr6 = "fd00:8:0:1::/64"

[security_group.open]
ingress = [
  { proto = "tcp", ports = 9000, from = "10.8.0.0/16" },
  { proto = "tcp", ports = 9000, from = "fd00:8::/56" },
]

[instance.here]
subnet = "main"
ip     = "10.8.0.10"
ip6    = "fd00:8::10"
sg     = ["open"]
kind   = "host"
ifname = "vst-here"

[instance.near]
subnet = "main"
ip     = "10.8.0.11"
ip6    = "fd00:8::11"
sg     = ["open"]

[instance.far]
subnet = "far"
ip     = "10.8.1.11"
ip6    = "fd00:8:0:1::11"
sg     = ["open"]
`

// inNamespace runs do on a thread that has entered the network namespace.
func inNamespace(t *testing.T, namespace *os.File, do func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("setns: %w", err)
			return
		}
		done <- do()
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// An instance of kind host is an interface in the namespace of the switch, which
// reaches the VPC through it, and keeps its own default route. The test's switch
// runs in a namespace of its own, so that this machine's stays as it is.
func TestHostInterface(t *testing.T) {
	t.Parallel()
	l := newLab(t, withHost)
	up := exec.Command(binary, "-f", l.file, "up")
	up.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if r := finish(t, up); r.code != 0 {
		t.Fatalf("want exit code 0:\n%v", r)
	}
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", l.status().PID))
	if err != nil {
		t.Fatal(err)
	}
	defer namespace.Close()
	for _, name := range []string{"near", "far"} {
		l.start(name, "serve", ":9000")
	}

	inNamespace(t, namespace, func() error {
		link, err := net.InterfaceByName("vst-here")
		if err != nil {
			return err
		}
		addresses, err := link.Addrs()
		if err != nil {
			return err
		}
		if len(addresses) != 3 || addresses[0].String() != "10.8.0.10/24" || addresses[1].String() != "fd00:8::10/64" {
			t.Errorf("vst-here has the addresses %v, want 10.8.0.10/24, fd00:8::10/64 and a link-local one", addresses)
		}
		routes, err := os.ReadFile("/proc/thread-self/net/route")
		if err != nil {
			return err
		}
		for _, route := range strings.Split(string(routes), "\n") {
			if fields := strings.Fields(route); len(fields) > 1 && fields[1] == "00000000" {
				t.Errorf("the host got a default route: %s", route)
			}
		}
		routes, err = os.ReadFile("/proc/thread-self/net/ipv6_route")
		if err != nil {
			return err
		}
		for _, route := range strings.Split(string(routes), "\n") {
			if fields := strings.Fields(route); len(fields) > 9 && fields[1] == "00" && fields[9] == "vst-here" {
				t.Errorf("the host got a default route: %s", route)
			}
		}
		for _, address := range []string{"10.8.0.11:9000", "10.8.1.11:9000", "[fd00:8::11]:9000", "[fd00:8:0:1::11]:9000"} {
			conn, err := net.DialTimeout("tcp", address, 3*time.Second)
			if err != nil {
				return err
			}
			conn.Close()
		}
		return nil
	})

	l.must("down")
	inNamespace(t, namespace, func() error {
		if _, err := net.InterfaceByName("vst-here"); err == nil {
			t.Error("left behind: the interface vst-here")
		}
		return nil
	})
}
