// Package wiretest writes frames as one line of text, for tests of the whole
// project, and prints frames as such lines, for their failures:
//
//	10.0.1.10:40000 > 10.0.2.20:22 tcp S seq=1 win=64240 len=10 wscale=7
//	10.0.1.10:5353 > 10.0.2.20:53 udp len=30 ttl=3 df
//	10.0.1.10 > 10.0.2.20 icmp echo-request id=7 seq=1
//	10.0.2.20 > 10.0.1.10 icmp 3/4 about 10.0.1.10:40000 > 10.0.2.20:22 tcp A
//	10.0.1.10 > 10.0.2.20 proto 47 len=8
//	[fd00::1]:40000 > [fd00::2]:22 tcp S
//	fd00::1 > fd00::2 icmpv6 echo-request id=7
//	[fd00::1]:40000 > [fd00::2]:22 tcp S hbh frag=0,mf dst=16 rh0
//	nd solicit fd00::2 from fd00::1 lladdr
//	nd advert fd00::2 from fd00::2 to fd00::1 solicited override lladdr=02:00:00:00:00:0b
//	nd router-solicit from fe80::1
//	nd router-advert from fe80::2 managed mtu=9001 prefix=fd00::/64 onlink lladdr
//	nd redirect fe80::2 for fd00::2 from fe80::1 to fd00::1
//	arp who-has 10.0.1.1 tell 10.0.1.10
//	arp reply 10.0.1.1 is-at 02:00:00:00:00:01 tell 10.0.1.10
//
// TCP flags are letters of FSRPAUEW (FIN, SYN, RST, PSH, ACK, URG, ECE, CWR).
// ICMP types have their number or the name that rules give them, with "/code"
// where the code is not zero. "about" begins the packet that an ICMP error
// quotes, and must come last. The options, in any order:
//
//	len=N          payload bytes behind the transport header (0)
//	seq= ack= win= TCP (0, 0, 64240); seq= is also the sequence number of ICMP
//	wscale=N       TCP window scale option (none)
//	id=N           ICMP identifier (0)
//	quote=N        bytes of transport header and payload that an ICMP error quotes (8)
//	ttl=N          TTL or hop limit (64)
//	ipid=N         identification of an IPv4 packet or an IPv6 fragment (0)
//	df mf          IPv4 flags
//	frag=N         fragment offset in bytes; of a later fragment there are no
//	               ports, and of ICMP this stands in the place of the type
//	frag=N,mf      the same over IPv6, where it is an extension header: frag=N of
//	               the last fragment, frag=0 of a datagram in one
//	hbh dst        IPv6 hop-by-hop and destination options, filled with padding
//	rhN            IPv6 routing header of type N, with one segment left
//	hbh=N dst=N rhN=N  the same, N bytes long (8, 8, 24)
//	gso=N          superframe of N payload bytes a segment; implies csum=partial
//	csum=partial   the virtio header leaves the TCP or UDP checksum to the receiver
//	csum=bad       a wrong TCP, UDP or ICMP checksum
//	ipcsum=bad     a wrong IPv4 header checksum
//	pad=N          bytes of padding behind the packet
//
// Extension headers stand in the packet in the order in which they stand in the
// line. A message of neighbor discovery ("nd") has a hop limit of 255. It goes to
// the group that RFC 4861 has for it unless "to" says otherwise, which an advert
// and a redirect must. Its own options, behind the addresses:
//
//	lladdr[=MAC]   the link-layer address option (the frame's source MAC)
//	router solicited override   flags of an advert
//	managed hops=N lifetime=N mtu=N   of a router-advert (64, 1800, no MTU)
//	prefix=P onlink auto valid=N preferred=N   its prefix (none, 2592000, 604800)
//	code=N         ICMPv6 code (0)
package wiretest

import (
	"net/netip"
	"testing"

	"vswitch/internal/wire"
)

// A Frame is what a line of text says. Parse fills in the defaults that the
// package comment gives in parentheses; the zero Frame has none of them.
type Frame struct {
	SrcMAC, DstMAC wire.MAC

	// Src and Dst are the addresses of an IP packet, or of an ARP packet's sender
	// and target.
	Src, Dst netip.Addr

	ARP   uint16   // operation; 0 means that this is an IP packet
	ARPAt wire.MAC // the address that an ARP reply tells

	Protocol   uint8
	TTL        uint8
	Ident      uint32 // identification of an IPv4 packet or an IPv6 fragment
	DF, MF     bool
	Offset     int // of a fragment, in bytes, a multiple of 8
	IPChecksum Checksum
	Extensions []Extension // of IPv6, in order; the fragment header repeats MF and Offset

	SrcPort, DstPort uint16 // valid iff the protocol is TCP or UDP, and Offset is 0

	Flags    uint8 // TCP flags, as in wire.TCP
	Seq, Ack uint32
	Window   uint16
	Scale    int // TCP window scale, or -1 for none

	Type, Code uint8  // ICMP
	ID         uint16 // ICMP identifier
	Quote      *Frame // the packet that an ICMP error is about, or nil
	Quoted     int    // bytes of Quote behind its IP header
	ND         *ND    // the message of neighbor discovery, or nil if the frame is none

	Len      int // payload bytes
	GSO      int // payload bytes a segment, or 0 if this is no superframe
	Checksum Checksum
	Pad      int // bytes behind the packet
}

// A Checksum is the state of a checksum in a frame.
type Checksum string

const (
	Right   Checksum = ""
	Partial Checksum = "partial" // holds the sum of the pseudo header, for the receiver to finish
	Bad     Checksum = "bad"
)

// Bytes returns the frame that text describes, with its virtio_net_hdr, or ends
// the test.
func Bytes(t testing.TB, srcMAC, dstMAC wire.MAC, text string) []byte {
	t.Helper()
	f, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	f.SrcMAC, f.DstMAC = srcMAC, dstMAC
	return f.Bytes()
}
