package wire

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"vswitch/internal/policy"
)

// A Packet is a small IP packet in an Ethernet frame, such as begins a flow or
// answers one: a TCP segment, a UDP datagram or an ICMP message without payload,
// or the bare header of IP for any other protocol.
type Packet struct {
	SrcMAC, DstMAC   MAC
	Src, Dst         Addr // of the same family
	Protocol         uint8
	SrcPort, DstPort uint16 // valid iff Protocol is TCP or UDP
	Seq, Ack         uint32 // valid iff Protocol is TCP
	Flags            uint8  // valid iff Protocol is TCP
	Type, Code       uint8  // valid iff Protocol is ICMP or ICMPv6
	ID               uint16 // identifier of the ICMP message; valid as Type is
}

// packetWindow is the receive window of a Packet's segments, in bytes.
const packetWindow = 65535

// Bytes returns the frame with its virtio_net_hdr, which is zero, and all
// checksums.
func (p *Packet) Bytes() []byte {
	etherType, size := uint16(etherTypeIPv4), ipv4Size
	if !p.Src.Is4() {
		etherType, size = etherTypeIPv6, ipv6Size
	}
	l3 := VirtioSize + EthernetSize
	b := make([]byte, l3+size, l3+size+tcpSize)
	copy(b[VirtioSize:], p.DstMAC[:])
	copy(b[VirtioSize+6:], p.SrcMAC[:])
	binary.BigEndian.PutUint16(b[VirtioSize+12:], etherType)
	b = p.appendTransport(b)
	if p.Src.Is4() {
		p.putIPv4(b[l3:])
	} else {
		p.putIPv6(b[l3:])
	}
	p.putChecksum(b[l3+size:])
	return b
}

// putIPv4 fills in the header of an IPv4 packet, b.
func (p *Packet) putIPv4(b []byte) {
	b[0] = 4<<4 | ipv4Size/4
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	b[8], b[9] = replyTTL, p.Protocol
	copy(b[12:16], p.Src[12:])
	copy(b[16:20], p.Dst[12:])
	checksum.Put(b[10:], ^checksum.Checksum(b[:ipv4Size], 0))
}

// putIPv6 fills in the header of an IPv6 packet, b.
func (p *Packet) putIPv6(b []byte) {
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-ipv6Size))
	b[6], b[7] = p.Protocol, replyTTL
	copy(b[8:24], p.Src[:])
	copy(b[24:40], p.Dst[:])
}

// appendTransport appends the transport header, without its checksum.
func (p *Packet) appendTransport(b []byte) []byte {
	switch policy.Protocol(p.Protocol) {
	case policy.TCP:
		b = binary.BigEndian.AppendUint16(b, p.SrcPort)
		b = binary.BigEndian.AppendUint16(b, p.DstPort)
		b = binary.BigEndian.AppendUint32(b, p.Seq)
		b = binary.BigEndian.AppendUint32(b, p.Ack)
		b = append(b, tcpSize/4<<4, p.Flags)
		b = binary.BigEndian.AppendUint16(b, packetWindow)
		return append(b, 0, 0, 0, 0)
	case policy.UDP:
		b = binary.BigEndian.AppendUint16(b, p.SrcPort)
		b = binary.BigEndian.AppendUint16(b, p.DstPort)
		return append(b, 0, udpSize, 0, 0)
	case policy.ICMP, policy.ICMPv6:
		b = append(b, p.Type, p.Code, 0, 0)
		b = binary.BigEndian.AppendUint16(b, p.ID)
		return append(b, 0, 1)
	}
	return b
}

// putChecksum fills in the checksum of the transport header, b.
func (p *Packet) putChecksum(b []byte) {
	at, initial := 0, uint16(0)
	switch policy.Protocol(p.Protocol) {
	case policy.TCP:
		at = tcpChecksum
	case policy.UDP:
		at = udpChecksum
	case policy.ICMP, policy.ICMPv6:
		at = icmpChecksum
	default:
		return
	}
	if policy.Protocol(p.Protocol) != policy.ICMP {
		addrs := append(append(make([]byte, 0, 32), p.Src[:]...), p.Dst[:]...)
		if p.Src.Is4() {
			addrs = append(append(addrs[:0], p.Src[12:]...), p.Dst[12:]...)
		}
		initial = pseudoSum(addrs, p.Protocol, len(b))
	}
	sum := ^checksum.Checksum(b, initial)
	if sum == 0 && at == udpChecksum {
		sum = 0xffff // RFC 768: zero would mean that there is no checksum
	}
	checksum.Put(b[at:], sum)
}

// ReplyType returns the type of the message that answers an ICMP or ICMPv6
// message of type typ, and false if that is no question.
func ReplyType(protocol, typ uint8) (reply uint8, ok bool) {
	if question, _ := icmpQuery(protocol, typ); !question {
		return 0, false
	}
	return replyTo(typ), true
}
