package conntrack_test

import (
	"math/rand/v2"

	"vswitch/internal/wire"
)

// An endpoint is one end of a TCP connection, as small as RFC 9293 allows: it
// sends a number of bytes that nobody looks at, repeats what is not acknowledged,
// heeds windows, and closes or aborts. It is there to produce every segment that
// a legal TCP might, whatever the network does to them.
type endpoint struct {
	random  *rand.Rand
	active  bool // it opens the connection; the other one may do so too
	iss     uint32
	total   uint32 // bytes to send before the FIN
	mss     int    // the most it sends in one segment; more than an MTU makes superframes
	scale   int8   // its window scale option, or -1
	buffer  uint32 // of its receiver, in bytes
	abortAt uint32 // sequence number at which it resets the connection, or 0

	una, nxt, edge uint32 // first not acknowledged, first not sent, and first that the peer's window does not hold
	sent           bool   // the SYN was sent
	heard          int    // turns since something was acknowledged or the window opened
	peerScale      int8

	known   bool   // the peer's SYN has come
	irs     uint32 // its sequence number
	rcvNxt  uint32
	got     []bool // by sequence number behind irs: has come
	unread  uint32 // bytes that the application has not read
	rcvEdge uint32 // the end of the window that it has offered
	owes    bool   // an acknowledgement
	ended   bool   // the peer's FIN has come, in order
	dead    bool   // reset, or closed at both ends: answers by resets
	idle    int    // turns since it has closed
}

// fin is the sequence number of its FIN.
func (e *endpoint) fin() uint32 { return e.iss + 1 + e.total }

// finished reports whether both ends have closed and know it.
func (e *endpoint) finished() bool { return e.dead || e.ended && e.una == e.fin()+1 }

// repeatAfter is the retransmission timeout, in turns.
const repeatAfter = 30

// window returns the value of the window field.
func (e *endpoint) window(syn bool) uint16 {
	free := e.buffer - min(e.unread, e.buffer)
	if e.known && int32(e.rcvNxt+free-e.rcvEdge) < 0 {
		free = e.rcvEdge - e.rcvNxt // a window never shrinks
	}
	shift := e.shift(e.scale)
	if syn {
		shift = 0
	}
	field := min(free>>shift, 65535)
	if edge := e.rcvNxt + field<<shift; int32(edge-e.rcvEdge) > 0 {
		e.rcvEdge = edge
	}
	return uint16(field)
}

// shift returns by how much windows of the given option are scaled.
func (e *endpoint) shift(scale int8) int8 {
	if e.scale < 0 || e.peerScale < 0 {
		return 0
	}
	return scale
}

// segment returns a segment of its stream: from seq, no longer than length.
func (e *endpoint) segment(seq uint32, length int) wire.TCP {
	s := wire.TCP{Seq: seq, Scale: -1, Flags: wire.ACK, Ack: e.rcvNxt}
	switch {
	case seq == e.iss:
		s.Flags, s.Scale = wire.SYN, e.scale
		if e.known {
			s.Flags |= wire.ACK
			if e.peerScale < 0 {
				s.Scale = -1
			}
		} else {
			s.Ack = 0
		}
		s.Window = e.window(true)
		return s
	case int32(e.fin()-seq) >= 0 && length > 0:
		s.Length = int(min(uint32(length), e.fin()-seq))
		if seq+uint32(s.Length) == e.fin() && length > s.Length {
			s.Flags |= wire.FIN
		}
	}
	if s.Length > 0 && e.random.IntN(4) == 0 {
		s.Flags |= wire.PSH
	}
	s.Window = e.window(false)
	e.owes = false
	return s
}

