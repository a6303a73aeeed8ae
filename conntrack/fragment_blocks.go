package conntrack

import "bytes"

const (
	// blockSize is the unit of memory for fragments, in bytes. Three blocks hold a
	// frame of 1,500 bytes with its headers.
	blockSize = 512

	// slabBlocks is how many blocks are allocated at a time: 64 KB.
	slabBlocks = 128
)

// blocks is memory for strings of bytes that come in parts and go as a whole.
// Blocks have one size, so freeing leaves no gaps that nothing fits into, and
// what is allocated is never more than a slab above what was in use at the peak.
// The zero blocks is empty and ready for use.
type blocks struct {
	slabs  [][]byte
	next   []uint16 // of each block, the one behind it in its chain; of the last of a chain in use it means nothing
	unused uint16   // first of the chain of blocks that were freed, or 0
	fresh  int      // blocks that have been in use at some time
	used   int      // blocks in use now
}

// A chain is one string of bytes. Blocks are numbered from 1. The zero chain is
// the empty string.
type chain struct {
	first, last uint16
	length      int // bytes
}

// blocksFor returns how many more blocks the chain needs for n more bytes.
func (c *chain) blocksFor(n int) int {
	return (c.length+n+blockSize-1)/blockSize - (c.length+blockSize-1)/blockSize
}

// block returns the memory of block i.
func (m *blocks) block(i uint16) []byte {
	at := int(i-1) % slabBlocks * blockSize
	return m.slabs[int(i-1)/slabBlocks][at : at+blockSize]
}

// take returns a block that is not in use, the one that was freed last if there
// is one.
func (m *blocks) take() uint16 {
	m.used++
	if i := m.unused; i != 0 {
		m.unused = m.next[i]
		return i
	}
	if m.fresh == len(m.slabs)*slabBlocks {
		m.slabs = append(m.slabs, make([]byte, slabBlocks*blockSize))
		m.next = append(m.next, make([]uint16, len(m.slabs)*slabBlocks+1-len(m.next))...)
	}
	m.fresh++
	return uint16(m.fresh)
}

// write appends b to the chain.
func (m *blocks) write(c *chain, b []byte) {
	for len(b) > 0 {
		at := c.length % blockSize
		if at == 0 {
			i := m.take()
			if c.first == 0 {
				c.first = i
			} else {
				m.next[c.last] = i
			}
			c.last = i
		}
		n := copy(m.block(c.last)[at:], b)
		c.length += n
		b = b[n:]
	}
}

// read appends the string to dst and returns it.
func (m *blocks) read(dst []byte, c *chain) []byte {
	for i, rest := c.first, c.length; rest > 0; i, rest = m.next[i], rest-blockSize {
		dst = append(dst, m.block(i)[:min(rest, blockSize)]...)
	}
	return dst
}

// equal reports whether the bytes at offset at of the string are those of b.
// The string must be long enough.
func (m *blocks) equal(c *chain, at int, b []byte) bool {
	i := c.first
	for ; at >= blockSize; at -= blockSize {
		i = m.next[i]
	}
	for len(b) > 0 {
		part := m.block(i)[at:]
		n := min(len(part), len(b))
		if !bytes.Equal(part[:n], b[:n]) {
			return false
		}
		i, at, b = m.next[i], 0, b[n:]
	}
	return true
}

// free empties the chain, and returns how many blocks it had.
func (m *blocks) free(c *chain) int {
	n := (c.length + blockSize - 1) / blockSize
	if n > 0 {
		m.next[c.last] = m.unused
		m.unused = c.first
		m.used -= n
	}
	*c = chain{}
	return n
}
