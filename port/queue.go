package port

import "vswitch/internal/wire"

// slotSize is what a queue sets aside for each frame, in bytes: enough for an
// Ethernet frame of 1500 bytes. A slot that meets a longer frame grows once.
const slotSize = 2048

// A queue is a bounded first-in, first-out queue that copies frames in and out.
// It is not safe for concurrent use. A frame of up to slotSize bytes never
// allocates. A longer one does only when more long frames wait than ever before,
// or when short frames hold the slots that have grown.
type queue struct {
	waiting [][]byte // a ring: the n frames from head on, oldest first
	head, n int

	// free holds the slots of no frame. The last one returned is the next one
	// used, so that the same few stay in the processor's cache, and grown.
	free [][]byte
}

// newQueue returns a queue for depth frames. A queue of depth 0 is always full.
func newQueue(depth int) queue {
	slots := make([]byte, depth*slotSize)
	free := make([][]byte, depth)
	for i := range free {
		free[i] = slots[i*slotSize : i*slotSize : (i+1)*slotSize]
	}
	return queue{waiting: make([][]byte, depth), free: free}
}

// push appends a copy of the frame that is head and payload, of at most
// wire.MaxFrame bytes together. It returns false if the queue is full.
func (q *queue) push(head, payload []byte) bool {
	if q.n == len(q.waiting) {
		return false
	}
	last := len(q.free) - 1
	slot := q.free[last]
	q.free = q.free[:last]
	if cap(slot) < len(head)+len(payload) {
		slot = make([]byte, 0, wire.MaxFrame)
	}
	q.waiting[(q.head+q.n)%len(q.waiting)] = append(append(slot, head...), payload...)
	q.n++
	return true
}

// pop moves the oldest frame into b and returns its length, or false if the
// queue is empty. It panics if b is shorter than the frame.
func (q *queue) pop(b []byte) (int, bool) {
	if q.n == 0 {
		return 0, false
	}
	frame := q.waiting[q.head]
	copy(b[:len(frame)], frame)
	q.waiting[q.head] = nil
	q.head = (q.head + 1) % len(q.waiting)
	q.n--
	q.free = append(q.free, frame[:0])
	return len(frame), true
}
