package port

import (
	"bytes"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vswitch/internal/wire"
)

// deadline bounds every wait of these tests.
const deadline = 5 * time.Second

var allOffloads = Offloads{Checksum: true, TSO4: true, TSO6: true, USO: true}

// readable reports whether fd polls readable now.
func readable(t testing.TB, fd int) bool {
	t.Helper()
	return pollIn(t, fd, 0)&unix.POLLIN != 0
}

// pollIn waits for events on fd, for at most the timeout, and returns them.
func pollIn(t testing.TB, fd int, timeout time.Duration) int16 {
	t.Helper()
	end := time.Now().Add(timeout)
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, int(max(0, time.Until(end).Milliseconds())))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			t.Errorf("poll: %v", err)
			return 0
		}
		return fds[0].Revents
	}
}

// plain returns a frame of n bytes with an empty virtio_net_hdr, each further
// byte of it tag.
func plain(n int, tag byte) []byte {
	return append(make([]byte, wire.VirtioSize), bytes.Repeat([]byte{tag}, n-wire.VirtioSize)...)
}

func TestMemoryCarriesFramesInOrderBothWays(t *testing.T) {
	m := NewMemory(4, allOffloads)
	defer m.Close()
	b := make([]byte, wire.MaxFrame)

	// Three rounds turn the ring of four over.
	for round := range 3 {
		for i := range 3 {
			frame := plain(wire.VirtioSize+14+i, byte(10*round+i))
			if !m.Send(frame) {
				t.Fatalf("round %d: Send %d refused", round, i)
			}
			if s := m.Write(frame); s != OK {
				t.Fatalf("round %d: Write %d: %v", round, i, s)
			}
			clear(frame) // neither side keeps the caller's bytes
		}
		for i := range 3 {
			want := plain(wire.VirtioSize+14+i, byte(10*round+i))
			n, s := m.Read(b)
			if s != OK || !bytes.Equal(b[:n], want) {
				t.Fatalf("round %d: Read %d: %v, % x, want % x", round, i, s, b[:n], want)
			}
			n, ok := m.Receive(b)
			if !ok || !bytes.Equal(b[:n], want) {
				t.Fatalf("round %d: Receive %d: %v, % x, want % x", round, i, ok, b[:n], want)
			}
		}
	}
	if n, s := m.Read(b); s != Empty || n != 0 {
		t.Errorf("Read of an empty device: %d, %v, want 0, empty", n, s)
	}
	if n, ok := m.Receive(b); ok {
		t.Errorf("Receive from an empty device returned %d bytes", n)
	}
}

func TestMemoryFDIsReadableIffAFrameWaits(t *testing.T) {
	m := NewMemory(4, allOffloads)
	defer m.Close()
	b := make([]byte, wire.MaxFrame)
	frame := plain(60, 1)
	want := func(step string, want bool) {
		t.Helper()
		if got := readable(t, m.FD()); got != want {
			t.Errorf("%s: readable = %v, want %v", step, got, want)
		}
	}

	want("new", false)
	m.Send(frame)
	want("one sent", true)
	m.Send(frame)
	m.Read(b)
	want("two sent, one read", true)
	m.Read(b)
	want("both read", false)
	m.Read(b)
	want("read when empty", false)
	m.Write(frame)
	want("a frame for the instance", false)
	m.Send(frame)
	want("sent again", true)
}

func TestMemoryReadyTellsTheInstance(t *testing.T) {
	m := NewMemory(4, allOffloads)
	defer m.Close()
	b := make([]byte, wire.MaxFrame)

	go func() {
		for range 2 {
			m.Write(plain(60, 1))
		}
	}()
	for got := 0; got < 2; {
		if _, ok := m.Receive(b); ok {
			got++
			continue
		}
		select {
		case <-m.Ready():
		case <-time.After(deadline):
			t.Fatalf("%d of 2 frames came", got)
		}
	}
}

