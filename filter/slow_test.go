package filter_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"vswitch/filter"
	"vswitch/internal/classify/classifytest"
	"vswitch/internal/policy"
)

// A slowGroup is a group as it was written.
type slowGroup struct{ rules [2][]filter.Rule }

// A slowPolicy is the model of Policy: it asks every rule in turn, in the words
// of SEM 1.2, 1.3, 1.4 and 2.2.
type slowPolicy []slowGroup

func (p slowPolicy) judge(d policy.Direction, q *filter.Query) (id string, tracked bool) {
	for _, g := range p {
		for _, r := range g.rules[d] {
			if slowMatches(r, q) {
				reply := *q
				reply.Packet.Port = q.SourcePort
				return r.ID, p.tracked(d, q) && (!q.MayReply || p.tracked(d.Opposite(), &reply))
			}
		}
	}
	return none, false
}

// tracked reports whether a flow that some rule has admitted is tracked.
func (p slowPolicy) tracked(d policy.Direction, q *filter.Query) bool {
	if !policy.Protocol(q.Packet.Protocol).HasPorts() {
		return true
	}
	admits, replies := false, false
	for _, g := range p {
		for _, r := range g.rules[d] {
			admits = admits || slowOpen(r, q) && slowMatches(r, q)
		}
		for _, r := range g.rules[d.Opposite()] {
			replies = replies || slowOpen(r, q) && slowAnyPort(r.Service, q.Packet.Protocol)
		}
	}
	return !admits || !replies
}

// slowMatches reports whether the rule admits the packet.
func slowMatches(r filter.Rule, q *filter.Query) bool {
	p := &q.Packet
	remote := p.Remote.Unmap()
	if r.Service.Protocol == policy.ICMP && !remote.Is4() || r.Service.Protocol == policy.ICMPv6 && remote.Is4() {
		return false
	}
	if !r.Service.Contains(p.Protocol, p.Port, p.Type, p.Code) {
		return false
	}
	return r.Group != 0 && slices.Contains(q.RemoteGroups, r.Group) ||
		slices.ContainsFunc(r.Prefixes, func(b netip.Prefix) bool { return b.Contains(remote) })
}

// slowOpen reports whether the rule is open for the packet's family.
func slowOpen(r filter.Rule, q *filter.Query) bool {
	return r.Open && slices.ContainsFunc(r.Prefixes, func(b netip.Prefix) bool {
		return b.Bits() == 0 && b.Addr().Is4() == q.Packet.Remote.Unmap().Is4()
	})
}

// slowAnyPort reports whether the service contains every port of the protocol.
func slowAnyPort(s policy.Service, protocol uint8) bool {
	for port := range 1 << 16 {
		if !s.Contains(protocol, uint16(port), 0, 0) {
			return false
		}
	}
	return true
}

// drawRule draws a rule with a peer of any kind.
func drawRule(pick classifytest.Pick, id string) filter.Rule {
	r := filter.Rule{ID: id, Service: pick.Service()}
	switch pick(6) {
	case 0:
		r.Group = filter.GroupID(1 + pick(3))
	case 1:
		r.Open = true
		r.Prefixes = []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
	case 2:
		r.Open = true
		r.Prefixes = []netip.Prefix{netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
	case 3:
		r.Open = true
		r.Prefixes = pick.Prefixes()
		r.Group = filter.GroupID(pick(3))
	default:
		r.Prefixes = pick.Prefixes()
	}
	// All ports, and with them flows that are not tracked, would be too rare.
	if r.Open && pick(2) == 0 {
		r.Service.Ports = policy.AllPorts
	}
	return r
}

// compare draws the groups of an instance and some packets, and asks both
// evaluators.
func compare(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, pick classifytest.Pick) {
	t.Helper()
	var model slowPolicy
	var groups []*filter.Group
	for g := range pick(4) {
		var slow slowGroup
		for d := range slow.rules {
			for i := range pick(8) {
				r := drawRule(pick, fmt.Sprintf("%d.%d.%d", g, d, i))
				r.Mark = uint16(1 + g*100 + d*10 + i)
				slow.rules[d] = append(slow.rules[d], r)
			}
		}
		model = append(model, slow)
		groups = append(groups, filter.CompileGroup(slow.rules[policy.Ingress], slow.rules[policy.Egress]))
	}
	p := filter.NewPolicy(groups...)
	for range 8 {
		q := filter.Query{Packet: pick.Packet(), MayReply: pick(2) == 0, SourcePort: uint16(pick(1 << 16))}
		if pick(2) == 0 {
			q.SourcePort = pick.Packet().Port // more often one that a rule names
		}
		for range pick(3) {
			q.RemoteGroups = append(q.RemoteGroups, filter.GroupID(pick(5)))
		}
		for _, d := range []policy.Direction{policy.Ingress, policy.Egress} {
			got := p.Judge(d, &q)
			if got.Rule != nil && got.Mark != got.Rule.Mark || got.Rule == nil && got.Mark != 0 {
				t.Fatalf("mark %d of rule %+v", got.Mark, got.Rule)
			}
			if id, tracked := model.judge(d, &q); decided(got) != id || got.Tracked != tracked {
				t.Fatalf("groups %+v\n%s of %+v\ndecided by %q, tracked %v; the model says %q, tracked %v",
					model, d, q, decided(got), got.Tracked, id, tracked)
			}
		}
	}
}

func TestPolicyMatchesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { compare(t, classifytest.FromRapid(t)) })
}

func FuzzPolicyMatchesModel(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x00\x01\x00\x01\x00\x00\x00\x01\x00\x02\x00\x00\x00\x00\x00\x00\x00\x03\x00\x01\x00\x04"))
	f.Fuzz(func(t *testing.T, data []byte) { compare(t, classifytest.FromBytes(data)) })
}
