package e2e

import (
	"encoding/json"
	"strings"
	"testing"
)

// A plan is the part of `plan -o json` that these tests rest on.
type plan struct {
	Changes []struct {
		Action, Object, Name string
		Rules                []struct{ Action, ID string }
	}
	Flows struct {
		Kept, Tracked, Cut int
		Causes             []struct{ Fate, Cause string }
		Flows              []struct{ Fate, From, To, State string }
	}
}

// plan asks the lab what a reload would do, which must change nothing.
func (l *lab) plan() plan {
	l.t.Helper()
	before := l.status().Generation
	var p plan
	text := l.must("plan", "--flows", "-o", "json")
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		l.t.Fatalf("plan: %v\n%s", err, text)
	}
	if dry, planned := l.must("reload", "--dry-run"), l.must("plan"); dry != planned {
		l.t.Errorf("reload --dry-run prints\n%s\nand plan\n%s", dry, planned)
	}
	if after := l.status().Generation; after != before {
		l.t.Errorf("after a plan the generation is %d, before %d", after, before)
	}
	return p
}

// expectFlow checks that exactly one flow is in the plan, and has that fate and
// cause.
func (p *plan) expectFlow(t *testing.T, fate, state, cause string) {
	t.Helper()
	f := &p.Flows
	counts := map[string]int{"kept": f.Kept, "tracked": f.Tracked, "cut": f.Cut}
	if counts[fate] != 1 || f.Kept+f.Tracked+f.Cut != 1 || len(f.Flows) != 1 || f.Flows[0].From != "left" || f.Flows[0].To != "right" || f.Flows[0].State != state {
		t.Errorf("want one flow from left to right, %q, %s: %+v", state, fate, f)
	}
	if cause != "" && (len(f.Causes) != 1 || f.Causes[0].Fate != fate || f.Causes[0].Cause != cause) {
		t.Errorf("want the cause %q: %+v", cause, f.Causes)
	}
}

// A real connection goes on, and is cut, as plan has said.
func TestPlanTellsWhatAReloadDoes(t *testing.T) {
	t.Parallel()
	l := startLab(t, twoSubnets)
	conn := l.talkTo("left", "right")

	p := l.plan()
	if p.expectFlow(t, "kept", "established", ""); len(p.Changes) != 0 {
		t.Errorf("nothing was edited: %+v", p.Changes)
	}
	if got := l.must("plan"); !strings.Contains(got, "nothing to do") {
		t.Errorf("nothing was edited:\n%s", got)
	}

	l.edit(`  { id = "sgr-echo", proto = "tcp", ports = 9000, from = "sg:left" },`+"\n", "")
	p = l.plan()
	p.expectFlow(t, "tracked", "established", "sg right ingress: no rule")
	if len(p.Changes) != 1 || p.Changes[0].Name != "right" || len(p.Changes[0].Rules) != 1 || p.Changes[0].Rules[0].ID != "sgr-echo" || p.Changes[0].Rules[0].Action != "remove" {
		t.Errorf("a rule was removed: %+v", p.Changes)
	}
	l.must("reload")
	conn.say("tracked")
	conn.expect("echo")

	const allow = `  { rule = 100, action = "allow", proto = "tcp", from = "10.9.1.0/24" },`
	l.edit(allow, allow+"\n"+`  { rule = 50, action = "deny", proto = "tcp", ports = 9000, from = "10.9.1.10/32" },`)
	p = l.plan()
	p.expectFlow(t, "cut", "established", "nacl edge ingress 50 tcp 9000 <- 10.9.1.10/32")
	conn.say("not yet")
	conn.expect("echo")
	l.must("reload")
	conn.say("denied")
	conn.expect("silence")
}

// An untracked connection is cut by the loss of its rule, and so plan says.
func TestPlanKnowsUntrackedFlows(t *testing.T) {
	t.Parallel()
	l := newLab(t, twoSubnets)
	l.edit(`ports = 9000, from = "sg:left"`, `ports = 9000, from = "0.0.0.0/0"`)
	l.edit("[security_group.left]\n", "[security_group.left]\n"+`ingress = [{ proto = "all", from = "0.0.0.0/0" }]`+"\n")
	l.must("up")
	conn := l.talkTo("left", "right")

	l.edit(`  { id = "sgr-echo", proto = "tcp", ports = 9000, from = "0.0.0.0/0" },`+"\n", "")
	p := l.plan()
	p.expectFlow(t, "cut", "", "sg right ingress: no rule")
	l.must("reload")
	conn.say("after")
	conn.expect("silence")
}
