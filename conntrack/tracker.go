package conntrack

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// A Tracker holds the connections of all network interfaces that one worker
// serves. See the package comment for who may use it. Its memory is mapped for
// the capacity it was made with, outside the garbage collector's sight, and costs
// nothing until it is used.
type Tracker struct {
	records    []record // slot 0 is never used, so that slot 0 means none
	buckets    []uint32 // first slot of each chain
	mapped     [2][]byte
	free       uint32 // head of the list of used and freed slots
	fresh      uint32 // slots from here on were never used
	live       int
	seed       [2]uint64 // random: nobody can aim at one chain
	interfaces []interfaceState
	swept      int // the interface that Sweep goes on with
}

// interfaceState is what a Tracker keeps for one network interface.
type interfaceState struct {
	limits     Limits // completed; Max 0 means the handle is not in use
	count      int
	exceeded   uint64
	queues     [numClasses]queue
	configured bool
}

// A Ref remembers a connection: its slot, and the version that the slot had. A
// slot that was freed and used again has another version, so that whoever kept a
// Ref never rides another connection. The zero Ref is no connection.
type Ref struct{ Slot, Version uint32 }

// New returns a Tracker for at most capacity connections.
func New(capacity int) (*Tracker, error) {
	if capacity < 1 || capacity > 1<<30 {
		return nil, fmt.Errorf("capacity %d: want 1 to %d connections", capacity, 1<<30)
	}
	t := &Tracker{fresh: 1, seed: [2]uint64{rand.Uint64() | 1, rand.Uint64() | 1}}
	buckets := 1 << bits.Len(uint(capacity-1))
	sizes := [2]int{(capacity + 1) * recordSize, buckets * 4}
	for i, size := range sizes {
		m, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
		if err != nil {
			_ = t.Close()
			return nil, fmt.Errorf("%d bytes for %d connections: %w", size, capacity, err)
		}
		t.mapped[i] = m
	}
	// Mapped memory is page-aligned and zero, which is what records and buckets
	// start as; Go has no other way to lay a typed slice over it.
	t.records = unsafe.Slice((*record)(unsafe.Pointer(&t.mapped[0][0])), capacity+1)
	t.buckets = unsafe.Slice((*uint32)(unsafe.Pointer(&t.mapped[1][0])), buckets)
	return t, nil
}

// Close gives the memory back. The Tracker must not be used after it.
func (t *Tracker) Close() error {
	t.records, t.buckets = nil, nil
	for i, m := range t.mapped {
		if m == nil {
			continue
		}
		t.mapped[i] = nil
		if err := unix.Munmap(m); err != nil {
			return fmt.Errorf("connection table: %w", err)
		}
	}
	return nil
}

// Capacity returns how many connections fit in all.
func (t *Tracker) Capacity() int { return len(t.records) - 1 }

// Len returns how many connections there are, those included that have idled out
// and were not swept yet.
func (t *Tracker) Len() int { return t.live }

// Configure sets the limits of the network interface with the given handle. New
// timeouts hold for a connection from its next packet on.
func (t *Tracker) Configure(eni uint32, l Limits) {
	for int(eni) >= len(t.interfaces) {
		t.interfaces = append(t.interfaces, interfaceState{})
	}
	t.interfaces[eni].limits = l.complete()
	t.interfaces[eni].configured = true
}

// Remove forgets all connections of a network interface, and its counters. The
// handle may then be configured anew.
func (t *Tracker) Remove(eni uint32) {
	if int(eni) >= len(t.interfaces) {
		return
	}
	n := &t.interfaces[eni]
	for c := range n.queues {
		for n.queues[c].head != 0 {
			t.release(n.queues[c].head)
		}
	}
	t.interfaces[eni] = interfaceState{}
}

// Usage is the state of an interface's allowance (SEM 2.5).
type Usage struct {
	Tracked  int    // connections, those included that were not swept yet
	Max      int    // the allowance
	Exceeded uint64 // packets refused because the allowance, or the whole table, was used up
}

// Usage returns the state of an interface's allowance.
func (t *Tracker) Usage(eni uint32) Usage {
	if int(eni) >= len(t.interfaces) {
		return Usage{}
	}
	n := &t.interfaces[eni]
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
	return &t.buckets[(hi^lo)&uint64(len(t.buckets)-1)]
}

