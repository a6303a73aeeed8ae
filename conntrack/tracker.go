package conntrack

import (
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"unsafe"

	"vswitch/internal/mapped"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// A Tracker holds the connections of all network interfaces that one worker
// serves. See the package comment for who may use it. Its memory is mapped for
// the capacity it was made with, outside the garbage collector's sight, costs
// nothing until it is used, and is given back when the last connection ends.
type Tracker struct {
	records    []record         // slot 0 is never used, so that slot 0 means none
	ends       []ends           // by slot
	buckets    []uint32         // first slot of each chain
	memory     [3]mapped.Memory // where the three lie
	free       uint32           // head of the list of used and freed slots
	fresh      uint32           // slots from here on were never used
	live       int
	version    uint32    // of the connection inserted last
	seed       [2]uint64 // random: nobody can aim at one chain
	interfaces []interfaceState
	swept      int    // the interface that Sweep looked at last
	caughtUp   uint32 // the tick at which Sweep last found nothing left to do
}

// interfaceState is what a Tracker keeps for one network interface.
type interfaceState struct {
	limits   Limits // completed; Max 0 means the handle is not in use
	count    int
	exceeded uint64
	shared   *Allowance // nil if this Tracker has all connections of the interface
	wheel    wheel
}

// A Ref remembers a connection: its slot, and the version that the slot had. A
// slot that was freed has another version, so that whoever kept a Ref never rides
// another connection, nor one that has ended. The zero Ref is no connection: what
// it is kept for is not tracked.
type Ref struct{ Slot, Version uint32 }

// noVersion is the version of slot 0, which no Ref has.
const noVersion = ^uint32(0)

// sweepPerInsert bounds the work, in connections, of making room for a new one.
// Only what has become due since the last Sweep is looked at.
const sweepPerInsert = 1024

// New returns a Tracker for at most capacity connections.
func New(capacity int) (*Tracker, error) {
	if capacity < 1 || capacity > 1<<30 {
		return nil, fmt.Errorf("capacity %d: want 1 to %d connections", capacity, 1<<30)
	}
	t := &Tracker{seed: [2]uint64{rand.Uint64() | 1, rand.Uint64() | 1}}
	buckets := 1 << bits.Len(uint(capacity-1))
	sizes := [3]int{(capacity + 1) * recordSize, (capacity + 1) * endsSize, buckets * 4}
	for i, size := range sizes {
		m, err := mapped.Map(size)
		if err != nil {
			_ = t.Close()
			return nil, fmt.Errorf("%d connections: %w", capacity, err)
		}
		t.memory[i] = m
	}
	t.records = mapped.Slice[record](t.memory[0])
	t.ends = mapped.Slice[ends](t.memory[1])
	t.buckets = mapped.Slice[uint32](t.memory[2])
	// Slots are used in their order, so that behind the first huge page, which few
	// connections would leave empty, memory fills densely.
	t.memory[0].Huge(mapped.Page)
	t.memory[1].Huge(mapped.Page)
	t.clear()
	return t, nil
}

// clear makes all slots unused. There must be no connections.
func (t *Tracker) clear() {
	t.free, t.fresh = 0, 1
	t.records[0].version = noVersion
}

// trim gives the memory of a Tracker without connections back.
func (t *Tracker) trim() {
	for _, m := range t.memory {
		m.Clear()
	}
	t.clear()
}

// Close gives the memory back. The Tracker must not be used after it.
func (t *Tracker) Close() error {
	t.records, t.ends, t.buckets = nil, nil, nil
	var errs []error
	for i := range t.memory {
		if err := t.memory[i].Unmap(); err != nil {
			errs = append(errs, fmt.Errorf("connection table: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Capacity returns how many connections fit in all: none after Close.
func (t *Tracker) Capacity() int { return max(len(t.records)-1, 0) }

// Len returns how many connections there are, those included that have idled out
// and were not swept yet.
func (t *Tracker) Len() int { return t.live }

// Configure sets the limits of the network interface with the given handle. New
// timeouts hold for a connection from its next packet on. Connections beyond a
// lowered Max stay.
func (t *Tracker) Configure(eni uint32, l Limits) {
	if missing := int(eni) + 1 - len(t.interfaces); missing > 0 {
		t.interfaces = append(t.interfaces, make([]interfaceState, missing)...)
	}
	t.interfaces[eni].limits = l.complete()
}

// configured returns the state of a network interface, or nil if the handle is
// not in use.
func (t *Tracker) configured(eni uint32) *interfaceState {
	if uint64(eni) >= uint64(len(t.interfaces)) || t.interfaces[eni].limits.Max == 0 {
		return nil
	}
	return &t.interfaces[eni]
}

// Remove forgets all connections of a network interface, and its counters. The
// handle may then be configured anew.
func (t *Tracker) Remove(eni uint32) {
	n := t.configured(eni)
	if n == nil {
		return
	}
	for place := range n.wheel.heads {
		for n.wheel.heads[place] != 0 {
			t.release(n.wheel.heads[place])
		}
	}
	*n = interfaceState{}
}

// Usage is the state of an interface's allowance (SEM 2.5).
type Usage struct {
	Tracked  int    // connections, those included that were not swept yet
	Max      int    // the allowance
	Exceeded uint64 // packets refused because the allowance, or the whole table, was used up
}

// Usage returns the state of an interface's allowance.
func (t *Tracker) Usage(eni uint32) Usage {
	n := t.configured(eni)
	if n == nil {
		return Usage{}
	}
	return Usage{Tracked: n.count, Max: n.limits.Max, Exceeded: n.exceeded}
}

// hash returns the bucket of a key.
func (t *Tracker) hash(k *key) *uint32 {
	word := func(a *wire.Addr) uint64 {
		w := (*[2]uint64)(unsafe.Pointer(a)) // 16 bytes, read as two words: the hash of a key is on the path of every frame
		return w[0] ^ bits.RotateLeft64(w[1], 23)
	}
	rest := uint64(k.lowPort)<<48 | uint64(k.highPort)<<32 | uint64(k.protocol)<<24 ^ uint64(k.eni)
	hi, lo := bits.Mul64(word(&k.low)^t.seed[0], bits.RotateLeft64(word(&k.high), 32)^t.seed[1])
	hi, lo = bits.Mul64(hi^lo^rest, t.seed[0])
	// Once more: of flows that differ by their ports in step, the first two leave
	// low bits that are in step as well, for some seeds.
	hi, lo = bits.Mul64(hi^lo, t.seed[1])
	return &t.buckets[(hi^lo)&uint64(len(t.buckets)-1)]
}

// lookup returns the slot of a connection, whether it has idled out or not, or 0.
func (t *Tracker) lookup(k *key) uint32 {
	for slot := *t.hash(k); slot != 0; slot = t.records[slot].chain {
		if t.matches(slot, k) {
			return slot
		}
	}
	return 0
}

// find returns the slot of a live connection, or 0. One that has idled out is
// absent.
func (t *Tracker) find(k *key, now int64) uint32 {
	slot := t.lookup(k)
	if slot != 0 && t.records[slot].gone(now) {
		return 0
	}
	return slot
}

// take returns an unused slot, or 0 if there is none.
func (t *Tracker) take() uint32 {
	if slot := t.free; slot != 0 {
		t.free = t.records[slot].chain
		return slot
	}
	if int(t.fresh) < len(t.records) {
		t.fresh++
		return t.fresh - 1
	}
	return 0
}

// release frees the connection in slot.
func (t *Tracker) release(slot uint32) {
	r := &t.records[slot]
	k := t.key(slot)
	at := t.hash(&k)
	for *at != slot {
		at = &t.records[*at].chain
	}
	*at = r.chain
	n := &t.interfaces[r.eni]
	t.unlink(&n.wheel, slot)
	n.count--
	n.dismiss()
	t.live--
	*r = record{chain: t.free}
	t.free = slot
}

// Insert makes the packet's flow a connection of the interface, after the rules
// have allowed it. It returns false if the allowance or the table is used up; the
// connections that there are stay (SEM 2.5). There should be no live connection
// of the flow, because Track has returned NewFlow; if there is one, the new one
// takes its place. A TCP reset passes and makes no connection: its Ref is one of
// a connection that has ended.
func (t *Tracker) Insert(eni uint32, f *wire.Frame, now int64) (Ref, bool) {
	if isReset(f) {
		return Ref{Version: 1}, true
	}
	n := t.configured(eni)
	if n == nil {
		return Ref{}, false
	}
	k, from := keyOf(eni, &f.Tuple)
	if slot := t.lookup(&k); slot != 0 {
		t.release(slot)
	}
	slot := t.room(n, now)
	if slot == 0 {
		n.exceeded++
		return Ref{}, false
	}
	if t.version++; t.version == noVersion {
		t.version = 1
	}
	r := &t.records[slot]
	bucket := t.hash(&k)
	*r = record{
		lowPort: k.lowPort, highPort: k.highPort, protocol: k.protocol, eni: uint16(eni),
		version: t.version, chain: *bucket, opened: from,
	}
	t.ends[slot] = k.ends
	*bucket = slot
	switch {
	case r.isTCP():
		r.state, r.opened = r.tcp.open(from, &f.TCP)
	case policy.Protocol(r.protocol) == policy.UDP, r.isICMP():
		r.state = Unreplied
	default:
		r.state = Active
	}
	r.expires = deadline(now, n.limits.timeout(r.state, r.isICMP()))
	if n.count == 0 {
		n.wheel.tick = ticks(now) // an empty wheel may stand anywhere
	}
	t.link(&n.wheel, slot)
	n.count++
	t.live++
	return Ref{slot, r.version}, true
}

// isReset reports whether f is a TCP reset.
func isReset(f *wire.Frame) bool {
	return policy.Protocol(f.Tuple.Protocol) == policy.TCP && f.TCP.Flags&wire.RST != 0
}

// room returns a slot for a new connection of the interface, which admit has then
// counted, or 0. What has idled out goes first, at the interface for its allowance
// and everywhere for the table's capacity.
func (t *Tracker) room(n *interfaceState, now int64) uint32 {
	if !n.admit() {
		t.expire(n, now, sweepPerInsert)
		if !n.admit() {
			return 0
		}
	}
	slot := t.take()
	if slot == 0 {
		t.Sweep(now, sweepPerInsert)
		slot = t.take()
	}
	if slot == 0 {
		n.dismiss()
	}
	return slot
}
