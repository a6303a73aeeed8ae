package main

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"vswitch/internal/event"
	"vswitch/internal/wire"
	"vswitch/port"
	vswitch "vswitch/switch"
)

// watched makes d watch itself until the test ends. What it returns ends that
// earlier.
func watched(t *testing.T, d *daemon) (end func()) {
	go d.watch()
	end = sync.OnceFunc(func() {
		close(d.ended)
		<-d.events.ended
	})
	t.Cleanup(end)
	return end
}

// TestDaemonObservesByItself: what the switch sees comes into the books although
// nobody asks, soon, and one look after the other.
func TestDaemonObservesByItself(t *testing.T) {
	d, _ := standing(t)
	a, frame := talking(t, d, port.Offloads{})
	watched(t, d)
	for n := uint64(1); n <= 3; n++ {
		if !a.Send(frame("10.9.1.4:40000 > 10.9.1.5:22 tcp S seq=1")) {
			t.Fatal("the port is full")
		}
		eventually(t, fmt.Sprintf("frame %d is in the book", n), func() bool {
			drops := d.book.Drops()
			return len(drops) == 1 && drops[0].Packets == n
		})
	}
}

// An idle daemon waits for what is due first, and for nothing if nothing is.
func TestDaemonWaitsForWhatIsDue(t *testing.T) {
	d, _ := standing(t)
	w := event.NewWatch(d.events.ring)
	if at, is := d.due(w); is {
		t.Errorf("idle: due at %v", at)
	}
	now := time.Now()
	refused := func(n uint64) {
		w.LookAtSwitch(event.Snapshot{Ports: []event.Port{{Instance: "alice", Exceeded: n}}}, now)
	}
	refused(1)
	refused(2) // kept back for a while
	owed, owes := w.Owes()
	if at, is := d.due(w); !owes || !is || at != owed {
		t.Errorf("an event is owed at %v, due is %v, %v", owed, at, is)
	}
	tuple := wire.FiveTuple{Src: wire.AddrFrom4([]byte{10, 9, 1, 4}), Dst: wire.AddrFrom4([]byte{10, 9, 1, 5}), SrcPort: 40000, DstPort: 22, Protocol: 6}
	d.flows.Record(now, []vswitch.Observation{{From: "alice", To: "bob", Tuple: tuple, Frames: 1, Packets: 1, First: now, Last: now}})
	closes, open := d.flows.Due()
	first := owed
	if closes.Before(owed) {
		first = closes
	}
	if at, is := d.due(w); !open || !is || at != first {
		t.Errorf("a window closes at %v, an event is owed at %v, due is %v, %v", closes, owed, at, is)
	}
	if at, is := d.due(event.NewWatch(d.events.ring)); !is || at != closes {
		t.Errorf("a window closes at %v, due is %v, %v", closes, at, is)
	}
}

// The books wait for their time, or for a window of a flow log that closes.
func TestBooksWait(t *testing.T) {
	now := time.Now()
	soon, past := now.Add(time.Second), now.Add(-time.Second)
	for _, c := range []struct {
		next, closes time.Time
		open, want   bool
	}{
		{time.Time{}, time.Time{}, false, true},
		{past, soon, true, true}, {now, soon, true, true}, {soon, soon, true, false},
		{soon, now, true, true}, {soon, past, true, true}, {soon, past, false, false},
	} {
		if got := writes(now, c.next, c.closes, c.open); got != c.want {
			t.Errorf("%+v: %v, want %v", c, got, c.want)
		}
	}
}

func TestPauseAfterWriting(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		0: 250 * time.Millisecond, 12 * time.Millisecond: 250 * time.Millisecond, 50 * time.Millisecond: time.Second, time.Second: 20 * time.Second, time.Minute: 30 * time.Second,
	} {
		if got := pauseAfter(took); got != want {
			t.Errorf("after %v: %v, want %v", took, got, want)
		}
	}
}
