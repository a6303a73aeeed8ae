package conntrack

// A queue holds the connections of one class at one interface, in the order in
// which they were queued. They share a timeout, so the head expires first unless
// it was used meanwhile: using a connection only moves its deadline and marks it
// touched. The sweep puts a touched head back to the tail. So a packet costs no
// timer, and a sweep stops at the first connection that was not touched and is
// not due.
type queue struct{ head, tail uint32 }

// sweepPerInsert bounds the work of making room for a new connection.
const sweepPerInsert = 64

func (t *Tracker) enqueue(q *queue, slot uint32) {
	r := &t.records[slot]
	r.prev, r.next = q.tail, 0
	if q.tail != 0 {
		t.records[q.tail].next = slot
	} else {
		q.head = slot
	}
	q.tail = slot
}

func (t *Tracker) dequeue(q *queue, slot uint32) {
	r := &t.records[slot]
	if r.prev != 0 {
		t.records[r.prev].next = r.next
	} else {
		q.head = r.next
	}
	if r.next != 0 {
		t.records[r.next].prev = r.prev
	} else {
		q.tail = r.prev
	}
}

// expire frees connections of one interface that have idled out. It looks at no
// more than budget of them, and returns how many it looked at.
func (t *Tracker) expire(n *interfaceState, now int64, budget int) (looked int) {
	for c := range n.queues {
		q := &n.queues[c]
		for looked < budget && q.head != 0 {
			slot := q.head
			r := &t.records[slot]
			looked++
			if r.expires < ticks(now) {
				t.release(slot)
				continue
			}
			if r.flags&touched == 0 {
				break
			}
			r.flags &^= touched
			t.dequeue(q, slot)
			t.enqueue(q, slot)
		}
	}
	return looked
}

// Sweep frees connections that have idled out. It looks at about budget of them
// at most, and goes on with the next interface where the last call ended. A
// connection that has idled out is absent for Track from that moment, swept or
// not.
func (t *Tracker) Sweep(now int64, budget int) {
	for range t.interfaces {
		if t.swept++; t.swept >= len(t.interfaces) {
			t.swept = 0
		}
		if budget -= t.expire(&t.interfaces[t.swept], now, budget); budget <= 0 {
			return
		}
	}
}
