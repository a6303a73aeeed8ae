package graph

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"vswitch/internal/cover"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// A link is an edge that is not in words yet.
type link struct {
	from, to place
	outcome
}

// A load is what a link carries.
type load struct {
	services cover.Set
	uniform  bool // every pair of instances so far carries the same
	pairs    int  // how many do
}

// addEdges adds all edges, those to and from outside the VPC last at each node.
func (g *Graph) addEdges(cfg *vswitch.Config, nodeOf map[string]place) {
	loads := make(map[link]*load)
	t := newTalk(cfg)
	for i := range t.parties {
		for j := range t.parties {
			if i == j {
				continue
			}
			from, to := &t.parties[i], &t.parties[j]
			l, pair := link{from: nodeOf[from.Name], to: nodeOf[to.Name]}, map[outcome]cover.Set(nil)
			t.between(from, to, func(o outcome, set cover.Set) {
				if pair == nil {
					pair = make(map[outcome]cover.Set)
				}
				pair[o] = pair[o].Union(set) // of both families
			})
			for l.outcome = range pair {
				carry(loads, l, pair[l.outcome])
			}
		}
	}
	g.addOutside(cfg, t, nodeOf, loads)
	links := slices.SortedFunc(maps.Keys(loads), func(a, b link) int {
		return cmp.Or(comparePlaces(a.from, b.from), comparePlaces(a.to, b.to), cmp.Compare(a.verdict, b.verdict), cmp.Compare(a.by, b.by), cmp.Compare(a.via, b.via))
	})
	for _, l := range links {
		e := Edge{From: g.name(l.from), To: g.name(l.to), Services: loads[l].services.Words(), Verdict: l.verdict, By: l.by, Via: l.via}
		e.Some = !loads[l].uniform || l.verdict != Outside && loads[l].pairs < g.pairs(l.from, l.to)
		g.Edges = append(g.Edges, e)
	}
}

// carry adds to what a link carries.
func carry(loads map[link]*load, l link, set cover.Set) {
	if loads[l] == nil {
		loads[l] = &load{services: set, uniform: true}
	}
	sum := loads[l]
	sum.uniform = sum.uniform && sum.services.Equal(set)
	sum.services = sum.services.Union(set)
	sum.pairs++
}

// pairs returns how many pairs of instances two nodes have.
func (g *Graph) pairs(from, to place) int {
	if from == to {
		return g.size(from) * (g.size(from) - 1)
	}
	return g.size(from) * g.size(to)
}

// comparePlaces orders places as the drawing has them, those outside last.
func comparePlaces(a, b place) int {
	return cmp.Or(cmp.Compare(uint(a.subnet), uint(b.subnet)), cmp.Compare(a.node, b.node))
}

// addOutside adds what the rules of groups with members allow to and from blocks
// outside the VPC. AWS's default rule for egress, which nobody wrote, is left out.
func (g *Graph) addOutside(cfg *vswitch.Config, t *talk, nodeOf map[string]place, loads map[link]*load) {
	for i := range cfg.Instances {
		in := &cfg.Instances[i]
		sums := make(map[link]cover.Set) // of all groups and rules of the instance
		for _, name := range in.SecurityGroups {
			group := cfg.SecurityGroup(name)
			for _, r := range group.Ingress {
				if at, ok := g.outside(cfg, t, r.Peer); ok {
					l := link{at, nodeOf[in.Name], outcome{verdict: Outside}}
					sums[l] = sums[l].Union(cover.Of(r.Service))
				}
			}
			for _, r := range group.Egress {
				if r.Line == 0 && r.Service == policy.AllTraffic {
					continue
				}
				if at, ok := g.outside(cfg, t, r.Peer); ok {
					l := link{nodeOf[in.Name], at, outcome{verdict: Outside}}
					sums[l] = sums[l].Union(cover.Of(r.Service))
				}
			}
		}
		for l, set := range sums {
			carry(loads, l, set)
		}
	}
}

// outside returns the place of a peer that has addresses outside the VPC, and
// notes the peer. All any-address peers are one.
func (g *Graph) outside(cfg *vswitch.Config, t *talk, p vswitch.Peer) (place, bool) {
	out := slices.ContainsFunc(t.peerBlocks(p), func(b netip.Prefix) bool {
		return !slices.ContainsFunc(append([]netip.Prefix{cfg.VPC.CIDR, cfg.VPC.CIDR6}, cfg.VPC.CIDRs...), func(vpc netip.Prefix) bool {
			return vpc.IsValid() && vpc.Overlaps(b) && vpc.Bits() <= b.Bits()
		})
	})
	if !out {
		return place{}, false
	}
	name := p.String()
	if p.Kind == vswitch.PeerInternet || p.Kind == vswitch.PeerCIDR && p.Prefix.Bits() == 0 {
		name = vswitch.Peer{Kind: vswitch.PeerInternet}.String()
	}
	i := slices.Index(g.Outside, name)
	if i < 0 {
		i = len(g.Outside)
		g.Outside = append(g.Outside, name)
	}
	return place{-1, i}, true
}
