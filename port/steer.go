package port

import (
	"encoding/binary"

	"vswitch/internal/wire"
)

// The hash by which packets are steered: both addresses are folded to 32 bits,
// masked, multiplied with each other, and what comes out is mixed once more. A
// product, unlike an exclusive or, is not the same for all pairs of hosts of the
// same number in two subnets.
//
// It has no secret key. Whoever can choose among addresses may aim at one worker,
// but so may anybody who sends all traffic between two addresses, and an interface
// sends from its own addresses only.
const (
	steerMask   = 0x5bd1e995
	steerFactor = 0x9e3779b97f4a7c15
	steerShift  = 48 // what is left are 16 bits: the tun driver keeps no more
)

// Steer returns the hash of the two addresses of a packet, the same in both
// directions. A device of n queues gives a packet to queue Steer % n. It looks at
// addresses alone, so that all fragments of a datagram, whatever their protocol,
// and all flows between two hosts go the same way. Frames that are neither IPv4
// nor IPv6 go to queue 0.
func Steer(a, b *wire.Addr) uint16 {
	return uint16(uint64(fold(a)^steerMask) * uint64(fold(b)^steerMask) * steerFactor >> steerShift)
}

// fold returns the exclusive or of the words of an address.
func fold(a *wire.Addr) uint32 {
	return binary.BigEndian.Uint32(a[0:]) ^ binary.BigEndian.Uint32(a[4:]) ^ binary.BigEndian.Uint32(a[8:]) ^ binary.BigEndian.Uint32(a[12:])
}

// Places in an Ethernet frame, in bytes from its start (RFC 791, RFC 8200).
const (
	etherTypeAt    = 12
	source4At      = 26
	destination4At = 30
	source6At      = 22
	destination6At = 38
	addresses4End  = 34
	addresses6End  = 54
	etherTypeIPv4  = 0x0800
	etherTypeIPv6  = 0x86dd
)

// SteerFrame returns the hash of a frame, its virtio_net_hdr in front, as the
// kernel finds it: from the places where the addresses must be, without a look at
// anything else.
func SteerFrame(frame []byte) uint16 {
	b := frame[min(wire.VirtioSize, len(frame)):]
	if len(b) < etherTypeAt+2 {
		return 0
	}
	switch binary.BigEndian.Uint16(b[etherTypeAt:]) {
	case etherTypeIPv4:
		if len(b) >= addresses4End {
			src, dst := wire.AddrFrom4(b[source4At:]), wire.AddrFrom4(b[destination4At:])
			return Steer(&src, &dst)
		}
	case etherTypeIPv6:
		if len(b) >= addresses6End {
			src, dst := wire.Addr(b[source6At:destination6At]), wire.Addr(b[destination6At:addresses6End])
			return Steer(&src, &dst)
		}
	}
	return 0
}
