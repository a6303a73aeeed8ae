package classify_test

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"testing"

	"vswitch/internal/classify"
	"vswitch/internal/policy"
)

// shapes are lists of n rules in which every rule is distinct.
var shapes = []struct {
	name  string
	rules func(n int) []classify.Rule
}{
	{"blocks", func(n int) []classify.Rule { return list(n, func(i int) (netip.Prefix, uint16) { return host(i), 22 }) }},
	{"ports", func(n int) []classify.Rule {
		return list(n, func(i int) (netip.Prefix, uint16) { return anywhere, uint16(i) })
	}},
	{"blocks x ports", func(n int) []classify.Rule {
		return list(n, func(i int) (netip.Prefix, uint16) { return host(i / 10), uint16(i % 10) })
	}},
	{"nested", func(n int) []classify.Rule {
		return list(n, func(i int) (netip.Prefix, uint16) {
			return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 1, 10}), i%33), uint16(i)
		})
	}},
	{"four nested", func(n int) []classify.Rule {
		return list(n, func(i int) (netip.Prefix, uint16) {
			return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 1, 10}), 8+8*(i%4)), uint16(i)
		})
	}},
	{"tree", func(n int) []classify.Rule {
		return list(n, func(i int) (netip.Prefix, uint16) { return half(i), uint16(i) })
	}},
	{"hosts in a block", func(n int) []classify.Rule {
		return list(n, func(i int) (netip.Prefix, uint16) {
			if i < n/2 {
				return netip.PrefixFrom(host(0).Addr(), 8), uint16(2 * i)
			}
			return host(i), uint16(i)
		})
	}},
}

var anywhere = netip.MustParsePrefix("0.0.0.0/0")

// host returns a /32 of 10.0.0.0/8, a different one for each i.
func host(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
}

// half returns prefixes of which each lies in another one: the whole of IPv4, its
// two halves, their halves, and so on.
func half(i int) netip.Prefix {
	depth := bits.Len(uint(i+1)) - 1
	at := uint32(uint64(i+1-1<<depth) << (32 - depth))
	return netip.PrefixFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, at))), depth)
}

// list returns n rules for TCP.
func list(n int, rule func(i int) (netip.Prefix, uint16)) []classify.Rule {
	rules := make([]classify.Rule, n)
	for i := range rules {
		prefix, port := rule(i)
		rules[i] = classify.Rule{
			Prefixes: []netip.Prefix{prefix},
			Service:  policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: port, To: port}},
		}
	}
	return rules
}

// packetFor returns a packet that the rule matches.
func packetFor(r classify.Rule) classify.Packet {
	return classify.Packet{Remote: r.Prefixes[0].Addr(), Protocol: uint8(policy.TCP), Port: r.Service.Ports.From}
}

func BenchmarkFirst(b *testing.B) {
	for _, shape := range shapes {
		for _, n := range []int{10, 1000, 10000} {
			rules := shape.rules(n)
			table := classify.Compile(rules)
			miss := packetFor(rules[n/2])
			miss.Protocol = uint8(policy.UDP)
			for _, bench := range []struct {
				name   string
				packet classify.Packet
				want   int
			}{{"hit-first", packetFor(rules[0]), 0}, {"hit-last", packetFor(rules[n-1]), n - 1}, {"miss", miss, -1}} {
				b.Run(fmt.Sprintf("%s/%d/%s", shape.name, n, bench.name), func(b *testing.B) {
					for b.Loop() {
						if got := table.First(&bench.packet); got != bench.want {
							b.Fatalf("rule %d, want %d", got, bench.want)
						}
					}
				})
			}
		}
	}
}

// BenchmarkScattered looks packets up that come in no order, so that the processor
// cannot foresee the way through the table, as for new flows it cannot.
func BenchmarkScattered(b *testing.B) {
	const packets = 1 << 13
	for _, shape := range shapes {
		for _, n := range []int{10, 1000, 10000} {
			rules := shape.rules(n)
			table := classify.Compile(rules)
			random := rand.New(rand.NewPCG(1, 2))
			var list [packets]classify.Packet
			for i := range list {
				list[i] = packetFor(rules[random.IntN(n)])
			}
			b.Run(fmt.Sprintf("%s/%d", shape.name, n), func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					if table.First(&list[i%packets]) < 0 {
						b.Fatal("no rule")
					}
				}
			})
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, shape := range shapes {
		for _, n := range []int{10, 1000, 10000} {
			rules := shape.rules(n)
			b.Run(fmt.Sprintf("%s/%d", shape.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					classify.Compile(rules)
				}
			})
		}
	}
}
