package wire

import (
	"encoding/binary"

	"vswitch/internal/policy"
)

// VirtioSize is the length of the virtio_net_hdr that every frame carries in
// front, in bytes: the 12-byte layout of virtio 1.0, little-endian
// (flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, num_buffers).
const VirtioSize = 12

// Offsets in the virtio_net_hdr, in bytes; virtio 1.3 section 5.1.6.
const (
	virtioFlags      = 0
	virtioGSOType    = 1
	virtioHdrLen     = 2
	virtioGSOSize    = 4
	virtioCsumStart  = 6
	virtioCsumOffset = 8
	virtioNumBuffers = 10
)

// Flags of the virtio_net_hdr.
const (
	// needsChecksum says that the field at csum_start + csum_offset holds the sum
	// of the pseudo header only; whoever needs the checksum finishes it.
	needsChecksum uint8 = 1
	// dataValid says that the kernel has verified the checksum already.
	dataValid uint8 = 2
)

// MaxSegments is how many packets one superframe may stand for: what the
// kernel itself allows for UDP, and more than 64 KB at TCP's default MSS of
// 536 bytes need (V3).
const MaxSegments = 128

// GSO is the kind of superframe, as in gso_type of the virtio_net_hdr.
type GSO uint8

const (
	GSONone GSO = 0
	GSOTCP4 GSO = 1
	GSOTCP6 GSO = 4
	GSOUDP  GSO = 5 // VIRTIO_NET_HDR_GSO_UDP_L4 ("USO")
	gsoECN  GSO = 0x80
)

// readVirtio takes from the virtio header what it says about the packet, and
// refuses flags and kinds of superframe that Parse does not know. The header is
// half trusted: the kernel fills it in, but from what a guest's raw socket gave
// it. hdr_len and num_buffers are not read at all: hdr_len is the length of the
// kernel's linear buffer rather than that of the headers.
func (f *Frame) readVirtio() policy.Reason {
	h := f.Bytes[:VirtioSize]
	f.offload = h[virtioFlags]
	// The kernel sets at most one of the two flags: together they contradict
	// each other.
	if f.offload > dataValid {
		return policy.VirtioChecksum
	}
	if h[virtioGSOType] == byte(GSONone) {
		return policy.None
	}
	switch g := GSO(h[virtioGSOType]); g {
	case GSOTCP4, GSOTCP6, GSOUDP:
		f.GSO = g
	case GSOTCP4 | gsoECN, GSOTCP6 | gsoECN:
		f.GSO = g &^ gsoECN
	default:
		return policy.VirtioGSO
	}
	f.GSOSize = int(binary.LittleEndian.Uint16(h[virtioGSOSize:]))
	return policy.None
}

// checkVirtio holds the virtio header against the packet that Parse found
// behind it, and counts the segments. The receiving kernel believes nearly
// everything that the header says, so this is the only check there is.
func (f *Frame) checkVirtio(mtu int) policy.Reason {
	f.Segments = 1
	if f.offload == needsChecksum {
		// V1, V2: the receiver completes the checksum at the place that the header
		// names. Any other place than the checksum field is a write into a packet
		// that was already judged.
		h := f.Bytes[:VirtioSize]
		start := int(binary.LittleEndian.Uint16(h[virtioCsumStart:]))
		offset := int(binary.LittleEndian.Uint16(h[virtioCsumOffset:]))
		field := f.checksumField()
		if field == 0 || start != f.L4-VirtioSize || offset != field {
			return policy.VirtioChecksum
		}
	}
	if f.GSO == GSONone {
		return policy.None
	}
	return f.checkGSO(mtu)
}

// checkGSO checks a superframe and counts its segments (V3, V4).
func (f *Frame) checkGSO(mtu int) policy.Reason {
	payload := len(f.Bytes) - f.Payload
	switch f.GSO {
	case GSOTCP4, GSOTCP6:
		// A FIN belongs to the last segment; SYN and RST are never segmented.
		if f.Tuple.Protocol != uint8(policy.TCP) || f.TCP.Flags&(SYN|RST) != 0 || f.Tuple.Src.Is4() != (f.GSO == GSOTCP4) {
			return policy.VirtioGSO
		}
	case GSOUDP:
		if f.Tuple.Protocol != uint8(policy.UDP) || int(binary.BigEndian.Uint16(f.Bytes[f.L4+4:])) != len(f.Bytes)-f.L4 {
			return policy.VirtioGSO
		}
	}
	// Segments are cut with their checksums left to finish, so a superframe whose
	// checksum is already there is none.
	if f.offload != needsChecksum || f.GSOSize == 0 || payload == 0 {
		return policy.VirtioGSO
	}
	f.Segments = (payload + f.GSOSize - 1) / f.GSOSize
	if f.Segments > MaxSegments {
		return policy.VirtioSegments
	}
	if f.PacketLen() > mtu {
		return policy.FrameTooLong
	}
	return policy.None
}

// writeVirtio makes the virtio header say what checkVirtio has found right, and
// zeroes the rest (V7). DATA_VALID goes: it is the sender's word, and the
// receiver should not have to take it. hdr_len becomes the length of the
// headers of a superframe, which is what the kernel sizes its buffers by.
func (f *Frame) writeVirtio() {
	h := f.Bytes[:VirtioSize]
	if f.offload != needsChecksum {
		clear(h)
		return
	}
	h[virtioGSOSize], h[virtioGSOSize+1] = byte(f.GSOSize), byte(f.GSOSize>>8)
	hdrLen := 0
	if f.GSO != GSONone {
		hdrLen = f.Payload - VirtioSize
	}
	binary.LittleEndian.PutUint16(h[virtioHdrLen:], uint16(hdrLen))
	binary.LittleEndian.PutUint16(h[virtioNumBuffers:], 0)
}
