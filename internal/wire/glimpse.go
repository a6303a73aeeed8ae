package wire

import (
	"encoding/binary"

	"vswitch/internal/policy"
)

// Glimpse returns the tuple of a frame that has not been parsed, for whoever wants to
// make ready what the frame will need: b is as for Parse. It checks nothing, so that
// nothing may be decided by it. It returns false unless the frame has the shape that
// nearly all frames of TCP and UDP have, without IP options, extension headers or
// fragmentation; then, if Parse accepts the frame, its Tuple is the same.
func Glimpse(b []byte) (t FiveTuple, ok bool) {
	const ip = VirtioSize + EthernetSize
	if len(b) < ip+ipv4Size+4 {
		return t, false
	}
	ports := ip + ipv4Size
	switch binary.BigEndian.Uint16(b[ip-2:]) {
	case etherTypeIPv4:
		if b[ip] != 0x45 || binary.BigEndian.Uint16(b[ip+6:])&(fragmentMore|fragmentOffsetMask) != 0 {
			return t, false
		}
		t.Protocol = b[ip+9]
		t.Src, t.Dst = AddrFrom4(b[ip+12:]), AddrFrom4(b[ip+16:])
	case etherTypeIPv6:
		if ports = ip + ipv6Size; len(b) < ports+4 {
			return t, false
		}
		t.Protocol = b[ip+6]
		t.Src, t.Dst = Addr(b[ip+8:ip+24]), Addr(b[ip+24:ip+40])
	default:
		return t, false
	}
	if !policy.Protocol(t.Protocol).HasPorts() {
		return t, false
	}
	t.SrcPort, t.DstPort = binary.BigEndian.Uint16(b[ports:]), binary.BigEndian.Uint16(b[ports+2:])
	return t, true
}
