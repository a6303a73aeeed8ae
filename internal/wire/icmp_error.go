package wire

import (
	"encoding/binary"

	"vswitch/internal/policy"
)

// quotedSize is how many bytes behind the quoted IP header an ICMP error must
// have, RFC 792. ICMPv6 quotes as much as fits (RFC 4443), so always more.
const quotedSize = 8

// ICMPError returns the flow that an ICMP error (types 3, 11 and 12) or an ICMPv6
// error (types 1 to 4) complains of: the five-tuple of the quoted packet, in the
// direction in which that packet travelled. It returns false unless the frame is
// such an error, is whole, has a right checksum, quotes at least 8 bytes behind
// the headers of IP, and comes back to the quoted packet's source (T4). The quote
// is a claim of the sender's: only a live connection makes it true.
func (f *Frame) ICMPError() (inner FiveTuple, ok bool) {
	if !f.isICMPError() {
		return FiveTuple{}, false
	}
	var l4 []byte
	if f.Kind == KindIPv4 {
		inner, l4 = quotedIPv4(f.Bytes[f.Payload:])
	} else {
		inner, l4 = quotedIPv6(f.Bytes[f.Payload:])
	}
	if len(l4) < quotedSize || inner.Src != f.Tuple.Dst || !f.TransportChecksumOK() {
		return FiveTuple{}, false
	}
	switch policy.Protocol(inner.Protocol) {
	case policy.TCP, policy.UDP:
		inner.SrcPort, inner.DstPort = binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:])
	case policy.ICMP:
		if f.Kind == KindIPv4 {
			inner.SrcPort, inner.DstPort, _ = icmpPorts(inner.Protocol, l4) // long enough: quotedSize
		}
	case policy.ICMPv6:
		if f.Kind == KindIPv6 {
			inner.SrcPort, inner.DstPort, _ = icmpPorts(inner.Protocol, l4)
		}
	}
	return inner, true
}

// isICMPError reports whether the frame is an ICMP or ICMPv6 error, and whole.
func (f *Frame) isICMPError() bool {
	if f.Fragment {
		return false
	}
	switch policy.Protocol(f.Tuple.Protocol) {
	case policy.ICMP:
		return f.Kind == KindIPv4 && (f.Type == icmpUnreachable || f.Type == icmpTimeExceeded || f.Type == icmpParameterProblem)
	case policy.ICMPv6:
		return f.Kind == KindIPv6 && icmp6Unreachable <= f.Type && f.Type <= icmp6ParamProblem
	}
	return false
}

// quotedIPv4 returns the flow of a quoted packet, without its ports, and what is
// quoted from the transport header on; nothing, if there is no such header.
func quotedIPv4(b []byte) (inner FiveTuple, l4 []byte) {
	if len(b) < ipv4Size || b[0]>>4 != 4 {
		return FiveTuple{}, nil
	}
	size := int(b[0]&0xf) * 4
	if size < ipv4Size || size > len(b) {
		return FiveTuple{}, nil
	}
	// Of a later fragment the quote would be payload, taken for ports. The quoted
	// length is no use: routers have been seen to change it.
	if binary.BigEndian.Uint16(b[6:8])&fragmentOffsetMask != 0 {
		return FiveTuple{}, nil
	}
	return FiveTuple{Src: AddrFrom4(b[12:16]), Dst: AddrFrom4(b[16:20]), Protocol: b[9]}, b[size:]
}

// quotedIPv6 does for IPv6 what quotedIPv4 does. A chain of extension headers is
// walked as that of a packet is: what Parse would refuse, nobody has sent.
func quotedIPv6(b []byte) (inner FiveTuple, l4 []byte) {
	if len(b) < ipv6Size || b[0]>>4 != 6 {
		return FiveTuple{}, nil
	}
	c, r := walkExtensions(b)
	if r != policy.None || c.later() {
		return FiveTuple{}, nil
	}
	inner = FiveTuple{Src: Addr(b[8:24]), Dst: Addr(b[24:40]), Protocol: c.next}
	if inner.Dst.Is4() {
		return FiveTuple{}, nil
	}
	return inner, b[c.end:]
}
