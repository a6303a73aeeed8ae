package vswitch

import (
	"encoding/binary"
	"sync/atomic"

	"vswitch/internal/policy"
)

// A handover is a bounded queue of frames that one worker, the giver, has read
// and another, the taker, owns. Each of the two touches its own end alone, so
// that there is no lock, and frames come out in the order in which they went in.
// They lie in it one behind the other, as they come from the wire: what bounds it
// is bytes.
type handover struct {
	ring []byte
	_    [64]byte // the ends live in cache lines of their own
	head atomic.Uint64
	_    [64]byte
	tail atomic.Uint64
}

// handoverBytes is the size of a handover, a power of two: room for some 3,000
// frames of 300 bytes, or for 15 of the longest. It is touched only when used.
const handoverBytes = 1 << 20

// A parcel is what the taker must know of a frame besides its bytes.
type parcel struct {
	in         uint32 // handle of the sender's interface
	generation uint32 // of the giver's plane
	quote      quote
}

// Layout of a parcel in the ring, in bytes; all is native-endian and starts at a
// multiple of 8. A parcel is never cut in two at the ring's end: what is too short
// for the next one there begins with skipped in place of a handle.
const (
	parcelSize = 32
	lengthAt   = 8  // of the frame
	knownAt    = 12 // 1 or 0
	handlesAt  = 16
	skipped    = ^uint32(0)
)

func newHandover() *handover { return &handover{ring: make([]byte, handoverBytes)} }

// put appends a copy of a frame. It returns false if there is no room. Only the
// giver may call it.
func (h *handover) put(p *parcel, frame []byte) bool {
	size, head, tail := uint64(len(h.ring)), h.head.Load(), h.tail.Load()
	need := parcelSize + (uint64(len(frame))+7)&^7
	at, unused := tail&(size-1), uint64(0)
	if at+need > size {
		unused = size - at
	}
	if tail+unused+need-head > size {
		return false
	}
	if unused > 0 {
		binary.NativeEndian.PutUint32(h.ring[at:], skipped)
		at = 0
	}
	b := h.ring[at : at+need]
	binary.NativeEndian.PutUint32(b, p.in)
	binary.NativeEndian.PutUint32(b[4:], p.generation)
	binary.NativeEndian.PutUint32(b[lengthAt:], uint32(len(frame)))
	binary.NativeEndian.PutUint32(b[knownAt:], 0)
	if p.quote.known {
		binary.NativeEndian.PutUint32(b[knownAt:], 1)
	}
	binary.NativeEndian.PutUint32(b[handlesAt:], p.quote.at[0])
	binary.NativeEndian.PutUint32(b[handlesAt+4:], p.quote.at[1])
	copy(b[parcelSize:], frame)
	h.tail.Store(tail + unused + need)
	return true
}

// first returns the oldest parcel and its frame, which is the taker's to change
// until it stores next in head. It reports false if there is none.
func (h *handover) first() (p parcel, frame []byte, next uint64, ok bool) {
	size, head := uint64(len(h.ring)), h.head.Load()
	if head == h.tail.Load() {
		return parcel{}, nil, 0, false
	}
	at := head & (size - 1)
	if binary.NativeEndian.Uint32(h.ring[at:]) == skipped {
		head, at = head+size-at, 0
	}
	b := h.ring[at:]
	length := uint64(binary.NativeEndian.Uint32(b[lengthAt:]))
	p = parcel{
		in:         binary.NativeEndian.Uint32(b),
		generation: binary.NativeEndian.Uint32(b[4:]),
		quote: quote{
			known: binary.NativeEndian.Uint32(b[knownAt:]) == 1,
			at:    [2]uint32{binary.NativeEndian.Uint32(b[handlesAt:]), binary.NativeEndian.Uint32(b[handlesAt+4:])},
		},
	}
	return p, b[parcelSize : parcelSize+length : parcelSize+length], head + parcelSize + (length+7)&^7, true
}

// empty reports whether nothing waits.
func (h *handover) empty() bool { return h.head.Load() == h.tail.Load() }

// handOver gives the frame in hand, which in sent, to another worker, as it came.
// It is dropped if that one is too far behind.
func (w *worker) handOver(to int, in *eni, q quote) {
	if w.watching != nil {
		w.watching.restore(w.current)
	}
	taker := w.crew[to]
	if !taker.inboxes[w.index].put(&parcel{in.handle, w.plane.generation, q}, w.current) {
		w.drop(in, policy.WorkerBusy)
		return
	}
	if w.watching != nil {
		w.watching.forget()
	}
	w.handedOver++
	w.pending = false
	// Whoever goes to sleep says so first and looks once more then, so that one of
	// the two notices the other.
	if taker.asleep.Load() && taker.asleep.CompareAndSwap(true, false) {
		taker.wake()
	}
}

// waiting reports whether another worker has handed something over.
func (w *worker) waiting() bool {
	for _, h := range w.inboxes {
		if h != nil && !h.empty() {
			return true
		}
	}
	return false
}

// receive forwards frames that the others have handed over, of each no more than
// a port's quantum, and returns how many there were.
func (w *worker) receive() (frames int) {
	for _, h := range w.inboxes {
		if h != nil {
			frames += w.unload(h)
		}
	}
	return frames
}

// receiveAll forwards all that the others have handed over until now.
func (w *worker) receiveAll() {
	for _, h := range w.inboxes {
		if h == nil {
			continue
		}
		for end := h.tail.Load(); int64(end-h.head.Load()) > 0; {
			if w.unload(h) == 0 {
				break
			}
		}
	}
}

// unload forwards frames of one handover, at most a port's quantum, and returns how
// many. A frame of a plane that w has not adopted yet may be from an interface that
// w does not know: it waits, and so do those behind it.
func (w *worker) unload(h *handover) (frames int) {
	if h.empty() {
		return 0
	}
	w.now = w.clock()
	w.segments = 0
	for bytes := 0; frames < burstFrames && bytes < burstBytes && w.segments < burstSegments; frames++ {
		p, b, next, ok := h.first()
		if !ok || int32(p.generation-w.plane.generation) > 0 {
			break
		}
		bytes += len(b)
		w.takeOver(&p, b)
		h.head.Store(next)
	}
	return frames
}

// takeOver forwards one frame that another worker has read, parsed and counted.
// It is judged by this worker's plane, which may be a later one, and so its sender
// is checked again. Of a sender that is no more, the frame is forgotten with its
// counters.
func (w *worker) takeOver(p *parcel, b []byte) {
	if int(p.in) >= len(w.plane.enis) || w.plane.enis[p.in] == nil {
		return
	}
	in, f := w.plane.enis[p.in], &w.frame
	defer w.contain(in)
	w.pending, w.current, w.way = true, b, passage{}
	if w.watching != nil {
		w.watching.arrive(in, b)
	}
	if r := w.reparse(in, b); r != policy.None {
		w.drop(in, r)
	} else if p.quote.known || !w.handsOver(in, f) {
		out := w.known(in, f)
		if out == nil {
			w.quote = p.quote
			out = w.next(in, f)
			w.quote = quote{}
		}
		if out != nil {
			w.transmit(in, out, f)
		}
	}
	if w.watching != nil {
		w.watching.publish()
	}
}
