package wire

import (
	"encoding/binary"

	"vswitch/internal/policy"
)

// ipv6Size is the length of the fixed header, in bytes, RFC 8200 section 3.
const ipv6Size = 40

// parseIPv6 reads the fixed IPv6 header (RFC 8200 section 3) and what is behind
// it.
func (f *Frame) parseIPv6() policy.Reason {
	b := f.Bytes[f.L3:]
	if len(b) < ipv6Size {
		return policy.IPHeader
	}
	f.Tuple.Src = Addr(b[8:24])
	f.Tuple.Dst = Addr(b[24:40])
	f.Tuple.Protocol = b[6]
	if b[0]>>4 != 6 {
		return policy.IPHeader
	}
	// ::ffff:a.b.c.d is not to be seen on a wire (RFC 4942 section 2.2), and an
	// Addr could not tell it from the IPv4 address.
	if f.Tuple.Src.Is4() || f.Tuple.Dst.Is4() {
		return policy.IPHeader
	}
	total := ipv6Size + int(binary.BigEndian.Uint16(b[4:6]))
	if f.GSO != GSONone && total != len(b) {
		return policy.VirtioGSO
	}
	if total > len(b) {
		return policy.IPLength
	}
	if b[7] == 0 {
		return policy.IPTTL
	}
	f.L4 = f.L3 + ipv6Size
	f.Bytes = f.Bytes[:f.L3+total]
	if isExtension(b[6]) {
		if r := f.parseExtensions(b[:total]); r != policy.None {
			return r
		}
	}
	return f.parseTransport()
}
