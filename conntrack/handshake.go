package conntrack

import "vswitch/internal/wire"

// How TCP connections begin. The order of segments that is not the usual one is
// followed, not forbidden (reliability row T9): data in a SYN (RFC 7413),
// simultaneous open (RFC 9293 section 3.5), and the split handshake, in which the
// called end answers a SYN by an ACK and a SYN of its own; it is followed as a
// simultaneous open. Whoever sent the first SYN stays the opener.

const (
	// noScale stands for a SYN without a window scale option; the greatest that
	// the option may say is 14.
	noScale = 0xf

	// maxSYNData is how much data a SYN may carry, in bytes.
	maxSYNData = 65535
)

// open begins a connection with the first segment seen of it, sent by from, and
// returns its state and its opener. s is neither a RST nor illegal.
func (c *tcp) open(from endpoint, s *wire.TCP) (State, endpoint) {
	*c = tcp{}
	if s.Flags&(wire.SYN|wire.ACK) == wire.SYN {
		c.openSYN(from, s)
		return SynSent, from
	}
	// Midway: what the sender acknowledges, the other end has sent. Window scales
	// are unknown, so the windows are taken to be the largest there are.
	c.flags = midway
	c.ends[from] = tcpEnd{end: next(s), ack: s.Ack, maxWin: unknownWindow}
	c.ends[from.other()] = tcpEnd{end: s.Ack, ack: s.Seq, maxWin: unknownWindow}
	switch {
	case s.Flags&wire.SYN != 0: // the SYN-ACK of an opener whose SYN nobody saw
		c.ends[from.other()].ack = s.Seq + 1
		c.noteSYN(from.other(), s.Ack, 0)
		return SynReceived, from.other()
	case s.Flags&wire.FIN != 0:
		c.flags |= from.fin()
		return Closing, from
	}
	return Established, from
}

// openSYN notes the SYN of the end that opens the connection.
func (c *tcp) openSYN(from endpoint, s *wire.TCP) {
	c.ends[from] = tcpEnd{end: next(s), maxWin: max(uint32(s.Window), minWindow)}
	c.noteSYN(from, s.Seq+1, 0)
	c.offer(from, s.Scale)
}

// noteSYN remembers a SYN that an end sent, by what acknowledges it.
func (c *tcp) noteSYN(from endpoint, acknowledged uint32, pending tcpFlags) {
	c.syn = acknowledged
	c.flags = c.flags&^(synPending|synFromHigh) | synKnown | pending
	if from == highEnd {
		c.flags |= synFromHigh
	}
}

// synFrom returns the end that sent the SYN of c.syn.
func (c *tcp) synFrom() endpoint {
	if c.flags&synFromHigh != 0 {
		return highEnd
	}
	return lowEnd
}

// repeatsSYN reports whether a SYN is the one of c.syn.
func (c *tcp) repeatsSYN(from endpoint, s *wire.TCP) bool {
	return c.flags&synKnown != 0 && s.Seq+1 == c.syn && from == c.synFrom()
}

// offer notes the window scale option of an end's SYN. A connection scales its
// windows only if both SYNs have the option (RFC 7323 section 2.2).
func (c *tcp) offer(from endpoint, scale int8) {
	if scale < 0 {
		scale = noScale
	}
	shift := 4 * from
	c.offers = c.offers&^(0xf<<shift) | uint8(scale)<<shift
	low, high := c.offers&0xf, c.offers>>4
	c.shifts = [2]uint8{low, high}
	if low == noScale || high == noScale {
		c.shifts = [2]uint8{}
	}
}

// stepSYN judges a SYN without ACK.
func (c *tcp) stepSYN(state State, opener, from endpoint, s *wire.TCP) (result, State) {
	switch {
	case state == SynSent && from == opener && s.Seq+1 == c.syn:
		c.repeatSYN(from, s)
		return pass, SynSent
	case state == SynSent && from == opener:
		c.openSYN(from, s) // tried anew, with another sequence number
		return pass, SynSent
	case state == SynSent:
		// Simultaneous open: each end's window is open from the other's SYN on.
		c.ends[from] = tcpEnd{end: next(s), ack: c.syn, maxWin: max(uint32(s.Window), minWindow)}
		c.ends[opener].ack = s.Seq + 1
		c.offer(from, s.Scale)
		return pass, SynReceived
	case c.repeatsSYN(from, s):
		return ignore, state
	case from != opener && s.Seq+1 == c.ends[opener].ack:
		return ignore, state // repeated, in a simultaneous open
	}
	// The peer may have rebooted. If the other end has forgotten the connection
	// too, its SYN-ACK to this very SYN begins a new one (stepSYNACK).
	c.noteSYN(from, s.Seq+1, synPending)
	return ignore, state
}

// repeatSYN notes a repeated SYN of the opener, which may leave out data and
// options that the first one had. The answer may be to any of them.
func (c *tcp) repeatSYN(from endpoint, s *wire.TCP) {
	e := &c.ends[from]
	if before(e.end, next(s)) {
		e.end = next(s)
	}
	e.maxWin = max(e.maxWin, uint32(s.Window))
	if s.Scale >= 0 {
		c.offer(from, s.Scale)
	}
}

// stepSYNACK judges a SYN with ACK.
func (c *tcp) stepSYNACK(state State, opener, from endpoint, s *wire.TCP) (result, State) {
	first := &c.ends[opener]
	answers := from != opener && !before(s.Ack, c.syn) && !before(first.end, s.Ack)
	switch {
	case state == SynSent && !answers:
		return unfitting, state // acknowledges nothing that was sent
	case state == SynSent:
		c.answer(from, s)
		return pass, SynReceived
	case c.flags&synPending != 0 && from != c.synFrom() && s.Ack-c.syn <= maxSYNData:
		c.answerAnew(from, s)
		return reopen, SynReceived
	case c.inWindow(from, s):
		if state == SynReceived && from == opener {
			return pass, Established // simultaneous open: acknowledges the other's SYN
		}
		return ignore, state // repeated
	case state == SynReceived && answers && c.flags&synPending == 0:
		c.answer(from, s) // another sequence number than before: SYN cookies, or the peer began anew
		return pass, SynReceived
	}
	return outside, state
}

// answer notes the SYN-ACK of the end that was called.
func (c *tcp) answer(from endpoint, s *wire.TCP) {
	c.ends[from] = tcpEnd{end: next(s), ack: s.Ack, maxWin: max(uint32(s.Window), minWindow)}
	c.ends[from.other()].ack = s.Seq + 1
	c.offer(from, s.Scale)
}

// answerAnew notes the SYN-ACK to a SYN that passed an older connection. That
// SYN's window and options were not kept.
func (c *tcp) answerAnew(from endpoint, s *wire.TCP) {
	c.ends[from] = tcpEnd{end: next(s), ack: s.Ack, maxWin: unknownWindow}
	c.ends[from.other()] = tcpEnd{end: s.Ack, ack: s.Seq + 1, maxWin: unknownWindow}
	c.shifts, c.offers = [2]uint8{}, 0
	c.flags &= synKnown | synFromHigh
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

// stepRSTUnanswered judges a reset while the opener's SYN has no answer.
func (c *tcp) stepRSTUnanswered(opener, from endpoint, s *wire.TCP) result {
	first := &c.ends[opener]
	switch {
	case from == opener && (s.Seq == c.syn || s.Seq == first.end):
		return remove
	case from == opener:
		return ignore // the answer to a challenge ACK of a connection before this one
	case s.Flags&wire.ACK != 0 && !before(s.Ack, c.syn) && !before(first.end, s.Ack):
		return remove // refused
	}
	return unfitting
}
