package conntrack

import "unsafe"

// Copies returns how many bytes are allocated for copies of fragments.
func (h *Fragments) Copies() int { return len(h.blocks.slabs) * slabBlocks * blockSize }

// Memory returns how many bytes are allocated for all that h refers to, the
// tables of the Go runtime aside.
func (h *Fragments) Memory() int {
	n := h.Copies() + 2*cap(h.blocks.next)
	n += cap(h.pool) * int(unsafe.Sizeof(datagram{}))
	n += len(h.ports) * int(unsafe.Sizeof(portUse{}))
	for _, b := range h.complete {
		n += cap(b)
	}
	return n + cap(h.gathered)
}
