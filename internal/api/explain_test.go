package api

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

func sampleExplanation() Explanation {
	client := &PortRange{From: 1024, To: 65535}
	return Explanation{
		VPC: "two-tier", Generation: 7, Verdict: VerdictDeny,
		From: ExplainEnd{Name: "web1", Address: "10.0.1.10"}, To: ExplainEnd{Name: "app1", Address: "10.0.2.10"},
		Service: "tcp/8080", Words: "web1 10.0.1.10:* -> app1 10.0.2.10:8080/tcp",
		Request: ExplainLeg{
			From: "web1", To: "app1", Words: "web1:1024-65535 -> app1:8080", Path: []string{"web1", "public", "router", "private", "app1"},
			SourcePorts: client, Verdict: VerdictAllow, Steps: []ExplainStep{{
				Check: "sg", Direction: "egress", Object: "web", Instance: "web1", Verdict: VerdictAllow, Rule: "sgr-web-app",
				Words: "tcp 8080 -> sg:app", Origin: &Origin{File: "/home/ann/lab/vpc.toml", Line: 41, Column: 3},
			}},
		},
		Replies: []ExplainLeg{{
			From: "app1", To: "web1", Words: "app1:8080 -> web1:1024-65535", Path: []string{"app1", "private", "router", "public", "web1"},
			SourcePorts: client, Verdict: VerdictDeny, Reason: "NACL_EGRESS", Steps: []ExplainStep{
				{Check: "sg", Direction: "egress", Object: "app", Instance: "app1", Verdict: VerdictAllow, Words: "tracked, allowed without a rule", Tracked: true},
				{
					Check: "nacl", Direction: "egress", Object: "private", Verdict: VerdictDeny, Rule: "*", Words: "no rule for tcp 1024-65535 -> 10.0.1.0/24",
					Reason: "NACL_EGRESS", ExplanationCode: "SUBNET_ACL_RESTRICTION",
				},
			},
		}},
		Tracking: []Tracking{{Instance: "web1", Tracked: true, Why: "no pair of rules admits any address both ways, on every port back"}},
		Summary:  "the SYN arrives, the SYN-ACK does not leave the subnet: clients see a timeout",
		Notes:    []string{},
		Fixes: []Fix{{
			Table: "nacl.private", Key: "egress", Rule: `{ rule = 100, action = "allow", proto = "tcp", ports = "1024-65535", to = "10.0.1.0/24" }`,
			Words: `add to nacl.private egress:  { rule = 100, action = "allow", proto = "tcp", ports = "1024-65535", to = "10.0.1.0/24" }`,
		}},
	}
}

// What a client asks arrives as it was asked, and a source port that is none does
// not.
func TestExplain(t *testing.T) {
	b := &fake{}
	c := NewClient(serve(t, b, clientDeadline))
	for _, r := range []ExplainRequest{
		{From: "web1", To: "10.0.2.10", Service: "tcp/8080"},
		{From: "web1:10.0.1.11", To: "internet", Service: "icmp/3:4", SourcePort: 40000},
	} {
		b.asked = nil
		e, err := c.Explain(t.Context(), r)
		if err != nil || e.Verdict != VerdictDeny || len(e.Replies) != 1 {
			t.Errorf("%+v: %+v, %v", r, e, err)
		}
		if len(b.explained) == 0 || b.explained[len(b.explained)-1] != r {
			t.Errorf("the backend was asked %+v, want %+v", b.explained, r)
		}
	}
	for _, port := range []string{"0", "65536", "-1", "http"} {
		_, err := call[Explanation](t.Context(), c, http.MethodGet, PathExplain+"?from=a&to=b&service=icmp&source_port="+port, nil, readDeadline)
		var refused *Error
		if !errors.As(err, &refused) || refused.Kind != KindUsage || !strings.Contains(refused.Message, "want 1 to 65535") {
			t.Errorf("source port %s: %v", port, err)
		}
	}
}
