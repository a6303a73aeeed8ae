package vswitch_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
	"vswitch/port"
)

// A limited device is a TAP that is said to take less than it does.
type limited struct {
	*port.TAP
	offloads port.Offloads
	spoil    int // how many of the next long segments get a wrong byte
}

func (d *limited) Offloads() port.Offloads { return d.offloads }

func (d *limited) WriteParts(head, payload []byte) port.Status {
	if d.spoil > 0 && len(payload) > 1000 {
		d.spoil--
		payload = bytes.Clone(payload)
		payload[500] ^= 1
	}
	return d.TAP.WriteParts(head, payload)
}

// kernels starts a switch between a1, a kernel on a usual TAP, and b1, one on a
// TAP without offloads: b1's kernel does all of its checksums and segments
// itself, and the switch is told that the port takes no more than o.
func kernels(t *testing.T, o port.Offloads, spoil int) (sw *vswitch.Switch, a, b *kernel) {
	t.Helper()
	c := fixture()
	c.VPC.MTU = 1500
	g := c.SecurityGroup("g-b1")
	g.Ingress = []vswitch.SecurityGroupRule{
		{Service: policy.AllTraffic, Peer: vswitch.Peer{Prefix: netip.MustParsePrefix("10.0.1.0/24")}},
		{Service: policy.AllTraffic, Peer: vswitch.Peer{Prefix: netip.MustParsePrefix("2001:db8:a:1::/64")}},
	}
	full, err := vswitch.Complete(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, b = newKernel(t, full.Interface("a1")), newKernel(t, full.Interface("b1"))
	b.must(func() error { return unix.IoctlSetInt(b.tap.FD(), unix.TUNSETOFFLOAD, 0) })
	if sw, err = vswitch.New(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sw.Close(); err != nil {
			t.Error(err)
		}
	})
	for name, d := range map[string]port.Device{"a1": a.tap, "b1": &limited{b.tap, o, spoil}} {
		if err := sw.Attach(name, d); err != nil {
			t.Fatal(err)
		}
	}
	if err := sw.Start(); err != nil {
		t.Fatal(err)
	}
	return sw, a, b
}

// exchangeStream sends size bytes from a to b and the same back, over one TCP
// connection, and compares what comes back.
func exchangeStream(t *testing.T, a, b *kernel, address string, size int) {
	t.Helper()
	l := b.listen(address)
	failed := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			failed <- err
			return
		}
		defer conn.Close()
		all := make([]byte, size)
		if _, err = io.ReadFull(conn, all); err == nil {
			_, err = conn.Write(all)
		}
		failed <- err
	}()
	conn := a.dial("tcp", address)
	sent, back := make([]byte, size), make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(sent)
	if _, err := conn.Write(sent); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, back); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	l.Close()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sent, back) {
		t.Error("the stream came back with other bytes")
	}
}

// sendDatagrams hands a's kernel bursts of datagrams to cut apart (udp(7),
// UDP_SEGMENT), each when b has answered the last, and compares what b receives.
func sendDatagrams(t *testing.T, a, b *kernel, address string) {
	t.Helper()
	const size, count, bursts = 1200, 40, 20
	receiver := b.packets(address)
	sender := a.dial("udp", address)
	socket, err := sender.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := socket.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, size)
	}); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	random := rand.NewChaCha8([32]byte{})
	burst, datagram := make([]byte, size*count-7), make([]byte, 2*size)
	for i := range bursts {
		random.Read(burst)
		if _, err := sender.Write(burst); err != nil {
			t.Fatal(err)
		}
		got := sha256.New()
		for range count {
			n, _, err := receiver.ReadFrom(datagram)
			if err != nil {
				t.Fatalf("burst %d: %v", i, err)
			}
			if n > size {
				t.Errorf("a datagram of %d bytes, want %d at most", n, size)
			}
			got.Write(datagram[:n])
		}
		if want := sha256.Sum256(burst); !bytes.Equal(got.Sum(nil), want[:]) {
			t.Errorf("burst %d came with other bytes", i)
		}
	}
}

// TestSegmentsReachARealKernel lets a kernel that gets no superframe, and no
// unfinished checksum where it takes none, receive what another one sends in
// superframes: it verifies every checksum, and finds none wrong.
func TestSegmentsReachARealKernel(t *testing.T) {
	for _, o := range []port.Offloads{{}, {Checksum: true}} {
		t.Run(fmt.Sprintf("checksum=%v", o.Checksum), func(t *testing.T) {
			sw, a, b := kernels(t, o, 0)
			for _, c := range []struct {
				name string
				run  func()
				cuts bool // a's kernel hands over superframes of this kind
			}{
				{"TCP over IPv4", func() { exchangeStream(t, a, b, "10.0.2.20:9000", 16<<20) }, true},
				{"TCP over IPv6", func() { exchangeStream(t, a, b, "[2001:db8:a:2::20]:9000", 16<<20) }, true},
				{"UDP over IPv4", func() { sendDatagrams(t, a, b, "10.0.2.20:9001") }, a.tap.Offloads().USO},
				{"UDP over IPv6", func() { sendDatagrams(t, a, b, "[2001:db8:a:2::20]:9001") }, a.tap.Offloads().USO},
			} {
				before := sw.Status()
				c.run()
				after := sw.Status()
				in, out := delta(before, after, "a1"), delta(before, after, "b1")
				if c.cuts && in.RxPackets < in.RxFrames+700 {
					t.Errorf("%s: a1 sent %d packets in %d frames: hardly a superframe, so the test proves nothing", c.name, in.RxPackets, in.RxFrames)
				}
				if out.TxFrames != out.TxPackets {
					t.Errorf("%s: b1's port took %d packets in %d frames, want as many", c.name, out.TxPackets, out.TxFrames)
				}
				if n := a.badSums() + b.badSums(); n != 0 {
					t.Errorf("%s: the kernels received %d packets with wrong checksums", c.name, n)
				}
				t.Logf("%s: %d packets in %d frames became %d frames", c.name, in.RxPackets, in.RxFrames, out.TxFrames)
			}
		})
	}
	// Without this, a kernel that verifies nothing would pass.
	t.Run("a spoilt segment is noticed", func(t *testing.T) {
		_, a, b := kernels(t, port.Offloads{}, 1)
		exchangeStream(t, a, b, "10.0.2.20:9000", 1<<20)
		if n := b.badSums(); n != 1 {
			t.Errorf("b1's kernel received %d packets with wrong checksums, want 1", n)
		}
	})
}

// delta returns what a port received, and what was written to it, between two
// looks.
func delta(before, after vswitch.Status, instance string) (d vswitch.Counters) {
	for i, p := range after.Ports {
		if p.Instance == instance {
			b := before.Ports[i].Counters
			d.RxFrames, d.RxPackets = p.Counters.RxFrames-b.RxFrames, p.Counters.RxPackets-b.RxPackets
			d.TxFrames, d.TxPackets = p.Counters.TxFrames-b.TxFrames, p.Counters.TxPackets-b.TxPackets
		}
	}
	return d
}
