package conntrack

// Memory returns how many bytes are allocated for copies of fragments.
func (h *Fragments) Memory() int { return len(h.blocks.slabs) * slabBlocks * blockSize }
