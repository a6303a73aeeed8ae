package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func sampleFlows() Flows {
	start := time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)
	return Flows{Total: 3, Next: 812, Flows: []Flow{
		{
			Instance: "web1", Interface: "eni-0b2c3d4e5f6071829", State: FlowClosed, Status: "OK", Start: start, End: start.Add(42 * time.Second),
			Direction: "egress", Action: "ACCEPT", Protocol: "tcp", Source: "10.0.1.10", SourcePort: 40000, Destination: "10.0.2.10", DestPort: 8080,
			Packets: 6, Bytes: 1204, TCPFlags: 3, Peer: "app1", Verdict: "DELIVERED", Rules: []string{"sg:web/sgr-web-app", "nacl:public/100"},
			Line: "10.0.1.10 10.0.2.10 8080 ACCEPT",
		},
		{Instance: "web2", Interface: "eni-0d4e5f60718293a41", State: FlowClosed, Status: "SKIPDATA", Start: start, End: start.Add(59 * time.Second), Line: "- - - -"},
		{
			Instance: "app1", Interface: "eni-0e5f60718293a4b52", State: FlowOpen, Status: "OK", Start: start.Add(time.Minute), End: start.Add(time.Minute),
			Direction: "ingress", Action: "REJECT", Protocol: "icmp", Source: "10.0.1.66", Destination: "10.0.2.10",
			Packets: 1, Bytes: 84, Peer: "web2", Verdict: "NACL_INGRESS", Rules: []string{"nacl:private/90"},
			Line: "10.0.1.66 10.0.2.10 0 REJECT",
		},
	}}
}

func (f *fake) Flows(_ context.Context, r FlowsRequest) (Flows, error) {
	f.asked = append(f.asked, fmt.Sprintf("flows %+v", r))
	return sampleFlows(), f.err
}

func TestFlowsAreAskedForAsTheyAre(t *testing.T) {
	b := &fake{}
	c := NewClient(serve(t, b, clientDeadline))
	all := []FlowsRequest{
		{Limit: 10},
		{Instance: "web1", Rejected: true, Format: "${version} ${action}", Limit: MaxFlows},
		{Follow: true, After: 7, Limit: 1},
		{Follow: true, Limit: 1},
	}
	var want []string
	for _, r := range all {
		want = append(want, fmt.Sprintf("flows %+v", r))
		got, err := c.Flows(context.Background(), r, time.Second)
		if diff := cmp.Diff(sampleFlows(), got); err != nil || diff != "" {
			t.Errorf("%+v: %v\n%s", r, err, diff)
		}
	}
	if diff := cmp.Diff(want, b.asked); diff != "" {
		t.Errorf("the backend was asked (-want +got):\n%s", diff)
	}
}

func TestFlowsRefusesNonsense(t *testing.T) {
	b := &fake{}
	c := NewClient(serve(t, b, clientDeadline))
	for query, want := range map[string]string{
		"?limit=0":          `limit "0": want 1 to 50000`,
		"?limit=50001":      `limit "50001": want 1 to 50000`,
		"?rejected=perhaps": `rejected "perhaps": want true or false`,
		"?after=x":          `after "x": want the number that an earlier answer had as next`,
		"?after=1&wait=61":  `wait "61": want 0 to 60 seconds`,
	} {
		_, err := call[Flows](context.Background(), c, http.MethodGet, PathFlows+query, nil, readDeadline)
		var refused *Error
		if !errors.As(err, &refused) || refused.Kind != KindUsage || refused.Message != want {
			t.Errorf("%s: got %v, want %s", query, err, want)
		}
	}
	if len(b.asked) > 0 {
		t.Errorf("the backend was asked %v", b.asked)
	}
}
