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
	icmp6Unreachable     = 1 // the first of the errors
	icmp6ParamProblem    = 4 // the last of the errors that are defined, RFC 4443 section 2.1
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

// parseICMPv6 reads an ICMPv6 header, and the message behind it if that is one of
// neighbor discovery.
func (f *Frame) parseICMPv6() policy.Reason {
	if r := f.parseICMP(); r != policy.None || !isND(f.Type) {
		return r
	}
	return f.parseND()
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

// replyTTL is the TTL or hop limit of what the switch itself sends; RFC 1700's
// default.
const replyTTL = 64

// EchoReply turns the ICMP or ICMPv6 echo request in f into its reply, in place:
// the bytes, and the fields that describe them. f must be an echo request to an
// address of one host, and no fragment. Addresses of both layers change places,
// the TTL starts anew, and the virtio header is zero (V7). The checksums are
// updated and not computed anew, so that damage on the way stays visible to the
// sender.
func EchoReply(f *Frame) {
	clear(f.Bytes[:VirtioSize])
	f.SetMACs(f.Dst, f.Src)
	if f.Kind == KindIPv6 {
		f.echoReply6()
	} else {
		f.echoReply4()
	}
	f.Tuple = f.Tuple.Reverse()
}

// echoReply4 does what EchoReply does to an IPv4 packet.
func (f *Frame) echoReply4() {
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
	icmp[0], f.Type = icmpEchoReply, icmpEchoReply
}

// echoReply6 does what EchoReply does to an IPv6 packet. Addresses that change
// places leave the checksum as it is.
func (f *Frame) echoReply6() {
	ip := f.Bytes[f.L3 : f.L3+ipv6Size]
	copy(ip[8:24], f.Tuple.Dst[:])
	copy(ip[24:40], f.Tuple.Src[:])
	ip[7] = replyTTL

	icmp := f.Bytes[f.L4:]
	updateChecksum(icmp[icmpChecksum:icmpChecksum+checksum.Size], icmp6EchoRequest<<8, icmp6EchoReply<<8) // the type shares its word with the code
	icmp[0], f.Type = icmp6EchoReply, icmp6EchoReply
}
