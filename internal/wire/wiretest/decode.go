package wiretest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// errShort means that a frame ends inside one of its headers.
var errShort = errors.New("cut short")

// Format returns the line of text for a frame with its virtio_net_hdr, for
// messages. What is too broken for a line becomes a sentence with the bytes in
// hexadecimal.
func Format(b []byte) string {
	f, err := Decode(b)
	if err != nil {
		return fmt.Sprintf("frame of %d bytes, %v: %x", len(b), err, b[:min(len(b), 128)])
	}
	return f.String()
}

// Decode reads a frame with its virtio_net_hdr. It is lenient where wire.Parse is
// strict, since it shows what is there. IP options, the contents of extension
// headers, TCP options other than the window scale, and the contents of the payload
// are passed over.
func Decode(b []byte) (*Frame, error) {
	f := &Frame{TTL: defaultTTL, Window: defaultWindow, Scale: -1, Quoted: 8}
	if len(b) < l3At {
		return nil, errShort
	}
	f.DstMAC, f.SrcMAC = wire.MAC(b[ethernetAt:]), wire.MAC(b[ethernetAt+6:])
	if b[0]&1 != 0 {
		f.Checksum = Partial
	}
	if b[1] != 0 {
		f.GSO = int(binary.LittleEndian.Uint16(b[4:]))
	}
	switch t := binary.BigEndian.Uint16(b[ethernetAt+12:]); t {
	case etherTypeARP:
		return f, f.decodeARP(b[l3At:])
	case etherTypeIPv4:
		return f, f.decodeIPv4(b[l3At:])
	case etherTypeIPv6:
		return f, f.decodeIPv6(b[l3At:])
	default:
		return nil, fmt.Errorf("EtherType %#04x", t)
	}
}

func (f *Frame) decodeARP(b []byte) error {
	if len(b) < 28 {
		return errShort
	}
	f.ARP = binary.BigEndian.Uint16(b[6:])
	f.Src, f.Dst = netip.AddrFrom4([4]byte(b[14:])), netip.AddrFrom4([4]byte(b[24:]))
	if f.ARP == wire.ARPReply {
		f.ARPAt = wire.MAC(b[8:])
	}
	f.Pad = len(b) - 28
	return nil
}

func (f *Frame) decodeIPv4(b []byte) error {
	if len(b) < ipv4Size {
		return errShort
	}
	size, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if size < ipv4Size || total < size || total > len(b) {
		return fmt.Errorf("IPv4 header of %d bytes, packet of %d", size, total)
	}
	f.Ident = uint32(binary.BigEndian.Uint16(b[4:]))
	bits := binary.BigEndian.Uint16(b[6:])
	f.DF, f.MF, f.Offset = bits&0x4000 != 0, bits&0x2000 != 0, int(bits&0x1fff)*8
	f.TTL, f.Protocol = b[8], b[9]
	if sum(b[:size], 0) != 0xffff {
		f.IPChecksum = Bad
	}
	f.Src, f.Dst = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	f.Pad = len(b) - total
	return f.decodeTransport(b[size:total], b[12:20])
}

func (f *Frame) decodeIPv6(b []byte) error {
	if len(b) < ipv6Size {
		return errShort
	}
	total := ipv6Size + int(binary.BigEndian.Uint16(b[4:]))
	if total > len(b) {
		return errShort
	}
	f.Protocol, f.TTL = b[6], b[7]
	f.Src, f.Dst = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	f.Pad = len(b) - total
	l4, err := f.decodeChain(b[ipv6Size:total])
	if err != nil {
		return err
	}
	return f.decodeTransport(l4, b[8:40])
}

// decodeTransport reads the transport header at the start of b. addrs is the two
// addresses.
func (f *Frame) decodeTransport(b, addrs []byte) error {
	f.Len = len(b)
	if f.Offset != 0 {
		return nil
	}
	header := 0
	switch policy.Protocol(f.Protocol) {
	case policy.TCP:
		if len(b) < 20 {
			return errShort
		}
		header = int(b[12]>>4) * 4
		if header < 20 || header > len(b) {
			return fmt.Errorf("TCP header of %d bytes", header)
		}
		f.decodeTCP(b[:header])
	case policy.UDP:
		if len(b) < 8 {
			return errShort
		}
		header = 8
		f.SrcPort, f.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	case policy.ICMP, policy.ICMPv6:
		if len(b) < 8 {
			return errShort
		}
		header = 8
		f.Type, f.Code = b[0], b[1]
		if policy.Protocol(f.Protocol) == policy.ICMPv6 {
			f.ND = f.decodeND(b)
		}
		if f.ND != nil {
			header = len(b)
			break
		}
		f.ID, f.Seq = binary.BigEndian.Uint16(b[4:]), uint32(binary.BigEndian.Uint16(b[6:]))
	default:
		return nil
	}
	f.Len -= header
	if at := checksumAt(f.Protocol); f.Checksum != Partial && !f.MF {
		pseudo := uint16(0)
		if policy.Protocol(f.Protocol) != policy.ICMP {
			pseudo = pseudoSum(addrs, f.Protocol, len(b))
		}
		absent := policy.Protocol(f.Protocol) == policy.UDP && binary.BigEndian.Uint16(b[at:]) == 0
		if !absent && sum(b, pseudo) != 0xffff {
			f.Checksum = Bad
		}
	}
	return nil
}

// decodeTCP reads a TCP header.
func (f *Frame) decodeTCP(b []byte) {
	f.SrcPort, f.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	f.Seq, f.Ack = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	f.Flags = b[13]
	f.Window = binary.BigEndian.Uint16(b[14:])
	for opts := b[20:]; len(opts) > 0 && opts[0] != 0; {
		switch {
		case opts[0] == 1:
			opts = opts[1:]
		case len(opts) < 2 || opts[1] < 2 || int(opts[1]) > len(opts):
			return
		default:
			if opts[0] == 3 && opts[1] == 3 {
				f.Scale = int(opts[2])
			}
			opts = opts[opts[1]:]
		}
	}
}
