package api

import (
	"errors"
	"net/http"
	"reflect"
	"testing"
	"time"
)

func sampleDrops() Drops {
	at := time.Date(2026, 11, 23, 9, 30, 0, 125_000_000, time.UTC)
	return Drops{Drops: []Drop{
		{
			From: "app1", To: "web1", Protocol: "tcp", Source: "10.0.2.10", SourcePort: 8080, Destination: "10.0.1.10", DestPort: 49152, TCPFlags: "SA",
			Packets: 7, First: at, Last: at.Add(6 * time.Second), Reason: "NACL_EGRESS", By: "nacl private egress *", Rule: "nacl:private egress *", Where: "(implicit deny)",
		},
		{
			From: "web1", To: "db1", Protocol: "icmp", Source: "10.0.1.10", Destination: "10.0.2.20", ICMP: &ICMP{Type: 8, ID: 77},
			Packets: 1, First: at, Last: at, Reason: "SG_EGRESS", By: "sg web egress: no rule", Where: "/home/ann/lab/vpc.toml:38",
		},
		{From: "web1", Many: true, Packets: 211, First: at, Last: at, Reason: "MULTICAST", By: "a VPC carries no multicast", Guest: true},
	}}
}

func sampleRules() Rules {
	at := time.Date(2026, 11, 23, 9, 30, 0, 125_000_000, time.UTC)
	return Rules{Rules: []Rule{
		{
			Object: "sg:web", ID: "sgr-web-https", Direction: "ingress", Action: "allow", Words: "tcp 443 <- 0.0.0.0/0",
			Origin: &Origin{File: "/home/ann/lab/vpc.toml", Line: 36, Column: 3}, Packets: 18204, Flows: 1311, Last: &at,
		},
		{
			Object: "nacl:private", ID: "100", Direction: "ingress", Action: "allow", Words: "tcp 8080 <- 10.0.1.0/24",
			Origin: &Origin{File: "/home/ann/lab/vpc.toml", Line: 70, Column: 3}, Shadowed: []string{"90"}, Note: "unused, shadowed by 90",
		},
		{Object: "nacl:private", ID: "*", Direction: "ingress", Action: "deny", Words: "no rule matches", Packets: 3, Last: &at},
	}}
}

// What a client asks about drops and rules arrives as it was asked, and the answer
// as it was given.
func TestDropsAndRules(t *testing.T) {
	f := &fake{}
	c := NewClient(serve(t, f, clientDeadline))
	drops, err := c.Drops(t.Context(), DropsRequest{From: "web1", To: "i-0a1b2c3d4e5f60718", Since: 90 * time.Second})
	if err != nil || !reflect.DeepEqual(drops, sampleDrops()) {
		t.Errorf("got %+v, %v", drops, err)
	}
	if _, err := c.Drops(t.Context(), DropsRequest{}); err != nil {
		t.Error(err)
	}
	if want := []DropsRequest{{From: "web1", To: "i-0a1b2c3d4e5f60718", Since: 90 * time.Second}, {}}; !reflect.DeepEqual(f.drops, want) {
		t.Errorf("asked %+v, want %+v", f.drops, want)
	}
	rules, err := c.Rules(t.Context(), "sg:web")
	if err != nil || !reflect.DeepEqual(rules, sampleRules()) {
		t.Errorf("got %+v, %v", rules, err)
	}
	done, err := c.ResetRules(t.Context(), RulesReset{Object: "nacl:private"})
	if err != nil || done.Rules != 12 {
		t.Errorf("got %+v, %v", done, err)
	}
	if want := []string{"sg:web", "nacl:private"}; !reflect.DeepEqual(f.objects, want) {
		t.Errorf("asked %q, want %q", f.objects, want)
	}
}

// What cannot be meant is refused before the switch is asked.
func TestDropsRefuses(t *testing.T) {
	f := &fake{}
	path := serve(t, f, clientDeadline)
	for _, query := range []string{"since=-1", "since=soon", "since=NaN", "since=1e300", "to=web1"} {
		_, err := call[Drops](t.Context(), NewClient(path), http.MethodGet, PathDrops+"?"+query, nil, readDeadline)
		var known *Error
		if !errors.As(err, &known) || known.Kind != KindUsage {
			t.Errorf("%s: %v", query, err)
		}
	}
	if len(f.drops) != 0 {
		t.Error("the switch was asked")
	}
}
