package vswitch_test

import (
	"bytes"
	"slices"
	"time"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// A modelDatagram is one of which fragments have come (SEM 2.8, I3 to I6). What
// kills it leaves it behind dead, so that what else comes of it is refused too.
type modelDatagram struct {
	from   *modelENI
	tuple  wire.FiveTuple // addresses alone, and of IPv4 the protocol
	id     uint32
	ends   int64 // the instant at which its time is over
	dead   policy.Reason
	pieces []modelPiece // in order of arrival
}

// A modelPiece is a fragment that waits.
type modelPiece struct {
	begin, end int // the place of its data in the datagram, in bytes
	header     int // what of its headers counts for the length of the datagram, in bytes
	last       bool
	data       []byte
	frame      []byte // as it came, virtio header included
}

// Bounds (I6). The bounds on bytes are out of reach of the fragments that
// random_test.go sends.
const (
	modelDatagrams     = 1000
	modelPortDatagrams = 64
	modelPieces        = 64
)

// fragment takes one fragment: it waits until its datagram is complete, and the
// whole is then judged once, by its first fragment.
func (m *model) fragment(in *modelENI, f *wire.Frame) verdict {
	d := m.datagram(in, f)
	if d != nil && m.now >= d.ends {
		n := len(d.pieces)
		m.forget(d)
		d = nil
		if n > 0 {
			m.say("the fragment is late: its datagram's time is over")
			return m.dropPieces(in, n, policy.FragmentTimeout)
		}
	}
	if d == nil {
		if d = m.newDatagram(in, f); d == nil {
			return m.drop(in, policy.FragmentLimit)
		}
	}
	if d.dead != policy.None {
		m.say("the fragment's datagram is dead")
		return m.drop(in, d.dead)
	}
	p := pieceOf(f)
	if slices.ContainsFunc(d.pieces, func(q modelPiece) bool { return p.repeats(q) }) {
		m.say("the fragment repeats another")
		return m.drop(in, policy.FragmentOverlap)
	}
	if r := d.fits(p); r != policy.None {
		m.say("the fragment kills its datagram")
		n := len(d.pieces)
		d.dead, d.pieces = r, nil
		return m.dropPieces(in, n, r)
	}
	d.pieces = append(d.pieces, p)
	if !d.complete() {
		in.counters.Held++
		return verdict{held: true}
	}
	m.forget(d)
	in.counters.Held -= uint64(len(d.pieces) - 1)
	return m.whole(in, d)
}

// whole judges a complete datagram and sends all of its fragments, or none. One
// that waited may be too long by now, as the MTU is another.
func (m *model) whole(in *modelENI, d *modelDatagram) verdict {
	frames := make([]wire.Frame, len(d.pieces))
	var first *wire.Frame
	length := 0
	r := policy.None
	for i, p := range d.pieces {
		if r == policy.None {
			r = frames[i].Parse(slices.Clone(p.frame), m.mtu())
		}
		if p.begin == 0 {
			first = &frames[i]
		}
		length = max(length, p.end)
	}
	first.TCP.Length = length - (first.Payload - first.Data) // of the whole segment
	var out *modelENI
	if r == policy.None {
		out, r = m.judge(in, first)
	}
	var v verdict
	for i := range frames {
		if r != policy.None {
			v = m.drop(in, r)
		} else {
			v = m.transmit(in, out, &frames[i])
		}
	}
	return v
}

// dropPieces counts n fragments that waited, and the one that came, as dropped.
func (m *model) dropPieces(in *modelENI, n int, r policy.Reason) verdict {
	in.counters.Held -= uint64(n)
	in.counters.Drops[r] += uint64(n)
	return m.drop(in, r)
}

// endDatagrams ends the datagrams whose time is over.
func (m *model) endDatagrams() {
	for _, d := range slices.Clone(m.datagrams) {
		if m.now >= d.ends {
			d.from.counters.Held -= uint64(len(d.pieces))
			d.from.counters.Drops[policy.FragmentTimeout] += uint64(len(d.pieces))
			m.forget(d)
		}
	}
}

// datagramTuple returns what fragments of one datagram have in common besides
// their identification (RFC 791 section 3.2, RFC 8200 section 4.5).
func datagramTuple(f *wire.Frame) wire.FiveTuple {
	t := wire.FiveTuple{Src: f.Tuple.Src, Dst: f.Tuple.Dst}
	if f.Kind == wire.KindIPv4 {
		t.Protocol = f.Tuple.Protocol
	}
	return t
}

// datagram returns the one that f is a part of, or nil.
func (m *model) datagram(in *modelENI, f *wire.Frame) *modelDatagram {
	for _, d := range m.datagrams {
		if d.from == in && d.tuple == datagramTuple(f) && d.id == f.ID {
			return d
		}
	}
	return nil
}

// newDatagram begins one, or returns nil if too many wait (I6).
func (m *model) newDatagram(in *modelENI, f *wire.Frame) *modelDatagram {
	ofPort := 0
	for _, d := range m.datagrams {
		if d.from == in {
			ofPort++
		}
	}
	if ofPort == modelPortDatagrams || len(m.datagrams) == modelDatagrams {
		return nil
	}
	life := 30 * time.Second // SEM 2.8
	if f.Kind == wire.KindIPv6 {
		life = 60 * time.Second
	}
	d := &modelDatagram{from: in, tuple: datagramTuple(f), id: f.ID, ends: m.now + int64(life)}
	m.datagrams = append(m.datagrams, d)
	return d
}

func (m *model) forget(d *modelDatagram) {
	m.datagrams = slices.DeleteFunc(m.datagrams, func(other *modelDatagram) bool { return other == d })
}

func pieceOf(f *wire.Frame) modelPiece {
	data, header := f.Bytes[f.Data:], f.Data-f.L3
	if f.Kind == wire.KindIPv6 {
		header -= 40 + 8 // neither the fixed header nor the fragment header
	}
	return modelPiece{begin: f.Offset, end: f.Offset + len(data), header: header, last: !f.More, data: data, frame: f.Bytes}
}

// repeats reports whether p is an exact duplicate of q: harmless, and refused by
// itself.
func (p modelPiece) repeats(q modelPiece) bool {
	return p.begin == q.begin && p.end == q.end && p.last == q.last && bytes.Equal(p.data, q.data)
}

// fits returns None if a piece can be of the datagram, or what it dies of.
func (d *modelDatagram) fits(p modelPiece) policy.Reason {
	for _, q := range d.pieces {
		if p.begin < q.end && q.begin < p.end {
			return policy.FragmentOverlap
		}
	}
	header, length := 0, 0 // of the datagram as the first fragment and the longest say
	for _, q := range append(slices.Clone(d.pieces), p) {
		if q.begin == 0 {
			header = q.header
		}
		length = max(length, q.end)
	}
	if header+length > 65535 {
		return policy.FragmentTooLong
	}
	for _, q := range d.pieces { // nothing comes behind the last one
		if q.last && p.end > q.end || p.last && q.end > p.end {
			return policy.FragmentOverlap
		}
	}
	if len(d.pieces) == modelPieces {
		return policy.FragmentLimit
	}
	return policy.None
}

// complete reports whether the pieces, which do not overlap, leave no gap.
func (d *modelDatagram) complete() bool {
	length, sum := -1, 0
	for _, p := range d.pieces {
		if p.last {
			length = p.end
		}
		sum += p.end - p.begin
	}
	return sum == length
}
