package classifytest

import (
	"math/rand/v2"
	"net/netip"

	"pgregory.net/rapid"

	"vswitch/internal/classify"
	"vswitch/internal/policy"
)

// A Pick chooses a number in [0, n). All random rules and packets are made of
// picks, so that property tests and fuzz targets share the generators.
type Pick func(n int) int

// FromRapid returns a Pick that draws from a property test.
func FromRapid(t *rapid.T) Pick {
	return func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }
}

// FromBytes returns a Pick that consumes fuzz input, two bytes a number, and
// always chooses 0 when the input is used up.
func FromBytes(data []byte) Pick {
	return func(n int) int {
		if len(data) < 2 {
			return 0
		}
		v := int(data[0])<<8 | int(data[1])
		data = data[2:]
		return v % n
	}
}

// FromSeed returns a Pick that chooses at random, the same for the same seed.
func FromSeed(seed uint64) Pick {
	return rand.New(rand.NewPCG(seed, 0)).IntN
}

// The pools are small, and their members near each other, so that random rules
// overlap and random packets hit their edges.
var (
	protocols = []policy.Protocol{policy.TCP, policy.UDP, policy.ICMP, policy.ICMPv6, policy.AllProtocols, 0, 47, 50, 255}
	ports     = []uint16{0, 1, 22, 79, 80, 81, 1023, 1024, 32768, 65534, 65535}
	types     = []int16{policy.AnyICMP, 0, 1, 3, 8, 128, 254, 255}
	addresses = []string{
		"10.0.1.10", "10.0.1.11", "10.0.1.255", "10.0.2.20", "10.1.0.0", "0.0.0.0", "255.255.255.255", "203.0.113.12",
		"2001:db8:a:1::10", "2001:db8:a:1::11", "2001:db8:a:2::20", "::", "fe80::1", "::ffff:10.0.1.10",
	}
	bits4 = []int{0, 1, 8, 15, 16, 23, 24, 25, 31, 32}
	bits6 = []int{0, 1, 48, 56, 63, 64, 96, 112, 127, 128}
)

func one[T any](pick Pick, pool []T) T { return pool[pick(len(pool))] }

// Service draws a service, now and then one that no packet can belong to.
func (pick Pick) Service() policy.Service {
	s := policy.Service{Protocol: one(pick, protocols)}
	// Ports, type and code are drawn for every protocol: those that are not
	// valid must not matter.
	s.Ports = policy.Ports{From: one(pick, ports), To: one(pick, ports)}
	if s.Ports.From > s.Ports.To && pick(8) > 0 {
		s.Ports.From, s.Ports.To = s.Ports.To, s.Ports.From
	}
	s.Type, s.Code = one(pick, types), one(pick, types)
	switch pick(32) {
	case 0:
		s.Type = 256
	case 1:
		s.Code = -2
	case 2:
		s.Code = 300
	case 3:
		s.Protocol = 256
	}
	return s
}

// Prefix draws an address block, often with host bits.
func (pick Pick) Prefix() netip.Prefix {
	a := netip.MustParseAddr(one(pick, addresses))
	if a.Is4() {
		return netip.PrefixFrom(a, one(pick, bits4))
	}
	return netip.PrefixFrom(a, one(pick, bits6))
}

// Prefixes draws up to three address blocks, now and then an invalid one.
func (pick Pick) Prefixes() []netip.Prefix {
	list := make([]netip.Prefix, 0, 3)
	for range pick(4) {
		if pick(16) == 0 {
			list = append(list, netip.Prefix{})
			continue
		}
		list = append(list, pick.Prefix())
	}
	return list
}

// Packet draws a packet of any protocol.
func (pick Pick) Packet() classify.Packet {
	p := classify.Packet{
		Remote: netip.MustParseAddr(one(pick, addresses)),
		Port:   one(pick, ports),
		Type:   uint8(one(pick, types)),
		Code:   uint8(one(pick, types)),
	}
	if proto := one(pick, protocols); proto != policy.AllProtocols {
		p.Protocol = uint8(proto)
	}
	return p
}
