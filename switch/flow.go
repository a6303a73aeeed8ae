package vswitch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"unsafe"

	"vswitch/conntrack"
	"vswitch/internal/mapped"
	"vswitch/internal/wire"
)

// refs are the connections of a flow: at the sender's interface and at the
// receiver's. A zero Ref means that the flow is untracked there.
type refs struct{ egress, ingress conntrack.Ref }

// A flowEntry is one allowed flow in one direction. It names all frames that get
// the same verdict, as long as its two interfaces and its connections are those
// it was made with: it holds every field of a frame that decide reads. It fills
// one line of the processor's cache, and holds no pointers.
type flowEntry struct {
	src, dst         wire.Addr
	srcPort, dstPort uint16
	from             origin
	refs             refs
	made             uint32 // the generation of the plane that judged it; 0 means the entry is empty
	out              uint32 // handle of the receiver's interface, above the bit warm
}

var _ [64]byte = [unsafe.Sizeof(flowEntry{})]byte{}

// warm is set in flowEntry.out once the flow has come back after its first frame.
const warm = 1

// An origin is what a flow has besides its addresses and ports: the protocol in
// the low eight bits, whether its frames are sent to the router's MAC, and the
// handle of the sender's interface. Handles have 23 bits: the five IPv4 blocks of
// a VPC have not even addresses for so many instances.
type origin uint32

const (
	routedBit   = 1 << 8
	handleShift = 9
)

// originOf returns the origin of a frame that in sent. Of frames that are not
// routed, it is the receiver's MAC that an entry's must equal.
func originOf(in *eni, f *wire.Frame) origin {
	o := origin(in.handle<<handleShift) | origin(f.Tuple.Protocol)
	if f.Dst == in.subnet.routerMAC {
		o |= routedBit
	}
	return o
}

// A flowCache remembers allowed flows. It is only ever a cache: connections and
// rules are elsewhere, so that emptying it, or having none, changes no verdict. A
// worker owns it. The zero flowCache holds nothing.
//
// An entry lives in one of flowWays neighbouring places. Where all are taken, a
// new flow pushes out one that has not come back since it was stored; where all
// have, one of them loses that protection, and the new flow is not stored. So what
// passes once, as a port scan does, leaves those alone that are in use.
//
// It starts small and grows while flows that it pushed out come back (flow_grow.go).
type flowCache struct {
	flowTable
	seed    [2]uint64 // random, so that nobody can aim at one place
	held    int       // entries that are not empty
	farFrom int       // entries, from which on far holds
	hits    uint64
	misses  uint64
	growth
}

// flowWays is how many places an entry may be in: its own and those behind it.
const flowWays = 8

// newFlowCache returns a cache that grows to at most n entries, or flowWays if
// that is more; none for n = 0.
func newFlowCache(n int) (flowCache, error) {
	c := flowCache{seed: [2]uint64{rand.Uint64() | 1, rand.Uint64() | 1}, farFrom: flowsAtFirst + 1}
	if n <= 0 {
		return c, nil
	}
	c.limit = max(n, flowWays)
	m, err := mapped.Map(min(c.limit, flowsAtFirst) * flowCost)
	if err != nil {
		return flowCache{}, fmt.Errorf("flow cache: %w", err)
	}
	c.flowTable = newFlowTable(m)
	if c.lost, err = mapped.Map(lostMarks * 2); err != nil {
		return flowCache{}, errors.Join(fmt.Errorf("flow cache: %w", err), c.close())
	}
	c.marks = mapped.Slice[uint16](c.lost)
	return c, nil
}

// empty forgets all flows, but for what they have done so far.
func (c *flowCache) empty() {
	for i := range c.entries {
		c.entries[i].made = 0
	}
	c.held = 0
}

// close gives the memory back. The cache must not be used after it.
func (c *flowCache) close() error {
	c.entries = nil
	return errors.Join(c.memory.Unmap(), c.former.memory.Unmap(), c.next.Unmap(), c.lost.Unmap())
}

// remembered returns the interface that a frame goes to whose flow the cache
// knows, and lets the connections of the flow take the frame. It returns nil if
// the frame must be judged.
func (w *worker) remembered(in *eni, f *wire.Frame) *eni {
	c := &w.cache
	if place, ok := w.hinted(&f.Tuple, originOf(in, f)); ok {
		e := &c.entries[place]
		// The flow is counted once its frame is sent. A store that nobody waits for
		// fetches that line meanwhile: with many flows it is far away.
		c.counts[place].sums.last = w.now
		if out := w.plane.judgedLike(e, in); out != nil && (e.from&routedBit != 0 || f.Dst == out.mac) && w.advance(e, f) {
			if e.out&warm == 0 {
				e.out |= warm
			}
			c.hits++
			w.way.place = place + 1
			return out
		}
	}
	c.misses++
	return nil
}

// judgedLike returns the receiver of a flow that in sends, or nil if the flow
// might be judged differently now than when e was made.
func (p *plane) judgedLike(e *flowEntry, in *eni) *eni {
	out := p.enis[e.out>>1]
	if out == nil || e.made < in.since || e.made < out.since {
		return nil
	}
	return out
}

