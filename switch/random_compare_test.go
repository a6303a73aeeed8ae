package vswitch_test

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

// compare holds what came out of the ports, and all counters, against the model.
func (w *world) compare() {
	for _, s := range w.twins {
		for _, want := range w.model.emitted {
			n, ok := s.ports[want.port].Receive(s.buf)
			switch {
			case !ok:
				w.fail("%s, nothing came out of the port of %s; want\n%s", s.name, want.port, wiretest.Format(want.bytes))
			case !bytes.Equal(s.buf[:n], want.bytes):
				w.fail("%s, out of the port of %s came\n%x, want\n%x", s.name, want.port, s.buf[:n], want.bytes)
			}
		}
		st := s.sw.Status()
		if st.Panics != 0 {
			w.fail("%s, it failed: %s", s.name, st.Captured[0].Cause)
		}
		if len(st.Ports) != len(w.model.enis) {
			w.fail("%s, it has %d ports, not %d", s.name, len(st.Ports), len(w.model.enis))
			return
		}
		var rx, drops uint64
		for i := range st.Ports {
			w.comparePort(s, &st.Ports[i])
			rx, drops = rx+st.Ports[i].Counters.RxFrames, drops+st.Ports[i].Counters.Dropped()
		}
		if st.Totals.RxFrames != rx || st.Totals.Dropped() != drops {
			w.fail("%s, its totals are not those of its ports: %s", s.name, describe(&st.Totals))
		}
	}
	w.model.emitted = w.model.emitted[:0]
	for _, e := range w.model.enis {
		if e.port != nil {
			e.port.room = e.port.depth
		}
	}
}

// comparePort holds one port against the model.
func (w *world) comparePort(s *twin, got *vswitch.PortStatus) {
	e := w.model.enis[got.Instance]
	if got.Counters != e.counters {
		w.fail("%s, the counters of %s are\n %s, want\n %s", s.name, e.name, describe(&got.Counters), describe(&e.counters))
	}
	c := &got.Counters
	if c.RxFrames != c.Delivered+c.Answered+c.Held+c.Dropped() {
		w.fail("%s, the counters of %s do not add up: %s", s.name, e.name, describe(c))
	}
	if up := e.port != nil && !e.port.removed; got.Up != up {
		w.fail("%s, %s is up: %v, want %v", s.name, e.name, got.Up, up)
	}
	if n := w.model.live(e); w.swept && got.Tracked != n || got.Exceeded != e.exceeded {
		w.fail("%s, %s has %d connections and refused %d, want %d and %d", s.name, e.name, got.Tracked, got.Exceeded, n, e.exceeded)
	}
	if p := s.ports[e.name]; p != nil {
		if n, ok := p.Receive(s.buf); ok {
			w.fail("%s, out of the port of %s also came\n%s", s.name, e.name, wiretest.Format(s.buf[:n]))
		}
	}
}

// compareConnections holds every connection against the model.
func (w *world) compareConnections() {
	var want []string
	for i := range w.config.Instances {
		e := w.model.enis[w.config.Instances[i].Name]
		for _, c := range e.conns {
			if left := time.Duration(c.expires - w.now); left >= 0 {
				want = append(want, fmt.Sprintf("%s: %s %s, %s left", e.name, c.tuple, c.state, left))
			}
		}
	}
	slices.Sort(want)
	for _, s := range w.twins {
		all, err := s.sw.Connections("")
		if err != nil {
			panic(err)
		}
		var got []string
		for _, c := range all {
			got = append(got, fmt.Sprintf("%s: %s %s, %s left", c.Instance, c.Tuple, c.State, c.Left))
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			w.fail("%s, the connections are\n%s, want\n%s", s.name, lines(got), lines(want))
		}
	}
}

// compareTrace holds an explanation against what became of the frame: what is
// explained is what happens. A trace ends before the port, opens no connection
// and reads no checksum, and it is about packets that rules judge.
func (w *world) compareTrace(s *twin, t *vswitch.Trace, v verdict, b []byte) {
	var f wire.Frame
	parsed := f.Parse(bytes.Clone(b), w.model.mtu()) == policy.None
	switch {
	case parsed && (f.Kind == wire.KindARP || f.IsND() || f.Fragment), v.answered:
		return
	}
	switch v.reason {
	case policy.EgressAllowance, policy.IngressAllowance, policy.TransportChecksum:
		return
	}
	want := v.reason
	switch want {
	case policy.PortDown, policy.PortRefused:
		want = policy.None
	}
	got := policy.None
	if n := len(t.Steps); n > 0 {
		got = t.Steps[n-1].Reason
	}
	if got != want {
		w.fail("%s, the trace ends in %s, but the frame met %s:\n%s", s.name, got, v, t)
	}
	var rules []string
	for _, step := range t.Steps {
		switch {
		case step.Check == vswitch.CheckNetworkACL:
			rules = append(rules, fmt.Sprintf("%s %s %s", step.Where, step.Direction, step.Rule))
		case step.Check == vswitch.CheckSecurityGroup && step.Rule != "":
			rules = append(rules, fmt.Sprintf("%s %s %s", step.Where, step.Direction, step.Words))
		}
	}
	if !slices.Equal(rules, w.model.decided) {
		w.fail("%s, the trace names the rules %q, but %q decided", s.name, rules, w.model.decided)
	}
}
