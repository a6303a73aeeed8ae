package wiretest

import (
	"encoding/binary"
	"fmt"
)

// Fragments cuts an IPv4 frame into fragments of at most size bytes of data each,
// as a router would, in order. size must be a multiple of 8. The frame must have
// no IP options and no virtio_net_hdr to speak of; it is not changed.
func Fragments(b []byte, size int) [][]byte {
	if size <= 0 || size%8 != 0 {
		panic(fmt.Sprintf("wiretest: fragments of %d bytes", size))
	}
	header := b[:l3At+ipv4Size]
	total := int(binary.BigEndian.Uint16(b[l3At+2:]))
	data := b[len(header) : l3At+total]

	var frames [][]byte
	for at := 0; at < len(data); at += size {
		part := data[at:min(at+size, len(data))]
		f := append(append([]byte(nil), header...), part...)
		ip := f[l3At:]
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		bits := binary.BigEndian.Uint16(ip[6:]) + uint16(at/8)
		if at+len(part) < len(data) {
			bits |= 0x2000
		}
		binary.BigEndian.PutUint16(ip[6:], bits)
		binary.BigEndian.PutUint16(ip[10:], 0)
		putChecksum(ip[10:], ^sum(ip[:ipv4Size], 0), Right)
		frames = append(frames, f)
	}
	return frames
}
