package wire

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"vswitch/internal/policy"
)

// Types of neighbor discovery, RFC 4861 section 4: ICMPv6 133 to 137.
const (
	RouterSolicitation    uint8 = 133
	RouterAdvertisement   uint8 = 134
	NeighborSolicitation  uint8 = 135
	NeighborAdvertisement uint8 = 136
	Redirect              uint8 = 137
)

// Options of neighbor discovery, RFC 4861 section 4.6. Lengths are in units of
// ndOptionUnit bytes, type and length included.
const (
	ndSourceLinkLayer = 1
	ndTargetLinkLayer = 2
	ndPrefix          = 3
	ndMTU             = 5

	ndOptionUnit    = 8
	ndLinkLayerSize = 1 // units, over Ethernet
)

// maxNDOptions bounds what one message may cost. Hosts send one option, rarely
// two; only the advertisements of routers have more.
const maxNDOptions = 16

// ndHopLimit shows that no router has forwarded a message, RFC 4861 section 3.1.
const ndHopLimit = 255

// ND is a message of neighbor discovery (RFC 4861): what the switch answers, and
// what it holds against the sender.
type ND struct {
	Type         uint8 // RouterSolicitation to Redirect
	HasLinkLayer bool
	LinkLayer    MAC  // what the sender says is its own, or in an advertisement or redirect the target's. Valid iff HasLinkLayer
	Target       Addr // whose link-layer address it is about. Valid iff Type is NeighborSolicitation, NeighborAdvertisement or Redirect
}

// IsND reports whether the frame is a message of neighbor discovery, ICMPv6 133
// to 137. Parse has found it valid as RFC 4861 demands.
func (f *Frame) IsND() bool { return f.Kind == KindIPv6 && f.ND.Type != 0 }

// isND reports whether an ICMPv6 type belongs to neighbor discovery.
func isND(typ uint8) bool { return RouterSolicitation <= typ && typ <= Redirect }

// ndHeaderSize returns how many bytes of a message are in front of its options.
func ndHeaderSize(typ uint8) int {
	switch typ {
	case RouterSolicitation:
		return 8
	case RouterAdvertisement:
		return 16
	case Redirect:
		return 40
	}
	return 24
}

// parseND reads a message of neighbor discovery whose ICMPv6 header is whole
// (L4). It refuses all that RFC 4861 has a receiver discard, and all that comes
// in a fragment (RFC 6980) or behind an extension header: a switch and a kernel
// must not differ on what they see. The checksum comes last, since it costs most.
func (f *Frame) parseND() policy.Reason {
	b := f.Bytes[f.L4:]
	size := ndHeaderSize(f.Type)
	if f.L4 != f.L3+ipv6Size || f.Bytes[f.L3+7] != ndHopLimit || f.Code != 0 || len(b) < size {
		return policy.NDInvalid
	}
	if f.Type >= NeighborSolicitation {
		f.ND.Target = Addr(b[8:24])
	}
	if !f.parseNDOptions(b[size:]) || !f.ndAddressesOK(b) {
		return policy.NDInvalid
	}
	// DATA_VALID in the virtio header is no help: a guest may set it.
	if checksum.Checksum(b, f.pseudoHeader(len(b))) != 0xffff {
		return policy.NDInvalid
	}
	f.ND.Type = f.Type
	return policy.None
}

// parseNDOptions walks the options, and takes from them the link-layer address
// that the message may have. It returns false if they are malformed. Options with
// no meaning in a message are passed over (RFC 4861 section 4.6), but a link-layer
// address that comes twice is refused: receivers differ on which one counts.
func (f *Frame) parseNDOptions(opts []byte) bool {
	meant := byte(ndSourceLinkLayer)
	if f.Type >= NeighborAdvertisement {
		meant = ndTargetLinkLayer
	}
	for n := 0; len(opts) > 0; n++ {
		if n == maxNDOptions || len(opts) < ndOptionUnit {
			return false
		}
		size := int(opts[1]) * ndOptionUnit
		if size == 0 || size > len(opts) {
			return false
		}
		if opts[0] == meant {
			if f.ND.HasLinkLayer || opts[1] != ndLinkLayerSize {
				return false
			}
			f.ND.LinkLayer, f.ND.HasLinkLayer = MAC(opts[2:8]), true
		}
		opts = opts[size:]
	}
	return true
}

// ndAddressesOK holds the addresses of a message against each other: RFC 4861
// sections 6.1.1, 6.1.2, 7.1.1, 7.1.2 and 8.1. b is the message, its header whole.
func (f *Frame) ndAddressesOK(b []byte) bool {
	unspecified := f.Tuple.Src == Addr{}
	target := &f.ND.Target
	switch f.Type {
	case RouterSolicitation:
		return !unspecified || !f.ND.HasLinkLayer
	case RouterAdvertisement:
		return f.Tuple.Src.isLinkLocal()
	case NeighborSolicitation:
		// From nowhere, as duplicate address detection asks (RFC 4862).
		probe := !f.ND.HasLinkLayer && f.Tuple.Dst.isSolicitedNode()
		return !target.isMulticast() && (!unspecified || probe)
	case NeighborAdvertisement:
		solicited := b[4]&ndSolicited != 0
		return !target.isMulticast() && !(solicited && f.Tuple.Dst.isMulticast())
	}
	about := Addr(b[24:40]) // the destination that a redirect is for
	return f.Tuple.Src.isLinkLocal() && !about.isMulticast() && (target.isLinkLocal() || *target == about)
}

// isMulticast reports whether a is in ff00::/8.
func (a *Addr) isMulticast() bool { return a[0] == 0xff }

// isLinkLocal reports whether a is in fe80::/10.
func (a *Addr) isLinkLocal() bool { return binary.BigEndian.Uint16(a[:2])&0xffc0 == 0xfe80 }

// isSolicitedNode reports whether a is in ff02::1:ff00:0/104, RFC 4291 section
// 2.7.1.
func (a *Addr) isSolicitedNode() bool {
	return [13]byte(a[:13]) == [13]byte{0: 0xff, 1: 0x02, 11: 0x01, 12: 0xff}
}

// LinkLocal returns the link-local address that an interface makes of its MAC:
// the modified EUI-64 of RFC 4291 appendix A, in fe80::/64.
func LinkLocal(mac MAC) Addr {
	return Addr{0: 0xfe, 1: 0x80,
		8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5]}
}
