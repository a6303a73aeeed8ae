package wire

// VirtioSize is the length of the virtio_net_hdr that every frame carries in
// front, in bytes: the 12-byte layout of virtio 1.0, little-endian
// (flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, num_buffers).
const VirtioSize = 12

// GSO is the kind of superframe, as in gso_type of the virtio_net_hdr.
type GSO uint8

const (
	GSONone GSO = 0
	GSOTCP4 GSO = 1
	GSOTCP6 GSO = 4
	GSOUDP  GSO = 5 // VIRTIO_NET_HDR_GSO_UDP_L4 ("USO")
	gsoECN  GSO = 0x80
)