func TestMemoryRefusesWhenFull(t *testing.T) {
	for _, depth := range []int{0, 1, 3} {
		m := NewMemory(depth, allOffloads)
		b := make([]byte, wire.MaxFrame)
		for i := range depth {
			if !m.Send(plain(60, 1)) || m.Write(plain(60, 2)) != OK {
				t.Fatalf("depth %d: frame %d refused", depth, i)
			}
		}
		if m.Send(plain(60, 3)) {
			t.Errorf("depth %d: Send to a full queue succeeded", depth)
		}
		if s := m.Write(plain(60, 3)); s != Refused {
			t.Errorf("depth %d: Write to a full queue: %v, want refused", depth, s)
		}
		for i := range depth { // what was there is untouched
			if n, s := m.Read(b); s != OK || !bytes.Equal(b[:n], plain(60, 1)) {
				t.Errorf("depth %d: Read %d: %v % x", depth, i, s, b[:n])
			}
			if n, ok := m.Receive(b); !ok || !bytes.Equal(b[:n], plain(60, 2)) {
				t.Errorf("depth %d: Receive %d: %v % x", depth, i, ok, b[:n])
			}
		}
		m.Close()
	}
}

func TestMemoryLengths(t *testing.T) {
	cases := []struct {
		name string
		n    int
		ok   bool
	}{
		{"empty", 0, false},
		{"less than a virtio header", wire.VirtioSize - 1, false},
		{"nothing but a virtio header", wire.VirtioSize, true},
		{"just a slot", slotSize, true},
		{"a byte over a slot", slotSize + 1, true},
		{"the longest", wire.MaxFrame, true},
		{"a byte too long", wire.MaxFrame + 1, false},
	}
	b := make([]byte, wire.MaxFrame)
	for _, c := range cases {
		m := NewMemory(2, allOffloads)
		frame := make([]byte, c.n)
		for i := wire.VirtioSize; i < c.n; i++ {
			frame[i] = byte(i)
		}
		if got := m.Send(frame); got != c.ok {
			t.Errorf("%s: Send = %v, want %v", c.name, got, c.ok)
		}
		if s := m.Write(frame); (s == OK) != c.ok {
			t.Errorf("%s: Write = %v", c.name, s)
		}
		if c.ok {
			if n, s := m.Read(b); s != OK || !bytes.Equal(b[:n], frame) {
				t.Errorf("%s: Read returned %d bytes, %v", c.name, n, s)
			}
			if n, ok := m.Receive(b); !ok || !bytes.Equal(b[:n], frame) {
				t.Errorf("%s: Receive returned %d bytes, %v", c.name, n, ok)
			}
		}
		m.Close()
	}
}

// A frame in two parts is received in one piece, wherever it was split.
func TestMemoryTakesFramesInTwoParts(t *testing.T) {
	b := make([]byte, wire.MaxFrame)
	for _, size := range []int{wire.VirtioSize, 60, slotSize + 1, wire.MaxFrame, wire.MaxFrame + 1} {
		frame := make([]byte, size)
		for i := wire.VirtioSize; i < size; i++ {
			frame[i] = byte(i)
		}
		for _, split := range []int{0, wire.VirtioSize - 1, wire.VirtioSize, 59, size} {
			if split > size {
				continue
			}
			m := NewMemory(1, allOffloads)
			want := OK
			if split < wire.VirtioSize || size > wire.MaxFrame {
				want = Refused
			}
			if s := m.WriteParts(frame[:split], frame[split:]); s != want {
				t.Errorf("%d bytes split at %d: %v, want %v", size, split, s, want)
			}
			if n, ok := m.Receive(b); ok != (want == OK) || ok && !bytes.Equal(b[:n], frame) {
				t.Errorf("%d bytes split at %d: received %d bytes, %v", size, split, n, ok)
			}
			m.Close()
		}
	}
}

