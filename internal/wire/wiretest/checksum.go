package wiretest

import (
	"encoding/binary"

	"vswitch/internal/policy"
)

// The checksums here are the obvious loop, on purpose: package wire, which uses
// a faster one, is tested against them.

// sum adds the 16-bit words of b to initial in ones' complement (RFC 1071). The
// checksum of b is the complement of what it returns.
func sum(b []byte, initial uint16) uint16 {
	s := uint32(initial)
	for i := 0; i < len(b); i += 2 {
		s += uint32(b[i]) << 8
		if i+1 < len(b) {
			s += uint32(b[i+1])
		}
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// pseudoSum returns the sum of the pseudo header for n bytes of transport header
// and payload. addrs is the two addresses.
func pseudoSum(addrs []byte, proto uint8, n int) uint16 {
	return sum(addrs, sum([]byte{0, proto, byte(n >> 8), byte(n)}, 0))
}

// checksumAt returns the offset of a protocol's checksum in its header, or 0 if
// this package knows none.
func checksumAt(proto uint8) int {
	switch policy.Protocol(proto) {
	case policy.TCP:
		return 16
	case policy.UDP:
		return 6
	case policy.ICMP, policy.ICMPv6:
		return 2
	}
	return 0
}

// putChecksum writes the checksum c to b, or one that is wrong in every byte.
func putChecksum(b []byte, c uint16, state Checksum) {
	if state == Bad {
		c ^= 0x5a5a
	}
	binary.BigEndian.PutUint16(b, c)
}
