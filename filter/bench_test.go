package filter_test

import (
	"fmt"
	"net/netip"
	"testing"

	"vswitch/filter"
	"vswitch/internal/classify"
	"vswitch/internal/policy"
)

// rules returns n ingress rules for TCP 22: half of them each name a host, the
// other half a group.
func rules(n int) []filter.Rule {
	list := make([]filter.Rule, n)
	for i := range list {
		list[i] = filter.Rule{Service: policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: 22, To: 22}}}
		if i%2 == 0 {
			list[i].Prefixes = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)}
		} else {
			list[i].Group = filter.GroupID(i)
		}
	}
	return list
}

// queryFor returns a query that the rule admits.
func queryFor(r filter.Rule) filter.Query {
	q := filter.Query{Packet: classify.Packet{Remote: netip.MustParseAddr("192.0.2.1"), Protocol: uint8(policy.TCP), Port: 22}}
	if r.Group != 0 {
		q.RemoteGroups = []filter.GroupID{r.Group}
	} else {
		q.Packet.Remote = r.Prefixes[0].Addr()
	}
	return q
}

func BenchmarkJudge(b *testing.B) {
	for _, n := range []int{10, 1000, 10000} {
		list := rules(n)
		p := filter.NewPolicy(filter.CompileGroup(list, nil))
		miss := queryFor(list[n-1])
		miss.Packet.Port = 23
		for _, bench := range []struct {
			name  string
			query filter.Query
			want  bool
		}{{"hit-first", queryFor(list[0]), true}, {"hit-last", queryFor(list[n-1]), true}, {"miss", miss, false}} {
			b.Run(fmt.Sprintf("%d/%s", n, bench.name), func(b *testing.B) {
				for b.Loop() {
					if got := p.Judge(policy.Ingress, &bench.query); (got.Rule != nil) != bench.want {
						b.Fatalf("got %+v", got)
					}
				}
			})
		}
	}
}

// Most instances have a handful of groups with few rules: here five, of which
// the last decides, and the flow is not tracked.
func BenchmarkJudgeFiveGroups(b *testing.B) {
	groups := make([]*filter.Group, 4, 5)
	for i := range groups {
		groups[i] = group(b, "in tcp 22 10.0.0.0/16", "in tcp 5432 sg:app")
	}
	p := filter.NewPolicy(append(groups, group(b, "in tcp 443 0.0.0.0/0", "out all 0.0.0.0/0"))...)
	d, q := query(b, "in 203.0.113.12 tcp 443")
	for b.Loop() {
		if got := p.Judge(d, q); got.Rule == nil || got.Tracked {
			b.Fatalf("got %+v", got)
		}
	}
}

func BenchmarkCompileGroup(b *testing.B) {
	for _, n := range []int{10, 1000, 10000} {
		list := rules(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				filter.CompileGroup(list, nil)
			}
		})
	}
}
