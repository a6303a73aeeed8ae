package account

import (
	"cmp"
	"slices"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	vswitch "vswitch/switch"
)

// A Meter adds up what a Book records within a short time, by flow. Book.Begin makes
// one. It belongs to the Book until Book.End.
type Meter struct {
	flows   map[MeteredFlow]*Load
	limit   int
	unnamed uint64
}

// maxMetered bounds the flows of a Meter: about 10 MB.
const maxMetered = 1 << 16

// A MeteredFlow is what tells the flows of a Meter apart.
type MeteredFlow struct {
	From, To string // instances; To is "" if the packets came as far as none
	Tuple    wire.FiveTuple
	Reason   policy.Reason // None if they were delivered
}

// A Load is what packets add up to.
type Load struct{ Packets, Bytes uint64 }

func newMeter() *Meter { return &Meter{flows: make(map[MeteredFlow]*Load), limit: maxMetered} }

// record adds observations. Those without a tuple are of no flow, or of many.
func (m *Meter) record(all []vswitch.Observation) {
	for i := range all {
		o := &all[i]
		if o.Many {
			m.unnamed += o.Packets
		}
		if o.Tuple == (wire.FiveTuple{}) {
			continue
		}
		key := MeteredFlow{o.From, o.To, o.Tuple, o.Reason}
		load := m.flows[key]
		if load == nil {
			if len(m.flows) >= m.limit {
				m.unnamed += o.Packets
				continue
			}
			load = &Load{}
			m.flows[key] = load
		}
		load.Packets += o.Packets
		load.Bytes += o.Bytes
	}
}

// A Metered is a flow with what it did.
type Metered struct {
	MeteredFlow
	Load
}

// Busiest returns at most n flows, the most packets first, how many there are, and
// the packets of those that there was no room for.
func (m *Meter) Busiest(n int) (flows []Metered, total int, unnamed uint64) {
	flows = make([]Metered, 0, len(m.flows))
	for key, load := range m.flows {
		flows = append(flows, Metered{key, *load})
	}
	slices.SortFunc(flows, func(a, b Metered) int {
		return cmp.Or(cmp.Compare(b.Packets, a.Packets), cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To),
			slices.Compare(a.Tuple.Src[:], b.Tuple.Src[:]), cmp.Compare(a.Tuple.SrcPort, b.Tuple.SrcPort),
			slices.Compare(a.Tuple.Dst[:], b.Tuple.Dst[:]), cmp.Compare(a.Tuple.DstPort, b.Tuple.DstPort),
			cmp.Compare(a.Tuple.Protocol, b.Tuple.Protocol), cmp.Compare(a.Reason, b.Reason))
	})
	return flows[:min(n, len(flows))], len(flows), m.unnamed
}
