package wiretest

import (
	"encoding/binary"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// EtherTypes of the frames that this package writes.
const (
	etherTypeIPv4 = 0x0800
	etherTypeARP  = 0x0806
	etherTypeIPv6 = 0x86dd
)

// ethernetAt and l3At are where a frame's headers begin, in bytes.
const (
	ethernetAt = wire.VirtioSize
	l3At       = wire.VirtioSize + wire.EthernetSize
)

// Bytes returns the frame with its virtio_net_hdr. It panics if the lengths add
// up to more than an IP packet can hold.
func (f *Frame) Bytes() []byte {
	b := make([]byte, l3At, l3At+128+f.Len+f.Pad)
	copy(b[ethernetAt:], f.DstMAC[:])
	copy(b[ethernetAt+6:], f.SrcMAC[:])
	etherType := uint16(etherTypeIPv4)
	switch {
	case f.ARP != 0:
		etherType = etherTypeARP
		b = f.appendARP(b)
	case f.Src.Is4():
		b = f.appendIPv4(b)
		f.putVirtio(b, l3At+ipv4Size)
	default:
		etherType = etherTypeIPv6
		chain, _ := f.chain()
		b = f.appendIPv6(b)
		f.putVirtio(b, l3At+ipv6Size+len(chain))
	}
	binary.BigEndian.PutUint16(b[ethernetAt+12:], etherType)
	return append(b, make([]byte, f.Pad)...)
}

// Sizes of IP headers without options, in bytes.
const (
	ipv4Size = 20
	ipv6Size = 40
)

func (f *Frame) appendARP(b []byte) []byte {
	src, dst := f.Src.As4(), f.Dst.As4()
	b = append(b, 0, 1, 0x08, 0, 6, 4)
	b = binary.BigEndian.AppendUint16(b, f.ARP)
	if f.ARP == wire.ARPReply {
		b = append(append(b, f.ARPAt[:]...), src[:]...)
		return append(append(b, f.DstMAC[:]...), dst[:]...)
	}
	b = append(append(b, f.SrcMAC[:]...), src[:]...)
	return append(append(b, make([]byte, 6)...), dst[:]...)
}

func (f *Frame) appendIPv4(b []byte) []byte {
	src, dst := f.Src.As4(), f.Dst.As4()
	l4 := f.transport(append(src[:], dst[:]...))
	total := ipv4Size + len(l4)
	if total > wire.MaxDatagram {
		panic("wiretest: " + f.String() + " is longer than an IPv4 packet can be")
	}
	bits := uint16(f.Offset / 8)
	if f.DF {
		bits |= 0x4000
	}
	if f.MF {
		bits |= 0x2000
	}
	b = append(b, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(total))
	b = binary.BigEndian.AppendUint16(b, uint16(f.Ident))
	b = binary.BigEndian.AppendUint16(b, bits)
	b = append(b, f.TTL, f.Protocol, 0, 0)
	b = append(append(b, src[:]...), dst[:]...)
	putChecksum(b[l3At+10:], ^sum(b[l3At:], 0), f.IPChecksum)
	return append(b, l4...)
}

func (f *Frame) appendIPv6(b []byte) []byte {
	src, dst := f.Src.As16(), f.Dst.As16()
	chain, first := f.chain()
	l4 := append(chain, f.transport(append(src[:], dst[:]...))...)
	if len(l4) > wire.MaxDatagram {
		panic("wiretest: " + f.String() + " is longer than an IPv6 packet can be")
	}
	b = append(b, 0x60, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(l4)))
	b = append(b, first, f.TTL)
	b = append(append(b, src[:]...), dst[:]...)
	return append(b, l4...)
}

// transport returns the transport header and the payload. addrs is the two
// addresses, which the checksum covers.
func (f *Frame) transport(addrs []byte) []byte {
	if f.Offset != 0 {
		return payload(f.Len)
	}
	var b []byte
	switch policy.Protocol(f.Protocol) {
	case policy.TCP:
		b = f.appendTCP(b)
	case policy.UDP:
		b = binary.BigEndian.AppendUint16(b, f.SrcPort)
		b = binary.BigEndian.AppendUint16(b, f.DstPort)
		b = binary.BigEndian.AppendUint16(b, uint16(8+f.Len))
		b = append(b, 0, 0)
	case policy.ICMP, policy.ICMPv6:
		if f.ND != nil {
			b = f.ND.message(f.Type, f.Code, f.SrcMAC)
			break
		}
		b = append(b, f.Type, f.Code, 0, 0)
		b = binary.BigEndian.AppendUint16(b, f.ID)
		b = binary.BigEndian.AppendUint16(b, uint16(f.Seq))
		b = append(b, f.quote()...)
	}
	b = append(b, payload(f.Len)...)

	at := checksumAt(f.Protocol)
	if at == 0 {
		return b
	}
	pseudo := uint16(0)
	if policy.Protocol(f.Protocol) != policy.ICMP {
		pseudo = pseudoSum(addrs, f.Protocol, len(b))
	}
	if f.Checksum == Partial {
		binary.BigEndian.PutUint16(b[at:], pseudo)
		return b
	}
	c := ^sum(b, pseudo)
	if c == 0 && policy.Protocol(f.Protocol) == policy.UDP {
		c = 0xffff // RFC 768
	}
	putChecksum(b[at:], c, f.Checksum)
	return b
}

func (f *Frame) appendTCP(b []byte) []byte {
	size := 20
	if f.Scale >= 0 {
		size = 24
	}
	b = binary.BigEndian.AppendUint16(b, f.SrcPort)
	b = binary.BigEndian.AppendUint16(b, f.DstPort)
	b = binary.BigEndian.AppendUint32(b, f.Seq)
	b = binary.BigEndian.AppendUint32(b, f.Ack)
	b = append(b, byte(size/4)<<4, f.Flags)
	b = binary.BigEndian.AppendUint16(b, f.Window)
	b = append(b, 0, 0, 0, 0)
	if f.Scale >= 0 {
		b = append(b, 1, 3, 3, byte(f.Scale))
	}
	return b
}

// quote returns the packet that an ICMP error quotes, cut as RFC 792 has it.
func (f *Frame) quote() []byte {
	if f.Quote == nil {
		return nil
	}
	header := ipv4Size
	if !f.Quote.Src.Is4() {
		chain, _ := f.Quote.chain()
		header = ipv6Size + len(chain)
	}
	b := f.Quote.Bytes()[l3At:]
	return b[:min(len(b), header+f.Quoted)]
}

// putVirtio fills in the virtio_net_hdr of an unfinished frame, as the kernel
// does. l4 is where the transport header begins.
func (f *Frame) putVirtio(b []byte, l4 int) {
	if f.Checksum != Partial {
		return
	}
	b[0] = 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM
	binary.LittleEndian.PutUint16(b[6:], uint16(l4-ethernetAt))
	binary.LittleEndian.PutUint16(b[8:], uint16(checksumAt(f.Protocol)))
	if f.GSO == 0 {
		return
	}
	b[1] = byte(wire.GSOUDP)
	size := 8
	if policy.Protocol(f.Protocol) == policy.TCP {
		b[1] = byte(wire.GSOTCP4)
		if !f.Src.Is4() {
			b[1] = byte(wire.GSOTCP6)
		}
		size = int(b[l4+12]>>4) * 4
	}
	binary.LittleEndian.PutUint16(b[2:], uint16(l4+size-ethernetAt))
	binary.LittleEndian.PutUint16(b[4:], uint16(f.GSO))
}

// payload returns n bytes in a pattern that shows where they came from.
func payload(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + i%26)
	}
	return b
}
