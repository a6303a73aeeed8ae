package port

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vswitch/internal/wire"
)

func TestTAPCarriesFramesBothWays(t *testing.T) {
	isolate(t)
	tap := openUp(t, "vst-port-0", 1)[0]
	vm := newInstance(t, "vst-port-0")
	b := make([]byte, wire.MaxFrame)

	if _, s := tap.Read(b); s != Empty {
		t.Fatalf("Read before any frame: %v, want empty", s)
	}
	for _, size := range []int{60, 64, 1514} { // bytes on the wire
		want := experimental(wire.VirtioSize+size, byte(size))
		vm.send(t, want)
		if got := read(t, tap); !bytes.Equal(got, want) {
			t.Errorf("%d bytes: read % x, want % x", size, got, want)
		}
		if s := tap.Write(want); s != OK {
			t.Fatalf("%d bytes: Write: %v", size, s)
		}
		if got := vm.receive(t); !bytes.Equal(got, want) {
			t.Errorf("%d bytes: the instance received % x, want % x", size, got, want)
		}
	}
	if _, s := tap.Read(b); s != Empty {
		t.Errorf("Read after the last frame: %v, want empty", s)
	}
}

// A frame in two parts arrives in one piece, wherever it was split, also by the
// kernel's fast path for short frames and its other one for long ones.
func TestTAPTakesFramesInTwoParts(t *testing.T) {
	isolate(t)
	tap := openUp(t, "vst-port-0", 1)[0]
	vm := newInstance(t, "vst-port-0")
	for _, want := range [][]byte{experimental(wire.VirtioSize+60, 1), experimental(wire.VirtioSize+1514, 2), superframe(wire.GSOTCP4, 60000)} {
		for _, split := range []int{wire.VirtioSize, 20, 66, 67, len(want)} {
			if s := tap.WriteParts(want[:split], want[split:]); s != OK {
				t.Fatalf("%d bytes split at %d: %v", len(want), split, s)
			}
			if got := vm.receive(t); len(got) != len(want) || !bytes.Equal(got[4:], want[4:]) { // hdr_len is the kernel's own
				t.Errorf("%d bytes split at %d: received %d bytes % x", len(want), split, len(got), got[:min(len(got), 80)])
			}
		}
	}
}

// superframe returns an Ethernet frame with size bytes of payload in one TCP or
// UDP packet, and the virtio header that asks to cut it up.
func superframe(kind wire.GSO, size int) []byte {
	const ethertype4, ethertype6 = 0x0800, 0x86dd
	transport, protocol, checksum := 20, byte(6), uint16(16)
	if kind == wire.GSOUDP {
		transport, protocol, checksum = 8, 17, 6
	}
	var l3 []byte
	ethertype := uint16(ethertype4)
	if kind == wire.GSOTCP6 {
		ethertype = ethertype6
		l3 = make([]byte, 40)
		l3[0], l3[6], l3[7], l3[23], l3[39] = 0x60, protocol, 64, 1, 2
		binary.BigEndian.PutUint16(l3[4:], uint16(transport+size))
	} else {
		l3 = []byte{0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}
		binary.BigEndian.PutUint16(l3[2:], uint16(20+transport+size))
		sum := uint32(0)
		for i := 0; i < 20; i += 2 {
			sum += uint32(binary.BigEndian.Uint16(l3[i:]))
		}
		binary.BigEndian.PutUint16(l3[10:], ^uint16(sum+sum>>16))
	}
	l4 := make([]byte, transport)
	binary.BigEndian.PutUint16(l4, 40000)
	binary.BigEndian.PutUint16(l4[2:], 443)
	if kind == wire.GSOUDP {
		binary.BigEndian.PutUint16(l4[4:], uint16(transport+size))
	} else {
		l4[12], l4[13] = 5<<4, wire.ACK
	}

	const segment = 1400 // bytes of payload
	f := experimental(wire.VirtioSize+wire.EthernetSize, 0)
	binary.BigEndian.PutUint16(f[len(f)-2:], ethertype)
	f[0], f[1] = needsChecksum, byte(kind)
	start := wire.EthernetSize + len(l3)
	binary.LittleEndian.PutUint16(f[2:], uint16(start+transport))
	binary.LittleEndian.PutUint16(f[4:], segment)
	binary.LittleEndian.PutUint16(f[6:], uint16(start))
	binary.LittleEndian.PutUint16(f[8:], checksum)
	f = append(append(f, l3...), l4...)
	for i := range size {
		f = append(f, byte(i))
	}
	return f
}

