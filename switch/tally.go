package vswitch

import (
	"encoding/binary"
	"math/bits"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// A passage is the way of one packet as far as it went: which interface it came
// to, which rules decided on the way, and how many connections it began.
type passage struct {
	out    uint32            // handle of the receiver's interface; 0 if the packet came as far as none
	place  uint32            // of the flow in the flow cache, plus one; 0 if the cache does not know it
	rules  [Gates]ruleNumber // by Gate; 0 where no rule decided
	opened uint32            // 1 if the packet began a flow, even if it was dropped then
}

// flowSums add up what packets of one flow did since they were last asked for.
// They hold no pointers.
type flowSums struct {
	frames, packets, bytes uint64
	first, last            int64 // the worker's time
	opened                 uint32
	tcpFlags               uint8 // SEM 6.4
	lastFlags              uint8
	icmpType, icmpCode     uint8
}

// add counts one frame.
func (s *flowSums) add(f *wire.Frame, now int64) {
	if s.frames == 0 {
		s.first = now
	}
	s.frames++
	s.packets += uint64(f.Segments)
	s.bytes += uint64(f.WireLen())
	s.last = now
	switch policy.Protocol(f.Tuple.Protocol) {
	case policy.TCP:
		flags := f.TCP.Flags
		s.lastFlags = flags
		s.tcpFlags |= flags & (wire.FIN | wire.SYN | wire.RST)
		if flags&(wire.SYN|wire.ACK) == wire.SYN|wire.ACK {
			s.tcpFlags |= wire.ACK
		}
	case policy.ICMP, policy.ICMPv6:
		s.icmpType, s.icmpCode = f.Type, f.Code
	}
}

// addRaw counts frames of one packet each of which no more is known.
func (s *flowSums) addRaw(frames uint64, bytes int, now int64) {
	if s.frames == 0 {
		s.first = now
	}
	s.frames += frames
	s.packets += frames
	s.bytes += uint64(bytes)
	s.last = now
}

// merge adds what d counted, which is later.
func (s *flowSums) merge(d *flowSums) {
	if s.frames == 0 {
		s.first = d.first
	}
	s.frames += d.frames
	s.packets += d.packets
	s.bytes += d.bytes
	s.first, s.last = min(s.first, d.first), max(s.last, d.last)
	s.opened += d.opened
	s.tcpFlags |= d.tcpFlags
	s.lastFlags, s.icmpType, s.icmpCode = d.lastFlags, d.icmpType, d.icmpCode
}

// A flowRecord is what a worker says of one flow with one outcome, before names
// are put to its numbers. It holds no pointers.
type flowRecord struct {
	tuple   wire.FiveTuple // zero where the frames have none
	in, out uint32
	rules   [Gates]ruleNumber
	reason  policy.Reason
	many    bool // stands for many flows, whose tuples are left out
	sums    flowSums
}

// same reports whether two records are of one flow and outcome.
func (r *flowRecord) same(k *flowRecord) bool {
	return r.tuple == k.tuple && r.in == k.in && r.out == k.out && r.rules == k.rules && r.reason == k.reason && r.many == k.many
}

// A tally keeps the flowRecords of the frames that the flow cache does not count:
// those that took the slow path, and those that were dropped. It is bounded:
// what finds no place as a flow of its own is counted as one of many, by ports,
// outcome and rules, so that the sums stay exact. A worker owns it. The zero
// tally holds nothing and counts what it is given as lost.
type tally struct {
	table []flowRecord // in sets, by hash: flowPlaces, and behind them manyPlaces
	tags  []uint32     // of table, by place: what the hash of a record has besides its set; 0 if the place is free
	used  []uint32     // places of table that are taken
	many  int          // how many of them are of many flows
	seed  uint64
	lost  uint64 // frames that found no place at all
}

const (
	tallyWays  = 16      // places of a set: their tags fill one line of the processor's cache
	flowPlaces = 1 << 14 // 2 MiB; a flow may be in one set
	manyPlaces = 1 << 12
	mostMany   = manyPlaces * 3 / 4 // of them, that may be taken, so that each is found soon
)

func newTally(seed uint64) tally {
	const places = flowPlaces + manyPlaces
	return tally{table: make([]flowRecord, places), tags: make([]uint32, places), used: make([]uint32, 0, places), seed: seed | 1}
}

// record returns the sums of k's flow, those of many flows if it has no place of
// its own, and nil if there is none for them either. The caller must count
// something at once. k is a scratch value.
func (t *tally) record(k *flowRecord) *flowSums {
	if len(t.table) == 0 {
		return nil
	}
	if !k.many {
		h := t.hash(k)
		if s, _ := t.find(k, uint32(h)%(flowPlaces/tallyWays), tagOf(h)); s != nil {
			return s
		}
		k.tuple, k.many = wire.FiveTuple{}, true
	}
	const sets = manyPlaces / tallyWays
	h := t.hash(k)
	for i := range uint32(sets) { // there is room in the first one nearly always
		if s, full := t.find(k, flowPlaces/tallyWays+(uint32(h)+i)%sets, tagOf(h)); !full {
			return s
		}
	}
	return nil
}

// tagOf returns the tag of a record with that hash.
func tagOf(h uint64) uint32 { return uint32(h>>32) | 1 }

// find returns the sums of the record in a set that is the same as k, a new one if
// there is none; nil if there is no room for it, be it that the set is full.
func (t *tally) find(k *flowRecord, set, tag uint32) (sums *flowSums, full bool) {
	first, free := set*tallyWays, -1
	for way, other := range (*[tallyWays]uint32)(t.tags[first:]) {
		switch other {
		case tag:
			if r := &t.table[first+uint32(way)]; r.same(k) {
				return &r.sums, false
			}
		case 0:
			if free < 0 {
				free = way
			}
		}
	}
	if free < 0 {
		return nil, true
	}
	if k.many {
		if t.many == mostMany {
			return nil, false
		}
		t.many++
	}
	place := first + uint32(free)
	t.used = append(t.used, place)
	t.tags[place] = tag
	r := &t.table[place]
	*r = *k
	r.sums = flowSums{}
	return &r.sums, false
}

// merge adds what a flow has done. r is a scratch value.
func (t *tally) merge(r *flowRecord) {
	sums := r.sums
	if s := t.record(r); s != nil {
		s.merge(&sums)
	} else {
		t.lost += sums.frames
	}
}

// take moves up to len(out) records out of the tally, and returns how many.
func (t *tally) take(out []flowRecord) int {
	n := min(len(out), len(t.used))
	for i, place := range t.used[len(t.used)-n:] {
		out[i] = t.table[place]
		if out[i].many {
			t.many--
		}
		t.table[place], t.tags[place] = flowRecord{}, 0
	}
	t.used = t.used[:len(t.used)-n]
	return n
}

// hash mixes what a record is found by with the seed.
func (t *tally) hash(k *flowRecord) uint64 {
	u := &k.tuple
	src := binary.LittleEndian.Uint64(u.Src[:8]) ^ bits.RotateLeft64(binary.LittleEndian.Uint64(u.Src[8:]), 17)
	dst := binary.LittleEndian.Uint64(u.Dst[:8]) ^ bits.RotateLeft64(binary.LittleEndian.Uint64(u.Dst[8:]), 31)
	rest := uint64(u.SrcPort)<<48 | uint64(u.DstPort)<<32 | uint64(u.Protocol)<<24 | uint64(k.reason)
	hi, lo := bits.Mul64(src^t.seed, dst^bits.RotateLeft64(t.seed, 32))
	hi, lo = bits.Mul64(hi^lo^rest, t.seed)
	hi, lo = bits.Mul64(hi^lo^uint64(k.in)<<32^uint64(k.out), t.seed)
	rules := uint64(k.rules[0])<<48 | uint64(k.rules[1])<<32 | uint64(k.rules[2])<<16 | uint64(k.rules[3])
	hi, lo = bits.Mul64(hi^lo^rules, t.seed)
	return hi ^ lo
}
