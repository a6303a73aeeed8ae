package conntrack

import "vswitch/internal/wire"

// tcp is what tracking knows of a TCP connection besides its State. It is a pure
// value: step changes it, and nothing else does; it has no clock.
//
// A segment belongs to the connection if it lies inside the window that its
// receiver has opened, as a middle box can tell it from what both ends said so
// far (van Rooij, "Real stateful TCP packet filtering in IP Filter", 2001). A
// connection that was picked up midway has an unknown window scale: its windows
// are taken to be the largest there are.
type tcp struct {
	ends   [2]tcpEnd // by endpoint
	syn    uint32    // what acknowledges the SYN that passed an established connection. Valid iff synPending
	scales uint8     // window scales (RFC 7323): the low end's in the low four bits, the high end's above
	flags  tcpFlags
	_      [2]byte
}

// A tcpEnd is one end of the connection as the other one's segments are judged by.
type tcpEnd struct {
	end    uint32 // behind the highest sequence number it has sent
	ack    uint32 // the highest it has acknowledged
	maxWin uint32 // the largest window it has offered, in bytes, scaled; at least 1
}

// tcpFlags are single facts about a connection.
type tcpFlags uint8

const (
	finLow        tcpFlags = 1 << iota // the low end has sent a FIN; its end is behind it
	finHigh                            // the high end has
	finAckedLow                        // the low end's FIN was acknowledged
	finAckedHigh                       // the high end's was
	synPending                         // a SYN passed while the connection was established
	synFromHigh                        // it came from the high end. Valid iff synPending
	unscaled                           // the opener's SYN had no window scale option, so neither end scales
	noFlags       tcpFlags = 0
	bothFINsAcked          = finAckedLow | finAckedHigh
)

// fin returns the flag for a FIN sent by e.
func (e endpoint) fin() tcpFlags { return finLow << e }

// finAcked returns the flag for an acknowledged FIN of e.
func (e endpoint) finAcked() tcpFlags { return finAckedLow << e }

// other returns the opposite end.
func (e endpoint) other() endpoint { return e ^ 1 }

// Windows in bytes.
const (
	unknownWindow = 1 << 30 // 65,535 scaled by 14, the largest of RFC 7323
	minAckWindow  = 66000   // how far back an acknowledgement may always lie: a window without scaling, and some
)

// A result says what a segment means for its connection.
type result uint8

const (
	pass      result = iota // it belongs; the state may have changed, the timeout is refreshed
	ignore                  // it passes, without any effect
	remove                  // it passes and ends the connection at once
	fresh                   // it begins a new connection in place of this closed one
	outside                 // drop: outside the window
	unfitting               // drop: the state does not allow it
	late                    // drop: the connection is closed
)

// before reports whether sequence number a lies before b (RFC 9293 section 3.4).
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

// open begins a connection with the first segment seen of it, sent by from, and
// returns its state and its opener. s is neither a RST nor illegal.
func (c *tcp) open(from endpoint, s *wire.TCP) (State, endpoint) {
	*c = tcp{}
	if s.Flags&(wire.SYN|wire.ACK) == wire.SYN {
		c.openSYN(from, s)
		return SynSent, from
	}
	// Midway: what the sender acknowledges, the other end has sent.
	c.ends[from] = tcpEnd{end: next(s), ack: s.Ack, maxWin: unknownWindow}
	c.ends[from.other()] = tcpEnd{end: s.Ack, ack: s.Seq, maxWin: unknownWindow}
	switch {
	case s.Flags&wire.SYN != 0: // the SYN-ACK of an opener whose SYN nobody saw
		return SynReceived, from.other()
	case s.Flags&wire.FIN != 0:
		c.flags |= from.fin()
		return Closing, from
	}
	return Established, from
}

// openSYN notes the SYN of an end. Until the other end has answered, ack holds
// the lowest acknowledgement that a SYN-ACK may carry: of the SYN without the
// data in it.
func (c *tcp) openSYN(from endpoint, s *wire.TCP) {
	c.ends[from] = tcpEnd{end: next(s), ack: s.Seq + 1, maxWin: max(uint32(s.Window), 1)}
	c.setScale(from, s.Scale)
}

// setScale notes the window scale option of an end's SYN. Windows are scaled
// only if both ends said so (RFC 7323 section 2.2).
func (c *tcp) setScale(from endpoint, scale int8) {
	if scale < 0 {
		c.flags |= unscaled
	}
	if c.flags&unscaled != 0 {
		c.scales = 0
		return
	}
	shift := 4 * from
	c.scales = c.scales&^(0xf<<shift) | uint8(scale)<<shift
}

