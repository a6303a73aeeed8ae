// Package wire turns bytes into meaning and back: frames, five-tuples, the
// virtio_net_hdr, and the frames that a VPC itself sends. It is the only
// importer of gVisor's checksum package.
//
// Row names in comments (V1, L6, I3, T1 ...) are rows of the threat model that
// ARCHITECTURE.md explains; they name the attack that a check is there for.
package wire

import "fmt"

// Sizes on the wire, in bytes.
const (
	EthernetSize = 14    // destination, source, EtherType
	MaxDatagram  = 65535 // the longest IPv4 packet, RFC 791; behind an IPv6 header there may be as much, RFC 8200

	// MaxFrame is the size of the buffer that a device reads into: a virtio header,
	// an Ethernet header, the longest datagram, and 8 bytes more, so that a frame
	// that fills the buffer was cut short (V6).
	MaxFrame = VirtioSize + EthernetSize + MaxDatagram + 8
)

// A MAC is an Ethernet address.
type MAC [6]byte

// String returns "02:00:0a:00:01:0a".
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// A Kind says what a frame carries, and so which fields of Frame are valid.
type Kind uint8

const (
	KindNone Kind = iota // not parsed, or refused
	KindARP              // an ARP packet for IPv4 over Ethernet
	KindIPv4
	KindIPv6
)

// A Frame is one parsed Ethernet frame. Parse fills it once; after that no
// accessor can fail, and nothing reads the bytes a second time to decide
// anything. A worker reuses one Frame for all its traffic. The zero Frame is
// ready for Parse. It is not safe for concurrent use.
type Frame struct {
	// Bytes is the virtio_net_hdr and the Ethernet frame, trimmed to the length
	// that the IP header states (so that no byte past it is ever forwarded).
	// Frame does not own it.
	Bytes []byte

	Kind     Kind
	Src, Dst MAC

	// Tuple is the flow. Valid iff Kind is KindIPv4 or KindIPv6. The ports of a
	// fragment that is not the first are zero. Over IPv6 the protocol is the number
	// that ends the chain of extension headers; of a fragment that is not the first
	// it is the number in its fragment header, which need not be the datagram's.
	Tuple FiveTuple

	L3      int // offset of the IP or ARP header in Bytes
	L4      int // offset of what follows the IP header and its extension headers: the transport header, unless Later. Valid as Tuple is
	Payload int // offset of the payload behind the transport header; valid as L4 is. For protocols other than TCP, UDP and ICMP it equals L4

	Fragment bool   // part of a fragmented datagram. Valid iff Kind is KindIPv4 or KindIPv6
	Later    bool   // a fragment other than the first: it has no transport header
	More     bool   // the more-fragments bit. Valid iff Fragment
	Offset   int    // offset of this fragment's data in the datagram, in bytes. Valid iff Fragment
	Data     int    // offset of this fragment's data in Bytes: behind the IPv4 header or the fragment header. Valid iff Fragment
	ID       uint32 // identification of the datagram. Valid iff Kind is KindIPv4 or Fragment

	Type, Code uint8 // ICMP type and code. Valid iff the packet is ICMP over IPv4 or ICMPv6 over IPv6, and not Later

	TCP TCP // valid iff the protocol is TCP, and not Later
	ARP ARP // valid iff Kind is KindARP
	ND  ND  // valid iff IsND()

	// Segments is how many packets the frame stands for: 1, or the number that a
	// superframe would be cut into (VIRTIO GSO). Valid iff Kind is not KindNone.
	Segments int
	GSO      GSO // GSONone, or the kind of superframe
	GSOSize  int // payload bytes per segment. Valid iff GSO is not GSONone

	// offload is the flags byte of the virtio_net_hdr as it was received.
	offload uint8
	// routed says that a routing header names another final destination than
	// Tuple.Dst. The transport checksum covers that one (RFC 8200 section 8.1), and
	// which it is depends on the kind of routing.
	routed bool
}

// TCP is what connection tracking needs of a TCP header (RFC 9293 section 3.1).
type TCP struct {
	Seq, Ack uint32
	Window   uint16 // as in the header, not scaled
	Flags    uint8  // FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128
	// Scale is the window scale option (RFC 7323), 0 to 14, or -1 where the
	// segment has none. Valid iff Flags has SYN.
	Scale int8
	// Length is the number of payload bytes: of a superframe, of all its segments.
	Length int
}

// TCP flags, RFC 9293 section 3.1.
const (
	FIN uint8 = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// PacketLen returns the length in bytes, without the Ethernet header, of the
// longest packet that the frame stands for. It is what an MTU limits: of a
// superframe, one segment with its headers. Valid iff Kind is not KindNone.
func (f *Frame) PacketLen() int {
	if f.GSO != GSONone {
		return f.Payload - f.L3 + min(f.GSOSize, len(f.Bytes)-f.Payload)
	}
	return len(f.Bytes) - f.L3
}

// WireLen returns how many bytes the packets that the frame stands for have on the
// wire, without their Ethernet headers: a superframe's headers count once for each
// segment. It is what a flow log counts. Kind must not be KindNone.
func (f *Frame) WireLen() int {
	n := len(f.Bytes) - f.L3
	if f.GSO != GSONone {
		n += (f.Segments - 1) * (f.Payload - f.L3)
	}
	return n
}

// SetMACs gives the frame new Ethernet addresses, in Bytes and in Src and Dst.
// A VPC's router changes nothing else of a packet (SEM 5.4). Kind must not be
// KindNone.
func (f *Frame) SetMACs(src, dst MAC) {
	b := f.Bytes[VirtioSize : VirtioSize+EthernetSize]
	*(*MAC)(b[0:6]) = dst
	*(*MAC)(b[6:12]) = src
	f.Src, f.Dst = src, dst
}
