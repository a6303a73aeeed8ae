package wire

import (
	"encoding/binary"

	"vswitch/internal/policy"
)

// Numbers of IPv6 extension headers, RFC 8200 section 4. All other numbers end a
// chain, and are the packet's protocol: also ESP (50), behind which everything is
// encrypted, and AH (51), so that no rule for TCP matches what AH says is TCP.
const (
	hopByHop           = 0
	routingHeader      = 43
	fragmentHeader     = 44
	noNextHeader       = 59
	destinationOptions = 60
)

// Bounds of a chain of extension headers (I7). Linux sends two or three headers
// at most.
const (
	maxExtensions     = 8
	maxExtensionBytes = 2048
)

// extensionUnit is the length of the shortest extension header and of the
// fragment header, and the unit that the others are longer by, in bytes.
const extensionUnit = 8

// Bits of the fragment header's third and fourth byte, RFC 8200 section 4.5.
// What is left of them is the offset in bytes.
const (
	fragment6More     = 1
	fragment6Reserved = 6
)

// isExtension reports whether the walk goes on behind a header of that number.
func isExtension(number uint8) bool {
	switch number {
	case hopByHop, routingHeader, fragmentHeader, destinationOptions:
		return true
	}
	return false
}

// A chain is what a walk over extension headers has found. Offsets are in bytes,
// from the start of the fixed header.
type chain struct {
	next     uint8 // the number of what is behind the chain: the packet's protocol
	end      int   // offset of what is behind the chain
	fragment int   // offset of the fragment header, or 0
	bits     int   // offset and more-fragments bit. Valid iff fragment is not 0
	routed   bool  // a routing header names destinations that are still to come
}

// partial reports whether the packet is a part of a datagram: a fragment header
// that begins the datagram and ends it makes none (RFC 6946).
func (c *chain) partial() bool { return c.bits != 0 }

// later reports whether the packet is a fragment other than the first.
func (c *chain) later() bool { return c.bits > fragment6More }

// walkExtensions follows the extension headers of b, a packet whose fixed header
// is whole (I7). It refuses what no legal packet has, and what is beyond the
// bounds. In a fragment other than the first it stops at the fragment header:
// behind it is the middle of something.
func walkExtensions(b []byte) (c chain, r policy.Reason) {
	c = chain{next: b[6], end: ipv6Size}
	for n := 0; isExtension(c.next); n++ {
		switch {
		case n == maxExtensions, c.next == hopByHop && n > 0:
			return c, policy.IPHeader
		case c.next == fragmentHeader && c.fragment != 0:
			return c, policy.IPFragment
		case c.later():
			return c, policy.None
		}
		h := b[c.end:]
		if len(h) < extensionUnit {
			return c, c.cut()
		}
		size := (int(h[1]) + 1) * extensionUnit
		switch c.next {
		case routingHeader:
			if h[2] == 0 {
				return c, policy.IPSourceRoute // RFC 5095
			}
			c.routed = c.routed || h[3] != 0
		case fragmentHeader:
			c.bits = int(binary.BigEndian.Uint16(h[2:4]))
			if h[1] != 0 || c.bits&fragment6Reserved != 0 {
				return c, policy.IPFragment
			}
			c.fragment, size = c.end, extensionUnit
		}
		if size > len(h) {
			return c, c.cut()
		}
		c.next, c.end = h[0], c.end+size
		if c.end > ipv6Size+maxExtensionBytes {
			return c, policy.IPHeader
		}
	}
	return c, policy.None
}

// cut is the reason when a packet ends inside its chain. A first fragment must
// hold all of it (RFC 7112).
func (c *chain) cut() policy.Reason {
	if c.partial() {
		return policy.FragmentTiny
	}
	return policy.IPHeader
}

// parseExtensions reads the extension headers of b, the whole packet. Superframes
// have none: whoever cuts one repeats headers that it would have to understand.
func (f *Frame) parseExtensions(b []byte) policy.Reason {
	if f.GSO != GSONone {
		return policy.VirtioGSO
	}
	c, r := walkExtensions(b)
	if r != policy.None {
		return r
	}
	f.Tuple.Protocol = c.next
	f.L4 = f.L3 + c.end
	f.routed = c.routed
	if !c.partial() {
		return policy.None
	}
	data := c.fragment + extensionUnit
	f.ID = binary.BigEndian.Uint32(b[c.fragment+4:])
	f.Data = f.L3 + data
	// The fixed header does not count for the length of an IPv6 datagram, and the
	// fragment header is not part of it.
	if r := f.setFragment(c.bits&^fragment6More, c.bits&fragment6More != 0, c.fragment-ipv6Size, len(b)-data); r != policy.None {
		return r
	}
	if !f.Later && len(b) == c.end && c.next != noNextHeader {
		return policy.FragmentTiny // RFC 7112: nothing of the upper layer at all
	}
	return policy.None
}
