package wire

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"vswitch/internal/policy"
)

// ICMP types that the switch treats in a way of their own, RFC 792 and RFC 4443.
const (
	icmpEchoReply        = 0
	icmpUnreachable      = 3
	icmpEchoRequest      = 8
	icmpTimeExceeded     = 11
	icmpParameterProblem = 12
	icmpTimestamp        = 13
	icmpTimestampReply   = 14
	icmp6EchoRequest     = 128
	icmp6EchoReply       = 129
)

// Sizes of ICMP headers, in bytes.
const (
	icmpFixedSize = 4 // type, code, checksum: what all messages have
	icmpQuerySize = 8 // with identifier and sequence number; errors have four unused bytes there
)

// parseICMP reads an ICMP or ICMPv6 header (RFC 792, RFC 4443).
func (f *Frame) parseICMP() policy.Reason {
	b := f.Bytes[f.L4:]
	if len(b) < icmpFixedSize {
		return policy.TransportHeader
	}
	f.Type, f.Code = b[0], b[1]
	f.Payload = f.L4 + min(len(b), icmpQuerySize)
	var ok bool
	f.Tuple.SrcPort, f.Tuple.DstPort, ok = icmpPorts(f.Tuple.Protocol, b)
	if !ok {
		return policy.TransportHeader
	}
	return policy.None
}

// icmpPorts returns what an ICMP message puts in the place of ports, as
// FiveTuple documents it. b is the message, of four bytes at least. It returns
// false if the message should have an identifier and ends before it.
func icmpPorts(proto uint8, b []byte) (src, dst uint16, ok bool) {
	typ, code := b[0], uint16(b[1])
	request, reply := icmpQuery(proto, typ)
	if !request && !reply {
		return 0, uint16(typ)<<8 | code, true
	}
	if len(b) < icmpQuerySize {
		return 0, 0, false
	}
	id := binary.BigEndian.Uint16(b[4:6])
	if request {
		return id, uint16(typ)<<8 | code, true
	}
	return uint16(requestOf(typ))<<8 | code, id, true
}

// icmpQuery reports whether a message of that type asks a question that its
// identifier ties to an answer, or is such an answer. Information and address
// mask requests are deprecated (RFC 6918), and count as any other message.
func icmpQuery(proto, typ uint8) (request, reply bool) {
	if policy.Protocol(proto) == policy.ICMPv6 {
		return typ == icmp6EchoRequest, typ == icmp6EchoReply
	}
	return typ == icmpEchoRequest || typ == icmpTimestamp, typ == icmpEchoReply || typ == icmpTimestampReply
}

// requestOf returns the type of the question that an answer of type typ is for.
func requestOf(typ uint8) uint8 {
	if typ == icmpEchoReply {
		return icmpEchoRequest
	}
	return typ - 1
}

// replyTo returns the type of the answer to a question of type typ.
func replyTo(typ uint8) uint8 {
	if typ == icmpEchoRequest {
		return icmpEchoReply
	}
	return typ + 1
}

// ICMPError returns the flow that an ICMP error over IPv4 (types 3, 11 and 12)
// complains of: the five-tuple of the quoted packet, in the direction in which
// that packet travelled. It returns false unless the frame is such an error, is
// whole, has a right checksum, quotes at least 8 bytes behind an IPv4 header, and
// comes back to the quoted packet's source (T4). The quote is a claim of the
// sender's: only a live connection makes it true.
func (f *Frame) ICMPError() (inner FiveTuple, ok bool) {
	if f.Kind != KindIPv4 || policy.Protocol(f.Tuple.Protocol) != policy.ICMP || f.Fragment {
		return FiveTuple{}, false
	}
	switch f.Type {
	case icmpUnreachable, icmpTimeExceeded, icmpParameterProblem:
	default:
		return FiveTuple{}, false
	}
	b := f.Bytes[f.Payload:]
	if len(b) < ipv4Size || b[0]>>4 != 4 {
		return FiveTuple{}, false
	}
	size := int(b[0]&0xf) * 4
	if size < ipv4Size || size+quotedSize > len(b) {
		return FiveTuple{}, false
	}
	// Of a later fragment the quote would be payload, taken for ports. The quoted
	// length is no use: routers have been seen to change it.
	if binary.BigEndian.Uint16(b[6:8])&fragmentOffsetMask != 0 {
		return FiveTuple{}, false
	}
	inner.Src, inner.Dst = AddrFrom4(b[12:16]), AddrFrom4(b[16:20])
	inner.Protocol = b[9]
	if inner.Src != f.Tuple.Dst || !f.TransportChecksumOK() {
		return FiveTuple{}, false
	}
	l4 := b[size:]
	switch policy.Protocol(inner.Protocol) {
	case policy.TCP, policy.UDP:
		inner.SrcPort, inner.DstPort = binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:])
	case policy.ICMP:
		inner.SrcPort, inner.DstPort, _ = icmpPorts(inner.Protocol, l4) // long enough: quotedSize
	}
	return inner, true
}

// quotedSize is how many bytes behind the quoted IP header an ICMP error must
// have, RFC 792.
const quotedSize = 8

// replyTTL is the TTL of what the switch itself sends; RFC 1700's default.
const replyTTL = 64

// EchoReply turns the ICMP echo request in f into its reply, in place: the
// bytes, and the fields that describe them. f must be an IPv4 echo request and
// no fragment. Addresses of both layers change places, the TTL starts anew, and
// the virtio header is zero (V7). The checksums are updated and not computed
// anew, so that damage on the way stays visible to the sender.
func EchoReply(f *Frame) {
	clear(f.Bytes[:VirtioSize])
	f.SetMACs(f.Dst, f.Src)

	ip := f.Bytes[f.L3:f.L4]
	src, dst := [4]byte(ip[12:16]), [4]byte(ip[16:20])
	copy(ip[12:16], dst[:])
	copy(ip[16:20], src[:])
	updateChecksum(ip[10:12], uint16(ip[8])<<8, replyTTL<<8) // the TTL shares its 16-bit word with the protocol
	ip[8] = replyTTL

	// The type becomes zero, so the checksum grows by what it was. Equation 3 of
	// RFC 1624 would be wrong for the one message that is then zero throughout.
	icmp := f.Bytes[f.L4:]
	field := icmp[icmpChecksum : icmpChecksum+checksum.Size]
	checksum.Put(field, checksum.Combine(binary.BigEndian.Uint16(field), icmpEchoRequest<<8))
	icmp[0] = icmpEchoReply

	f.Type = icmpEchoReply
	f.Tuple = f.Tuple.Reverse()
}
