package port

import (
	"bytes"
	"testing"

	"vswitch/internal/wire"
)

func TestMemoryQueues(t *testing.T) {
	m := NewMemory(2, allOffloads)
	queues := m.Queues(3, func(frame []byte) uint16 { return uint16(frame[wire.VirtioSize]) })
	if len(queues) != 3 || queues[0] != Device(m) {
		t.Fatalf("Queues(3) = %v, want the device itself and two more", queues)
	}
	b := make([]byte, wire.MaxFrame)
	for tag := range 6 {
		frame := plain(60, byte(tag))
		if !m.Send(frame) {
			t.Fatalf("Send %d refused", tag)
		}
		for q, d := range queues {
			if got, want := readable(t, d.FD()), q == tag%3; got != want {
				t.Errorf("frame %d: queue %d readable: %v, want %v", tag, q, got, want)
			}
			n, s := d.Read(b)
			switch {
			case q != tag%3 && s != Empty:
				t.Errorf("frame %d: queue %d: %v, want empty", tag, q, s)
			case q == tag%3 && (s != OK || !bytes.Equal(b[:n], frame)):
				t.Errorf("frame %d: queue %d: %v, % x", tag, q, s, b[:n])
			}
		}
	}
	for i := range 4 { // queue 1 is full after two; the others are not
		if ok := m.Send(plain(60, 1)); ok != (i < 2) {
			t.Errorf("frame %d for queue 1: sent %v", i, ok)
		}
	}
	if !m.Send(plain(60, 2)) {
		t.Error("queue 2 refuses a frame because queue 1 is full")
	}
	// What the queues write arrives in one order.
	for i, d := range []Device{queues[2], queues[0]} {
		if s := d.Write(plain(60, byte(i))); s != OK {
			t.Fatalf("Write %d: %v", i, s)
		}
	}
	for i := range 2 {
		if n, ok := m.Receive(b); !ok || b[wire.VirtioSize] != byte(i) {
			t.Errorf("Receive %d: %v, % x", i, ok, b[:n])
		}
	}
	if err := queues[1].Close(); err != nil {
		t.Fatal(err)
	}
	for q, d := range queues {
		if _, s := d.Read(b); s != Gone || d.FD() != -1 || d.Write(plain(60, 1)) != Gone {
			t.Errorf("queue %d after Close of queue 1: %v, fd %d, want it gone", q, s, d.FD())
		}
		if err := d.Close(); err != nil {
			t.Errorf("second Close of queue %d: %v", q, err)
		}
	}
	for tag := range 3 {
		if m.Send(plain(60, byte(tag))) {
			t.Errorf("Send %d after Close succeeded", tag)
		}
	}
}
