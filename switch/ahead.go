package vswitch

import (
	"unsafe"

	"vswitch/internal/mapped"
	"vswitch/internal/wire"
)

// aheadBytes is the length of the largest frame in hand for which a worker first reads
// the one behind it. To wait for a larger one would cost more than memory does.
const aheadBytes = 2048

// An ahead is the frame that a worker has read before it forwards the one in hand.
//
// With many flows, what a frame needs of its flow is in no cache of the processor:
// the entry of the flow cache, its count, and the two connections that the entry names,
// each a wait as long as it takes to judge a frame. So while the system calls for one
// frame are on their way, the processor is asked for the memory of the next: for its
// entry as soon as the frame was read, and for what the entry leads to once the frame
// before it was written. It is advice; the frame is parsed and judged when its turn
// comes, as any other.
type ahead struct {
	frame []byte // nil if there is none
	tuple wire.FiveTuple
	from  origin
	usual bool   // tuple and from are valid
	hint  uint32 // the place in the flow cache where an entry was found for the frame, plus one; 0 if none was
}

// far reports whether the flow cache does not fit into those of the processor, so that
// it is worth while to read ahead.
func (c *flowCache) far() bool { return len(c.entries) >= c.farFrom }

// readAhead keeps the first n bytes of the worker's buffer, which in sent, as the frame
// that was read ahead, and asks for its entry.
func (w *worker) readAhead(in *eni, n int) {
	a := &w.ahead
	a.frame = w.buffer[:n]
	w.buffer, w.nextBuffer = w.nextBuffer, w.buffer
	if a.tuple, a.usual = wire.Glimpse(a.frame); !a.usual {
		return
	}
	a.from = origin(in.handle<<handleShift) | origin(a.tuple.Protocol)
	if wire.MAC(a.frame[wire.VirtioSize:]) == in.subnet.routerMAC {
		a.from |= routedBit
	}
	t := &a.tuple
	e := &w.cache.entries[w.cache.home(w.cache.hash(&t.Src, &t.Dst, t.SrcPort, t.DstPort, t.Protocol))]
	mapped.Fetch(unsafe.Pointer(e))
	mapped.Fetch(unsafe.Add(unsafe.Pointer(e), unsafe.Sizeof(*e))) // there are flowWays of them
}

// followAhead asks for what the entry of the frame that was read ahead leads to.
func (w *worker) followAhead() {
	a, c := &w.ahead, &w.cache
	a.hint = 0
	if !a.usual {
		return
	}
	place, ok := c.lookup(&a.tuple, a.from)
	if !ok {
		return
	}
	a.hint = place + 1
	mapped.Fetch(unsafe.Pointer(&c.counts[place]))
	e := &c.entries[place]
	w.conns.Fetch(e.refs.egress)
	w.conns.Fetch(e.refs.ingress)
}

// hinted is lookup, where followAhead has looked already.
func (w *worker) hinted(t *wire.FiveTuple, from origin) (place uint32, ok bool) {
	c := &w.cache
	if place = w.ahead.hint - 1; place < uint32(len(c.entries)) && c.entries[place].holds(t, from) {
		return place, true
	}
	return c.lookup(t, from)
}
