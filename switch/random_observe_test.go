package vswitch_test

import (
	"maps"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
)

// outcomes count frames by what became of them; None stands for delivered.
type outcomes map[policy.Reason]uint64

// observe adds what a twin has seen since it was last asked, by sender, and
// returns it.
func (s *twin) observe() []vswitch.Observation {
	var all []vswitch.Observation
	s.sw.Observations(func(some []vswitch.Observation) { all = append(all, some...) })
	for _, o := range all {
		if s.seen[o.From] == nil {
			s.seen[o.From] = outcomes{}
		}
		s.seen[o.From][o.Reason] += o.Frames
	}
	return all
}

// compareObservations holds what both switches have observed against their
// counters.
func (w *world) compareObservations() {
	for _, s := range w.twins {
		s.observe()
		st := s.sw.Status()
		for _, p := range st.Ports {
			if got, want := s.seen[p.Instance], counted(&p.Counters); !maps.Equal(got, want) {
				w.fail("%s, %s has observed %v, counted %v", s.name, p.Instance, got, want)
			}
		}
		if st.Uncounted != 0 {
			w.fail("%s, %d frames are uncounted", s.name, st.Uncounted)
		}
	}
}

// forgetRemoved forgets what the instances have done that c no longer has. It is
// called after Observe, before c is applied.
func (s *twin) forgetRemoved(c *vswitch.Config) {
	maps.DeleteFunc(s.seen, func(name string, _ outcomes) bool { return c.Instance(name) == nil })
}

// compareRules holds the rules that one frame has been observed to pass against
// its trace.
func (w *world) compareRules(s *twin, all []vswitch.Observation, why *vswitch.Trace) {
	if len(all) != 1 || all[0].Frames != 1 {
		return // answered, held, or the last fragment of several
	}
	o := &all[0]
	if port := o.Reason == policy.PortDown || o.Reason == policy.PortRefused; !port && (len(why.Steps) == 0 || o.Reason != why.Steps[len(why.Steps)-1].Reason) {
		return // compareTrace knows what a trace cannot see
	}
	if wrong := misnamed(o, why); wrong != "" {
		w.fail("%s, %s\n%s", s.name, wrong, why)
	}
	for g, got := range o.Rules {
		w.trackedRule(s, vswitch.Gate(g), got)
	}
}

// trackedRule holds that a rule which a packet has passed is one of its gate: of a
// security group or of a network ACL, and that only a tracked packet names one of
// the other direction.
func (w *world) trackedRule(s *twin, g vswitch.Gate, got vswitch.RuleKey) {
	acl := g == vswitch.GateNACLEgress || g == vswitch.GateNACLIngress
	switch {
	case got == vswitch.RuleKey{}:
	case acl && (got.Object[:5] != "nacl:" || got.Direction != g.Direction()):
		w.fail("%s, gate %d: %v", s.name, g, got)
	case !acl && got.Object[:3] != "sg:":
		w.fail("%s, gate %d: %v", s.name, g, got)
	}
}
