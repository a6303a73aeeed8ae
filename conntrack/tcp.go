package conntrack

import "vswitch/internal/wire"

// tcp is what tracking knows of a TCP connection besides its State and its
// opener. It is a pure value: open and step change it, and nothing else does; it
// has no clock.
//
// A segment belongs to the connection if it lies inside the window that its
// receiver has opened, as a middle box can tell it from what both ends said so
// far (van Rooij, "Real stateful TCP packet filtering in IP Filter", 2001). The
// tracker hears an acknowledgement before the end that it is for, and a segment
// before the end that will acknowledge it. So its window holds all that either
// end may legally send, and some more.
type tcp struct {
	ends   [2]tcpEnd // by endpoint
	syn    uint32    // what acknowledges the SYN seen last, without the data in it. Valid iff synKnown
	shifts [2]uint8  // by endpoint: how many bits its windows are scaled by
	offers uint8     // window scale options of the SYNs: the low end's in the low four bits, the high end's above
	flags  tcpFlags
}

// A tcpEnd is one end of the connection as the other one's segments are judged by.
type tcpEnd struct {
	end    uint32 // behind the highest sequence number it has sent
	ack    uint32 // the highest it has acknowledged. Not valid in SynSent
	maxWin uint32 // the largest window it has offered, in bytes, scaled; at least minWindow
}

// tcpFlags are single facts about a connection.
type tcpFlags uint8

const (
	finLow        tcpFlags = 1 << iota // the low end has sent a FIN; its end is behind it
	finHigh                            // the high end has
	finAckedLow                        // the low end's FIN was acknowledged
	finAckedHigh                       // the high end's was
	synKnown                           // a SYN was seen: that of tcp.syn
	synFromHigh                        // it came from the high end
	synPending                         // it does not belong to this connection, and may begin another one
	midway                             // no handshake was seen: what the ends have sent before is unknown
	bothFINsAcked = finAckedLow | finAckedHigh
)

// fin returns the flag for a FIN sent by e.
func (e endpoint) fin() tcpFlags { return finLow << e }

// finAcked returns the flag for an acknowledged FIN of e.
func (e endpoint) finAcked() tcpFlags { return finAckedLow << e }

// Windows in bytes.
const (
	unknownWindow = 65535 << 14 // the largest of RFC 7323 section 2.3
	minWindow     = 66000       // a window without scaling, and a bit: no end is held to less, whatever it has offered
)

// A result says what a segment means for its connection.
type result uint8

const (
	pass      result = iota // it belongs; the state may have changed, the timeout is refreshed
	ignore                  // it passes; state and timeout stay as they are
	remove                  // it passes and ends the connection at once
	reopen                  // it passes, and the connection is now one that its receiver has opened
	fresh                   // it begins a new connection in place of this closed one
	outside                 // drop: outside the window
	unfitting               // drop: the state does not allow it
	late                    // drop: the connection is closed
)

// before reports whether number a comes before b, modulo 2^32 (RFC 9293
// section 3.4, for sequence numbers).
func before(a, b uint32) bool { return int32(a-b) < 0 }

// next returns the sequence number behind a segment.
func next(s *wire.TCP) uint32 {
	n := s.Seq + uint32(s.Length)
	if s.Flags&wire.SYN != 0 {
		n++
	}
	if s.Flags&wire.FIN != 0 {
		n++
	}
	return n
}

// step takes a segment that from sent into the connection of the given state and
// opener, and returns what it means and the new state. A result that drops
// leaves the connection as it was.
func (c *tcp) step(state State, opener, from endpoint, s *wire.TCP) (result, State) {
	syn, ack, rst := s.Flags&wire.SYN != 0, s.Flags&wire.ACK != 0, s.Flags&wire.RST != 0
	switch {
	case state == Closed:
		return c.stepClosed(from, s), state
	case rst:
		return c.stepRST(state, opener, from, s)
	case syn && !ack:
		return c.stepSYN(state, opener, from, s)
	case syn:
		return c.stepSYNACK(state, opener, from, s)
	case state == SynSent:
		return c.stepUnanswered(opener, from, s), state
	}
	if !c.inWindow(from, s) {
		return outside, state
	}
	answers := !before(s.Ack, c.ends[from].ack)
	c.advance(from, s)
	switch {
	case c.flags&bothFINsAcked == bothFINsAcked:
		return pass, Closed
	case c.flags&(finLow|finHigh) != 0:
		return pass, Closing
	case state == SynReceived && (from != opener || !answers):
		return pass, SynReceived // the opener has not acknowledged the other's SYN yet
	}
	return pass, Established
}

