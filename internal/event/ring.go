package event

import (
	"context"
	"strings"
	"sync"
	"time"
)

// Bounds of a Ring: at most about 1.5 MB.
const (
	Capacity   = 1024 // events
	maxMessage = 1024 // bytes of a message
)

// A Ring holds the last Capacity events. Who adds never waits: whoever reads too
// slowly loses the oldest, and is told how many by a Gap. All methods may be
// called by several goroutines at once. NewRing makes one.
type Ring struct {
	now func() time.Time

	mu      sync.Mutex // guards the fields below
	events  []Event    // the event of sequence s is at (s-1) % Capacity
	last    uint64     // sequence of the newest; 0 while there is none
	changed chan struct{}
	closed  bool
}

// NewRing returns an empty Ring that reads the time of events from now.
func NewRing(now func() time.Time) *Ring {
	return &Ring{now: now, changed: make(chan struct{})}
}

// Add gives e the next sequence number, and the present as its time unless it has
// one, and wakes those who wait. A message that is too long is cut.
func (r *Ring) Add(e Event) {
	if e.Time.IsZero() {
		e.Time = r.now()
	}
	e.Time = e.Time.UTC().Truncate(time.Millisecond)
	if len(e.Message) > maxMessage {
		e.Message = strings.ToValidUTF8(e.Message[:maxMessage], "")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	e.Sequence = r.last
	if len(r.events) < Capacity {
		r.events = append(r.events, e)
	} else {
		r.events[(e.Sequence-1)%Capacity] = e
	}
	if !r.closed {
		close(r.changed)
		r.changed = make(chan struct{})
	}
}

// After returns the events behind the one of that sequence, oldest first, and the
// sequence to ask with next. 0 asks for all. If some of them are gone, the first
// one is a Gap that counts them and has the sequence of the last of them.
func (r *Ring) After(sequence uint64) (events []Event, next uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sequence = min(sequence, r.last) // one of an earlier switch may be greater
	if oldest := r.last - uint64(len(r.events)); sequence < oldest {
		events = append(events, Event{
			Sequence: oldest,
			Time:     r.events[oldest%Capacity].Time,
			Type:     Gap,
			Count:    oldest - sequence,
			Message:  "earlier events are gone: only the last ones are kept",
		})
		sequence = oldest
	}
	for ; sequence < r.last; sequence++ {
		events = append(events, r.events[sequence%Capacity])
	}
	return events, r.last
}

// Wait returns when the newest event is another than the one of that sequence,
// when the Ring is closed, or when ctx ends.
func (r *Ring) Wait(ctx context.Context, sequence uint64) {
	for {
		r.mu.Lock()
		changed, ready := r.changed, r.last != sequence || r.closed
		r.mu.Unlock()
		if ready {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// Close ends all waiting, now and later. The events stay.
func (r *Ring) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.closed = true
		close(r.changed)
	}
}
