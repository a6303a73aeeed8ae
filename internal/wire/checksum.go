package wire

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"vswitch/internal/policy"
)

// TransportChecksumOK reports whether the checksum of the transport layer is
// right, or cannot be wrong: the kernel has verified it or is yet to fill it in
// (the virtio header says so), the protocol has none that the switch knows, UDP
// over IPv4 goes without, the frame is a fragment, whose checksum covers the
// whole datagram, or an IPv6 routing header names another destination, which it
// covers too. It reads all of the payload, so it is for frames that would
// create state (I8), not for each one. Kind must not be KindNone.
func (f *Frame) TransportChecksumOK() bool {
	if f.Kind == KindARP || f.Fragment || f.routed || f.offload != 0 {
		return true
	}
	b := f.Bytes[f.L4:]
	switch policy.Protocol(f.Tuple.Protocol) {
	case policy.TCP:
		return checksum.Checksum(b, f.pseudoHeader(len(b))) == 0xffff
	case policy.UDP:
		if binary.BigEndian.Uint16(b[udpChecksum:]) == 0 {
			return f.Kind == KindIPv4 // RFC 8200 section 8.1 forbids it over IPv6
		}
		n := int(binary.BigEndian.Uint16(b[4:6]))
		return checksum.Checksum(b[:n], f.pseudoHeader(n)) == 0xffff
	case policy.ICMP:
		return f.Kind != KindIPv4 || checksum.Checksum(b, 0) == 0xffff
	case policy.ICMPv6:
		return f.Kind != KindIPv6 || checksum.Checksum(b, f.pseudoHeader(len(b))) == 0xffff
	}
	return true
}

// FinishChecksum fills in the checksum of a frame whose sender has left that to
// the hardware, for a port that does not take such frames, and zeroes the virtio
// header. It does nothing to other frames. Of a superframe it makes the one long
// packet that it looks like, for those who only look at it: no device would take
// that, and the segments have checksums of their own.
func (f *Frame) FinishChecksum() {
	if f.offload != needsChecksum {
		return
	}
	// The field holds the sum of the pseudo header already, but that is the
	// sender's word; computed from what was parsed, the result is right.
	b := f.Bytes[f.L4:]
	n := len(b)
	if policy.Protocol(f.Tuple.Protocol) == policy.UDP {
		n = int(binary.BigEndian.Uint16(b[4:6]))
	}
	at := f.checksumField()
	field := b[at : at+checksum.Size]
	clear(field)
	sum := ^checksum.Checksum(b[:n], f.pseudoHeader(n))
	if sum == 0 && at == udpChecksum {
		sum = 0xffff // RFC 768: zero would mean that there is no checksum
	}
	checksum.Put(field, sum)
	clear(f.Bytes[:VirtioSize])
	f.offload = 0
}

// checksumField returns the offset in the transport header, in bytes, of a
// checksum that may be left to the hardware, or 0 where that cannot be: only
// TCP and UDP have it, and only in whole datagrams whose destination is known.
func (f *Frame) checksumField() int {
	if f.Fragment || f.routed || f.L4 == 0 {
		return 0
	}
	switch policy.Protocol(f.Tuple.Protocol) {
	case policy.TCP:
		return tcpChecksum
	case policy.UDP:
		return udpChecksum
	}
	return 0
}

// pseudoHeader returns the sum of the frame's pseudo header for n bytes of
// transport header and payload.
func (f *Frame) pseudoHeader(n int) uint16 {
	addrs := f.Bytes[f.L3+12 : f.L3+20]
	if !f.Tuple.Src.Is4() {
		addrs = f.Bytes[f.L3+8 : f.L3+40]
	}
	return pseudoSum(addrs, f.Tuple.Protocol, n)
}

// pseudoSum returns the sum of a pseudo header (RFC 9293 section 3.1, RFC 8200
// section 8.1), not complemented. addrs is both addresses; n, the length of
// transport header and payload, is at most 65535 bytes, so the form of IPv6, with
// its 32-bit length, sums to the same.
func pseudoSum(addrs []byte, proto uint8, n int) uint16 {
	return checksum.Combine(checksum.Checksum(addrs, uint16(proto)), uint16(n))
}

// updateChecksum changes the checksum in the two bytes of field as if one 16-bit
// word that it covers had changed from old to new: equation 3 of RFC 1624. Not
// all of the words may be zero afterwards; an IP header's never are.
func updateChecksum(field []byte, old, new uint16) {
	sum := checksum.Combine(^binary.BigEndian.Uint16(field), ^old)
	checksum.Put(field, ^checksum.Combine(sum, new))
}
