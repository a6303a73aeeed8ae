package port

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vswitch/internal/wire"
)

// requireRoot skips the test without root, unless VSWITCH_REQUIRE_ROOT=1 says
// that a skipped test is a failed one.
func requireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("VSWITCH_REQUIRE_ROOT") == "1" {
		t.Fatal("needs root, and VSWITCH_REQUIRE_ROOT=1 forbids to skip")
	}
	t.Skip("needs root")
}

// isolate moves the test into a network namespace of its own. The test's
// goroutine keeps its thread, which ends with it, and the namespace with the
// thread: nothing is to be cleaned up. IPv6 is off, so that the kernel sends
// nothing by itself.
func isolate(t testing.TB) {
	t.Helper()
	requireRoot(t)
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("unshare: %v", err)
	}
	err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

// openUp opens a TAP in the test's namespace and takes it up.
func openUp(t testing.TB, name string, queues int) []*TAP {
	t.Helper()
	taps, err := OpenTAP(name, queues)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, tap := range taps {
			if err := tap.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	if err := netlink.LinkSetUp(link(t, name)); err != nil {
		t.Fatalf("up: %v", err)
	}
	return taps
}

// link returns the link of that name in the test's namespace.
func link(t testing.TB, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatalf("link %s: %v", name, err)
	}
	return l
}

// packetHeader is the length of the virtio_net_hdr on packet sockets, in bytes:
// that of wire.VirtioSize without num_buffers.
const packetHeader = 10

// An instance is the far end of a TAP: a packet socket with PACKET_VNET_HDR,
// which sends what it likes and sees all that arrives.
type instance struct{ fd int }

// newInstance binds an instance to the link of that name.
func newInstance(t testing.TB, name string) instance {
	t.Helper()
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatalf("packet socket: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link(t, name).Attrs().Index}),
	)
	if err != nil {
		t.Fatalf("packet socket: %v", err)
	}
	return instance{fd}
}

// send transmits a frame with its 12-byte virtio header.
func (i instance) send(t testing.TB, frame []byte) {
	t.Helper()
	b := append(append([]byte(nil), frame[:packetHeader]...), frame[wire.VirtioSize:]...)
	if n, err := unix.Write(i.fd, b); err != nil || n != len(b) {
		t.Fatalf("instance: send %d bytes: %d, %v", len(b), n, err)
	}
}

// receive waits for the next frame and returns it with a 12-byte virtio header.
func (i instance) receive(t testing.TB) []byte {
	t.Helper()
	b := make([]byte, wire.MaxFrame)
	if pollIn(t, i.fd, deadline)&unix.POLLIN == 0 {
		t.Fatal("instance: nothing arrived")
	}
	n, err := unix.Read(i.fd, b)
	if err != nil {
		t.Fatalf("instance: receive: %v", err)
	}
	return append(append(b[:packetHeader:packetHeader], 0, 0), b[packetHeader:n]...)
}

// read waits for the next frame of the TAP.
func read(t testing.TB, tap *TAP) []byte {
	t.Helper()
	b := bytes.Repeat([]byte{0xa5}, wire.MaxFrame) // a canary: no byte of it may be taken for the frame
	if pollIn(t, tap.FD(), deadline)&unix.POLLIN == 0 {
		t.Fatalf("tap %s: nothing to read", tap.Name())
	}
	n, s := tap.Read(b)
	if s != OK {
		t.Fatalf("tap %s: read: %v", tap.Name(), s)
	}
	return b[:n]
}

// experimental returns a frame of n bytes, its virtio header included, with the
// EtherType for local experiments (IEEE 802, 0x88b5): no protocol answers it.
func experimental(n int, tag byte) []byte {
	f := plain(n, tag)
	copy(f[wire.VirtioSize:], []byte{0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 0x88, 0xb5})
	return f
}

// descriptors returns the open descriptors of the process and what they are.
func descriptors() map[int]string {
	open := map[int]string{}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		var fd int
		if _, err := fmt.Sscan(e.Name(), &fd); err != nil {
			panic(err)
		}
		if link, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil { // not that of ReadDir itself
			open[fd] = link
		}
	}
	return open
}

// polled returns how many descriptors the process's epoll instances watch. The
// runtime's own is the only one here.
func polled(t testing.TB) int {
	t.Helper()
	n := 0
	for fd, link := range descriptors() {
		if link != "anon_inode:[eventpoll]" {
			continue
		}
		info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
		if err != nil {
			t.Fatal(err)
		}
		n += strings.Count(string(info), "tfd:")
	}
	return n
}