func TestTAPPassesSuperframesWhole(t *testing.T) {
	isolate(t)
	tap := openUp(t, "vst-port-0", 1)[0]
	vm := newInstance(t, "vst-port-0")
	o := tap.Offloads()
	if !o.Checksum || !o.TSO4 || !o.TSO6 {
		t.Fatalf("Offloads() = %+v: checksum and TSO are never missing", o)
	}
	cases := []struct {
		name    string
		kind    wire.GSO
		offload bool
	}{
		{"TSO4", wire.GSOTCP4, o.TSO4},
		{"TSO6", wire.GSOTCP6, o.TSO6},
		{"USO", wire.GSOUDP, o.USO},
	}
	for _, c := range cases {
		want := superframe(c.kind, 60000)
		if !c.offload { // the kernel must cut up what the device did not ask for
			vm.send(t, want)
			if got := read(t, tap); wire.GSO(got[1]) != wire.GSONone || len(got) > 1600 {
				t.Errorf("%s: got %d bytes, gso_type %d without the offload", c.name, len(got), got[1])
			}
			continue
		}
		// hdr_len is what the kernel has in linear memory, not the headers: it may
		// change on the way (reliability.md 3.2), nothing else may.
		same := func(got []byte) bool {
			return len(got) == len(want) && bytes.Equal(got[:2], want[:2]) && bytes.Equal(got[4:], want[4:])
		}
		vm.send(t, want)
		got := read(t, tap)
		if !same(got) {
			t.Errorf("%s: read %d bytes with header % x, want %d with % x", c.name, len(got), got[:wire.VirtioSize], len(want), want[:wire.VirtioSize])
		}
		if s := tap.Write(want); s != OK {
			t.Fatalf("%s: Write: %v", c.name, s)
		}
		if got := vm.receive(t); !same(got) {
			t.Errorf("%s: the instance received %d bytes with header % x, want %d with % x", c.name, len(got), got[:wire.VirtioSize], len(want), want[:wire.VirtioSize])
		}
	}
}

func TestTAPLongestFrameFits(t *testing.T) {
	isolate(t)
	tap := openUp(t, "vst-port-0", 1)[0]
	vm := newInstance(t, "vst-port-0")
	// The kernel cuts up what is longer than a link's gso_max_size, 65536, less one byte,
	// with its Ethernet header.
	want := superframe(wire.GSOTCP4, 65535-wire.EthernetSize-40)
	vm.send(t, want)
	if got := read(t, tap); len(got) != len(want) || !bytes.Equal(got[4:], want[4:]) {
		t.Errorf("read %d bytes, want %d unchanged", len(got), len(want))
	}
}

const flows = 64

// sendFlows sends one UDP datagram of each of the flows.
func sendFlows(t *testing.T, vm instance) {
	t.Helper()
	for i := range flows {
		f := superframe(wire.GSOUDP, 100)
		f[1] = byte(wire.GSONone)
		binary.LittleEndian.PutUint16(f[4:], 0)
		binary.BigEndian.PutUint16(f[wire.VirtioSize+34:], uint16(40000+i))
		vm.send(t, f)
	}
}

