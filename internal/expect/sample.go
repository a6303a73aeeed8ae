package expect

import (
	"net/netip"

	"vswitch/internal/cover"
	"vswitch/internal/explain"
	"vswitch/internal/policy"
)

// A Sample is a kind of packet of a flow that a host can send on demand.
type Sample struct {
	From, To explain.Endpoint // with addresses; the former is an instance, and not the latter
	Protocol policy.Protocol  // TCP, UDP, ICMP or ICMPv6, of which it is an echo request
	Port     uint16           // valid iff Protocol.HasPorts()
	kind     cover.Kind
}

// Left says why flows have no samples, by how many they are.
type Left map[string]int

// Reasons in a Left.
const (
	LeftOutside  = "that nobody in the VPC sends"                // internet, or an address of nobody
	LeftItself   = "from an instance to itself"                  // never leaves it
	LeftProtocol = "of a protocol or ICMP type that is not sent" // on demand
	LeftBound    = "within ranges that others stand for"         // more than limit
)

// Samples returns packets that stand for the flows of a result: between two ends,
// and for each protocol, at most limit of them, the first and the last port of the
// test among them. Flows without are counted in left.
func (e *Evaluator) Samples(r *Result, limit int, left Left) ([]Sample, error) {
	var all []Sample
	for i := 0; i < len(r.Flows); {
		n := i + 1
		for n < len(r.Flows) && r.Flows[n].sameWay(&r.Flows[i]) {
			n++
		}
		some, err := e.samples(r.Flows[i:n], limit, left)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		i = n
	}
	return all, nil
}

// sameWay reports whether two flows differ in their services alone, and not in the
// protocol of those.
func (f *Flow) sameWay(g *Flow) bool {
	return f.From == g.From && f.To == g.To && f.Six == g.Six && f.Services.First().Protocol == g.Services.First().Protocol
}

// samples returns those for the flows of one way, which ascend.
func (e *Evaluator) samples(flows []Flow, limit int, left Left) ([]Sample, error) {
	from, to := flows[0].From, flows[0].To
	switch {
	case from.Instance == "":
		left[LeftOutside] += len(flows)
		return nil, nil
	case from.Instance == to.Instance:
		left[LeftItself] += len(flows)
		return nil, nil
	}
	if to.Internet {
		address, err := e.explainer.Outside(flows[0].Six)
		if err != nil {
			return nil, err
		}
		to.Address = address
	}
	var kinds []cover.Kind
	for i := range flows {
		k := flows[i].Services.First()
		if k.Protocol.HasPorts() && k.Port == 0 { // no socket sends there
			k.Port = min(1, flows[i].Services.Last().Port)
		}
		if sendable(k) {
			kinds = append(kinds, k)
		} else {
			left[LeftProtocol]++
		}
	}
	if last := flows[len(flows)-1].Services.Last(); len(kinds) > 0 && last != kinds[len(kinds)-1] && sendable(last) {
		kinds = append(kinds, last)
	}
	chosen := spread(kinds, limit)
	if n := len(kinds) - len(chosen); n > 0 {
		left[LeftBound] += n
	}
	all := make([]Sample, len(chosen))
	for i, k := range chosen {
		all[i] = Sample{From: from, To: to, Protocol: k.Protocol, Port: k.Port, kind: k}
	}
	return all, nil
}

// sendable reports whether an unprivileged socket sends a kind of packet.
func sendable(k cover.Kind) bool {
	switch k.Protocol {
	case policy.TCP, policy.UDP:
		return k.Port != 0
	case policy.ICMP:
		return k.Type == 8 && k.Code == 0
	case policy.ICMPv6:
		return k.Type == 128 && k.Code == 0
	}
	return false
}

// spread returns at most limit elements of a list, which is at least 2: the first,
// the last, and what lies evenly between them.
func spread[T any](all []T, limit int) []T {
	if len(all) <= limit {
		return all
	}
	some := make([]T, limit)
	for i := range some {
		some[i] = all[i*(len(all)-1)/(limit-1)]
	}
	return some
}

// Answered reports whether the rules let an answer to the sample come back, if it
// is sent from a port: 0 for a protocol without ports.
func (e *Evaluator) Answered(s *Sample, sourcePort uint16) (bool, error) {
	q := explain.QueryFor(s.kind, s.From, s.To)
	q.SourcePort = sourcePort
	outcome, err := e.explainer.Judge(q)
	return outcome == explain.Passed, err
}

// Target returns where the sample goes.
func (s *Sample) Target() netip.AddrPort { return netip.AddrPortFrom(s.To.Address, s.Port) }