// find returns the slot of a live connection, or 0. One that has idled out is
// absent.
func (t *Tracker) find(k *key, now int64) uint32 {
	for slot := *t.hash(k); slot != 0; slot = t.records[slot].chain {
		if r := &t.records[slot]; r.matches(k) {
			if r.expires < ticks(now) {
				return 0
			}
			return slot
		}
	}
	return 0
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
	k := key{r.low, r.high, r.lowPort, r.highPort, r.protocol, r.eni}
	for at := t.hash(&k); ; at = &t.records[*at].chain {
		if *at == slot {
			*at = r.chain
			break
		}
	}
	n := &t.interfaces[r.eni]
	t.dequeue(&n.queues[r.class], slot)
	n.count--
	t.live--
	*r = record{version: r.version, chain: t.free}
	t.free = slot
}

// Insert makes the packet's flow a connection of the interface, after the rules
// have allowed it. It returns false if the allowance or the table is used up; the
// connections that there are stay (SEM 2.5). A TCP reset passes and makes none,
// which the zero Ref says. There must be no live connection of the flow: Track
// has returned NewFlow.
func (t *Tracker) Insert(eni uint32, f *wire.Frame, now int64) (Ref, bool) {
	if isReset(f) {
		return Ref{}, true
	}
	k, from := keyOf(eni, &f.Tuple)
	t.forget(&k)
	n := &t.interfaces[eni]
	if n.count >= n.limits.Max {
		t.expire(n, now, sweepPerInsert)
	}
	slot := uint32(0)
	if n.count < n.limits.Max {
		if slot = t.take(); slot == 0 {
			t.Sweep(now, sweepPerInsert)
			slot = t.take()
		}
	}
	if slot == 0 {
		n.exceeded++
		return Ref{}, false
	}
	r := &t.records[slot]
	bucket := t.hash(&k)
	*r = record{
		low: k.low, high: k.high, lowPort: k.lowPort, highPort: k.highPort, protocol: k.protocol, eni: eni,
		version: r.version + 1, chain: *bucket,
	}
	if r.version == 0 {
		r.version = 1 // the zero Ref is no connection
	}
	*bucket = slot
	opener := from
	switch {
	case r.isTCP():
		r.state, opener = r.tcp.open(from, &f.TCP)
	case policy.Protocol(r.protocol) == policy.UDP, r.isICMP():
		r.state = Unreplied
	default:
		r.state = Active
	}
	if opener == highEnd {
		r.flags |= openerHigh
	}
	r.class = classOf(r.state, r.isICMP())
	r.expires = deadline(now, n.limits.timeout(r.class))
	t.enqueue(&n.queues[r.class], slot)
	n.count++
	t.live++
	return Ref{slot, r.version}, true
}

// isReset reports whether f is a TCP reset.
func isReset(f *wire.Frame) bool {
	return policy.Protocol(f.Tuple.Protocol) == policy.TCP && f.TCP.Flags&wire.RST != 0
}

// forget frees the connection of k that has idled out and was not swept yet, if
// there is one.
func (t *Tracker) forget(k *key) {
	for slot := *t.hash(k); slot != 0; slot = t.records[slot].chain {
		if t.records[slot].matches(k) {
			t.release(slot)
			return
		}
	}
}

// A Conn is a connection as it is listed.
type Conn struct {
	Tuple wire.FiveTuple // as its opener sees it
	State State
	Left  time.Duration // until it idles out, to the second
}

// List copies connections of an interface into out: those behind the place
// after, which is 0 at first. It returns how many it copied and the place to go
// on from, which is 0 when there are no more.
func (t *Tracker) List(eni, after uint32, out []Conn, now int64) (n int, next uint32) {
	for slot := after + 1; slot < t.fresh; slot++ {
		r := &t.records[slot]
		if r.eni != eni || r.state == stateFree || r.expires < ticks(now) {
			continue
		}
		if n == len(out) {
			return n, slot - 1
		}
		left := time.Duration(int64(r.expires)<<tickShift - now)
		out[n] = Conn{Tuple: r.tuple(), State: r.state, Left: max(left.Truncate(time.Second), 0)}
		n++
	}
	return n, 0
}