// A child between its fork and its exec has a copy of the bootstrap descriptor,
// which so is not closed. It must swallow no flow all the same.
func TestTAPBootstrapQueueTakesNoFlow(t *testing.T) {
	isolate(t)
	boot, err := bootstrap("vst-port-0")
	if err != nil {
		t.Fatal(err)
	}
	tap, err := attach("vst-port-0")
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	copied, err := unix.FcntlInt(uintptr(boot), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(copied)
	if err := dismiss(boot, "vst-port-0"); err != nil {
		t.Fatal(err)
	}
	if _, err := negotiate(tap.FD()); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(link(t, "vst-port-0")); err != nil {
		t.Fatal(err)
	}
	sendFlows(t, newInstance(t, "vst-port-0"))
	for range flows {
		read(t, tap)
	}
}

func TestTAPWritesOnEveryQueue(t *testing.T) {
	isolate(t)
	taps := openUp(t, "vst-port-0", 2)
	vm := newInstance(t, "vst-port-0")
	for q, tap := range taps {
		want := experimental(100, byte(q))
		if s := tap.Write(want); s != OK {
			t.Errorf("Write on queue %d: %v", q, s)
		}
		if got := vm.receive(t); !bytes.Equal(got, want) {
			t.Errorf("queue %d: received % x, want % x", q, got, want)
		}
	}
}

func TestTAPDownAndUpAgain(t *testing.T) {
	isolate(t)
	tap := openUp(t, "vst-port-0", 1)[0]
	b := make([]byte, wire.MaxFrame)
	frame := experimental(100, 1)

	if err := netlink.LinkSetDown(link(t, "vst-port-0")); err != nil {
		t.Fatal(err)
	}
	if s := tap.Write(frame); s != Down {
		t.Errorf("Write: %v, want down", s)
	}
	if s := tap.WriteParts(frame[:60], frame[60:]); s != Down {
		t.Errorf("WriteParts: %v, want down", s)
	}
	if _, s := tap.Read(b); s != Empty {
		t.Errorf("Read: %v, want empty", s)
	}
	if got := pollIn(t, tap.FD(), 0); got != 0 {
		t.Errorf("poll: %#x, want nothing: the worker would spin", got)
	}
	if err := netlink.LinkSetUp(link(t, "vst-port-0")); err != nil {
		t.Fatal(err)
	}
	if s := tap.Write(frame); s != OK {
		t.Errorf("Write after up: %v, want ok", s)
	}
	newInstance(t, "vst-port-0").send(t, frame)
	if got := read(t, tap); !bytes.Equal(got, frame) {
		t.Errorf("read after up: % x, want % x", got, frame)
	}
}

// A frame that waits when its TAP goes down is still read, not stuck with the
// descriptor readable for ever.
func TestTAPDownWithAFrameWaiting(t *testing.T) {
	isolate(t)
	tap := openUp(t, "vst-port-0", 1)[0]
	newInstance(t, "vst-port-0").send(t, experimental(100, 1))
	if err := netlink.LinkSetDown(link(t, "vst-port-0")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, tap); !bytes.Equal(got, experimental(100, 1)) {
		t.Errorf("read % x", got)
	}
	if readable(t, tap.FD()) {
		t.Error("the descriptor is readable with nothing to read")
	}
}

func TestTAPDeletedIsGone(t *testing.T) {
	isolate(t)
	taps := openUp(t, "vst-port-0", 2)
	if err := netlink.LinkDel(link(t, "vst-port-0")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, wire.MaxFrame)
	for q, tap := range taps {
		if got := pollIn(t, tap.FD(), deadline); got&unix.POLLERR == 0 {
			t.Errorf("queue %d: poll: %#x, want POLLERR: no worker would notice", q, got)
		}
		if _, s := tap.Read(b); s != Gone {
			t.Errorf("queue %d: Read: %v, want gone", q, s)
		}
		if s := tap.Write(experimental(100, 1)); s != Gone {
			t.Errorf("queue %d: Write: %v, want gone", q, s)
		}
		if s := tap.WriteParts(experimental(100, 1), nil); s != Gone {
			t.Errorf("queue %d: WriteParts: %v, want gone", q, s)
		}
	}
}

func TestTAPRefusesBadFrames(t *testing.T) {
	isolate(t)
	tap := openUp(t, "vst-port-0", 1)[0]
	vm := newInstance(t, "vst-port-0")
	unknown := experimental(100, 1)
	unknown[1] = 77
	cases := []struct {
		name  string
		frame []byte
	}{
		{"empty", nil},
		{"half a virtio header", make([]byte, 6)},
		{"nothing but a virtio header", make([]byte, wire.VirtioSize)},
		{"half an Ethernet header", make([]byte, wire.VirtioSize+7)},
		{"unknown gso_type", unknown},
	}
	for _, c := range cases {
		if s := tap.Write(c.frame); s != Refused {
			t.Errorf("%s: %v, want refused", c.name, s)
		}
		half := len(c.frame) / 2
		if s := tap.WriteParts(c.frame[:half], c.frame[half:]); s != Refused {
			t.Errorf("%s, in two parts: %v, want refused", c.name, s)
		}
	}
	if s := tap.Write(experimental(100, 1)); s != OK { // and the device goes on
		t.Fatalf("Write: %v", s)
	}
	if got := vm.receive(t); !bytes.Equal(got, experimental(100, 1)) {
		t.Errorf("received % x", got)
	}
}

// After Close the kernel gives the number to the next descriptor. Reads and
// writes that come late must not reach that one.
func TestTAPClosedNeverTouchesAReusedDescriptor(t *testing.T) {
	isolate(t)
	tap := openUp(t, "vst-port-0", 1)[0]
	fd := tap.FD()
	if err := tap.Close(); err != nil {
		t.Fatal(err)
	}
	reused, err := unix.Eventfd(7, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(reused)
	if reused != fd { // take the very number, whatever stands there, if nothing does
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != unix.EBADF {
			t.Fatalf("descriptor %d is taken, so that the test proves nothing", fd)
		}
		if err := unix.Dup3(reused, fd, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
	}
	if _, s := tap.Read(make([]byte, wire.MaxFrame)); s != Gone {
		t.Errorf("Read: %v, want gone", s)
	}
	if s := tap.Write(experimental(100, 1)); s != Gone {
		t.Errorf("Write: %v, want gone", s)
	}
	if s := tap.WriteParts(experimental(100, 1), nil); s != Gone {
		t.Errorf("WriteParts: %v, want gone", s)
	}
	if got := tap.FD(); got != -1 {
		t.Errorf("FD: %d, want -1", got)
	}
	if err := tap.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	var count [8]byte
	if _, err := unix.Read(reused, count[:]); err != nil || binary.NativeEndian.Uint64(count[:]) != 7 {
		t.Errorf("the other descriptor holds % x, %v: somebody touched it", count, err)
	}
}

func TestStatusOfErrno(t *testing.T) {
	cases := []struct {
		errno unix.Errno
		want  Status
	}{
		{unix.EAGAIN, Empty},
		{unix.EIO, Down},
		{unix.EBADFD, Gone},
		{unix.EBADF, Gone},
		{unix.EINVAL, Refused},
		{unix.ENOMEM, Refused},
		{unix.ENOBUFS, Refused},
	}
	for _, c := range cases {
		if got := status(c.errno); got != c.want {
			t.Errorf("%v: %v, want %v", c.errno, got, c.want)
		}
	}
}

func TestTAPDoesNotAllocate(t *testing.T) {
	isolate(t)
	tap := openUp(t, "vst-port-0", 1)[0]
	vm := newInstance(t, "vst-port-0")
	b, frame := make([]byte, wire.MaxFrame), experimental(100, 1)
	for range 20 {
		vm.send(t, frame)
	}
	got := testing.AllocsPerRun(30, func() { // some reads find a frame, some do not
		tap.Read(b)
		tap.Write(frame)
		tap.WriteParts(frame[:60], frame[60:])
	})
	runtime.KeepAlive(b)
	if got != 0 {
		t.Errorf("%v allocations for a read and two writes, want 0", got)
	}
}

func BenchmarkTAPWrite(b *testing.B) {
	for _, size := range []int{64, 1514, 65000} { // bytes on the wire
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			isolate(b)
			tap := openUp(b, "vst-port-0", 1)[0]
			frame := experimental(wire.VirtioSize+min(size, 1514), 1)
			if size > 1514 {
				frame = superframe(wire.GSOTCP4, size-54)
			}
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if s := tap.Write(frame); s != OK {
					b.Fatal(s)
				}
			}
		})
	}
}

