package vswitch

import (
	"math/bits"

	"vswitch/internal/mapped"
)

// A growth is how a flowCache finds out that it is too small, and becomes larger.
//
// That entries are pushed out says little: most flows end without a word. That
// they come back tells that there was no room for a live flow. So a cache keeps a
// mark of each flow that it pushes out, and looks for the mark of each that it
// stores: such a flow is warm from the beginning, and if there are many, the cache
// grows. A port scan leaves no growth behind, nor do years of short connections.
//
// The larger cache starts empty: flows take the slow path once, which costs as
// much as moving an entry would and nothing for those that are over. Its memory is
// touched a piece at a time, between bursts, so that no frame waits for more than
// one piece.
type growth struct {
	limit    int           // entries
	marks    []uint16      // of flows that were pushed out, by hash
	lost     mapped.Memory // where they lie
	stored   int           // flows stored since the last count
	came     int           // of them, those that had been pushed out
	small    bool          // a larger table is due
	former   flowTable     // the table before, as long as somebody may ask what its flows have done; else empty
	next     mapped.Memory // the larger table; empty unless one is on its way
	prepared int           // bytes of next that are resident
}

const (
	flowsAtFirst = 1 << 13 // entries, a megabyte
	growthFactor = 4       // at least
	lostMarks    = 1 << 20 // two bytes each, by the low bits of a hash, as the high ones are those of its place
	cameShare    = 16      // the cache grows if one flow of so many had been pushed out
)

// lose marks a flow, known by its hash, that is pushed out.
func (c *flowCache) lose(hash uint64) {
	c.marks[hash%lostMarks] = mark(hash)
}

// mark returns what is kept of a hash, beside its place.
func mark(hash uint64) uint16 { return uint16(hash>>26) | 1 }

// returned counts a flow that is stored, and returns warm if it has been pushed
// out before.
func (c *flowCache) returned(hash uint64) uint32 {
	c.stored++
	state := uint32(0)
	if m := &c.marks[hash%lostMarks]; *m == mark(hash) {
		*m = 0
		c.came++
		state = warm
	}
	if c.stored >= len(c.entries)/2 {
		if c.came*cameShare >= c.stored {
			c.small = true
		}
		c.stored, c.came = 0, 0
	}
	return state
}

// grow goes on with a growth, if one is due; it is called between two bursts.
// connections is how many are tracked, at both ends of all flows.
func (c *flowCache) grow(connections int, rest *tally) {
	switch {
	case c.next.Len() > 0:
		c.prepare(rest)
	case c.small:
		c.small = false
		c.begin(connections)
	}
}

// begin maps a larger table: for as many entries as there are connections, since both
// are two for a flow with replies that is tracked at both ends. Flows that are not
// tracked make it grow step by step.
func (c *flowCache) begin(connections int) {
	size := min(max(growthFactor*len(c.entries), 1<<bits.Len(uint(connections))), c.limit)
	if size <= len(c.entries) {
		return
	}
	m, err := mapped.Map(size * flowCost)
	if err != nil {
		c.limit = len(c.entries) // no memory: the cache stays as it is
		return
	}
	m.Huge(0)
	c.next, c.prepared = m, 0
}

// prepare makes a piece of the larger table resident, and turns to the table once
// all of it is. What the flows of the table before the present one have done goes
// to the tally first, if nobody has asked for it meanwhile.
func (c *flowCache) prepare(rest *tally) {
	if c.prepared < c.next.Len() {
		c.next.Populate(c.prepared, mapped.Page)
		c.prepared += mapped.Page
		return
	}
	var records [64]flowRecord
	if n := c.former.take(records[:]); n > 0 {
		for i := range records[:n] {
			rest.merge(&records[i])
		}
		return
	}
	_ = c.former.memory.Unmap() // it cannot fail for what Map has returned
	c.former, c.flowTable = c.flowTable, newFlowTable(c.next)
	c.next, c.held = mapped.Memory{}, 0
	c.stored, c.came, c.small = 0, 0, false
	c.lost.Clear() // or the flows that come to the new table would count as coming back to it
}
