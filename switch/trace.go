package vswitch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/nacl"
)

// A Check is one of the gates that a packet passes, as a trace names it.
type Check string

// The gates, in the order of SEM 4.1.
const (
	CheckIdentity      Check = "identity"
	CheckPlatform      Check = "platform" // the VPC's own traffic (SEM 1.6): nothing follows
	CheckSecurityGroup Check = "sg"
	CheckNetworkACL    Check = "nacl"
	CheckRoute         Check = "route"
	CheckDestination   Check = "source/dest check"
)

// A Step is the outcome of one gate for one packet.
type Step struct {
	Check     Check
	Direction policy.Direction // valid iff Check is sg or nacl
	Where     string           // the instance or the subnet
	Verdict   policy.Verdict
	Reason    policy.Reason // valid iff Verdict is Deny
	Rule      string        // id of the security-group rule, or number of the ACL's; "" if none decided, "*" for the implicit deny
	Words     string        // the rule, or why none was needed
	Origin    Origin        // the rule's line; the zero Origin if no line decided
	Untracked bool          // the security groups let the packet pass without remembering the flow (SEM 2.2)
}

// A Trace records how a packet was judged: the slow path with a recorder, so
// that an explanation cannot differ from what happens.
type Trace struct {
	Steps []Step
	To    string // the instance that the packet goes to; "" if it was denied, or was for the platform
}

// Reason returns why the packet was denied: the reason of the last step.
func (t *Trace) Reason() policy.Reason {
	if len(t.Steps) == 0 {
		return policy.None
	}
	return t.Steps[len(t.Steps)-1].Reason
}

// recorded judges the frame b, which in sent, and fills in j's trace.
func (j *judge) recorded(in *eni, b []byte) {
	if out, _ := j.rehearse(in, b); out != nil {
		j.trace.To = out.name
	}
}

// rehearse judges the frame b, which in sent, as the data plane does. It returns
// the interface that the frame goes to, nil for the platform, or why it is
// dropped. It neither changes nor keeps b.
func (j *judge) rehearse(in *eni, b []byte) (*eni, policy.Reason) {
	f := &wire.Frame{}
	r := f.Parse(slices.Clone(b), in.mtu)
	if r == policy.None {
		r = in.identify(f)
	}
	if r != policy.None {
		j.record(Step{Check: CheckIdentity, Where: in.name, Reason: r})
		return nil, r
	}
	if f.Kind == wire.KindARP || f.IsND() || in.subnet.echoes(f) {
		j.record(Step{Check: CheckPlatform, Where: in.name, Verdict: policy.Allow, Words: "for the platform itself, never judged"})
		return nil, policy.None
	}
	j.frame = f
	return j.decide(in)
}

// record adds a step if somebody asked.
func (j *judge) record(s Step) {
	if j.trace != nil {
		j.trace.Steps = append(j.trace.Steps, s)
	}
}

// recordRoute adds the step of a routing decision; r is nil if no route matches.
func (j *judge) recordRoute(s *subnet, r *route, reason policy.Reason) {
	if j.trace == nil {
		return
	}
	step := Step{Check: CheckRoute, Where: s.routes.name, Verdict: verdict(reason), Reason: reason, Words: "no route"}
	if r != nil {
		step.Words, step.Origin = r.target.String()+" "+r.block.String(), r.origin
	}
	j.record(step)
}

// aclStep returns the step of a network ACL's decision.
func (p *plane) aclStep(s *subnet, d policy.Direction, e *nacl.Entry, r policy.Reason) Step {
	key := RuleKey{"nacl:" + s.aclName, d, ImplicitDeny}
	if e != nil {
		key.ID = strconv.Itoa(e.Number)
	}
	rule := p.config.aclRule(key)
	return Step{Check: CheckNetworkACL, Direction: d, Where: s.aclName, Verdict: verdict(r), Reason: r, Rule: key.ID, Words: rule.Words(), Origin: rule.Origin}
}

// String returns the trace, a line a step.
func (t *Trace) String() string {
	var b strings.Builder
	for _, s := range t.Steps {
		gate := string(s.Check)
		if s.Check == CheckSecurityGroup || s.Check == CheckNetworkACL {
			gate += " " + s.Direction.String()
		}
		fmt.Fprintf(&b, "%-18s %-10s %-5s %s %s %s", gate, s.Where, s.Verdict, s.Rule, s.Words, s.Origin)
		if s.Verdict == policy.Deny {
			fmt.Fprintf(&b, " %s", s.Reason)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
