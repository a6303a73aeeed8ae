package vswitch

import "time"

// recordsPerLook bounds how many flows are copied between two bursts.
const recordsPerLook = 1024

// Observations gives each what the switch has seen since it was last asked, in no
// order and in pieces, of which each must keep nothing: there may be a million
// flows. A flow may be in several Observations. Each frame that a port received is in
// exactly one, except those that the platform answered or that wait for the rest
// of their datagram: frames are lost only when there are more kinds of drops than
// memory for them, which Status tells (Uncounted).
//
// Rules and interfaces that a reload has removed are named for as long as it is
// the last one.
func (s *Switch) Observations(each func([]Observation)) {
	s.observing.Lock()
	defer s.observing.Unlock()
	if s.records == nil {
		s.records = make([]flowRecord, recordsPerLook)
		s.observed = make([]Observation, recordsPerLook)
	}
	for _, w := range s.workers {
		for {
			var n int
			var p *plane
			w.do(func() { n, p = w.take(s.records), w.plane })
			var before namedRules
			for i := range s.records[:n] {
				s.observed[i] = p.observation(&s.records[i], s.epoch, &before)
			}
			if n > 0 {
				each(s.observed[:n])
			}
			if n < len(s.records) {
				break
			}
		}
	}
}

// take moves up to len(out) records out of the worker, and returns how many.
// Fewer than len(out) means that none is left.
func (w *worker) take(out []flowRecord) int {
	n := w.tally.take(out)
	return n + w.cache.take(out[n:])
}

// namedRules are the rules of the observation before, by gate: most flows meet the
// same as those beside them.
type namedRules [Gates]struct {
	number ruleNumber
	key    RuleKey
}

// observation puts names to the numbers of a record.
func (p *plane) observation(r *flowRecord, epoch time.Time, before *namedRules) Observation {
	o := Observation{
		From: p.nameOf(r.in), To: p.nameOf(r.out),
		Tuple: r.tuple, Many: r.many, Reason: r.reason,
		Frames: r.sums.frames, Packets: r.sums.packets, Bytes: r.sums.bytes, Opened: uint64(r.sums.opened),
		First: epoch.Add(time.Duration(r.sums.first)), Last: epoch.Add(time.Duration(r.sums.last)),
		TCPFlags: r.sums.tcpFlags, LastFlags: r.sums.lastFlags, ICMPType: r.sums.icmpType, ICMPCode: r.sums.icmpCode,
	}
	for gate, number := range r.rules {
		if b := &before[gate]; b.number != number {
			b.number, b.key = number, RuleKey{}
			if number != 0 {
				b.key = p.ruleOf(number)
			}
		}
		o.Rules[gate] = before[gate].key
	}
	return o
}

// nameOf returns the instance of a handle, or the one that had it before the last
// reload; "" for 0.
func (p *plane) nameOf(handle uint32) string {
	if int(handle) < len(p.enis) && p.enis[handle] != nil {
		return p.enis[handle].name
	}
	return p.former.names[handle]
}

// ruleOf returns the rule of a number, or the one that had it before the last
// reload.
func (p *plane) ruleOf(number ruleNumber) RuleKey {
	if k, ok := p.numbers.byNum[number]; ok {
		return k
	}
	return p.former.numbers.key(number)
}

// formerNames are what the plane before had and this one has not.
type formerNames struct {
	names   map[uint32]string
	numbers *ruleNumbers // nil if they are the same
}

// formerly returns what prev has and p has not.
func (p *plane) formerly(prev *plane) formerNames {
	if prev == nil {
		return formerNames{}
	}
	f := formerNames{names: make(map[uint32]string)}
	for _, e := range prev.enis {
		if e != nil && p.byName[e.name] == nil {
			f.names[e.handle] = e.name
		}
	}
	if prev.numbers != p.numbers {
		f.numbers = prev.numbers
	}
	return f
}
