package vswitch_test

import (
	"testing"
	"time"

	vswitch "vswitch/switch"
)

// planned returns what PlanFlows says of the present configuration after an edit.
func (v *vpc) planned(most int, edit func(*vswitch.Config)) vswitch.FlowPlan {
	v.t.Helper()
	v.apply()
	next := cloneConfig(&v.config)
	edit(&next)
	p, err := v.sw.PlanFlows(next, most)
	v.must(err)
	return p
}

func nothing(*vswitch.Config) {}

// handshake opens a connection between a1 and b1.
func (v *vpc) handshake(port string) {
	v.t.Helper()
	v.run("a1:" + port + " > b1:22 tcp S seq=100 win=64240 => b1")
	v.run("b1:22 > a1:" + port + " tcp SA seq=500 ack=101 win=64240 => a1")
	v.run("a1:" + port + " > b1:22 tcp A seq=101 ack=501 win=64240 => b1")
}

// everybody makes the flows of a1 and b1 untracked: all may talk to all.
func (v *vpc) everybody() {
	v.t.Helper()
	v.dirty = true
	for _, name := range []string{"a1", "b1"} {
		v.authorize(name, "in", []string{"all", "0.0.0.0/0"})
	}
}

// An untracked flow counts until five minutes after its last packet, whoever asks
// for observations meanwhile, and no longer than until it says goodbye.
func TestPlanForgetsUntrackedFlows(t *testing.T) {
	v := newVPC(t, 1<<10)
	v.everybody()
	v.handshake("40000")
	p := v.planned(10, nothing)
	if p.Count != [3]int{1, 0, 0} || p.Flows[0].State != "" || p.Flows[0].From != "a1" || p.Flows[0].To != "b1" {
		t.Fatalf("an untracked flow: %+v", p)
	}
	v.observed()
	v.now += int64(5 * time.Minute)
	if p := v.planned(10, nothing); p.Count[vswitch.FlowKept] != 1 {
		t.Errorf("after five minutes: %+v", p)
	}
	v.now++
	if p := v.planned(10, nothing); p.Count != [3]int{} {
		t.Errorf("after more than five minutes: %+v", p)
	}
	v.run("a1:40000 > b1:22 tcp FA seq=101 ack=501 win=64240 => b1")
	v.run("b1:22 > a1:40000 tcp FA seq=501 ack=102 win=64240 => a1")
	v.run("a1:40000 > b1:22 tcp A seq=102 ack=502 win=64240 => b1")
	v.observed()
	if p := v.planned(10, nothing); p.Count != [3]int{} {
		t.Errorf("after its end: %+v", p)
	}
}

// A tracked connection counts from its handshake to its end, whatever the rules say.
func TestPlanCountsTrackedConnections(t *testing.T) {
	v := newVPC(t, 1<<10)
	v.open()
	v.run("a1:40000 > b1:22 tcp S seq=100 win=64240 => b1")
	if p := v.planned(10, nothing); p.Count != [3]int{} {
		t.Errorf("half a handshake: %+v", p)
	}
	v.run("b1:22 > a1:40000 tcp SA seq=500 ack=101 win=64240 => a1")
	v.run("a1:40000 > b1:22 tcp A seq=101 ack=501 win=64240 => b1")
	v.now += int64(time.Hour)
	if p := v.planned(10, nothing); p.Count != [3]int{1, 0, 0} || p.Flows[0].State != "established" {
		t.Errorf("an established connection: %+v", p)
	}
	p := v.planned(10, func(c *vswitch.Config) { c.SecurityGroup("g-b1").Ingress = []vswitch.SecurityGroupRule{} })
	if p.Count != [3]int{0, 1, 0} || len(p.Causes) != 1 || p.Causes[0].Words() != "sg g-b1 ingress: no rule" || p.Causes[0].Flows != 1 {
		t.Errorf("its rule goes: %+v", p)
	}
	v.run("b1:22 > a1:40000 tcp R seq=501 => a1")
	if p := v.planned(10, nothing); p.Count != [3]int{} {
		t.Errorf("after a reset: %+v", p)
	}
}

// The end of an instance ends its flows, and so does another namespace.
func TestPlanEndsFlowsOfInstances(t *testing.T) {
	for want, edit := range map[string]func(*vswitch.Config){
		"instance b1 is removed":   func(c *vswitch.Config) { c.Instances = append(c.Instances[:3:3], c.Instances[4:]...) },
		"instance b1 is made anew": func(c *vswitch.Config) { c.Instances[3].Namespace = "another" },
		"instance a1 is made anew": func(c *vswitch.Config) { c.Instances[1].Kind = vswitch.KindHost },
	} {
		v := newVPC(t, 1<<10)
		v.open()
		v.handshake("40000")
		p := v.planned(10, edit)
		if p.Count != [3]int{0, 0, 1} || p.Flows[0].Words() != want || p.Flows[0].Cut != [2]bool{true, true} {
			t.Errorf("want %q: %+v", want, p)
		}
	}
}

// A plan lists as many flows of each fate as were asked for, and counts all.
func TestPlanListsWhatWasAskedFor(t *testing.T) {
	v := newVPC(t, 1<<10)
	v.open()
	for _, port := range []string{"40000", "40001", "40002"} {
		v.handshake(port)
	}
	for _, most := range []int{0, 2, 5} {
		if p := v.planned(most, nothing); p.Count[vswitch.FlowKept] != 3 || len(p.Flows) != min(most, 3) {
			t.Errorf("of 3 flows, %d were asked for: %+v", most, p)
		}
	}
	if err := v.sw.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := v.sw.PlanFlows(v.config, 1); err != vswitch.ErrClosed {
		t.Errorf("after Close: %v", err)
	}
}