// lookup returns the place of a flow's entry, which may be of any generation, and
// false if it has none.
func (c *flowCache) lookup(t *wire.FiveTuple, from origin) (place uint32, ok bool) {
	if len(c.entries) == 0 {
		return 0, false
	}
	home := c.home(c.hash(&t.Src, &t.Dst, t.SrcPort, t.DstPort, t.Protocol))
	for at := home; at < home+flowWays; at++ {
		if c.entries[at].holds(t, from) {
			return at, true
		}
	}
	return 0, false
}

// home returns the first of the places that an entry may be in.
func (c *flowCache) home(hash uint64) uint32 {
	at, _ := bits.Mul64(hash, uint64(len(c.entries)-flowWays+1))
	return uint32(at)
}

// holds reports whether e is the entry of a flow; no flow's origin is zero, as
// that of an empty entry.
func (e *flowEntry) holds(t *wire.FiveTuple, from origin) bool {
	return e.srcPort == t.SrcPort && e.dstPort == t.DstPort && e.from == from && e.src == t.Src && e.dst == t.Dst
}

// remember stores the flow of a frame that j has judged: it goes from in to out. It
// returns its place plus one, or 0 if it has none. What the flow that was there
// before has done goes to the tally.
func (c *flowCache) remember(in, out *eni, j *judge, rest *tally) uint32 {
	if len(c.entries) == 0 {
		return 0
	}
	t, from := &j.frame.Tuple, originOf(in, j.frame)
	at := c.hash(&t.Src, &t.Dst, t.SrcPort, t.DstPort, t.Protocol)
	place, state, ok := c.place(j.plane, at, t, from)
	if !ok {
		return 0
	}
	c.settle(place, rest)
	if e := &c.entries[place]; j.refs == (refs{}) && (e.made == 0 || !e.holds(t, from)) {
		j.way.opened = 1 // an untracked flow begins when the cache learns of it
	}
	c.entries[place] = flowEntry{
		src: t.Src, dst: t.Dst, srcPort: t.SrcPort, dstPort: t.DstPort, from: from,
		refs: j.refs, made: j.plane.generation, out: out.handle<<1 | state,
	}
	c.counts[place].rules = j.way.rules
	return place + 1
}

// place returns where to store a flow, and whether it is warm: its old place, one
// whose entry has become worthless, or that of a flow which has not come back. It
// returns false if it finds none of them.
func (c *flowCache) place(p *plane, hash uint64, t *wire.FiveTuple, from origin) (place, state uint32, ok bool) {
	const none = ^uint32(0)
	home := c.home(hash)
	worthless, cold := none, none
	for at := home; at < home+flowWays; at++ {
		e := &c.entries[at]
		switch {
		case e.holds(t, from):
			if e.made == 0 {
				c.held++
			}
			return at, warm, true
		case worthless != none:
		case e.made == 0, !p.current(e):
			worthless = at
		case cold == none && e.out&warm == 0:
			cold = at
		}
	}
	state = c.returned(hash)
	switch {
	case worthless != none:
		if c.entries[worthless].made == 0 {
			c.held++
		}
		return worthless, state, true
	case cold != none:
		e := &c.entries[cold]
		c.lose(c.hash(&e.src, &e.dst, e.srcPort, e.dstPort, uint8(e.from)))
		return cold, state, true
	}
	// One at random: always the same one might be warm again each time.
	c.entries[home+rand.Uint32N(flowWays)].out &^= warm
	return 0, 0, false
}

// current reports whether the flow of an entry, which is not empty, would still be
// judged as it was.
func (p *plane) current(e *flowEntry) bool {
	in := p.enis[e.from>>handleShift]
	return in != nil && p.judgedLike(e, in) != nil
}

// forget removes the flow of a tuple in both directions, whoever sends it. It must
// be called when the flow has become a connection, since what was remembered of it
// may say that it has none.
func (c *flowCache) forget(t wire.FiveTuple) {
	if len(c.entries) == 0 {
		return
	}
	for range 2 {
		home := c.home(c.hash(&t.Src, &t.Dst, t.SrcPort, t.DstPort, t.Protocol))
		for at := home; at < home+flowWays; at++ {
			e := &c.entries[at]
			if e.made != 0 && e.holds(&t, e.from) && uint8(e.from) == t.Protocol {
				e.made = 0
				c.held--
			}
		}
		t = t.Reverse()
	}
}

// hash mixes the words of a tuple with the seed. The origin is left out, so that
// forget finds the flow without it.
func (c *flowCache) hash(a, b *wire.Addr, aPort, bPort uint16, protocol uint8) uint64 {
	src := binary.LittleEndian.Uint64(a[:8]) ^ bits.RotateLeft64(binary.LittleEndian.Uint64(a[8:]), 17)
	dst := binary.LittleEndian.Uint64(b[:8]) ^ bits.RotateLeft64(binary.LittleEndian.Uint64(b[8:]), 31)
	rest := uint64(aPort)<<48 | uint64(bPort)<<32 | uint64(protocol)<<24
	hi, lo := bits.Mul64(src^c.seed[0], dst^c.seed[1])
	hi, lo = bits.Mul64(hi^lo^rest, c.seed[0])
	hi, lo = bits.Mul64(hi^lo, c.seed[1]) // or ports in step would fall in step, for some seeds
	return hi ^ lo
}
