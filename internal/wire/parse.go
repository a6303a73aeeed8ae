package wire

import (
	"encoding/binary"

	"vswitch/internal/policy"
)

// EtherTypes, from the IANA registry "IEEE 802 Numbers".
const (
	etherTypeIPv4  = 0x0800
	etherTypeARP   = 0x0806
	etherTypeCVLAN = 0x8100 // 802.1Q
	etherTypeIPv6  = 0x86dd
	etherTypeSVLAN = 0x88a8 // 802.1ad
	etherTypeQinQ  = 0x9100 // the tag that came before 802.1ad
)

// Parse reads one frame strictly, before anybody decides anything about it: b is
// a 12-byte virtio_net_hdr and an Ethernet frame as a device delivered them,
// and mtu is the MTU of the port in bytes, without the Ethernet header. It
// returns policy.None, or the reason to drop the frame: what Parse does not
// understand is dropped, never passed. It does not allocate, and keeps b.
//
// The frame meets the checks in this order:
//
//  1. its length (V6)
//  2. the kinds of offload that the virtio header names (V1, V4)
//  3. the EtherType (L6, L7)
//  4. the IP or ARP header (I1, I2, I4, V5)
//  5. the transport header (I1, I3, T1)
//  6. the virtio header against the packet found (V1, V3, V4)
//
// Of an accepted frame the virtio header is rewritten to say what was checked
// and no more (V2, V7); no other byte changes. Of a refused one, Kind is
// KindNone, no byte changes, and the other fields keep what had been parsed.
func (f *Frame) Parse(b []byte, mtu int) policy.Reason {
	*f = Frame{Bytes: b, L3: VirtioSize + EthernetSize}
	if len(b) < VirtioSize+EthernetSize || len(b) >= MaxFrame {
		return policy.FrameTruncated
	}
	f.Dst = MAC(b[VirtioSize : VirtioSize+6])
	f.Src = MAC(b[VirtioSize+6 : VirtioSize+12])
	if r := f.readVirtio(); r != policy.None {
		return r
	}
	if f.GSO == GSONone && len(b) > VirtioSize+EthernetSize+mtu {
		return policy.FrameTooLong
	}

	var kind Kind
	var r policy.Reason
	switch t := binary.BigEndian.Uint16(b[VirtioSize+12 : VirtioSize+14]); t {
	case etherTypeIPv4:
		kind, r = KindIPv4, f.parseIPv4()
	case etherTypeIPv6:
		kind, r = KindIPv6, f.parseIPv6()
	case etherTypeARP:
		kind, r = KindARP, f.parseARP()
	case etherTypeCVLAN, etherTypeSVLAN, etherTypeQinQ:
		// Looking behind the tag would let a guest say one thing to the switch and
		// another to its neighbour (CVE-2021-27853).
		r = policy.EtherTypeTagged
	default:
		// Values below 0x600 are lengths (IEEE 802.3), with LLC or SNAP behind.
		r = policy.EtherTypeUnknown
	}
	if r != policy.None {
		return r
	}
	if r := f.checkVirtio(mtu); r != policy.None {
		return r
	}
	f.writeVirtio()
	f.Kind = kind
	return policy.None
}