// A frame in two parts, as the segments of a superframe are written.
func BenchmarkTAPWriteParts(b *testing.B) {
	isolate(b)
	tap := openUp(b, "vst-port-0", 1)[0]
	frame := experimental(wire.VirtioSize+1514, 1)
	b.ReportAllocs()
	b.SetBytes(1514)
	for b.Loop() {
		if s := tap.WriteParts(frame[:78], frame[78:]); s != OK {
			b.Fatal(s)
		}
	}
}

func BenchmarkTAPRead(b *testing.B) {
	const burst = 256 // frames; the TAP holds 1000
	for _, size := range []int{64, 1514, 65000} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			isolate(b)
			tap := openUp(b, "vst-port-0", 1)[0]
			vm := newInstance(b, "vst-port-0")
			frame := experimental(wire.VirtioSize+min(size, 1514), 1)
			if size > 1514 {
				frame = superframe(wire.GSOTCP4, size-54)
			}
			// The frames of a burst share this socket's send buffer until they are read.
			if err := unix.SetsockoptInt(vm.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 64<<20); err != nil {
				b.Fatal(err)
			}
			buf := make([]byte, wire.MaxFrame)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			b.ResetTimer()
			for i := range b.N {
				if i%burst == 0 {
					b.StopTimer()
					for range min(burst, b.N-i) {
						vm.send(b, frame)
					}
					b.StartTimer()
				}
				if n, s := tap.Read(buf); s != OK || n != len(frame) {
					b.Fatal(n, s)
				}
			}
		})
	}
}

// A read that finds nothing: what a worker pays for each idle port it looks at.
func BenchmarkTAPReadEmpty(b *testing.B) {
	isolate(b)
	tap := openUp(b, "vst-port-0", 1)[0]
	buf := make([]byte, wire.MaxFrame)
	b.ReportAllocs()
	for b.Loop() {
		if _, s := tap.Read(buf); s != Empty {
			b.Fatal(s)
		}
	}
}
