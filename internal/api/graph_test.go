package api

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vswitch/internal/graph"
)

func sampleGraph() *graph.Graph {
	return &graph.Graph{
		VPC: "two-tier", CIDRs: []string{"10.0.0.0/16"}, Outside: []string{"internet"},
		Subnets: []graph.Subnet{
			{Name: "public", CIDRs: []string{"10.0.1.0/24"}, NetworkACL: "public", Nodes: []graph.Node{
				{Name: "web1", Instances: []graph.Instance{{Name: "web1", IP: "10.0.1.10"}}, SecurityGroups: []string{"web"}},
			}},
			{Name: "private", CIDRs: []string{"10.0.2.0/24"}, NetworkACL: "private", Nodes: []graph.Node{
				{Name: "app1", Instances: []graph.Instance{{Name: "app1", IP: "10.0.2.10"}}, SecurityGroups: []string{"app"}},
			}},
		},
		Edges: []graph.Edge{
			{From: "web1", To: "app1", Services: []string{"tcp 8080"}, Verdict: graph.NoReply, By: "nacl.private egress *"},
			{From: "internet", To: "web1", Services: []string{"tcp 443"}, Verdict: graph.Outside},
		},
	}
}

func (f *fake) Graph() (*graph.Graph, error) {
	f.asked = append(f.asked, "graph")
	return sampleGraph(), f.err
}

func TestGraph(t *testing.T) {
	b := &fake{}
	c := NewClient(serve(t, b, clientDeadline))
	got, err := c.Graph(t.Context())
	if diff := cmp.Diff(sampleGraph(), got); err != nil || diff != "" || len(b.asked) != 1 {
		t.Errorf("Graph: %v, asked %v\n%s", err, b.asked, diff)
	}
	b.err = &Error{KindStopping, "gone"}
	var refused *Error
	if _, err := c.Graph(t.Context()); !errors.As(err, &refused) || refused.Kind != KindStopping {
		t.Errorf("Graph of a switch that stops: got %v", err)
	}
}
