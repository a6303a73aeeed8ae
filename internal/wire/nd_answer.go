package wire

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"vswitch/internal/policy"
)

// Flags of advertisements, in the fifth byte of a neighbor advertisement and in
// the sixth of a router advertisement; RFC 4861 sections 4.2 and 4.4.
const (
	ndRouter    = 0x80
	ndSolicited = 0x40
	ndOverride  = 0x20
	ndManaged   = 0x80
)

// What the router advertises, RFC 4861 section 6.2.1.
const (
	ndRouterLifetime    = 1800    // seconds
	ndValidLifetime     = 2592000 // of the prefix, in seconds: 30 days
	ndPreferredLifetime = 604800  // of the prefix, in seconds: 7 days
	ndOnLink            = 0x80    // flag of the prefix option
)

// Lengths of the answers from the virtio header on, in bytes.
const (
	ndMessageAt        = VirtioSize + EthernetSize + ipv6Size
	neighborAnswer     = ndMessageAt + 24 + ndOptionUnit                                     // with the target's link-layer address
	routerAnswer       = ndMessageAt + 16 + ndOptionUnit + ndOptionUnit + ndPrefixOptionSize // with source, MTU, prefix
	ndPrefixOptionSize = 4 * ndOptionUnit
)

// AppendNeighborAdvertisement appends to dst the answer to the neighbor
// solicitation in f, saying that its target is at mac and whether it is a router,
// and returns the extended slice: a zero virtio header and an Ethernet frame. The
// answer goes to the asker alone, solicited and overriding what it knows. The
// solicitation must have a source: one from :: asks whether an address is taken
// (RFC 4862), and only silence says that it is free. It does not allocate if dst
// has room for 98 bytes.
func AppendNeighborAdvertisement(dst []byte, f *Frame, mac MAC, router bool) []byte {
	var answer [neighborAnswer]byte
	m := answer[ndMessageAt:]
	m[0] = NeighborAdvertisement
	m[4] = ndSolicited | ndOverride
	if router {
		m[4] |= ndRouter
	}
	copy(m[8:24], f.ND.Target[:])
	putLinkLayer(m[24:], ndTargetLinkLayer, mac)
	finishND(answer[:], mac, f.Src, f.ND.Target, f.Tuple.Src)
	return append(dst, answer[:]...)
}

// allNodes is ff02::1, and allNodesMAC the group that Ethernet has for it; RFC
// 4291 section 2.7.1, RFC 2464 section 7.
var (
	allNodes    = Addr{0: 0xff, 1: 0x02, 15: 1}
	allNodesMAC = MAC{0x33, 0x33, 0, 0, 0, 1}
)

// AppendRouterAdvertisement appends to dst the answer to the router solicitation
// in f, and returns the extended slice: a zero virtio header and an Ethernet
// frame. It says that the router is at routerMAC, that addresses come by DHCPv6
// (the managed flag; SEM 5.4), that packets may be mtu bytes long, and that prefix,
// which must be an IPv6 one, is on the link; not that addresses may be made of it.
// The answer goes to the asker alone, or to all nodes if that has no address yet.
// It does not allocate if dst has room for 130 bytes.
func AppendRouterAdvertisement(dst []byte, f *Frame, routerMAC MAC, mtu int, prefix netip.Prefix) []byte {
	var answer [routerAnswer]byte
	m := answer[ndMessageAt:]
	m[0] = RouterAdvertisement
	m[4] = replyTTL // the hop limit that hosts should send with
	m[5] = ndManaged
	binary.BigEndian.PutUint16(m[6:8], ndRouterLifetime)

	opts := m[16:]
	putLinkLayer(opts, ndSourceLinkLayer, routerMAC)
	opts = opts[ndOptionUnit:]
	opts[0], opts[1] = ndMTU, 1
	binary.BigEndian.PutUint32(opts[4:8], uint32(mtu))
	opts = opts[ndOptionUnit:]
	opts[0], opts[1] = ndPrefix, ndPrefixOptionSize/ndOptionUnit
	opts[2], opts[3] = byte(prefix.Bits()), ndOnLink
	binary.BigEndian.PutUint32(opts[4:8], ndValidLifetime)
	binary.BigEndian.PutUint32(opts[8:12], ndPreferredLifetime)
	address := prefix.Masked().Addr().As16()
	copy(opts[16:32], address[:])

	to, toMAC := f.Tuple.Src, f.Src
	if to == (Addr{}) {
		to, toMAC = allNodes, allNodesMAC
	}
	finishND(answer[:], routerMAC, toMAC, LinkLocal(routerMAC), to)
	return append(dst, answer[:]...)
}

// putLinkLayer writes a link-layer address option.
func putLinkLayer(b []byte, option byte, mac MAC) {
	b[0], b[1] = option, ndLinkLayerSize
	copy(b[2:8], mac[:])
}

// finishND writes the headers in front of a message of neighbor discovery, and
// its checksum, whose field must be zero. frame begins with a virtio header.
func finishND(frame []byte, srcMAC, dstMAC MAC, src, dst Addr) {
	eth := frame[VirtioSize:]
	copy(eth[0:6], dstMAC[:])
	copy(eth[6:12], srcMAC[:])
	binary.BigEndian.PutUint16(eth[12:14], etherTypeIPv6)

	ip, m := eth[EthernetSize:], frame[ndMessageAt:]
	ip[0] = 6 << 4
	binary.BigEndian.PutUint16(ip[4:6], uint16(len(m)))
	ip[6] = uint8(policy.ICMPv6)
	ip[7] = ndHopLimit
	copy(ip[8:24], src[:])
	copy(ip[24:40], dst[:])
	sum := pseudoSum(ip[8:40], uint8(policy.ICMPv6), len(m))
	checksum.Put(m[icmpChecksum:], ^checksum.Checksum(m, sum))
}
