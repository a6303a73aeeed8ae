package conntrack

import "math/bits"

// A wheel holds the connections of one interface by the tick at which they are
// to be looked at, which is never after the one at which they idle out: a
// hierarchical timing wheel (Varghese and Lauck, 1987). Using a connection only
// moves its deadline; when the old one comes, the wheel sees that there is a
// later one. So a packet costs no timer, timeouts may differ and change, and an
// interface without anything due costs a few bit operations.
//
// The zero wheel is empty. Its methods work on the Tracker's records, which hold
// the links.
type wheel struct {
	tick  uint32                   // what was due before it has been looked at; it itself, perhaps in part
	used  [wheelLevels]uint64      // places that hold connections, a bit each
	heads [wheelLevels << 6]uint32 // first slot of each place
}

// A place of level l spans 64^l ticks. A deadline beyond the horizon, which is 12
// days away, is looked at there and then.
const (
	wheelLevels = 4
	horizon     = 63 << (6 * (wheelLevels - 1))
)

// link puts a connection where its deadline says.
func (t *Tracker) link(w *wheel, slot uint32) {
	r := &t.records[slot]
	ahead := min(max(int32(r.expires-w.tick), 1), horizon)
	level := (bits.Len32(uint32(ahead)) - 1) / 6
	bit := (w.tick + uint32(ahead)) >> (6 * level) & 63
	r.place = uint8(level<<6) | uint8(bit)
	head := &w.heads[r.place]
	r.prev, r.next = 0, *head
	if r.next != 0 {
		t.records[r.next].prev = slot
	}
	*head = slot
	w.used[level] |= 1 << bit
}

// unlink takes a connection out of its place.
func (t *Tracker) unlink(w *wheel, slot uint32) {
	r := &t.records[slot]
	if r.next != 0 {
		t.records[r.next].prev = r.prev
	}
	if r.prev != 0 {
		t.records[r.prev].next = r.next
		return
	}
	if w.heads[r.place] = r.next; r.next == 0 {
		w.used[r.place>>6] &^= 1 << (r.place & 63)
	}
}

// next returns the tick after the current one at which a place is due, and false
// if the wheel is empty.
func (w *wheel) next() (tick uint32, ok bool) {
	nearest := ^uint32(0)
	for level, used := range w.used {
		if used == 0 {
			continue
		}
		place := w.tick>>(6*level) + 1
		place += uint32(bits.TrailingZeros64(bits.RotateLeft64(used, -int(place&63))))
		nearest = min(nearest, place<<(6*level)-w.tick)
		ok = true
	}
	return w.tick + nearest, ok
}

// expire frees the connections of one interface that have idled out. It looks at
// no more than budget connections, and returns how many it looked at: fewer than
// budget means that none is left that has idled out.
func (t *Tracker) expire(n *interfaceState, now int64, budget int) (looked int) {
	w := &n.wheel
	for {
		looked += t.drain(n, now, budget-looked)
		if looked >= budget {
			return looked
		}
		tick, ok := w.next()
		if !ok || before(ticks(now), tick) {
			if before(w.tick, ticks(now)) {
				w.tick = ticks(now)
			}
			return looked
		}
		w.tick = tick
	}
}

// drain looks at the connections in the places that are due at the wheel's tick:
// it frees those that have idled out and puts the others where they belong, which
// is never one of these places.
func (t *Tracker) drain(n *interfaceState, now int64, budget int) (looked int) {
	w := &n.wheel
	for level := wheelLevels - 1; level >= 0; level-- {
		if w.tick&(1<<(6*level)-1) != 0 {
			continue // a place of this level began at an earlier tick
		}
		head := &w.heads[uint32(level<<6)|w.tick>>(6*level)&63]
		for ; *head != 0 && looked < budget; looked++ {
			slot := *head
			if t.records[slot].gone(now) {
				t.release(slot)
				continue
			}
			t.unlink(w, slot)
			t.link(w, slot)
		}
	}
	return looked
}

// Sweep frees connections that have idled out. It looks at no more than budget
// connections, and goes on with the next interface where the last call ended. It
// returns false if there may be more to free. A connection that has idled out is
// absent for Track from that moment, swept or not.
func (t *Tracker) Sweep(now int64, budget int) (done bool) {
	if t.caughtUp == ticks(now) {
		return true // a deadline is never set for the current tick
	}
	for range t.interfaces {
		if t.swept++; t.swept >= len(t.interfaces) {
			t.swept = 0
		}
		if budget -= t.expire(&t.interfaces[t.swept], now, budget); budget <= 0 {
			return false
		}
	}
	t.caughtUp = ticks(now)
	if t.live == 0 && t.fresh > 1 {
		t.trim()
	}
	return true
}
