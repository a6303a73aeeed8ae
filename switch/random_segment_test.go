package vswitch_test

import (
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

// saySegment fills in the TCP segment that one end of a talk sends: mostly what a
// host in its place would, else anything.
func (w *world) saySegment(t *talk, end int, f *wiretest.Frame) {
	from := &t.ends[end]
	f.Seq, f.Ack = from.next, from.heard
	if w.one(10) {
		f.Window = pick[uint16](w, 0, 1, 65535)
	}
	choice := w.r.IntN(20)
	switch {
	case !from.began && !from.met && (end == 0 || choice < 3):
		w.begin(from, f, wire.SYN)
	case !from.began && from.met:
		w.begin(from, f, wire.SYN|wire.ACK)
	case choice < 11 && from.began:
		w.converse(from, f, choice)
	case choice < 17:
		w.misbehave(from, f)
	case choice == 17: // the port is used again, or the host has booted
		from.next, from.heard, from.met, from.began = w.r.Uint32(), 0, false, false
		f.Seq = from.next
		w.begin(from, f, wire.SYN)
	default:
		w.lie(f)
	}
	if f.Flags == 0 {
		f.Flags = wire.ACK
	}
}

// begin makes f a SYN, with or without ACK.
func (w *world) begin(from *talker, f *wiretest.Frame, flags uint8) {
	f.Flags, f.Scale = flags, from.scale
	if w.one(10) {
		f.Len = 5 // RFC 7413
	}
	if flags&wire.ACK == 0 {
		f.Ack = 0
	}
	from.began = true
	from.next = f.Seq + 1 + uint32(f.Len)
}

// converse is what a host does on an established connection.
func (w *world) converse(from *talker, f *wiretest.Frame, choice int) {
	f.Flags = wire.ACK
	switch {
	case choice < 4:
		f.Len = pick(w, 1, 10, 1000)
		f.Flags |= wire.PSH
	case choice == 4:
		f.Len, f.GSO = pick(w, 1500, 4000), 1000
		f.Flags |= pick(w, 0, wire.PSH, wire.FIN, wire.ECE|wire.CWR)
		if f.Flags&wire.FIN != 0 {
			from.next++
		}
	case choice == 5:
		f.Flags |= wire.FIN
		from.next++
	case choice == 6:
		f.Seq-- // keep-alive
	}
	from.next += uint32(f.Len)
}

// misbehave is legal on its own, and out of place.
func (w *world) misbehave(from *talker, f *wiretest.Frame) {
	switch w.r.IntN(8) {
	case 0:
		f.Flags = wire.RST // exactly in sequence
	case 1:
		f.Flags = wire.RST | wire.ACK
	case 2:
		f.Flags = wire.RST
		f.Seq += w.far()
	case 3:
		f.Flags = wire.SYN | wire.ACK
		f.Seq--
	case 4:
		f.Flags = wire.SYN
		f.Seq += w.far()
	case 5:
		f.Flags, f.Len = wire.ACK, 10
		f.Seq += w.far()
	case 6:
		f.Flags = wire.ACK
		f.Ack += w.far()
	case 7:
		f.Flags = wire.FIN | wire.ACK
		f.Seq += w.far()
	}
}

// far returns a distance: a little, beyond a small window, or beyond any.
func (w *world) far() uint32 {
	return pick[uint32](w, 1, ^uint32(0), 1000, 65000, 70000, ^uint32(70000), 1<<21, 1<<30, 1<<31)
}

// lie is anything: flags that no segment has, numbers from nowhere.
func (w *world) lie(f *wiretest.Frame) {
	f.Flags = pick(w, wire.SYN|wire.FIN, 0, wire.FIN, wire.SYN|wire.RST, wire.PSH, wire.ACK|wire.URG, wire.SYN|wire.ECE|wire.CWR, wire.RST|wire.PSH)
	if f.Flags == 0 {
		f.Flags = wire.PSH | wire.URG
	}
	if w.one(2) {
		f.Seq, f.Ack = w.r.Uint32(), w.r.Uint32()
	}
}

// hear notes a segment that an end has received.
func hear(to *talker, f *wiretest.Frame) {
	end := f.Seq + uint32(f.Len)
	if f.Flags&wire.FIN != 0 {
		end++
	}
	switch {
	case f.Flags&wire.SYN != 0 && f.Flags&wire.RST == 0:
		to.heard, to.met = end+1, true
	case f.Seq == to.heard && f.Flags&wire.RST == 0:
		to.heard = end
	}
}