// turn returns what it sends of its own accord.
func (e *endpoint) turn() (out []wire.TCP) {
	if e.dead || !e.active && !e.known {
		return nil
	}
	e.heard++
	e.unread -= min(e.unread, uint32(e.random.IntN(int(e.buffer)+1)))
	if e.abortAt != 0 && e.una != e.iss && int32(e.nxt-e.abortAt) >= 0 {
		e.dead = true
		return []wire.TCP{{Seq: e.nxt, Ack: e.rcvNxt, Flags: wire.RST | wire.ACK, Scale: -1}}
	}
	again := e.heard >= repeatAfter
	if e.una == e.iss {
		if !e.sent || again {
			e.sent, e.heard, e.nxt = true, 0, e.iss+1
			out = append(out, e.segment(e.iss, 0))
		}
		return out
	}
	for range 1 + e.random.IntN(4) { // new data, and the FIN
		room := int(int32(min(e.fin()+1-e.nxt, e.edge-e.nxt)))
		if int32(e.edge-e.nxt) <= 0 || e.nxt == e.fin()+1 {
			break
		}
		s := e.segment(e.nxt, min(room, e.mss))
		e.nxt = next(&s)
		out = append(out, s)
	}
	switch {
	case again && e.una != e.nxt: // repeat, perhaps in other pieces
		e.heard = 0
		s := e.segment(e.una, min(int(e.nxt-e.una), 1+e.random.IntN(e.mss)))
		out = append(out, s)
	case again && e.nxt != e.fin()+1: // the window is closed: probe it
		e.heard = 0
		s := e.segment(e.nxt, 1)
		e.nxt = next(&s)
		out = append(out, s)
	case e.una == e.nxt && e.random.IntN(200) == 0: // keep-alive
		s := e.segment(e.nxt-1, 0)
		out = append(out, s)
	}
	if e.owes && e.random.IntN(3) == 0 || e.unread == 0 && e.random.IntN(50) == 0 {
		out = append(out, e.segment(e.nxt, 0)) // an acknowledgement, or a new window
	}
	if e.finished() {
		if e.idle++; e.idle > 20*repeatAfter && !e.owes {
			e.dead = true
		}
	}
	return out
}

// next returns the sequence number behind a segment.
func next(s *wire.TCP) uint32 {
	n := s.Seq + uint32(s.Length)
	if s.Flags&(wire.SYN|wire.FIN) != 0 {
		n++
	}
	return n
}

// receive takes a segment in and returns the answers that it demands at once. n
// is how many bytes the peer will send.
func (e *endpoint) receive(s *wire.TCP, n uint32) []wire.TCP {
	syn, ack, rst := s.Flags&wire.SYN != 0, s.Flags&wire.ACK != 0, s.Flags&wire.RST != 0
	challenge := func() []wire.TCP {
		e.owes = true
		if e.una == e.iss {
			return []wire.TCP{e.segment(e.iss, 0)}
		}
		return []wire.TCP{e.segment(e.nxt, 0)}
	}
	acceptable := ack && int32(s.Ack-e.una) > 0 && int32(e.nxt-s.Ack) >= 0
	switch {
	case e.dead && rst:
		return nil
	case e.dead, !e.known && !syn && !rst:
		return []wire.TCP{refusal(s)}
	case !e.known && rst:
		e.dead = e.dead || acceptable
		return nil
	case !e.known && ack && !acceptable:
		return []wire.TCP{refusal(s)}
	case !e.known:
		e.known, e.irs, e.rcvNxt, e.rcvEdge, e.peerScale = true, s.Seq, s.Seq+1, s.Seq+1, s.Scale
		e.got = make([]bool, n+2)
		e.got[0] = true
		e.edge = e.iss + 1 + uint32(s.Window)
		e.sent, e.nxt = true, e.iss+1
		if ack {
			e.una, e.heard = s.Ack, 0
		}
		return challenge()
	case rst && s.Seq == e.rcvNxt:
		e.dead = true
		return nil
	case rst && int32(s.Seq-e.rcvNxt) > 0 && int32(e.rcvEdge-s.Seq) > 0:
		return challenge()
	case rst:
		return nil
	case syn:
		if ack && e.una == e.iss && acceptable { // simultaneous open
			e.una, e.heard = s.Ack, 0
		}
		return challenge()
	}
	if int32(next(s)-e.rcvNxt) < 0 || int32(s.Seq-e.rcvEdge) > 0 || int32(s.Ack-e.nxt) > 0 {
		return challenge()
	}
	if acceptable {
		e.una, e.heard = s.Ack, 0
	}
	if edge := s.Ack + uint32(s.Window)<<e.shift(e.peerScale); int32(edge-e.edge) > 0 {
		e.edge, e.heard = edge, 0
	}
	for seq := s.Seq; seq != next(s); seq++ {
		if int32(seq-e.rcvNxt) >= 0 && (int32(e.rcvEdge-seq) > 0 || seq-e.irs == n+1) {
			e.got[seq-e.irs] = true
		}
	}
	for int(e.rcvNxt-e.irs) < len(e.got) && e.got[e.rcvNxt-e.irs] {
		e.rcvNxt++
		e.unread++
	}
	e.ended = e.rcvNxt-e.irs == n+2
	e.owes = e.owes || next(s) != s.Seq || s.Seq != e.rcvNxt
	return nil
}

// refusal is how an end without the connection answers a segment (RFC 9293
// section 3.10.7.1).
func refusal(s *wire.TCP) wire.TCP {
	if s.Flags&wire.ACK != 0 {
		return wire.TCP{Seq: s.Ack, Flags: wire.RST, Scale: -1}
	}
	return wire.TCP{Ack: next(s), Flags: wire.RST | wire.ACK, Scale: -1}
}
