// Package account keeps books on what a switch has seen: how often each rule
// decided, and which packets were dropped lately, by whom and why. Its only
// source are the switch's Observations, so that the books agree with the ports'
// counters and with the flow logs.
package account

import (
	"slices"
	"sync"
	"time"

	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// A Book sums up Observations. Its size is bounded, whatever the traffic. All
// methods may be called by several goroutines at once. The zero Book is empty and
// ready.
type Book struct {
	mu     sync.Mutex // guards the fields below
	rules  map[vswitch.RuleKey]*Hits
	drops  drops
	meters []*Meter
}

// Hits are what is known of one rule since the Book began or was reset. A rule
// keeps them over reloads, and loses them when it is removed.
type Hits struct {
	// Packets counts the packets that the rule decided, in its own direction. The
	// packets of a tracked flow count for the security-group rule that opened it;
	// its replies, which pass without a rule, count for none.
	Packets uint64
	// Flows counts the connections, and untracked exchanges, that the rule let
	// begin. A deny rule has none.
	Flows uint64
	Last  time.Time // of the last packet; the zero Time if there was none
}

// Record enters observations of a switch that runs c.
func (b *Book) Record(all []vswitch.Observation, c *vswitch.Config) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rules == nil {
		b.rules = make(map[vswitch.RuleKey]*Hits)
	}
	for _, m := range b.meters {
		m.record(all)
	}
	var last [vswitch.Gates]struct { // most flows meet the rules that the flow before met
		key  vswitch.RuleKey
		hits *Hits
	}
	for i := range all {
		o := &all[i]
		for gate, key := range o.Rules {
			if key == (vswitch.RuleKey{}) || key.Direction != vswitch.Gate(gate).Direction() {
				continue
			}
			if l := &last[gate]; l.key != key {
				l.key, l.hits = key, b.hitsOf(key)
			}
			last[gate].hits.add(key, o)
		}
		if o.Reason == policy.None {
			continue
		}
		for _, key := range implicitDenies(o, c) {
			b.hitsOf(key).add(key, o)
		}
		b.drops.enter(o)
	}
}

// hitsOf returns the hits of a rule.
func (b *Book) hitsOf(key vswitch.RuleKey) *Hits {
	h := b.rules[key]
	if h == nil {
		h = new(Hits)
		b.rules[key] = h
	}
	return h
}

// add counts an observation for the rule, which is key's.
func (h *Hits) add(key vswitch.RuleKey, o *vswitch.Observation) {
	h.Packets += o.Packets
	if key != o.Denier() && key.ID != vswitch.ImplicitDeny {
		h.Flows += o.Opened
	}
	if o.Last.After(h.Last) {
		h.Last = o.Last
	}
}

// implicitDenies returns what stands in for a rule where security groups let
// nothing through: the end of the rules of each group that the interface has, for
// a packet is refused only if none of them allows it.
func implicitDenies(o *vswitch.Observation, c *vswitch.Config) (keys []vswitch.RuleKey) {
	name, d := o.From, policy.Egress
	switch o.Reason {
	case policy.SGEgress:
	case policy.SGIngress:
		name, d = o.To, policy.Ingress
	default:
		return nil
	}
	instance := c.Instance(name)
	if instance == nil {
		return nil // removed by a reload meanwhile
	}
	for _, group := range instance.SecurityGroups {
		keys = append(keys, vswitch.RuleKey{Object: "sg:" + group, Direction: d, ID: vswitch.ImplicitDeny})
	}
	return keys
}

// Hits returns what is known of the rules that have decided something, all at one
// moment.
func (b *Book) Hits() map[vswitch.RuleKey]Hits {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hits()
}

// hits is Hits for those who hold mu.
func (b *Book) hits() map[vswitch.RuleKey]Hits {
	all := make(map[vswitch.RuleKey]Hits, len(b.rules))
	for key, h := range b.rules {
		all[key] = *h
	}
	return all
}

// maxMeters bounds how many Meters there are at one time.
const maxMeters = 4

// Begin returns a Meter of what is recorded from now on, and what is known of the
// rules until now. End must follow. It returns nil if there are too many already.
func (b *Book) Begin() (*Meter, map[vswitch.RuleKey]Hits) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.meters) >= maxMeters {
		return nil, nil
	}
	m := newMeter()
	b.meters = append(b.meters, m)
	return m, b.hits()
}

// End makes a Meter that of its caller alone: nothing more is recorded in it. It
// returns what is known of the rules at that moment.
func (b *Book) End(m *Meter) map[vswitch.RuleKey]Hits {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.meters = slices.DeleteFunc(b.meters, func(other *Meter) bool { return other == m })
	return b.hits()
}

// Reset forgets the hits of the rules that match, and returns how many those were.
func (b *Book) Reset(match func(vswitch.RuleKey) bool) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key := range b.rules {
		if match(key) {
			delete(b.rules, key)
			n++
		}
	}
	return n
}

// Retain forgets the hits of rules that c no longer has. It is to be called after
// a reload.
func (b *Book) Retain(c *vswitch.Config) {
	live := make(map[vswitch.RuleKey]bool)
	for _, key := range vswitch.RuleKeys(c) {
		live[key] = true
	}
	b.Reset(func(key vswitch.RuleKey) bool { return !live[key] })
}

// Drops returns the dropped packets that are remembered, newest first.
func (b *Book) Drops() []Drop {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.drops.list()
}
