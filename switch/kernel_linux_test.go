package vswitch_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	vswitch "vswitch/switch"

	"vswitch/port"
)

// patience bounds every wait for a kernel.
const patience = 20 * time.Second

// A kernel is an instance with a network stack of its own, in a namespace without
// a name that lives as long as the test.
type kernel struct {
	t    testing.TB
	jobs chan func()
	tap  *port.TAP   // its first queue
	taps []*port.TAP // all
}

// newKernel makes the namespace, and in it the device of the interface, up and
// with its addresses and routes.
func newKernel(t testing.TB, face vswitch.Interface) *kernel { return newKernelOf(t, face, 1) }

// newKernelOf is newKernel for a device of several queues.
func newKernelOf(t testing.TB, face vswitch.Interface, queues int) *kernel {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("VSWITCH_REQUIRE_ROOT") == "1" {
			t.Fatal("needs root, and VSWITCH_REQUIRE_ROOT=1 forbids to skip")
		}
		t.Skip("needs root")
	}
	k := &kernel{t: t, jobs: make(chan func())}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // and never unlocked: the thread ends, and its namespace with it
		for job := range k.jobs {
			job()
		}
	}()
	t.Cleanup(func() { close(k.jobs); <-ended })
	k.must(func() error { return unix.Unshare(unix.CLONE_NEWNET) })
	for _, s := range []string{"accept_dad", "accept_ra"} {
		k.must(func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/default/"+s, []byte("0"), 0) })
	}
	k.must(func() (err error) {
		if k.taps, err = port.OpenTAP("vst-port-0", queues); err == nil {
			k.tap = k.taps[0]
		}
		return err
	})
	t.Cleanup(func() { // the switch has done that, if it came to have them
		for _, tap := range k.taps {
			tap.Close()
		}
	})
	k.must(func() error { return configure(face) })
	return k
}

// configure sets the device up as the interface has it.
func configure(face vswitch.Interface) error {
	link, err := netlink.LinkByName("vst-port-0")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetHardwareAddr(link, face.MAC[:]); err != nil {
		return fmt.Errorf("mac: %w", err)
	}
	if err := netlink.LinkSetMTU(link, face.MTU); err != nil {
		return fmt.Errorf("mtu: %w", err)
	}
	for i, bits := range []int{face.Prefix, face.Prefix6} {
		a := face.Addresses[i]
		block := &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, a.BitLen())}
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: block, Flags: unix.IFA_F_NODAD}); err != nil {
			return fmt.Errorf("address %s: %w", a, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("up: %w", err)
	}
	for _, router := range []netip.Addr{face.Router, face.Router6} {
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: router.AsSlice()}); err != nil {
			return fmt.Errorf("route via %s: %w", router, err)
		}
	}
	return nil
}

// must runs job on the kernel's thread, and ends the test if that fails.
func (k *kernel) must(job func() error) {
	k.t.Helper()
	done := make(chan error)
	k.jobs <- func() { done <- job() }
	if err := <-done; err != nil {
		k.t.Fatal(err)
	}
}

// listen returns a TCP listener in the namespace.
func (k *kernel) listen(address string) (l net.Listener) {
	k.t.Helper()
	k.must(func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	k.t.Cleanup(func() { l.Close() })
	return l
}

// dial connects from the namespace, by TCP or UDP.
func (k *kernel) dial(network, address string) (c net.Conn) {
	k.t.Helper()
	k.must(func() (err error) {
		c, err = net.DialTimeout(network, address, patience)
		return err
	})
	k.t.Cleanup(func() { c.Close() })
	k.must(func() error { return c.SetDeadline(time.Now().Add(patience)) })
	return c
}

// packets returns a UDP socket in the namespace.
func (k *kernel) packets(address string) (c net.PacketConn) {
	k.t.Helper()
	k.must(func() (err error) {
		c, err = net.ListenPacket("udp", address)
		return err
	})
	k.t.Cleanup(func() { c.Close() })
	k.must(func() error { return c.SetDeadline(time.Now().Add(patience)) })
	return c
}

// badSums returns how many packets the kernel has received with a wrong checksum,
// of the IPv4 header, TCP or UDP.
func (k *kernel) badSums() (n int) {
	k.t.Helper()
	k.must(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		seen := 0
		lines := strings.Split(string(text), "\n")
		for i := 0; i+1 < len(lines); i += 2 { // a line of names, a line of numbers
			names, numbers := strings.Fields(lines[i]), strings.Fields(lines[i+1])
			for j, name := range names {
				if protocol := names[0]; name == "InCsumErrors" && protocol != "UdpLite:" || protocol == "Ip:" && name == "InHdrErrors" {
					count, err := strconv.Atoi(numbers[j])
					if err != nil {
						return err
					}
					n += count
					seen++
				}
			}
		}
		if seen != 4 { // Ip, Icmp, Tcp, Udp
			return fmt.Errorf("%d counters of wrong checksums, want 4:\n%s", seen, text)
		}
		text, err = os.ReadFile("/proc/thread-self/net/snmp6")
		if err != nil {
			return err
		}
		for _, name := range []string{"Ip6InHdrErrors", "Udp6InCsumErrors"} { // TCP has the same counter for both families
			_, rest, _ := strings.Cut(string(text), name)
			count, err := strconv.Atoi(strings.Fields(rest + " none")[0])
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			n += count
		}
		return nil
	})
	return n
}
