package capture

import (
	"encoding/binary"
	"net/netip"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// EtherTypes that a filter knows by name, from the IANA registry "IEEE 802
// Numbers".
const (
	etherTypeIPv4 = 0x0800
	etherTypeARP  = 0x0806
	etherTypeIPv6 = 0x86dd
)

// sctp is the third protocol whose ports stand where TCP and UDP have them (RFC
// 9260 section 3.1).
const sctp = 132

// A header is what filters look at. Unlike wire.Frame it is also made of frames
// that the switch refuses as malformed: whoever looks for them has to find them. So
// each part is there as far as it can be read, and promises nothing.
type header struct {
	etherType   uint16
	macs        [2]wire.MAC   // source, destination
	addresses   [2]netip.Addr // source, destination, of IP and ARP; the zero Addr if there is none
	protocol    uint8         // valid iff hasProtocol
	hasProtocol bool
	hasPorts    bool
	ports       [2]uint16 // source, destination; valid iff hasPorts
}

// read fills in h from a frame without virtio header.
func (h *header) read(b []byte) {
	*h = header{}
	if len(b) < wire.EthernetSize {
		return
	}
	h.macs = [2]wire.MAC{wire.MAC(b[6:12]), wire.MAC(b[0:6])}
	h.etherType = binary.BigEndian.Uint16(b[12:])
	b = b[wire.EthernetSize:]
	switch h.etherType {
	case etherTypeIPv4:
		h.readIPv4(b)
	case etherTypeIPv6:
		h.readIPv6(b)
	case etherTypeARP:
		if len(b) >= 28 && b[4] == 6 && b[5] == 4 { // RFC 826, of Ethernet and IPv4
			h.addresses = [2]netip.Addr{netip.AddrFrom4([4]byte(b[14:18])), netip.AddrFrom4([4]byte(b[24:28]))}
		}
	}
}

// readIPv4 reads a packet, RFC 791.
func (h *header) readIPv4(b []byte) {
	if len(b) < 20 {
		return
	}
	h.addresses = [2]netip.Addr{netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))}
	first := binary.BigEndian.Uint16(b[6:])&0x1fff == 0 // of its fragments, or the only one
	h.transport(b[9], b[min(len(b), 4*int(b[0]&15)):], first)
}

// maxExtensions bounds the chain of extension headers that is followed.
const maxExtensions = 16

// readIPv6 reads a packet, RFC 8200, behind its extension headers.
func (h *header) readIPv6(b []byte) {
	if len(b) < 40 {
		return
	}
	h.addresses = [2]netip.Addr{netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))}
	next, first := b[6], true
	b = b[40:]
	for range maxExtensions {
		size := 0
		switch next {
		case 0, 43, 60: // hop-by-hop options, routing, destination options
			if len(b) >= 2 {
				size = 8 * (1 + int(b[1]))
			}
		case 44: // fragment
			size = 8
			first = first && len(b) >= 4 && binary.BigEndian.Uint16(b[2:])&^7 == 0
		case 51: // authentication, RFC 4302
			if len(b) >= 2 {
				size = 4 * (2 + int(b[1]))
			}
		default:
			h.transport(next, b, first)
			return
		}
		if size == 0 || size > len(b) {
			return
		}
		next, b = b[0], b[size:]
	}
}

// transport notes what IP carries. first says that b is the beginning of it.
func (h *header) transport(protocol uint8, b []byte, first bool) {
	h.protocol, h.hasProtocol = protocol, true
	switch policy.Protocol(protocol) {
	case policy.TCP, policy.UDP, sctp:
		if first && len(b) >= 4 {
			h.hasPorts = true
			h.ports = [2]uint16{binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])}
		}
	}
}
