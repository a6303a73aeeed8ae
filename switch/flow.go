package vswitch

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"

	"vswitch/conntrack"
	"vswitch/internal/wire"
)

// A flowKey holds every field of a frame that decide reads, and so names all
// frames that get the same verdict as long as the plane and the connections are
// the same.
type flowKey struct {
	tuple wire.FiveTuple
	in    uint32   // handle of the sender's interface
	dst   wire.MAC // the router's or a neighbour's: it decides whether the frame is routed
}

// refs are the connections of a flow: at the sender's interface and at the
// receiver's. A zero Ref means that the flow is untracked there.
type refs struct{ egress, ingress conntrack.Ref }

// A flowEntry is one allowed flow in one direction. It holds no pointers, so
// that the garbage collector never looks at the cache.
type flowEntry struct {
	key        flowKey
	generation uint32 // of the plane that judged it; 0 means the entry is empty
	out        uint32 // handle of the receiver's interface
	refs       refs
}

// A flowCache remembers allowed flows. It is only ever a cache: connections and
// rules are elsewhere, so that emptying it, or having none, changes no verdict.
// A worker owns it; it is bounded and evicts when its neighbourhood is full.
// The zero flowCache holds nothing.
type flowCache struct {
	entries []flowEntry // a power of two, or none
	seed    [2]uint64   // random, so that nobody can aim at one place
	hits    uint64
	misses  uint64
}

// flowWays is how many places an entry may be in: its own and those behind it.
const flowWays = 4

// newFlowCache returns a cache of at least n entries; none for n = 0.
func newFlowCache(n int) flowCache {
	c := flowCache{seed: [2]uint64{rand.Uint64() | 1, rand.Uint64() | 1}}
	if n > 0 {
		c.entries = make([]flowEntry, 1<<bits.Len(uint(max(n, flowWays)-1)))
	}
	return c
}

// lookup returns the entry of key that the plane of that generation made, or nil.
func (c *flowCache) lookup(key *flowKey, generation uint32) *flowEntry {
	if len(c.entries) == 0 {
		return nil
	}
	at := c.hash(&key.tuple)
	mask := uint64(len(c.entries) - 1)
	for i := uint64(0); i < flowWays; i++ {
		e := &c.entries[(at+i)&mask]
		if e.generation == generation && e.key == *key {
			c.hits++
			return e
		}
	}
	c.misses++
	return nil
}

// store remembers a flow: in its old place, in an unused one, or in that of
// another flow, chosen by the hash.
func (c *flowCache) store(key *flowKey, generation, out uint32, r refs) {
	if len(c.entries) == 0 {
		return
	}
	at := c.hash(&key.tuple)
	mask := uint64(len(c.entries) - 1)
	place := &c.entries[(at+at>>60%flowWays)&mask]
	for i := flowWays - 1; i >= 0; i-- {
		e := &c.entries[(at+uint64(i))&mask]
		if e.key == *key {
			place = e
			break
		}
		if e.generation != generation {
			place = e
		}
	}
	*place = flowEntry{key: *key, generation: generation, out: out, refs: r}
}

// forget removes the flow of a tuple in both directions, whoever sends it. It must
// be called when the flow has become a connection, since what was remembered of it
// may say that it has none.
func (c *flowCache) forget(t wire.FiveTuple) {
	if len(c.entries) == 0 {
		return
	}
	mask := uint64(len(c.entries) - 1)
	for range 2 {
		at := c.hash(&t)
		for i := uint64(0); i < flowWays; i++ {
			if e := &c.entries[(at+i)&mask]; e.key.tuple == t {
				e.generation = 0
			}
		}
		t = t.Reverse()
	}
}

// hash mixes the words of a tuple with the seed. The rest of a key is left out, so
// that forget finds the flow without it.
func (c *flowCache) hash(t *wire.FiveTuple) uint64 {
	src := binary.LittleEndian.Uint64(t.Src[:8]) ^ bits.RotateLeft64(binary.LittleEndian.Uint64(t.Src[8:]), 17)
	dst := binary.LittleEndian.Uint64(t.Dst[:8]) ^ bits.RotateLeft64(binary.LittleEndian.Uint64(t.Dst[8:]), 31)
	rest := uint64(t.SrcPort)<<48 | uint64(t.DstPort)<<32 | uint64(t.Protocol)<<24
	hi, lo := bits.Mul64(src^c.seed[0], dst^c.seed[1])
	hi, lo = bits.Mul64(hi^lo^rest, c.seed[0])
	hi, lo = bits.Mul64(hi^lo, c.seed[1]) // or ports in step would fall in step, for some seeds
	return hi ^ lo
}
