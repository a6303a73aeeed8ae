package conntrack

import (
	"hash/maphash"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// A datagramKey names a datagram (RFC 791 section 3.2, RFC 8200 section 4.5; I5).
// Fragments from two ports are never of one datagram.
type datagramKey struct {
	src, dst wire.Addr
	port, id uint32
	protocol uint8 // of IPv4; over IPv6 zero, since fragments of one datagram may differ in it
	_        [3]byte
}

// datagramKeyOf returns the key of the datagram that f is a part of.
func datagramKeyOf(port uint32, f *wire.Frame) datagramKey {
	key := datagramKey{src: f.Tuple.Src, dst: f.Tuple.Dst, port: port, id: f.ID}
	if f.Kind == wire.KindIPv4 {
		key.protocol = f.Tuple.Protocol
	}
	return key
}

// reassemblyDeadline returns until when a datagram may wait whose first arrival is f.
func reassemblyDeadline(f *wire.Frame, now int64) int64 {
	if f.Kind == wire.KindIPv6 {
		return now + reassemblyTimeoutV6
	}
	return now + reassemblyTimeoutV4
}

// A datagram is one that is not complete, or the tombstone of one.
type datagram struct {
	key      datagramKey
	deadline int64
	next     uint16 // in its bucket, or among the unused
	used     bool
	dead     policy.Reason // what killed it, or None

	chain  chain            // the frames, back to back, in order of arrival
	pieces [maxPieces]piece // where each has its place in the datagram
	n      int              // pieces in use

	received int // bytes of data held
	reach    int // where the held data that is furthest back ends
	total    int // length of the datagram's data in bytes, or 0 while the last fragment has not come
	front    int // what stands before the data and counts for the length, or 0 while the first has not come
}

// A piece is the place of one fragment's data in its datagram.
type piece struct {
	offset, end uint16 // bytes; the data is [offset, end)
	data        uint16 // where the data begins in the frame, in bytes
}

// size returns the length of the piece's frame, in bytes.
func (p *piece) size() int { return int(p.data) + int(p.end) - int(p.offset) }

// span returns the place of f's data in its datagram: [offset, end).
func span(f *wire.Frame) (offset, end int) {
	return f.Offset, f.Offset + len(f.Bytes) - f.Data
}

// front returns how many bytes stand before the data in the datagram that f is
// the first fragment of, and count for its length: the header of IPv4, the
// extension headers of IPv6, without the fragment header that a whole packet has
// not. Of other fragments it returns 0: theirs do not survive (RFC 791 section
// 3.2, RFC 8200 section 4.5).
func front(f *wire.Frame) int {
	const ipv6, fragmentHeader = 40, 8 // RFC 8200 sections 3 and 4.5
	switch {
	case f.Offset != 0:
		return 0
	case f.Kind == wire.KindIPv6:
		return f.Data - f.L3 - ipv6 - fragmentHeader
	}
	return f.Data - f.L3
}

// check holds f against what has come of its datagram, and returns None if it
// fits. A duplicate, which has the place and the data of a fragment that is
// held, is itself refused, for FragmentOverlap, and does no harm: networks make
// them. Everything else that does not fit kills (I4, RFC 5722): data that
// overlaps, whatever its bytes, since hosts differ on which copy counts, and
// ends that differ, which claim one place for the last byte and for more
// (FragmentOverlap); and more data than any datagram has (FragmentTooLong).
func (d *datagram) check(f *wire.Frame, held *blocks) (r policy.Reason, duplicate bool) {
	offset, end := span(f)
	at := 0 // of the piece's frame in the chain
	for i := range d.pieces[:d.n] {
		p := &d.pieces[i]
		if offset < int(p.end) && int(p.offset) < end {
			same := offset == int(p.offset) && end == int(p.end) && f.More == (end != d.total) &&
				held.equal(&d.chain, at+int(p.data), f.Bytes[f.Data:])
			return policy.FragmentOverlap, same
		}
		at += p.size()
	}
	switch {
	case max(d.front, front(f))+max(d.reach, end) > wire.MaxDatagram:
		return policy.FragmentTooLong, false
	case d.total != 0 && end > d.total, !f.More && d.reach > end:
		return policy.FragmentOverlap, false
	}
	return policy.None, false
}

// completedBy reports whether f, which fits, is all that is missing. Pieces do
// not overlap, so they need only be counted.
func (d *datagram) completedBy(f *wire.Frame) bool {
	offset, end := span(f)
	total := d.total
	if !f.More {
		total = end
	}
	return d.n < maxPieces && total != 0 && d.received+end-offset == total
}

// add notes the place of f, which fits, and whose bytes are in the chain.
func (d *datagram) add(f *wire.Frame) {
	offset, end := span(f)
	d.pieces[d.n] = piece{uint16(offset), uint16(end), uint16(f.Data)}
	d.n++
	d.received += end - offset
	d.reach = max(d.reach, end)
	d.front = max(d.front, front(f))
	if !f.More {
		d.total = end
	}
}

// at returns datagram i. It is valid until the next insert.
func (h *Fragments) at(i uint16) *datagram { return &h.pool[i-1] }

// bucket returns where the datagrams of a key's hash begin.
func (h *Fragments) bucket(key *datagramKey) *uint16 {
	return &h.buckets[maphash.Comparable(h.seed, *key)%uint64(len(h.buckets))]
}

// find returns the datagram with the key, or 0.
func (h *Fragments) find(key *datagramKey) uint16 {
	i := *h.bucket(key)
	for i != 0 && h.at(i).key != *key {
		i = h.at(i).next
	}
	return i
}

// insert begins a datagram. There must be none with the key.
func (h *Fragments) insert(key *datagramKey, deadline int64) uint16 {
	i := h.free
	if i == 0 {
		h.pool = append(h.pool, datagram{})
		i = uint16(len(h.pool))
	} else {
		h.free = h.at(i).next
	}
	b := h.bucket(key)
	*h.at(i) = datagram{key: *key, deadline: deadline, next: *b, used: true}
	*b = i
	h.live++
	use := h.ports[key.port]
	use.datagrams++
	h.ports[key.port] = use
	return i
}

// remove forgets datagram i and frees what it holds.
func (h *Fragments) remove(i uint16) {
	d := h.at(i)
	h.discard(d)
	link := h.bucket(&d.key)
	for *link != i {
		link = &h.at(*link).next
	}
	*link = d.next
	d.used, d.next, h.free = false, h.free, i
	h.live--
	use := h.ports[d.key.port]
	use.datagrams--
	h.ports[d.key.port] = use
}
