package wire

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"vswitch/internal/policy"
)

// The IPv4 header, RFC 791 section 3.1.
const (
	ipv4Size           = 20     // without options, in bytes
	fragmentMore       = 0x2000 // more fragments follow
	fragmentOffsetMask = 0x1fff // in units of 8 bytes
)

// IPv4 options with a meaning here, RFC 791 section 3.1.
const (
	optEnd          = 0
	optNoOperation  = 1
	optLooseSource  = 131 // LSRR
	optStrictSource = 137 // SSRR
)

// parseIPv4 reads an IPv4 header (RFC 791) and what is behind it. "Don't
// fragment" and the reserved bit are let through in any combination, as Linux
// does.
func (f *Frame) parseIPv4() policy.Reason {
	b := f.Bytes[f.L3:]
	if len(b) < ipv4Size {
		return policy.IPHeader
	}
	f.Tuple.Src = AddrFrom4(b[12:16])
	f.Tuple.Dst = AddrFrom4(b[16:20])
	f.Tuple.Protocol = b[9]
	f.ID = uint32(binary.BigEndian.Uint16(b[4:6]))

	size := int(b[0]&0xf) * 4
	if b[0]>>4 != 4 || size < ipv4Size || size > len(b) {
		return policy.IPHeader
	}
	total := int(binary.BigEndian.Uint16(b[2:4]))
	if f.GSO != GSONone && total != len(b) {
		return policy.VirtioGSO // V5: nobody may cut a superframe at another length than it was judged at
	}
	if total < size || total > len(b) {
		return policy.IPLength
	}
	if checksum.Checksum(b[:size], 0) != 0xffff {
		return policy.IPChecksum
	}
	if b[8] == 0 {
		return policy.IPTTL
	}
	if size > ipv4Size {
		if r := checkIPv4Options(b[ipv4Size:size]); r != policy.None {
			return r
		}
	}
	f.L4 = f.L3 + size
	f.Bytes = f.Bytes[:f.L3+total] // V5: padding does not travel
	if bits := binary.BigEndian.Uint16(b[6:8]); bits&(fragmentMore|fragmentOffsetMask) != 0 {
		f.Data = f.L4
		if r := f.setFragment(int(bits&fragmentOffsetMask)*8, bits&fragmentMore != 0, size, total-size); r != policy.None {
			return r
		}
	}
	if f.Tuple.Protocol == 0 {
		return policy.IPProtocol // a hop-by-hop header, which IPv4 does not have (CVE-2023-1668)
	}
	return f.parseTransport()
}

// checkIPv4Options walks a list of options, and refuses source routing (I2).
func checkIPv4Options(opts []byte) policy.Reason {
	for len(opts) > 0 {
		switch opts[0] {
		case optEnd:
			return policy.None
		case optNoOperation:
			opts = opts[1:]
			continue
		case optLooseSource, optStrictSource:
			return policy.IPSourceRoute
		}
		if len(opts) < 2 || opts[1] < 2 || int(opts[1]) > len(opts) {
			return policy.IPHeader
		}
		opts = opts[opts[1]:]
	}
	return policy.None
}

// setFragment notes what the fragment fields of either family say: where the n
// bytes of data belong, and whether more come behind them. front is how many
// bytes of headers count for the length of the datagram. It refuses what no
// fragmentation produces (I4).
func (f *Frame) setFragment(offset int, more bool, front, n int) policy.Reason {
	f.Fragment = true
	f.More = more
	f.Offset = offset
	f.Later = offset != 0
	if f.GSO != GSONone {
		return policy.VirtioGSO
	}
	if n == 0 || more && n%8 != 0 {
		return policy.IPFragment
	}
	if front+offset+n > MaxDatagram {
		return policy.FragmentTooLong
	}
	return policy.None
}
