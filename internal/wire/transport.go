package wire

import (
	"encoding/binary"

	"vswitch/internal/policy"
)

// Sizes of transport headers without options, in bytes.
const (
	tcpSize = 20 // RFC 9293 section 3.1
	udpSize = 8  // RFC 768
)

// Offsets of the checksum in its header, in bytes.
const (
	tcpChecksum  = 16
	udpChecksum  = 6
	icmpChecksum = 2
)

// parseTransport reads what follows the IP header. Bytes ends where the IP
// packet ends. A fragment other than the first has no transport header (I5).
func (f *Frame) parseTransport() policy.Reason {
	f.Payload = f.L4
	if f.Later {
		return policy.None
	}
	switch policy.Protocol(f.Tuple.Protocol) {
	case policy.TCP:
		return f.parseTCP()
	case policy.UDP:
		return f.parseUDP()
	case policy.ICMP:
		if f.Tuple.Src.Is4() {
			return f.parseICMP()
		}
	case policy.ICMPv6:
		if !f.Tuple.Src.Is4() {
			return f.parseICMPv6()
		}
	}
	return policy.None
}

// headerCut is the reason when the packet ends inside the TCP header. A first
// fragment must hold all of it (I3, RFC 1858): what a rule reads may not arrive
// later. UDP and ICMP need no such care: a first fragment has a multiple of 8
// bytes behind its headers (setFragment), and 8 are all that they need.
func (f *Frame) headerCut() policy.Reason {
	if f.Fragment {
		return policy.FragmentTiny
	}
	return policy.TransportHeader
}

// parseUDP reads a UDP header (RFC 768). The length may be less than that of
// the packet: the rest is the surplus area of RFC 9868.
func (f *Frame) parseUDP() policy.Reason {
	b := f.Bytes[f.L4:]
	if len(b) < udpSize {
		return policy.TransportHeader
	}
	f.Tuple.SrcPort = binary.BigEndian.Uint16(b[0:2])
	f.Tuple.DstPort = binary.BigEndian.Uint16(b[2:4])
	f.Payload = f.L4 + udpSize
	// The length is that of the datagram, so only a whole one can contradict it.
	if n := int(binary.BigEndian.Uint16(b[4:6])); n < udpSize || n > len(b) && !f.Fragment {
		return policy.TransportHeader
	}
	return policy.None
}

// legalFlags has a bit for every combination of flags that a segment may have,
// PSH, ECE and CWR aside (T1).
const legalFlags = 1<<SYN | 1<<(SYN|URG) | 1<<(SYN|ACK) |
	1<<RST | 1<<(RST|ACK) |
	1<<(FIN|ACK) | 1<<(FIN|ACK|URG) |
	1<<ACK | 1<<(ACK|URG)

// parseTCP reads a TCP header (RFC 9293 section 3.1).
func (f *Frame) parseTCP() policy.Reason {
	b := f.Bytes[f.L4:]
	if len(b) < tcpSize {
		return f.headerCut()
	}
	f.Tuple.SrcPort = binary.BigEndian.Uint16(b[0:2])
	f.Tuple.DstPort = binary.BigEndian.Uint16(b[2:4])
	f.TCP.Seq = binary.BigEndian.Uint32(b[4:8])
	f.TCP.Ack = binary.BigEndian.Uint32(b[8:12])
	f.TCP.Window = binary.BigEndian.Uint16(b[14:16])
	f.TCP.Flags = b[13]
	f.TCP.Scale = -1

	size := int(b[12]>>4) * 4
	if size < tcpSize {
		return policy.TransportHeader
	}
	if size > len(b) {
		return f.headerCut()
	}
	f.Payload = f.L4 + size
	f.TCP.Length = len(b) - size
	if flags := f.TCP.Flags &^ (PSH | ECE | CWR); uint64(legalFlags)>>flags&1 == 0 {
		return policy.TCPFlags
	}
	if f.TCP.Flags&SYN != 0 {
		return f.parseSYNOptions(b[tcpSize:size])
	}
	return policy.None
}

// TCP options that a SYN is read for, RFC 9293 section 3.2 and RFC 7323.
const (
	tcpOptEnd         = 0
	tcpOptNoOperation = 1
	tcpOptScale       = 3 // window scale; three bytes long
)

// maxScale is the greatest window scale; a greater one counts as this
// (RFC 7323 section 2.3).
const maxScale = 14

// parseSYNOptions reads the options of a SYN for the window scale, which only a
// SYN carries.
func (f *Frame) parseSYNOptions(opts []byte) policy.Reason {
	for len(opts) > 0 {
		switch opts[0] {
		case tcpOptEnd:
			return policy.None
		case tcpOptNoOperation:
			opts = opts[1:]
			continue
		}
		if len(opts) < 2 || opts[1] < 2 || int(opts[1]) > len(opts) {
			return policy.TransportHeader
		}
		if opts[0] == tcpOptScale {
			if opts[1] != 3 {
				return policy.TransportHeader
			}
			f.TCP.Scale = int8(min(opts[2], maxScale))
		}
		opts = opts[opts[1]:]
	}
	return policy.None
}