// step takes a segment that from sent into the connection of the given state and
// opener, and returns what it means and the new state. Only pass and remove
// change the connection, and synPending, which ignore may set.
func (c *tcp) step(state State, opener, from endpoint, s *wire.TCP) (result, State) {
	syn, ack, rst := s.Flags&wire.SYN != 0, s.Flags&wire.ACK != 0, s.Flags&wire.RST != 0
	switch {
	case state == Closed:
		return c.stepClosed(from, s), state
	case rst:
		return c.stepRST(state, opener, from, s), state
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
	c.advance(from, s)
	return pass, c.after(state, opener, from)
}

// after returns the state that an acceptable segment without SYN and RST leads
// to, once advance has noted it.
func (c *tcp) after(state State, opener, from endpoint) State {
	switch {
	case c.flags&bothFINsAcked == bothFINsAcked:
		return Closed
	case c.flags&(finLow|finHigh) != 0:
		return Closing
	case state == SynReceived && from != opener:
		return SynReceived // the opener has not acknowledged the SYN-ACK yet
	}
	return Established
}

// inWindow reports whether a segment lies inside the window: it sends no more
// than its receiver offered, repeats no more than one window, and acknowledges
// what was sent, and not too long ago.
func (c *tcp) inWindow(from endpoint, s *wire.TCP) bool {
	snd, rcv := &c.ends[from], &c.ends[from.other()]
	if before(rcv.ack+rcv.maxWin, next(s)) || before(s.Seq, snd.end-rcv.maxWin) {
		return false
	}
	return !before(rcv.end, s.Ack) && !before(s.Ack, rcv.end-max(snd.maxWin, minAckWindow))
}

// advance notes an acceptable segment without SYN and RST.
func (c *tcp) advance(from endpoint, s *wire.TCP) {
	snd, rcv := &c.ends[from], &c.ends[from.other()]
	if n := next(s); before(snd.end, n) {
		snd.end = n
	}
	if before(snd.ack, s.Ack) {
		snd.ack = s.Ack
	}
	if w := uint32(s.Window) << (c.scales >> (4 * from) & 0xf); w > snd.maxWin {
		snd.maxWin = w
	}
	if s.Flags&wire.FIN != 0 {
		c.flags |= from.fin()
	}
	if c.flags&from.other().fin() != 0 && s.Ack == rcv.end {
		c.flags |= from.other().finAcked()
	}
}

// stepSYN judges a SYN without ACK.
func (c *tcp) stepSYN(state State, opener, from endpoint, s *wire.TCP) (result, State) {
	switch state {
	case SynSent:
		c.openSYN(from, s)
		if from == opener {
			return pass, SynSent // repeated, or tried anew with another sequence number
		}
		// Simultaneous open: each end's window is open from the other's SYN on.
		c.ends[from].ack = c.ends[opener].end
		c.ends[opener].ack = s.Seq
		return pass, SynReceived
	case SynReceived:
		return ignore, state
	}
	// The peer may have rebooted. If the other end has forgotten the connection
	// too, its SYN-ACK to this very SYN begins a new one (stepSYNACK).
	c.syn = next(s)
	c.flags = c.flags&^synFromHigh | synPending
	if from == highEnd {
		c.flags |= synFromHigh
	}
	return ignore, state
}

// stepSYNACK judges a SYN with ACK.
func (c *tcp) stepSYNACK(state State, opener, from endpoint, s *wire.TCP) (result, State) {
	first := &c.ends[opener]
	switch state {
	case SynSent:
		if from == opener || before(s.Ack, first.ack) || before(first.end, s.Ack) {
			return unfitting, state // acknowledges nothing that was sent
		}
		c.answer(from, s)
		return pass, SynReceived
	case SynReceived:
		if from != opener && s.Ack == first.end && next(s) != c.ends[from].end {
			c.answer(from, s) // the peer began anew before it was acknowledged
			return pass, SynReceived
		}
	case Established, Closing:
		if c.flags&synPending != 0 && s.Ack == c.syn && (c.flags&synFromHigh != 0) == (from == lowEnd) {
			began := from.other()
			c.ends[began] = tcpEnd{end: c.syn, ack: s.Seq, maxWin: unknownWindow} // its SYN's window was not kept
			c.ends[from] = tcpEnd{end: next(s), ack: s.Ack, maxWin: unknownWindow}
			c.scales, c.flags = 0, unscaled
			return pass, SynReceived
		}
	}
	if !c.inWindow(from, s) {
		return outside, state
	}
	return ignore, state // repeated
}

// answer notes the SYN-ACK of the end that was called.
func (c *tcp) answer(from endpoint, s *wire.TCP) {
	c.ends[from] = tcpEnd{end: next(s), ack: s.Ack, maxWin: max(uint32(s.Window), 1)}
	c.ends[from.other()].ack = s.Seq
	c.setScale(from, s.Scale)
}

// stepRST judges a reset: only one that is exactly in sequence ends the
// connection (RFC 5961 section 3), or any inside the window after a FIN.
func (c *tcp) stepRST(state State, opener, from endpoint, s *wire.TCP) result {
	snd, rcv := &c.ends[from], &c.ends[from.other()]
	if state == SynSent {
		switch {
		case from == opener && s.Seq == snd.end:
			return remove
		case from == opener:
			return ignore // the answer to a challenge ACK of a connection before this one
		case s.Flags&wire.ACK != 0 && !before(s.Ack, rcv.ack) && !before(rcv.end, s.Ack):
			return remove // refused
		}
		return unfitting
	}
	if s.Seq == rcv.ack || s.Seq == snd.end {
		return remove
	}
	inside := !before(rcv.ack+rcv.maxWin, s.Seq) && !before(s.Seq, snd.end-rcv.maxWin)
	if state == Closing && inside {
		return remove
	}
	return outside
}

// stepUnanswered judges a segment without SYN and RST while the opener's SYN has
// no answer: only a challenge ACK (RFC 5961 section 4) of an end that remembers
// an older connection passes, and the opener's reset will follow it.
func (c *tcp) stepUnanswered(opener, from endpoint, s *wire.TCP) result {
	if from != opener && s.Length == 0 && s.Flags&wire.FIN == 0 {
		return ignore
	}
	return unfitting
}

// stepClosed judges a segment of a connection whose both ends have closed: last
// words of the old one pass, and a SYN begins a new one (SEM 2.8).
func (c *tcp) stepClosed(from endpoint, s *wire.TCP) result {
	if s.Flags&(wire.SYN|wire.ACK|wire.RST) == wire.SYN {
		return fresh
	}
	repeated := s.Length == 0 || s.Flags&wire.FIN != 0
	if s.Flags&(wire.SYN|wire.RST) == 0 && repeated && !before(c.ends[from].end, next(s)) && c.inWindow(from, s) {
		return ignore
	}
	return late
}
