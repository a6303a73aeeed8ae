package wire

import (
	"encoding/binary"

	"vswitch/internal/policy"
)

// Operations of ARP, RFC 826.
const (
	ARPRequest uint16 = 1
	ARPReply   uint16 = 2
)

// arpSize is the length of an ARP packet for IPv4 over Ethernet, in bytes.
const arpSize = 28

// arpIPv4OverEthernet is how such a packet begins: hardware type 1, protocol
// type 0x0800, addresses of six and four bytes.
var arpIPv4OverEthernet = [6]byte{0, 1, 0x08, 0x00, 6, 4}

// ARP is an ARP packet for IPv4 over Ethernet (RFC 826). The target's MAC is
// left out: in a request it has no meaning, and replies are not forwarded.
type ARP struct {
	Op                 uint16 // ARPRequest, ARPReply, or another one
	SenderMAC          MAC
	SenderIP, TargetIP [4]byte
}

// parseARP reads an ARP packet.
func (f *Frame) parseARP() policy.Reason {
	b := f.Bytes[f.L3:]
	if len(b) < arpSize {
		return policy.ARPInvalid
	}
	b = b[:arpSize]
	if [6]byte(b[:6]) != arpIPv4OverEthernet {
		return policy.ARPInvalid
	}
	f.ARP.Op = binary.BigEndian.Uint16(b[6:8])
	f.ARP.SenderMAC = MAC(b[8:14])
	f.ARP.SenderIP = [4]byte(b[14:18])
	f.ARP.TargetIP = [4]byte(b[24:28])
	if f.GSO != GSONone {
		return policy.VirtioGSO
	}
	f.Bytes = f.Bytes[:f.L3+arpSize]
	return policy.None
}

// minEthernet is the length of the shortest Ethernet frame, without its
// checksum, in bytes: IEEE 802.3.
const minEthernet = 60

// AppendARPReply appends to dst the answer to the ARP request in f, saying that
// the address asked for is at mac, and returns the extended slice: a zero virtio
// header and an Ethernet frame, padded with zeros to Ethernet's minimum. It
// does not allocate if dst has room for 72 bytes.
func AppendARPReply(dst []byte, f *Frame, mac MAC) []byte {
	var reply [VirtioSize + minEthernet]byte
	eth := reply[VirtioSize:]
	copy(eth[0:6], f.Src[:])
	copy(eth[6:12], mac[:])
	binary.BigEndian.PutUint16(eth[12:14], etherTypeARP)

	arp := eth[EthernetSize:]
	copy(arp[0:6], arpIPv4OverEthernet[:])
	binary.BigEndian.PutUint16(arp[6:8], ARPReply)
	copy(arp[8:14], mac[:])
	copy(arp[14:18], f.ARP.TargetIP[:])
	copy(arp[18:24], f.ARP.SenderMAC[:])
	copy(arp[24:28], f.ARP.SenderIP[:])
	return append(dst, reply[:]...)
}
