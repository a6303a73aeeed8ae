package nacl_test

import (
	"fmt"
	"net/netip"
	"testing"

	"vswitch/internal/classify"
	"vswitch/internal/policy"
	"vswitch/nacl"
)

// entries returns n entries, each for TCP 443 of a /24 of its own.
func entries(n int) []nacl.Entry {
	list := make([]nacl.Entry, n)
	for i := range list {
		list[i] = nacl.Entry{
			Number:  1 + i,
			Action:  policy.Allow,
			Service: policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: 443, To: 443}},
			Prefix:  netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24),
		}
	}
	return list
}

func BenchmarkJudge(b *testing.B) {
	for _, n := range []int{10, 1000, 10000} {
		list := entries(n)
		table := nacl.Compile(list, nil)
		packet := func(e nacl.Entry, port uint16) classify.Packet {
			return classify.Packet{Remote: e.Prefix.Addr(), Protocol: uint8(policy.TCP), Port: port}
		}
		for _, bench := range []struct {
			name   string
			packet classify.Packet
			want   policy.Verdict
		}{
			{"hit-first", packet(list[0], 443), policy.Allow},
			{"hit-last", packet(list[n-1], 443), policy.Allow},
			{"miss", packet(list[n/2], 80), policy.Deny},
		} {
			b.Run(fmt.Sprintf("%d/%s", n, bench.name), func(b *testing.B) {
				for b.Loop() {
					if got := table.Judge(policy.Ingress, &bench.packet); got.Verdict != bench.want {
						b.Fatalf("got %+v", got)
					}
				}
			})
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{10, 1000, 10000} {
		list := entries(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				nacl.Compile(list, nil)
			}
		})
	}
}
