package api

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sampleReach() Reach {
	return Reach{VPC: "two-tier", Generation: 3, Instances: []string{"web1", "app1"}, Flows: []ReachFlow{
		{From: "web1", To: "app1", Family: FamilyIPv4, Verdict: VerdictAllow, Services: []string{"tcp 8080"}},
		{From: "app1", To: "web1", Family: FamilyIPv4, Verdict: VerdictPartial, Services: []string{"icmp echo-request", "tcp 443"}},
	}}
}

func (f *fake) Reach(r ReachRequest) (Reach, error) {
	f.asked = append(f.asked, "reach "+r.From+" "+r.To)
	return sampleReach(), f.err
}

func TestReach(t *testing.T) {
	b := &fake{}
	c := NewClient(serve(t, b, clientDeadline))
	got, err := c.Reach(t.Context(), ReachRequest{From: "web1", To: "10.0.2.10"})
	if diff := cmp.Diff(sampleReach(), got); err != nil || diff != "" || !cmp.Equal(b.asked, []string{"reach web1 10.0.2.10"}) {
		t.Errorf("Reach: %v, asked %v\n%s", err, b.asked, diff)
	}
	b.err = &Error{KindUsage, "no instance \"wbe1\""}
	var refused *Error
	if _, err := c.Reach(t.Context(), ReachRequest{}); !errors.As(err, &refused) || refused.Kind != KindUsage {
		t.Errorf("Reach of an unknown instance: got %v", err)
	}
}
