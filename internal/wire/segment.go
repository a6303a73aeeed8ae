package wire

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

// MaxSegmentHeader is how many bytes of headers a segment has at most: a virtio
// header, an Ethernet header, an IPv4 header and a TCP header, the last two of 60
// bytes with their options. Behind IPv6 there are fewer, since a superframe has no
// extension headers.
const MaxSegmentHeader = VirtioSize + EthernetSize + 60 + 60

// Segment returns segment i of a superframe, one of Segments packets from 0, as
// the sender's kernel would have cut it: its headers, written to the start of
// head, and its payload, which is a part of Bytes and not a copy. The virtio
// header in front says that the segment is no superframe. If finish is set, the
// transport checksum is complete; else it is left to the receiver.
//
// The frame does not change. GSO must not be GSONone. Segment panics if head is
// too short for the headers; MaxSegmentHeader bytes are always enough.
func (f *Frame) Segment(i int, head []byte, finish bool) (header, payload []byte) {
	start := f.Payload + i*f.GSOSize
	payload = f.Bytes[start:min(start+f.GSOSize, len(f.Bytes))]
	header = head[:f.Payload]
	copy(header, f.Bytes)
	f.segmentIP(header, i, len(payload))
	if f.GSO == GSOUDP {
		binary.BigEndian.PutUint16(header[f.L4+4:], uint16(udpSize+len(payload)))
	} else {
		f.segmentTCP(header[f.L4:], i)
	}
	f.segmentChecksum(header, payload, finish)
	return header, payload
}

// segmentIP gives a copy of the superframe's headers the length of segment i,
// which has n bytes of payload. Over IPv4 each segment has an identification of
// its own, as packets that may be fragmented must (RFC 6864).
func (f *Frame) segmentIP(header []byte, i, n int) {
	ip := header[f.L3:f.L4]
	total := len(header) - f.L3 + n
	if f.Kind == KindIPv6 {
		binary.BigEndian.PutUint16(ip[4:], uint16(total-ipv6Size))
		return
	}
	binary.BigEndian.PutUint16(ip[2:], uint16(total))
	binary.BigEndian.PutUint16(ip[4:], uint16(f.ID)+uint16(i))
	clear(ip[10:12])
	checksum.Put(ip[10:], ^checksum.Checksum(ip, 0))
}

// segmentTCP makes a copy of the superframe's TCP header that of segment i. FIN
// and PSH speak of the end of the data, so only the last segment has them; CWR
// answers the receiver once (RFC 3168 section 6.1.2), so only the first has it.
// The urgent pointer counts from each segment's own sequence number, and goes
// once the urgent data is behind (RFC 9293 section 3.8.5).
func (f *Frame) segmentTCP(tcp []byte, i int) {
	passed := i * f.GSOSize // bytes of payload in the segments before
	binary.BigEndian.PutUint32(tcp[4:], f.TCP.Seq+uint32(passed))
	flags := f.TCP.Flags
	if i > 0 {
		flags &^= CWR
	}
	if i < f.Segments-1 {
		flags &^= FIN | PSH
	}
	if flags&URG != 0 && i > 0 {
		left := max(0, int(binary.BigEndian.Uint16(tcp[18:]))-passed)
		binary.BigEndian.PutUint16(tcp[18:], uint16(left))
		if left == 0 {
			flags &^= URG
		}
	}
	tcp[13] = flags
}

// segmentChecksum fills in the transport checksum of a segment, or the sum of its
// pseudo header for the receiver to finish, and the virtio header that says
// which.
func (f *Frame) segmentChecksum(header, payload []byte, finish bool) {
	transport := header[f.L4:]
	at := f.checksumField()
	field := transport[at : at+checksum.Size]
	sum := f.pseudoHeader(len(transport) + len(payload))
	if !finish {
		checksum.Put(field, sum)
		// The checksum is where it was in the superframe.
		header[virtioGSOType] = byte(GSONone)
		clear(header[virtioHdrLen:virtioCsumStart])
		return
	}
	clear(field)
	// The headers are of even length, so the payload's sum goes on from theirs.
	sum = ^checksum.Checksum(payload, checksum.Checksum(transport, sum))
	if sum == 0 && at == udpChecksum {
		sum = 0xffff // RFC 768: zero would mean that there is no checksum
	}
	checksum.Put(field, sum)
	clear(header[:VirtioSize])
}
