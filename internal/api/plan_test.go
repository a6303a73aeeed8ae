package api

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vswitch/internal/plan"
)

func samplePlan() *plan.Plan {
	at := func(line int) *plan.Origin {
		return &plan.Origin{File: "/home/ann/lab/vpc.toml", Line: line, Column: 3}
	}
	return &plan.Plan{
		VPC: "two-tier", Generation: 3,
		Changes: []plan.Change{
			{Action: plan.Modify, Object: "security_group", Name: "web", Origin: at(24), Fields: []plan.Field{}, Rules: []plan.Rule{
				{Action: plan.Modify, Direction: "ingress", ID: "sgr-web-https", Words: "tcp 443 <- 10.0.0.0/8", Was: "tcp 443 <- 0.0.0.0/0", Origin: at(27)},
				{Action: plan.Remove, Direction: "ingress", ID: "sgr-web-ping", Words: "icmp echo-request <- 10.0.0.0/16", Origin: at(28)},
			}},
			{Action: plan.Modify, Object: "instance", Name: "app1", Origin: at(82), Fields: []plan.Field{{Name: "sg", From: "app", To: "app, ssh"}}, Rules: []plan.Rule{}},
		},
		Counts:    plan.Counts{Objects: plan.Count{Changed: 2}, Rules: plan.Count{Changed: 1, Removed: 1}},
		Instances: []plan.Instance{{Name: "app1", Action: plan.Restart, Why: "run"}},
		Flows: plan.Flows{
			Kept: 12, Tracked: 1, Cut: 1,
			Causes: []plan.Cause{
				{Fate: "cut", Words: "nacl private egress * (implicit deny)", Reason: "NACL_EGRESS", Flows: 1},
				{Fate: "tracked", Words: "sg web ingress: no rule", Reason: "SG_INGRESS", Origin: at(24), Flows: 1},
			},
			Flows: []plan.Flow{
				{Fate: "cut", From: "web1", To: "app1", Protocol: "tcp", Source: "10.0.1.10", SourcePort: 40000, Destination: "10.0.2.10", DestPort: 8080,
					State: "established", Cause: "nacl private egress * (implicit deny)", CutAt: "destination"},
				{Fate: "tracked", From: "web2", To: "web1", Protocol: "icmp", Source: "10.0.1.66", Destination: "10.0.1.10", State: "replied", Cause: "sg web ingress: no rule"},
			},
		},
	}
}

func (f *fake) Plan(r PlanRequest) (*plan.Plan, error) {
	f.asked = append(f.asked, fmt.Sprintf("plan %q %d", r.File, r.Flows))
	return samplePlan(), f.err
}

func TestPlan(t *testing.T) {
	b := &fake{}
	c := NewClient(serve(t, b, clientDeadline))
	got, err := c.Plan(t.Context(), PlanRequest{File: "/a/vpc.toml", Flows: 7})
	if diff := cmp.Diff(samplePlan(), got); err != nil || diff != "" {
		t.Errorf("Plan: %v\n%s", err, diff)
	}
	if want := []string{`plan "/a/vpc.toml" 7`}; !slices.Equal(b.asked, want) {
		t.Errorf("asked %q, want %q", b.asked, want)
	}
	var refused *Error
	for _, flows := range []int{-1, MaxPlannedFlows + 1} {
		if _, err := c.Plan(t.Context(), PlanRequest{Flows: flows}); !errors.As(err, &refused) || refused.Kind != KindUsage {
			t.Errorf("%d flows: got %v", flows, err)
		}
	}
}
