package vswitch_test

import (
	"fmt"
	"maps"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
)

// trace returns how a frame that has not been sent yet would be judged.
func (v *vpc) trace(sender string, frame []byte) *vswitch.Trace {
	v.t.Helper()
	why, err := v.sw.Trace(sender, frame)
	v.must(err)
	return why
}

// observed returns what the switch has observed since the last call, and holds the
// sums of all that it ever has against its counters.
func (v *vpc) observed() (all []vswitch.Observation) {
	v.t.Helper()
	v.sw.Observations(func(some []vswitch.Observation) { all = append(all, some...) })
	for _, o := range all {
		if v.seen[o.From] == nil {
			v.seen[o.From] = outcomes{}
		}
		v.seen[o.From][o.Reason] += o.Frames
	}
	for _, p := range v.sw.Status().Ports {
		if got, want := v.seen[p.Instance], counted(&p.Counters); !maps.Equal(got, want) {
			v.fatalf("of %s %v is observed, and counted %v", p.Instance, got, want)
		}
	}
	return all
}

// checkObserved holds what is observed of one frame of sender that met want: it
// was sent once, so it is there once, with that outcome, and the rules that decided
// are those that its trace names. An answered frame is not observed.
func (v *vpc) checkObserved(sender, want string, packets uint64, why *vswitch.Trace) {
	v.t.Helper()
	all := v.observed()
	if want == "answered" {
		if len(all) != 0 {
			v.fatalf("=> answered: observed %+v", all)
		}
		return
	}
	if len(all) != 1 {
		v.fatalf("=> %s: observed %d flows: %+v", want, len(all), all)
	}
	o := &all[0]
	reason, isReason := reasonOf(want)
	if o.From != sender || o.Many || o.Frames != 1 || o.Packets != packets || o.Reason != reason || !isReason && o.To != want {
		v.fatalf("=> %s: observed %+v, want one frame of %s, %d packets", want, o, sender, packets)
	}
	if !traceable(reason) {
		return
	}
	if why.Reason() != reason {
		v.fatalf("=> %s: the trace ends in %s\n%s", want, why.Reason(), why)
	}
	if wrong := misnamed(o, why); wrong != "" {
		v.fatalf("=> %s: %s\n%s", want, wrong, why)
	}
}

// traceable reports whether a trace knows of an outcome: it opens no connection,
// reads no checksum, ends before the port, and does not ask the platform.
func traceable(r policy.Reason) bool {
	switch r {
	case policy.EgressAllowance, policy.IngressAllowance, policy.TransportChecksum, policy.PortDown, policy.PortRefused,
		policy.ARPUnanswered, policy.NDUnanswered, policy.ARPSpoofed, policy.NDSpoofed:
		return false
	}
	return true
}

// misnamed says which rule one frame has been observed to meet other than its trace
// says; "" if there is none. Security groups that let a tracked packet pass have no
// rule in the trace, and the one that once let the flow begin in the observation.
func misnamed(o *vswitch.Observation, why *vswitch.Trace) string {
	var steps [vswitch.Gates]vswitch.Step
	for _, step := range why.Steps {
		if g, ok := gateOf(&step); ok {
			steps[g] = step
		}
	}
	var denier vswitch.RuleKey // the rule of a network ACL, for security groups deny by having none
	for i, step := range steps {
		g, got := vswitch.Gate(i), o.Rules[i]
		acl := step.Check == vswitch.CheckNetworkACL
		tracked := step.Check == vswitch.CheckSecurityGroup && step.Rule == "" && step.Verdict == policy.Allow
		if got.ID != step.Rule && !tracked || acl && (got.Object != "nacl:"+step.Where || got.Direction != g.Direction()) {
			return fmt.Sprintf("gate %d: observed %v, traced %q of %s", g, got, step.Rule, step.Where)
		}
		if acl && step.Verdict == policy.Deny {
			denier = got
		}
	}
	if got := o.Denier(); got != denier {
		return fmt.Sprintf("denied by %v, want %v", got, denier)
	}
	return ""
}

// gateOf returns the gate that a step of a trace is about.
func gateOf(step *vswitch.Step) (vswitch.Gate, bool) {
	switch egress := step.Direction == policy.Egress; {
	case step.Check == vswitch.CheckSecurityGroup && egress:
		return vswitch.GateSGEgress, true
	case step.Check == vswitch.CheckSecurityGroup:
		return vswitch.GateSGIngress, true
	case step.Check == vswitch.CheckNetworkACL && egress:
		return vswitch.GateNACLEgress, true
	case step.Check == vswitch.CheckNetworkACL:
		return vswitch.GateNACLIngress, true
	}
	return 0, false
}

// counted returns the outcomes that a port's counters have.
func counted(c *vswitch.Counters) outcomes {
	all := outcomes{}
	if c.Delivered > 0 {
		all[policy.None] = c.Delivered
	}
	for r, n := range c.Drops {
		if n > 0 {
			all[policy.Reason(r)] = n
		}
	}
	return all
}
