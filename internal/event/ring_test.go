package event

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func ringAtNoon() *Ring { return NewRing(func() time.Time { return noon }) }

func TestEventsAreNumberedAndTimed(t *testing.T) {
	r := ringAtNoon()
	earlier := noon.Add(-time.Hour)
	r.Add(Event{Type: PortUp, Instance: "web1"})
	r.Add(Event{Type: ProcessStarted, Time: earlier.Local().Add(time.Microsecond)})
	got, next := r.After(0)
	want := []Event{{Sequence: 1, Time: noon, Type: PortUp, Instance: "web1"}, {Sequence: 2, Time: earlier, Type: ProcessStarted}}
	if diff := cmp.Diff(want, got); diff != "" || next != 2 {
		t.Errorf("next %d (-want +got):\n%s", next, diff)
	}
	if got[1].Time.Location() != time.UTC {
		t.Errorf("time in %v, want UTC", got[1].Time.Location())
	}
	if got, next := r.After(1); len(got) != 1 || got[0].Sequence != 2 || next != 2 {
		t.Errorf("after 1: got %+v, next %d", got, next)
	}
	for _, sequence := range []uint64{2, 3, 1 << 40} {
		if got, next := r.After(sequence); len(got) != 0 || next != 2 {
			t.Errorf("after %d: got %+v, next %d", sequence, got, next)
		}
	}
}

// However far a reader has fallen behind, what it gets and what it is told to have
// lost add up.
func TestGapCountsWhatIsGone(t *testing.T) {
	r := ringAtNoon()
	const added = 3*Capacity + 7
	for range added {
		r.Add(Event{Type: PortUp})
	}
	for _, after := range []uint64{0, 1, Capacity, 2*Capacity + 6, 2*Capacity + 7, 2*Capacity + 8, added - 1, added} {
		got, next := r.After(after)
		lost, expect := uint64(0), after+1
		if len(got) > 0 && got[0].Type == Gap {
			lost = got[0].Count
			expect = got[0].Sequence + 1
			if got[0].Sequence != after+lost || lost == 0 {
				t.Errorf("after %d: gap %+v", after, got[0])
			}
			got = got[1:]
		}
		for _, e := range got {
			if e.Sequence != expect || e.Type != PortUp {
				t.Fatalf("after %d: got %+v, want sequence %d", after, e, expect)
			}
			expect++
		}
		if sum := lost + uint64(len(got)); sum != added-after || next != added || len(got) > Capacity {
			t.Errorf("after %d: %d events and %d lost, next %d; want %d in all, next %d", after, len(got), lost, next, added-after, added)
		}
	}
}

func TestLongMessagesAreCut(t *testing.T) {
	r := ringAtNoon()
	r.Add(Event{Message: strings.Repeat("é", maxMessage)})
	r.Add(Event{Message: "x" + strings.Repeat("é", maxMessage)})
	got, _ := r.After(0)
	for _, e := range got {
		if n := len(e.Message); n > maxMessage || n < maxMessage-1 || !utf8.ValidString(e.Message) {
			t.Errorf("%d bytes, valid UTF-8: %v", n, utf8.ValidString(e.Message))
		}
	}
}

func TestWait(t *testing.T) {
	r := ringAtNoon()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	r.Wait(ended, 0) // returns, although there is nothing

	var woken sync.WaitGroup
	for range 3 {
		woken.Go(func() { r.Wait(context.Background(), 0) })
	}
	r.Add(Event{})
	woken.Wait()
	r.Wait(context.Background(), 0)
	r.Wait(context.Background(), 17) // of an earlier switch

	for range 3 {
		woken.Go(func() { r.Wait(context.Background(), 1) })
	}
	r.Close()
	r.Close()
	woken.Wait()
	r.Wait(context.Background(), 1)
	r.Add(Event{})
	if got, _ := r.After(0); len(got) != 2 {
		t.Errorf("a closed ring has %d events, want 2", len(got))
	}
}

// Readers and writers at once: for the race detector.
func TestReadersAndWritersAtOnce(t *testing.T) {
	r := NewRing(time.Now)
	const writers, each = 4, 500
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				r.Add(Event{Type: PortUp})
			}
		})
	}
	for range 2 {
		all.Go(func() {
			seen := uint64(0)
			for at := uint64(0); at < writers*each; {
				r.Wait(context.Background(), at)
				var events []Event
				events, at = r.After(at)
				for _, e := range events {
					seen += max(1, e.Count)
				}
			}
			if seen != writers*each {
				t.Errorf("a reader saw or was told of %d events, want %d", seen, writers*each)
			}
		})
	}
	all.Wait()
}