func TestMemoryTakesOnlyWhatOffloadsList(t *testing.T) {
	header := func(flags, gso byte) []byte {
		f := plain(60, 1)
		f[0], f[1] = flags, gso
		return f
	}
	cases := []struct {
		name    string
		frame   []byte
		needs   Offloads // the least that takes the frame
		nothing bool     // no Offloads take it
	}{
		{"finished", header(0, 0), Offloads{}, false},
		{"data valid", header(2, 0), Offloads{}, false},
		{"checksum", header(1, 0), Offloads{Checksum: true}, false},
		{"TSO4", header(1, 1), Offloads{Checksum: true, TSO4: true}, false},
		{"TSO4 with ECN", header(1, 0x81), Offloads{Checksum: true, TSO4: true}, false},
		{"TSO6", header(1, 4), Offloads{Checksum: true, TSO6: true}, false},
		{"USO", header(1, 5), Offloads{Checksum: true, USO: true}, false},
		{"UFO", header(1, 3), Offloads{}, true},
		{"unknown", header(0, 77), Offloads{}, true},
	}
	for _, c := range cases {
		for bits := range 16 {
			o := Offloads{bits&1 != 0, bits&2 != 0, bits&4 != 0, bits&8 != 0}
			has := !c.nothing && (o.Checksum || !c.needs.Checksum) && (o.TSO4 || !c.needs.TSO4) &&
				(o.TSO6 || !c.needs.TSO6) && (o.USO || !c.needs.USO)
			want := Refused
			if has {
				want = OK
			}
			m := NewMemory(1, o)
			if m.Offloads() != o {
				t.Fatalf("Offloads() = %+v, want %+v", m.Offloads(), o)
			}
			if got := m.Write(c.frame); got != want {
				t.Errorf("%s to %+v: %v, want %v", c.name, o, got, want)
			}
			m.Receive(make([]byte, wire.MaxFrame))
			if got := m.WriteParts(c.frame[:wire.VirtioSize], c.frame[wire.VirtioSize:]); got != want {
				t.Errorf("%s in two parts to %+v: %v, want %v", c.name, o, got, want)
			}
			if !m.Send(c.frame) {
				t.Errorf("%s: Send refused: an instance may lie", c.name)
			}
			m.Close()
		}
	}
}

func TestMemoryDown(t *testing.T) {
	m := NewMemory(2, allOffloads)
	defer m.Close()
	b := make([]byte, wire.MaxFrame)

	m.Send(plain(60, 1))
	m.SetDown(true)
	if s := m.Write(plain(60, 2)); s != Down {
		t.Errorf("Write: %v, want down", s)
	}
	if s := m.WriteParts(plain(60, 2), nil); s != Down {
		t.Errorf("WriteParts: %v, want down", s)
	}
	if m.Send(plain(60, 2)) {
		t.Error("Send succeeded on a device that is down")
	}
	if n, s := m.Read(b); s != OK || !bytes.Equal(b[:n], plain(60, 1)) {
		t.Errorf("Read of a frame under way: %v", s)
	}
	if _, s := m.Read(b); s != Empty {
		t.Errorf("Read: %v, want empty", s)
	}
	m.SetDown(false)
	if !m.Send(plain(60, 3)) || m.Write(plain(60, 3)) != OK {
		t.Error("the device is up again and takes nothing")
	}
}

func TestMemoryClose(t *testing.T) {
	m := NewMemory(2, allOffloads)
	b := make([]byte, wire.MaxFrame)
	m.Send(plain(60, 1))
	m.Write(plain(60, 2))
	fd := m.FD()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}

	// The kernel gives out the lowest free number: ours again. Nothing may touch it.
	reused, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(reused)
	if reused != fd {
		t.Logf("descriptor %d was not reused: another goroutine took it", fd)
	}
	if m.Send(plain(60, 3)) {
		t.Error("Send succeeded")
	}
	if s := m.Write(plain(60, 3)); s != Gone {
		t.Errorf("Write: %v, want gone", s)
	}
	if s := m.WriteParts(plain(60, 3), nil); s != Gone {
		t.Errorf("WriteParts: %v, want gone", s)
	}
	if _, s := m.Read(b); s != Gone {
		t.Errorf("Read: %v, want gone", s)
	}
	if got := m.FD(); got != -1 {
		t.Errorf("FD: %d, want -1", got)
	}
	if n, ok := m.Receive(b); !ok || !bytes.Equal(b[:n], plain(60, 2)) {
		t.Error("what was written before Close was not received")
	}
	if err := m.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if readable(t, reused) {
		t.Error("the descriptor that took the number was written to")
	}
}

