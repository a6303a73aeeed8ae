package wiretest

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Fragments cuts a frame into fragments of at most size bytes of data each, as a
// router would or, of IPv6, the sender, in order. size must be a multiple of 8.
// The frame must have no IPv4 options and no virtio_net_hdr to speak of; it is not
// changed. The identification of an IPv6 datagram, which a whole packet does not
// have, is the sum of its bytes.
func Fragments(b []byte, size int) [][]byte {
	if size <= 0 || size%8 != 0 {
		panic(fmt.Sprintf("wiretest: fragments of %d bytes", size))
	}
	if b[l3At]>>4 == 6 {
		return fragments6(b, size)
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

// fragments6 is Fragments for IPv6. The fragment header goes behind the headers
// that every node on the way reads (RFC 8200 section 4.5): hop-by-hop options, and
// all up to a routing header.
func fragments6(b []byte, size int) [][]byte {
	packet := b[l3At : l3At+ipv6Size+int(binary.BigEndian.Uint16(b[l3At+4:]))]
	front, numberAt := ipv6Size, 6 // where the number of what comes behind the front is
	for at, number := ipv6Size, 6; ; {
		n := packet[number]
		if n != hopByHop && n != routingHeader && n != destinationOptions {
			break
		}
		number, at = at, at+(int(packet[at+1])+1)*8
		if n != destinationOptions {
			front, numberAt = at, number
		}
	}
	data := packet[front:]
	var frames [][]byte
	for at := 0; at < len(data); at += size {
		part := data[at:min(at+size, len(data))]
		e := Extension{Number: fragmentHeader, Size: 8, Offset: at, MF: at+len(part) < len(data)}
		f := append([]byte(nil), b[:l3At+front]...)
		f = append(f, e.bytes(packet[numberAt], uint32(sum(packet, 0)), netip.Addr{})...)
		f = append(f, part...)
		ip := f[l3At:]
		ip[numberAt] = fragmentHeader
		binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-ipv6Size))
		frames = append(frames, f)
	}
	return frames
}
