package vswitch

// A Handover is a handover for tests of it alone.
type Handover struct{ h *handover }

func NewHandover() Handover { return Handover{newHandover()} }

// HandoverSize is how many bytes a Handover holds, and ParcelSize what a frame in it
// takes besides its own bytes, rounded up to 8.
const (
	HandoverSize = handoverBytes
	ParcelSize   = parcelSize
)

// Put hands a frame over, from the interface with that handle.
func (h Handover) Put(in uint32, frame []byte) bool { return h.h.put(&parcel{in: in}, frame) }

// Take calls fn with the oldest frame, which is taken then. It returns false if
// there is none.
func (h Handover) Take(fn func(in uint32, frame []byte)) bool {
	p, frame, next, ok := h.h.first()
	if ok {
		fn(p.in, frame)
		h.h.head.Store(next)
	}
	return ok
}

// HandOver makes one worker hand a frame over to another, as if it had read it from
// the instance, and had adopted so many planes more than the other.
func (s *Switch) HandOver(from, to int, instance string, frame []byte, ahead uint32) {
	w := s.workers[from]
	w.do(func() {
		in := w.plane.byName[instance]
		w.counters[in.handle].RxFrames++
		s.workers[to].inboxes[from].put(&parcel{in: in.handle, generation: w.plane.generation + ahead}, frame)
	})
}