// inWindow reports whether a segment lies inside the window: it sends no more
// than its receiver has offered, and acknowledges no more than was sent; it
// repeats no more than a window that was acknowledged, and takes no more back of
// what it has acknowledged, as late segments do.
func (c *tcp) inWindow(from endpoint, s *wire.TCP) bool {
	snd, rcv := &c.ends[from&1], &c.ends[from&1^1]
	if before(rcv.ack+rcv.maxWin, next(s)) || before(s.Seq, rcv.ack-rcv.maxWin) || before(s.Ack, snd.ack-snd.maxWin) {
		return false
	}
	// Midway, segments may be on their way that the other end sent before.
	return !before(rcv.end, s.Ack) || c.flags&midway != 0 && !before(rcv.end+unknownWindow, s.Ack)
}

// advance notes an acceptable segment without SYN and RST.
func (c *tcp) advance(from endpoint, s *wire.TCP) {
	snd, rcv := &c.ends[from&1], &c.ends[from&1^1]
	if n := next(s); before(snd.end, n) {
		snd.end = n
	}
	if before(snd.ack, s.Ack) {
		snd.ack = s.Ack
	}
	if before(rcv.end, s.Ack) {
		rcv.end = s.Ack // midway: what is acknowledged was sent
	}
	snd.maxWin = max(snd.maxWin, uint32(s.Window)<<(c.shifts[from&1]&0xf))
	if s.Flags&wire.FIN != 0 {
		c.flags |= from.fin()
	}
	if c.flags&^(synKnown|synFromHigh|midway) == 0 {
		return // the case that the data plane is tuned for
	}
	if c.flags&from.other().fin() != 0 && s.Ack == rcv.end {
		c.flags |= from.other().finAcked()
	}
	if c.flags&synPending != 0 && from == c.synFrom() {
		c.flags &^= synPending // the peer has not rebooted: the SYN was another's, or a very old one
	}
}

// near reports whether a sequence number lies within a window of what the end has
// acknowledged.
func (e *tcpEnd) near(seq uint32) bool {
	return !before(e.ack+e.maxWin, seq) && !before(seq, e.ack-e.maxWin)
}

// stepRST judges a reset. One that is exactly what its receiver expects next ends
// the connection. A receiver that misses what was sent before, or that has seen a
// FIN, may take it or answer with a challenge ACK (RFC 5961 section 3): then the
// connection lingers, so that this ACK and the reset that answers it pass. So it
// does midway, where a late segment may have told more than its receiver has: what
// that one expects next is known no better than by its window.
func (c *tcp) stepRST(state State, opener, from endpoint, s *wire.TCP) (result, State) {
	if state == SynSent {
		return c.stepRSTUnanswered(opener, from, s), state
	}
	snd, rcv := &c.ends[from], &c.ends[from.other()]
	switch {
	case s.Seq == rcv.ack:
		return remove, state
	case c.flags&synPending != 0 && from != c.synFrom() && s.Flags&wire.ACK != 0 && s.Ack-c.syn <= maxSYNData:
		return remove, state // refuses a SYN of a peer that has rebooted: neither end knows the connection
	case s.Seq == snd.end:
		return pass, Closed
	case (state == Closing || c.flags&midway != 0) && rcv.near(s.Seq):
		return pass, Closed
	}
	return outside, state
}

// stepClosed judges a segment of a connection that has closed: a SYN begins a new
// one (SEM 2.8), and what repeats the old one's last words passes, data included,
// because an end that has missed the last acknowledgement repeats all it has sent
// since the one before. Of a connection that was reset, an end that has not
// noticed may also go on: what it sends tells the other one to say so again.
func (c *tcp) stepClosed(from endpoint, s *wire.TCP) result {
	switch {
	case s.Flags&(wire.SYN|wire.ACK) == wire.SYN && c.repeatsSYN(from, s):
		return ignore // a late copy of the one that opened the connection
	case s.Flags&(wire.SYN|wire.ACK) == wire.SYN:
		return fresh
	case s.Flags&wire.RST != 0:
		rcv := &c.ends[from.other()]
		if s.Seq == rcv.ack || s.Seq == c.ends[from].end || c.flags&midway != 0 && rcv.near(s.Seq) {
			return ignore
		}
		return late
	case c.flags&bothFINsAcked == bothFINsAcked && before(c.ends[from].end, next(s)), !c.inWindow(from, s):
		return late
	}
	if s.Flags&wire.SYN == 0 {
		c.advance(from, s)
	}
	return ignore
}
