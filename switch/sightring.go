package vswitch

import (
	"encoding/binary"
	"sync/atomic"

	"vswitch/internal/policy"
)

// A sightRing carries copies of frames from one worker to one reader: a byte ring
// of fixed size, without a lock. The worker never waits: a frame that finds no
// room is lost. It may write several records and reveal them together, and change
// the first of them until then.
//
// The worker alone calls reserve, amend and publish; the reader alone calls front
// and pop.
type sightRing struct {
	data    []byte
	crowded chan struct{} // holds a token once a quarter of data waits; shared by all rings of a Watch

	head atomic.Uint64 // where the published records end; of the worker
	tail atomic.Uint64 // where the records that wait begin; of the reader

	// The worker's own: where the next record goes, where the one before it begins,
	// and tail as it was last seen.
	next, last, seen uint64
}

// A sight is the header of one record. Lengths are in bytes.
type sight struct {
	size   uint32     // of the record, header and padding included
	kept   uint32     // of the bytes behind the header
	length uint32     // of the frame when it was seen, without virtio header
	port   uint32     // index into Watch.Ports
	stamp  int64      // the worker's time
	plane  uint32     // generation of the plane that judged the frame
	gate   uint32     // handle of the interface at whose gate the frame was dropped; 0 if at none
	rule   ruleNumber // of the network ACL that denied it; 0 if none did
	reason policy.Reason
	flags  uint8
}

// Flags of a sight.
const (
	sightSent uint8 = 1 << iota // written to the port, not read from it
	sightHeld                   // a fragment that waits for the rest
)

// sightHeader is how long a record is before its frame, in bytes.
const sightHeader = 40

func newSightRing(size int, crowded chan struct{}) *sightRing {
	return &sightRing{data: make([]byte, size), crowded: crowded}
}

// reserve makes room for a record that keeps s.kept bytes, and returns where those
// go. It returns nil if there is no room. The record is not seen by the reader
// before publish.
func (r *sightRing) reserve(s *sight) []byte {
	size := uint64(sightHeader+s.kept+7) &^ 7
	at := r.next % uint64(len(r.data))
	gap := uint64(len(r.data)) - at // to the end of data
	need := size
	if gap < size {
		need += gap
	}
	if r.next+need-r.seen > uint64(len(r.data)) {
		if r.seen = r.tail.Load(); r.next+need-r.seen > uint64(len(r.data)) {
			return nil
		}
	}
	if gap < size {
		// Records are multiples of eight bytes, so there is room for the word
		// that says to skip what is left.
		binary.LittleEndian.PutUint32(r.data[at:], uint32(gap)|skipBit)
		r.next += gap
		at = 0
	}
	s.size = uint32(size)
	s.put(r.data[at:])
	r.last = r.next
	r.next += size
	return r.data[at+sightHeader : at+sightHeader+uint64(s.kept)]
}

// skipBit marks, in the first word of a record, what is no record but the rest of
// the ring up to its end. No record is that long.
const skipBit = 1 << 31

// amend changes the header of the record that begins at position at and is not
// published yet: last, right after it was reserved.
func (r *sightRing) amend(at uint64, s *sight) { s.put(r.data[at%uint64(len(r.data)):]) }

// publish reveals what was reserved.
func (r *sightRing) publish() {
	r.head.Store(r.next)
	if r.next-r.seen < uint64(len(r.data)/4) {
		return
	}
	if r.seen = r.tail.Load(); r.next-r.seen >= uint64(len(r.data)/4) {
		select {
		case r.crowded <- struct{}{}:
		default:
		}
	}
}

// front returns the oldest record that waits. b is valid until pop.
func (r *sightRing) front() (s sight, b []byte, ok bool) {
	tail := r.tail.Load()
	for tail != r.head.Load() {
		at := tail % uint64(len(r.data))
		if word := binary.LittleEndian.Uint32(r.data[at:]); word&skipBit != 0 {
			tail += uint64(word &^ skipBit)
			r.tail.Store(tail)
			continue
		}
		s.get(r.data[at:])
		return s, r.data[at+sightHeader : at+sightHeader+uint64(s.kept)], true
	}
	return s, nil, false
}

// pop gives the room of the record s, which is at the front, back to the worker.
func (r *sightRing) pop(s *sight) { r.tail.Add(uint64(s.size)) }

// put writes the header to b.
func (s *sight) put(b []byte) {
	_ = b[sightHeader-1]
	le := binary.LittleEndian
	le.PutUint32(b[0:], s.size)
	le.PutUint32(b[4:], s.kept)
	le.PutUint32(b[8:], s.length)
	le.PutUint32(b[12:], s.port)
	le.PutUint64(b[16:], uint64(s.stamp))
	le.PutUint32(b[24:], s.plane)
	le.PutUint32(b[28:], s.gate)
	le.PutUint16(b[32:], uint16(s.rule))
	b[34], b[35] = byte(s.reason), s.flags
}

// get reads the header from b.
func (s *sight) get(b []byte) {
	_ = b[sightHeader-1]
	le := binary.LittleEndian
	s.size, s.kept = le.Uint32(b[0:]), le.Uint32(b[4:])
	s.length, s.port = le.Uint32(b[8:]), le.Uint32(b[12:])
	s.stamp = int64(le.Uint64(b[16:]))
	s.plane, s.gate = le.Uint32(b[24:]), le.Uint32(b[28:])
	s.rule = ruleNumber(le.Uint16(b[32:]))
	s.reason, s.flags = policy.Reason(b[34]), b[35]
}
