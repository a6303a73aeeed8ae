package conntrack

import (
	"fmt"
	"os"

	"vswitch/internal/wire"
)

// SlotsPerList and SweepPerInsert are bounds that tests have to exceed.
const (
	SlotsPerList   = slotsPerList
	SweepPerInsert = sweepPerInsert
)

// An Image is all that a Tracker knows of one connection, where it is kept
// aside. Images of equal connections are equal. The zero Image is no connection.
type Image struct {
	record record
	ends   ends
}

// Image returns what is known of the flow t at an interface, idled out or not.
func (t *Tracker) Image(eni uint32, tuple wire.FiveTuple) Image {
	k, _ := keyOf(eni, &tuple)
	slot := t.lookup(&k)
	r := t.records[slot]
	if r.state == stateFree {
		return Image{}
	}
	r.chain, r.prev, r.next, r.place, r.version = 0, 0, 0, 0, 0
	return Image{r, t.ends[slot]}
}

// State returns the state of the connection, "free" for none.
func (i Image) State() State { return i.record.state }

// Refreshed reports whether i is later than before in nothing but what use of a
// connection changes.
func (i Image) Refreshed(before Image) bool { return i.record.expires != before.record.expires }

// SetVersion makes v the version of the connection inserted last.
func (t *Tracker) SetVersion(v uint32) { t.version = v }

// Check returns an error if a chain, the free list, a wheel or a count
// contradicts another one.
func (t *Tracker) Check() error {
	seen := make([]bool, t.fresh) // every slot ever used is in one chain or in the free list
	visit := func(slot uint32, where string) error {
		if slot >= t.fresh || slot == 0 {
			return fmt.Errorf("slot %d in %s: only 1 to %d were ever used", slot, where, t.fresh-1)
		}
		if seen[slot] {
			return fmt.Errorf("slot %d: met again in %s", slot, where)
		}
		seen[slot] = true
		return nil
	}
	live, free := 0, 0
	keys := map[key]bool{}
	for i := range t.buckets {
		for slot := t.buckets[i]; slot != 0; slot = t.records[slot].chain {
			if err := visit(slot, "a chain"); err != nil {
				return err
			}
			r := &t.records[slot]
			k := t.key(slot)
			if r.state == stateFree || r.version == 0 || r.version == noVersion || t.hash(&k) != &t.buckets[i] || keys[k] {
				return fmt.Errorf("slot %d: free, a double, or in the wrong chain: %+v", slot, *r)
			}
			keys[k] = true
			live++
		}
	}
	for slot := t.free; slot != 0; slot = t.records[slot].chain {
		if err := visit(slot, "the free list"); err != nil {
			return err
		}
		if r := t.records[slot]; r != (record{chain: r.chain}) {
			return fmt.Errorf("slot %d: free, but not empty: %+v", slot, r)
		}
		free++
	}
	if live != t.live || live+free != int(t.fresh)-1 {
		return fmt.Errorf("%d connections in chains and %d free slots of %d; Len says %d", live, free, t.fresh-1, t.live)
	}
	if t.records[0] != (record{version: noVersion}) {
		return fmt.Errorf("slot 0 was used: %+v", t.records[0])
	}
	for eni := range t.interfaces {
		n, err := t.checkWheel(uint32(eni))
		if err != nil {
			return fmt.Errorf("interface %d: %w", eni, err)
		}
		live -= n
	}
	if live != 0 {
		return fmt.Errorf("%d connections are in no wheel", live)
	}
	return nil
}

// checkWheel returns how many connections the wheel of an interface holds.
func (t *Tracker) checkWheel(eni uint32) (count int, err error) {
	n := &t.interfaces[eni]
	w := &n.wheel
	for place, head := range w.heads {
		level, bit := place>>6, uint32(place&63)
		if used := w.used[level]>>bit&1 == 1; used != (head != 0) {
			return 0, fmt.Errorf("place %d: used is %v, its head %d", place, used, head)
		}
		// When the place is looked at next.
		now := w.tick >> (6 * level)
		due := (now + 1 + (bit-now-1)&63) << (6 * level)
		if bit == now&63 && now<<(6*level) == w.tick {
			due = w.tick
		}
		for prev, slot := uint32(0), head; slot != 0; prev, slot = slot, t.records[slot].next {
			r := &t.records[slot]
			if r.prev != prev || int(r.place) != place || uint32(r.eni) != eni || r.state == stateFree {
				return 0, fmt.Errorf("slot %d in place %d behind %d: %+v", slot, place, prev, *r)
			}
			if before(r.expires, due) && before(w.tick+1, due) {
				return 0, fmt.Errorf("slot %d: expires at %d, and is looked at at %d only", slot, r.expires, due)
			}
			if count++; count > n.count {
				return 0, fmt.Errorf("more than %d connections in the wheel", n.count)
			}
		}
	}
	if count != n.count {
		return 0, fmt.Errorf("%d connections in the wheel, %d counted", count, n.count)
	}
	return count, nil
}

// Pages returns how many pages of the table are in memory.
func (t *Tracker) Pages() (n int) {
	for _, m := range t.memory {
		resident, err := m.Resident()
		if err != nil {
			panic(err)
		}
		n += resident / os.Getpagesize()
	}
	return n
}

// LongestChain returns the number of connections in the fullest bucket.
func (t *Tracker) LongestChain() (longest int) {
	for _, slot := range t.buckets {
		n := 0
		for ; slot != 0; slot = t.records[slot].chain {
			n++
		}
		longest = max(longest, n)
	}
	return longest
}

// A Machine is one TCP connection, followed without a Tracker.
type Machine struct {
	tcp      tcp
	state    State
	openedBy endpoint
}

// Open begins a connection with the first segment of it, which the high or the
// low end sent.
func (m *Machine) Open(high bool, s *wire.TCP) {
	m.state, m.openedBy = m.tcp.open(end(high), s)
}

// Step takes a segment in and returns what becomes of it: "pass", "ignore",
// "remove", "fresh", or the reason to drop it.
func (m *Machine) Step(high bool, s *wire.TCP) string {
	res, state := m.tcp.step(m.state, m.openedBy, end(high), s)
	m.state = state
	if outcome, reason := outcomeOf(res); outcome == Refused {
		return reason.String()
	}
	switch res {
	case ignore:
		return "ignore"
	case remove:
		return "remove"
	case fresh:
		return "fresh"
	case reopen:
		m.openedBy = end(high).other()
	}
	return "pass"
}

// State returns the connection's state.
func (m *Machine) State() State { return m.state }

// OpenedByHigh reports whether the high end has opened the connection.
func (m *Machine) OpenedByHigh() bool { return m.openedBy == highEnd }

func end(high bool) endpoint {
	if high {
		return highEnd
	}
	return lowEnd
}
