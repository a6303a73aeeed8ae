package vswitch

import (
	"unsafe"

	"vswitch/internal/mapped"
	"vswitch/internal/wire"
)

// A flowCount is what the flow in one place of the cache has done since it was
// last asked for. It fills one line of the processor's cache.
type flowCount struct {
	sums   flowSums
	rules  [Gates]ruleNumber // of the verdict that the cache remembers
	listed bool              // its place is among the dirty ones
	_      [7]byte
}

var _ [64]byte = [unsafe.Sizeof(flowCount{})]byte{}

// flowCost is what a place in the cache takes, in bytes: the entry, its count, and
// a place in the list of the dirty ones.
const flowCost = int(unsafe.Sizeof(flowEntry{}) + unsafe.Sizeof(flowCount{}) + unsafe.Sizeof(uint32(0)))

// A flowTable is the memory of a flowCache.
type flowTable struct {
	entries []flowEntry   // a power of two, or none
	counts  []flowCount   // of the entries, by place
	dirty   []uint32      // places whose counts are not zero, or were not when they were listed
	dirtied int           // how many of dirty are valid
	memory  mapped.Memory // where all of it lies
}

// newFlowTable lays a table over m, which is zero, and flowCost times its size.
func newFlowTable(m mapped.Memory) flowTable {
	size := m.Len() / flowCost
	entries, counts := size*int(unsafe.Sizeof(flowEntry{})), size*int(unsafe.Sizeof(flowCount{}))
	return flowTable{
		entries: mapped.Slice[flowEntry](m.Part(0, entries)),
		counts:  mapped.Slice[flowCount](m.Part(entries, counts)),
		dirty:   mapped.Slice[uint32](m.Part(entries+counts, m.Len()-entries-counts)),
		memory:  m,
	}
}

// count counts a frame of the flow in a place.
func (t *flowTable) count(place uint32, f *wire.Frame, opened uint32, now int64) {
	c := &t.counts[place]
	if !c.listed {
		c.listed = true
		t.dirty[t.dirtied] = place
		t.dirtied++
	}
	c.sums.add(f, now)
	c.sums.opened += opened
}

// record returns what the flow in a place has done.
func (t *flowTable) record(place uint32) flowRecord {
	e, c := &t.entries[place], &t.counts[place]
	return flowRecord{
		tuple: wire.FiveTuple{Src: e.src, Dst: e.dst, SrcPort: e.srcPort, DstPort: e.dstPort, Protocol: uint8(e.from)},
		in:    uint32(e.from >> handleShift), out: e.out >> 1, rules: c.rules, sums: c.sums,
	}
}

// settle moves what the flow in a place has done to the tally, before the place is
// given to another flow, or to another verdict.
func (t *flowTable) settle(place uint32, rest *tally) {
	if c := &t.counts[place]; c.sums.frames > 0 {
		r := t.record(place)
		rest.merge(&r)
	}
	t.counts[place].sums = flowSums{}
}

// take moves up to len(out) records out of the table, and returns how many. Fewer
// than len(out) means that none is left.
func (t *flowTable) take(out []flowRecord) (n int) {
	for n < len(out) && t.dirtied > 0 {
		t.dirtied--
		place := t.dirty[t.dirtied]
		c := &t.counts[place]
		c.listed = false
		if c.sums.frames > 0 {
			out[n] = t.record(place)
			c.sums = flowSums{last: c.sums.last, lastFlags: c.sums.lastFlags} // which liveFlows reads
			n++
		}
	}
	return n
}

// take is take of the table that was replaced by a larger one, until that is
// empty, and then of the present one.
func (c *flowCache) take(out []flowRecord) int {
	n := c.former.take(out)
	if n < len(out) {
		_ = c.former.memory.Unmap() // it cannot fail for what Map has returned
		c.former = flowTable{}
		n += c.flowTable.take(out[n:])
	}
	return n
}