func TestMemoryReadNeedsRoomForTheLongestFrame(t *testing.T) {
	m := NewMemory(1, allOffloads)
	defer m.Close()
	m.Send(plain(60, 1))
	defer func() {
		if recover() == nil {
			t.Error("Read took a buffer that is too short")
		}
		if n, s := m.Read(make([]byte, wire.MaxFrame)); s != OK || n != 60 {
			t.Errorf("after the panic: %d, %v: the frame or the lock was lost", n, s)
		}
	}()
	m.Read(make([]byte, wire.MaxFrame-1))
}

// Several senders and writers against one worker and one receiver: nothing is
// lost, doubled or out of its sender's order, and no wake-up is missed.
func TestMemoryUnderConcurrency(t *testing.T) {
	const senders, each = 3, 1000
	m := NewMemory(64, allOffloads)
	defer m.Close()

	var wg sync.WaitGroup
	end := time.Now().Add(deadline)
	push := func(try func([]byte) bool) {
		for s := range senders {
			wg.Go(func() {
				f := plain(60, byte(s))
				for i := range uint32(each) {
					binary.BigEndian.PutUint32(f[20:], i)
					for !try(f) {
						if time.Now().After(end) {
							t.Errorf("sender %d stuck at frame %d", s, i)
							return
						}
						unix.Poll(nil, 1) // full: let the other end run
					}
				}
			})
		}
	}
	check := func(end string, next *[senders]uint32, f []byte) {
		if got, s := binary.BigEndian.Uint32(f[20:]), f[59]; got != next[s] {
			t.Errorf("%s: frame %d of sender %d, want %d", end, got, s, next[s])
		}
		next[f[59]]++
	}
	push(m.Send)
	push(func(f []byte) bool { return m.Write(f) == OK })

	wg.Go(func() { // the worker
		var next [senders]uint32
		b := make([]byte, wire.MaxFrame)
		for got := 0; got < senders*each; {
			n, s := m.Read(b)
			if s == OK {
				check("Read", &next, b[:n])
				got++
			} else if pollIn(t, m.FD(), time.Until(end))&unix.POLLIN == 0 {
				t.Errorf("worker: %d of %d frames, and no wake-up", got, senders*each)
				return
			}
		}
	})
	wg.Go(func() { // the instance
		var next [senders]uint32
		b := make([]byte, wire.MaxFrame)
		for got := 0; got < senders*each; {
			if n, ok := m.Receive(b); ok {
				check("Receive", &next, b[:n])
				got++
				continue
			}
			select {
			case <-m.Ready():
			case <-time.After(time.Until(end)):
				t.Errorf("instance: %d of %d frames, and no wake-up", got, senders*each)
				return
			}
		}
	})
	wg.Wait()
}

func TestMemoryDoesNotAllocate(t *testing.T) {
	for _, size := range []int{60, slotSize, wire.MaxFrame} {
		m := NewMemory(16, allOffloads)
		b, frame := make([]byte, wire.MaxFrame), plain(size, 1)
		cycle := func() {
			m.Send(frame)
			m.Read(b)
			m.Write(frame)
			m.Receive(b)
			m.WriteParts(frame[:54], frame[54:])
			m.Receive(b)
		}
		cycle() // the first long frame makes its slot grow
		if got := testing.AllocsPerRun(100, cycle); got != 0 {
			t.Errorf("frames of %d bytes: %v allocations, want 0", size, got)
		}
		m.Close()
	}
}

func TestStatusNames(t *testing.T) {
	seen := map[string]bool{}
	for s := OK; s <= Refused+1; s++ {
		if seen[s.String()] || s.String() == "" {
			t.Errorf("Status %d has the name %q, which is empty or another's", s, s)
		}
		seen[s.String()] = true
	}
}

func BenchmarkMemory(b *testing.B) {
	m := NewMemory(16, allOffloads)
	defer m.Close()
	buf, frame := make([]byte, wire.MaxFrame), plain(64+wire.VirtioSize, 1)
	b.ReportAllocs()
	for b.Loop() {
		m.Send(frame)
		m.Read(buf)
	}
}
