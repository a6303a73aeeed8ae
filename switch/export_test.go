package vswitch

import (
	"math"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// Since returns the generation since which an instance is judged as it is, and
// false if there is no such instance.
func (s *Switch) Since(instance string) (uint32, bool) {
	e := s.plane.Load().eni(instance)
	if e == nil {
		return 0, false
	}
	return e.since, true
}

// Judge returns which instance a frame goes to that another one sends, or why it
// is dropped, without effect on any connection.
func (s *Switch) Judge(from string, b []byte) (to string, r policy.Reason) {
	p := s.plane.Load()
	in := p.eni(from)
	var f wire.Frame
	if r = f.Parse(b, in.mtu); r != policy.None {
		return "", r
	}
	if r = in.identify(&f); r != policy.None || f.Kind == wire.KindARP {
		return "", r
	}
	j := judge{plane: p, conns: s.workers[0].conns, frame: &f, now: s.workers[0].clock(), dry: true}
	out, r := j.decide(in)
	if r != policy.None {
		return "", r
	}
	return out.name, r
}

// ForgetSums takes what flows have done, as Observations does, without a copy of
// all of it.
func (s *Switch) ForgetSums() {
	records := make([]flowRecord, recordsPerLook)
	w := s.workers[0]
	for n := len(records); n == len(records); {
		w.do(func() { n = w.take(records) })
	}
}

// LastGeneration makes the plane that runs the last one before the number begins
// anew.
func (s *Switch) LastGeneration() { s.plane.Load().generation = math.MaxUint32 }

// ReadAhead makes the workers read one frame ahead, however small the flow cache is.
func ReadAhead(s *Switch) {
	for _, w := range s.workers {
		w.cache.farFrom = 1
	}
}

// FindsAhead reports whether reading a frame ahead, which an instance sends, leads to
// an entry of the flow cache, and to the one that the frame meets.
func (s *Switch) FindsAhead(from string, b []byte) bool {
	w := s.workers[0]
	in := w.plane.eni(from)
	n := copy(w.buffer, b)
	w.readAhead(in, n)
	w.followAhead()
	w.ahead.frame = nil
	var f wire.Frame
	if r := f.Parse(b, in.mtu); r != policy.None {
		return false
	}
	place, ok := w.cache.lookup(&f.Tuple, originOf(in, &f))
	return ok && w.ahead.hint == place+1
}
