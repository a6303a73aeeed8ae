package account

import (
	"cmp"
	"slices"
	"time"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	vswitch "vswitch/switch"
)

// A Drop is what happened to packets of one flow that were dropped for one cause.
type Drop struct {
	From, To string         // instances; To is "" if the packets came as far as none
	Tuple    wire.FiveTuple // zero for frames without one
	Many     bool           // stands for several flows, whose tuples are forgotten
	Reason   policy.Reason
	Rule     vswitch.RuleKey // the network ACL's rule that denied; zero for other reasons

	Packets     uint64
	First, Last time.Time
	TCPFlags    uint8 // of the last segment
	ICMPType    uint8 // of the last packet, if it was ICMP
	ICMPCode    uint8
}

// Bounds of what is remembered. What is over them is counted as one of many, by
// sender and reason, so that the packets remembered add up to the ports' counters.
const (
	maxDropsEach = 64     // flows by sender and reason: one busy offender hides nobody else
	maxDrops     = 16_384 // flows in all
)

// drops remembers dropped packets by flow and cause. The zero drops is empty.
type drops struct {
	flows map[dropKey]*Drop
	rings map[ring]int // how many of flows each ring has
}

// A dropKey is what tells two Drops apart.
type dropKey struct {
	ring
	to    string
	tuple wire.FiveTuple
	many  bool
	rule  vswitch.RuleKey
}

// A ring is what one bound is for.
type ring struct {
	from   string
	reason policy.Reason
}

// enter remembers an observation of dropped packets.
func (d *drops) enter(o *vswitch.Observation) {
	if d.flows == nil {
		d.flows = make(map[dropKey]*Drop)
		d.rings = make(map[ring]int)
	}
	key := dropKey{ring{o.From, o.Reason}, o.To, o.Tuple, o.Many, o.Denier()}
	if key.many {
		key = key.ofMany()
	}
	f := d.flows[key]
	if f == nil {
		if !key.many {
			d.makeRoom(key.ring)
		}
		f = &Drop{From: key.from, To: key.to, Tuple: key.tuple, Many: key.many, Reason: key.reason, Rule: key.rule, First: o.First}
		d.flows[key] = f
		d.rings[key.ring]++
	}
	f.Packets += o.Packets
	f.Last = later(f.Last, o.Last)
	f.TCPFlags, f.ICMPType, f.ICMPCode = o.LastFlags, o.ICMPType, o.ICMPCode
}

// ofMany returns the key under which what finds no place of its own is counted.
func (k dropKey) ofMany() dropKey { return dropKey{ring: k.ring, many: true} }

// makeRoom folds the oldest flows into those of many if a bound is reached: a
// quarter of them at once, so that it is rarely done.
func (d *drops) makeRoom(r ring) {
	if d.rings[r] >= maxDropsEach {
		d.fold(maxDropsEach/4, func(k dropKey) bool { return k.ring == r })
	}
	if len(d.flows) >= maxDrops {
		d.fold(maxDrops/4, func(dropKey) bool { return true })
	}
}

// fold counts the oldest n of the flows that match as of many.
func (d *drops) fold(n int, match func(dropKey) bool) {
	var keys []dropKey
	for k := range d.flows {
		if !k.many && match(k) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b dropKey) int { return d.flows[a].Last.Compare(d.flows[b].Last) })
	for _, k := range keys[:min(n, len(keys))] {
		f := d.flows[k]
		delete(d.flows, k)
		d.rings[k.ring]--
		many := d.flows[k.ofMany()]
		if many == nil {
			many = &Drop{From: k.from, Reason: k.reason, Many: true, First: f.First}
			d.flows[k.ofMany()] = many
			d.rings[k.ring]++
		}
		many.Packets += f.Packets
		many.First = earlier(many.First, f.First)
		many.Last = later(many.Last, f.Last)
	}
}

// list returns copies of all drops, newest first.
func (d *drops) list() []Drop {
	all := make([]Drop, 0, len(d.flows))
	for _, f := range d.flows {
		all = append(all, *f)
	}
	slices.SortFunc(all, func(a, b Drop) int {
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.From, b.From), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.To, b.To),
			slices.Compare(a.Tuple.Src[:], b.Tuple.Src[:]), cmp.Compare(a.Tuple.SrcPort, b.Tuple.SrcPort),
			slices.Compare(a.Tuple.Dst[:], b.Tuple.Dst[:]), cmp.Compare(a.Tuple.DstPort, b.Tuple.DstPort), cmp.Compare(b.Packets, a.Packets))
	})
	return all
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
