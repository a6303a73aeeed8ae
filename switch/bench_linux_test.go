package vswitch_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
	"vswitch/port"
)

// BenchmarkTAP is the switch as it is used: its own worker between two kernels on
// real TAPs, with two security groups and two network ACLs on the way. `make pgo`
// takes the compiler's profile from it. Root is needed.
func BenchmarkTAP(b *testing.B) {
	b.Run("udp", func(b *testing.B) { benchFlood(b, 1) })
	b.Run("flows", func(b *testing.B) { benchFlood(b, 100_000) })
	b.Run("tcp", benchStream)
}

// benchKernels starts a switch between the kernels of a1 and b1, which takes all
// that a1 sends to it and tracks it.
func benchKernels(b *testing.B) (sw *vswitch.Switch, from, to *kernel) {
	b.Helper()
	c := fixture()
	c.VPC.MTU = 1500
	c.SecurityGroup("g-b1").Ingress = []vswitch.SecurityGroupRule{
		{Service: policy.Service{Protocol: policy.TCP, Ports: policy.AllPorts}, Peer: vswitch.Peer{Prefix: netip.MustParsePrefix("10.0.1.10/32")}},
		{Service: policy.Service{Protocol: policy.UDP, Ports: policy.AllPorts}, Peer: vswitch.Peer{Prefix: netip.MustParsePrefix("10.0.1.10/32")}},
	}
	guard(&c)
	full, err := vswitch.Complete(c, nil)
	if err != nil {
		b.Fatal(err)
	}
	from, to = newKernel(b, full.Interface("a1")), newKernel(b, full.Interface("b1"))
	if sw, err = vswitch.New(c, vswitch.WithDevices(map[string][]port.Device{"a1": {from.tap}, "b1": {to.tap}})); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := sw.Close(); err != nil {
			b.Error(err)
		}
	})
	if err := sw.Start(); err != nil {
		b.Fatal(err)
	}
	return sw, from, to
}

// A volley is a batch of UDP frames of 64 bytes for one sendmmsg(2), out of the
// device of a kernel, past its stack.
type volley struct {
	socket   int
	frames   [64][]byte
	parts    [64]unix.Iovec
	messages [64]struct { // struct mmsghdr
		header unix.Msghdr
		_      uint32
	}
	next, flows int
}

// newVolley returns a volley from the instance of face to b1, whose UDP sockets it
// fills up and nobody reads: a closed port would be answered with ICMP.
func newVolley(b *testing.B, from, to *kernel, face vswitch.Interface, flows int) *volley {
	b.Helper()
	for i := range (flows + volleySources - 1) / volleySources {
		sink := to.packets(fmt.Sprintf("10.0.2.20:%d", volleySink+i))
		if err := sink.(*net.UDPConn).SetReadBuffer(0); err != nil { // the kernel makes it its least
			b.Fatal(err)
		}
	}
	v := &volley{flows: flows}
	from.must(func() (err error) {
		v.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		b.Cleanup(func() { unix.Close(v.socket) })
		device, err := net.InterfaceByName("vst-port-0")
		if err != nil {
			return err
		}
		if err := unix.SetsockoptInt(v.socket, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
			return err
		}
		return unix.Bind(v.socket, &unix.SockaddrLinklayer{Ifindex: device.Index})
	})
	for i := range v.frames {
		f := wiretest.Bytes(b, face.MAC, face.RouterMAC, "10.0.1.10:1024 > 10.0.2.20:9000 udp len=22")[wire.VirtioSize:]
		clear(f[udpAt+6:][:2]) // no checksum (RFC 768), so that ports can be changed freely
		v.frames[i] = f
		v.parts[i].Base = &f[0]
		v.parts[i].SetLen(len(f))
		v.messages[i].header.Iov = &v.parts[i]
		v.messages[i].header.SetIovlen(1)
	}
	return v
}

// Ports of a volley: the sources run, then the sink takes its next value.
const (
	volleySources = 50_000
	volleySink    = 9000
)

// udpAt is where the UDP header of an IPv4 frame without options begins, in bytes,
// without a virtio_net_hdr.
const udpAt = 14 + 20

// fire gives the frames the ports of the next flows, 50,000 sources to one
// destination after the other, and sends them. What does not fit into the device's
// queue is lost, as on a wire.
func (v *volley) fire(b *testing.B) {
	if v.flows > 1 {
		for _, f := range v.frames {
			binary.BigEndian.PutUint16(f[udpAt:], uint16(1024+v.next%volleySources))
			binary.BigEndian.PutUint16(f[udpAt+2:], uint16(volleySink+v.next/volleySources))
			v.next = (v.next + 1) % v.flows
		}
	}
	_, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(v.socket), uintptr(unsafe.Pointer(&v.messages)), uintptr(len(v.messages)), 0, 0, 0)
	switch errno {
	case 0, unix.ENOBUFS, unix.EAGAIN, unix.EINTR:
	default:
		b.Fatalf("sendmmsg: %v", errno)
	}
}

// benchFlood measures frames of 64 bytes as they arrive at b1's device, while a1
// sends more of them than the switch can carry.
func benchFlood(b *testing.B, flows int) {
	sw, from, to := benchKernels(b)
	full := sw.Config()
	v := newVolley(b, from, to, full.Interface("a1"), flows)
	delivered := func() uint64 { return sw.Status().Totals.Delivered }
	before := delivered()
	for b.Loop() {
		v.fire(b)
	}
	after := delivered()
	for end := time.Now().Add(patience); after == before; after = delivered() { // of one volley, none may be through yet
		if time.Now().After(end) {
			b.Fatal("no frame arrived")
		}
	}
	b.ReportMetric(0, "ns/op") // of a volley, of which an unknown part is lost
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(after-before), "ns/frame")
}

// benchStream measures one TCP stream from a1 to b1, in blocks of 128 KiB.
func benchStream(b *testing.B) {
	_, from, to := benchKernels(b)
	const address = "10.0.2.20:9000"
	l := to.listen(address)
	type result struct {
		bytes int64
		err   error
	}
	received := make(chan result, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			received <- result{0, err}
			return
		}
		defer conn.Close()
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{conn}, make([]byte, 1<<17))
		received <- result{n, err}
	}()
	conn := from.dial("tcp", address)
	if err := conn.SetDeadline(time.Time{}); err != nil { // as long as the benchmark takes
		b.Fatal(err)
	}
	block := make([]byte, 1<<17)
	b.SetBytes(int64(len(block)))
	for b.Loop() {
		if _, err := conn.Write(block); err != nil {
			b.Fatal(err)
		}
	}
	if err := conn.Close(); err != nil {
		b.Fatal(err)
	}
	if r := <-received; r.err != nil || r.bytes != int64(b.N)*int64(len(block)) {
		b.Fatalf("%d of %d bytes arrived: %v", r.bytes, b.N*len(block), r.err)
	}
}
