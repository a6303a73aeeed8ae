package conntrack

import (
	"hash/maphash"
	"time"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// Bounds on what waits (I6). They hold for one Fragments; a port's own bounds
// keep it from using up what the others need.
const (
	maxDatagrams        = 1000      // in all
	maxPortDatagrams    = 64        // of one port
	maxPieces           = 64        // fragments of one datagram
	maxHeld             = 4 << 20   // bytes in all, counted in blocks
	maxPortHeld         = 256 << 10 // bytes of one port, counted in blocks
	maxBlocks           = maxHeld / blockSize
	maxPortBlocks       = maxPortHeld / blockSize
	reassemblyTimeoutV4 = int64(30 * time.Second) // from the first arrival; SEM 2.8, RFC 791 names 15 s as a start
	reassemblyTimeoutV6 = int64(60 * time.Second) // from the first arrival; RFC 8200 section 4.5
)

// Fragments holds copies of the fragments of datagrams until they are complete,
// so that a datagram can be judged once, by the fragment that has the transport
// header, and then forwarded as it came: all of it or nothing (SEM 2.8, 3.8, I5).
//
// A datagram leaves in one of four ways:
//
//   - complete: its last missing fragment hands out all of them. Nothing is
//     remembered of it; a late duplicate waits for a datagram of its own.
//   - by its time: Sweep reports it. So ends a datagram whose first fragment
//     was too small for its transport header (I3), too: wire.Parse refuses that
//     fragment, and the rest waits in vain.
//   - killed by one of its fragments, which contradicts the others (I4), or which
//     it has no room for: without that one it can never be complete. What it holds
//     is freed at once, and it stays as a tombstone, which kills what else comes
//     of it and counts as a datagram of its port, until its time is over.
//   - forgotten with its port: Remove.
//
// A fragment that would begin a datagram beyond the bounds is refused alone, and
// leaves no trace. Nothing that waits is ever evicted for it.
//
// A Fragments has one owner at a time, the worker whose ports' fragments it
// holds, and no locks. It has no clock: now is in nanoseconds and never goes
// back. It takes memory as it needs it, and none per fragment once it has held
// as much before.
type Fragments struct {
	seed     maphash.Seed // so that no guest can aim at one bucket (T7)
	buckets  [1024]uint16 // first datagram of each hash, as an index into datagrams plus one
	free     uint16       // first of the unused datagrams, likewise, chained by next
	pool     []datagram
	live     int // datagrams in use, tombstones included
	held     int // fragments of all datagrams
	ports    map[uint32]portUse
	blocks   blocks
	gathered []byte // the datagram that was completed last
	complete [maxPieces][]byte
}

// portUse is what a port has in use.
type portUse struct{ datagrams, blocks int }

// A FragmentState is what became of a fragment. The zero FragmentState drops.
type FragmentState uint8

const (
	FragmentDropped   FragmentState = iota // it is dropped, for Verdict.Reason
	FragmentHeld                           // it was copied, and waits for the rest
	FragmentsComplete                      // it was the last that was missing
)

// A Verdict is the answer of Add. Every fragment is in exactly one of: dropped
// (now, later by Dropped, or by Sweep), complete, forgotten by Remove, or among
// those that Len counts.
type Verdict struct {
	State  FragmentState
	Reason policy.Reason // why it was dropped; None otherwise

	// Dropped is how many fragments that were held until now die with this one,
	// for the same Reason. Zero unless State is FragmentDropped.
	Dropped int

	// Complete is all fragments of the datagram in order of arrival, this one
	// included, each the exact bytes that it came with. Complete[First] is the one
	// with offset 0. The bytes belong to Fragments, may be changed, and last until
	// the next call of Add or Sweep. Both are valid iff State is FragmentsComplete.
	Complete [][]byte
	First    int
}

// NewFragments returns a Fragments that holds nothing.
func NewFragments() *Fragments {
	return &Fragments{seed: maphash.MakeSeed(), ports: make(map[uint32]portUse)}
}

// Add takes a fragment that came from port. f.Fragment must be true. It keeps
// nothing of f.
func (h *Fragments) Add(port uint32, f *wire.Frame, now int64) Verdict {
	key := datagramKeyOf(port, f)
	i := h.find(&key)
	if i != 0 && h.at(i).deadline <= now {
		// Its time is over, but Sweep has not come by. Of a tombstone nothing is
		// left to report; of others f is the rest, and late.
		n := h.at(i).n
		h.remove(i)
		if i = 0; n > 0 {
			return Verdict{Reason: policy.FragmentTimeout, Dropped: n}
		}
	}
	if i == 0 {
		if h.live == maxDatagrams || h.ports[port].datagrams == maxPortDatagrams {
			return Verdict{Reason: policy.FragmentLimit}
		}
		i = h.insert(&key, reassemblyDeadline(f, now))
	}
	d := h.at(i)
	if d.dead != policy.None {
		return Verdict{Reason: d.dead}
	}
	r, duplicate := d.check(f, &h.blocks)
	switch {
	case duplicate:
		return Verdict{Reason: r}
	case r != policy.None:
		return h.kill(i, r)
	case d.completedBy(f):
		v := h.gather(d, f)
		h.remove(i)
		return v
	}
	if !h.hold(d, f) {
		if d.n == 0 {
			h.remove(i)
			return Verdict{Reason: policy.FragmentLimit}
		}
		return h.kill(i, policy.FragmentLimit)
	}
	return Verdict{State: FragmentHeld}
}

// Sweep ends the datagrams whose time is over. It calls expired for each that
// held fragments, with their number; they are dropped for FragmentTimeout.
// expired must not call h. When nothing waits any more, the memory goes back.
func (h *Fragments) Sweep(now int64, expired func(port uint32, frames int)) {
	ended := false
	for i := 1; i <= len(h.pool) && h.live > 0; i++ {
		d := h.at(uint16(i))
		if !d.used || now < d.deadline {
			continue
		}
		port, n := d.key.port, d.n
		h.remove(uint16(i))
		ended = true
		if n > 0 {
			expired(port, n)
		}
	}
	// A datagram that completes leaves its memory for the next one; only after
	// losses is there more of it than the traffic needs.
	if ended && h.live == 0 {
		h.pool, h.free, h.gathered = nil, 0, nil
		h.blocks = blocks{}
		clear(h.complete[:])
	}
}

// Remove forgets all that has come from port, which may then be given to
// another interface.
func (h *Fragments) Remove(port uint32) {
	for i := range h.pool {
		if d := &h.pool[i]; d.used && d.key.port == port {
			h.remove(uint16(i + 1))
		}
	}
	delete(h.ports, port)
}

// Len returns how many fragments are held.
func (h *Fragments) Len() int { return h.held }

// kill makes a tombstone of datagram i.
func (h *Fragments) kill(i uint16, r policy.Reason) Verdict {
	d := h.at(i)
	n := d.n
	h.discard(d)
	d.dead = r
	return Verdict{Reason: r, Dropped: n}
}

// hold copies f. It reports false if there is no room for it.
func (h *Fragments) hold(d *datagram, f *wire.Frame) bool {
	use := h.ports[d.key.port]
	need := d.chain.blocksFor(len(f.Bytes))
	if d.n == maxPieces || use.blocks+need > maxPortBlocks || h.blocks.used+need > maxBlocks {
		return false
	}
	use.blocks += need
	h.ports[d.key.port] = use
	h.blocks.write(&d.chain, f.Bytes)
	d.add(f)
	h.held++
	return true
}

// gather returns the fragments that d holds, and f, as they came. f needs no
// room among what is held.
func (h *Fragments) gather(d *datagram, f *wire.Frame) Verdict {
	h.gathered = h.blocks.read(h.gathered[:0], &d.chain)
	h.gathered = append(h.gathered, f.Bytes...)
	v := Verdict{State: FragmentsComplete, Complete: h.complete[:d.n+1], First: d.n}
	rest := h.gathered
	for i := range d.pieces[:d.n] {
		p := &d.pieces[i]
		v.Complete[i], rest = rest[:p.size():p.size()], rest[p.size():]
		if p.offset == 0 {
			v.First = i
		}
	}
	v.Complete[d.n] = rest[:len(rest):len(rest)]
	return v
}

// discard frees what d holds.
func (h *Fragments) discard(d *datagram) {
	use := h.ports[d.key.port]
	use.blocks -= h.blocks.free(&d.chain)
	h.ports[d.key.port] = use
	h.held -= d.n
	d.n = 0
}
