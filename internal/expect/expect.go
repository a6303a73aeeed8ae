// Package expect evaluates the tests of a configuration by its rules.
package expect

import (
	"fmt"

	"vswitch/internal/cover"
	"vswitch/internal/explain"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// An Evaluator evaluates tests. It is not safe for concurrent use.
type Evaluator struct {
	explainer *explain.Explainer
	config    *vswitch.Config
	promoted  map[string]*explain.Explainer // of the configuration in which a rule comes first, by its id
}

// New returns an Evaluator of a configuration. The error is *vswitch.InvalidError
// for one with mistakes.
func New(c vswitch.Config) (*Evaluator, error) {
	x, err := explain.New(c)
	if err != nil {
		return nil, err
	}
	return &Evaluator{explainer: x, config: x.Config(), promoted: make(map[string]*explain.Explainer)}, nil
}

// Close gives back what e holds.
func (e *Evaluator) Close() error {
	err := e.explainer.Close()
	for _, x := range e.promoted {
		if closing := x.Close(); err == nil {
			err = closing
		}
	}
	return err
}

// Judged returns how many flows e has judged so far.
func (e *Evaluator) Judged() int { return e.explainer.Judged() }

// A Result is what the rules say of a test.
type Result struct {
	Test   *vswitch.Test
	Passed bool
	Got    string         // what the rules do: one of the constants below
	Reason string         // why, in words: of the flow that failed the test, or of the first
	Origin vswitch.Origin // of the rule that Reason names; the zero Origin if it names none with a line

	Flows  []Flow // all that the test is about
	Failed []Flow // those that are not as the test wants them
}

// What rules do with flows, as Result.Got says it.
const (
	GotAllow   = "allow"
	GotDeny    = "deny"         // the request does not arrive
	GotNoReply = "deny (reply)" // the request arrives, its reply does not
	GotPartial = "partial"      // the reply arrives for some of the client's ports
	GotOther   = "another rule" // as wanted, but not by the rule that the test names
)

// A Flow is what a test is about between two ends: services that all rules there
// treat alike.
type Flow struct {
	From, To explain.Endpoint // with addresses
	Six      bool             // it is one of IPv6
	Services cover.Set        // a single interval
	Outcome  explain.Outcome
}

// Query returns the question that stands for the flow.
func (f *Flow) Query() explain.Query { return explain.QueryFor(f.Services.First(), f.From, f.To) }

// String returns the flow in words: "web1 -> db1 tcp 1-5431".
func (f *Flow) String() string {
	words := f.Services.Words()
	text := fmt.Sprintf("%s -> %s %s", f.From.Name(), f.To.Name(), words[0])
	if len(words) > 1 {
		text += " ..."
	}
	if f.Six {
		text += " over IPv6"
	}
	return text
}

// Got returns what became of the flow, as Result.Got says it.
func (f *Flow) Got() string {
	switch f.Outcome {
	case explain.Passed:
		return GotAllow
	case explain.HalfAnswered:
		return GotPartial
	case explain.Unanswered:
		return GotNoReply
	}
	return GotDeny
}

// as reports whether the flow fares as a test wants it: allow means that the
// request and its reply both pass; deny, that no answer comes back.
func (f *Flow) as(want policy.Verdict) bool {
	if want == policy.Allow {
		return f.Outcome == explain.Passed
	}
	return f.Outcome == explain.Stopped || f.Outcome == explain.Unanswered
}

// Evaluate returns what the rules say of a test of the configuration. The error
// is that of running out of memory.
func (e *Evaluator) Evaluate(t *vswitch.Test) (Result, error) {
	r := Result{Test: t}
	pairs, none, err := e.pairs(t)
	if err != nil {
		return r, err
	}
	for _, p := range pairs {
		for _, part := range e.explainer.Parts(cover.Of(t.Service), p.six, p.from.Instance, p.to.Instance) {
			f := Flow{From: p.from, To: p.to, Six: p.six, Services: part}
			if f.Outcome, err = e.explainer.Judge(f.Query()); err != nil {
				return r, err
			}
			r.Flows = append(r.Flows, f)
			if !f.as(t.Want) {
				r.Failed = append(r.Failed, f)
			}
		}
	}
	if len(r.Flows) == 0 {
		r.Got, r.Reason, r.Passed = GotDeny, none, t.Want == policy.Deny
		return r, nil
	}
	r.Passed = len(r.Failed) == 0
	return r, e.conclude(&r)
}

// conclude says what the flows have come to, and why.
func (e *Evaluator) conclude(r *Result) error {
	worst := &r.Flows[0]
	if !r.Passed {
		worst = &r.Failed[0]
	}
	r.Got = worst.Got()
	if r.Passed && r.Test.By != "" {
		other, err := e.notBy(r.Flows, r.Test.By)
		if err != nil {
			return err
		}
		if other != nil {
			r.Passed, r.Got, worst, r.Failed = false, GotOther, other, []Flow{*other}
		}
	}
	if r.Passed && r.Got == GotAllow && r.Test.By != "" {
		r.Reason = r.Test.By
		return nil
	}
	var err error
	if r.Reason, r.Origin, err = e.reason(worst); err == nil && len(r.Flows) > 1 && !r.Passed {
		r.Reason = worst.String() + ": " + r.Reason
	}
	return err
}
