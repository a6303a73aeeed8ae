package api

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

func sampleBusiest() Busiest {
	return Busiest{
		Seconds: 1.0005, TotalFlows: 812, Unnamed: 4096,
		Flows: []BusyFlow{
			{From: "web1", To: "app1", Protocol: "tcp", Source: "10.0.1.10", SourcePort: 40000, Destination: "10.0.2.10", DestPort: 8080, Verdict: "DELIVERED", Packets: 1204, Bytes: 1_805_900},
			{From: "web1", Protocol: "icmp", Source: "10.0.1.10", Destination: "198.51.100.7", Verdict: "NO_ROUTE", Packets: 1, Bytes: 84},
		},
		Rules: []BusyRule{
			{Object: "nacl:private", ID: "*", Direction: "egress", Action: "deny", Words: "no rule matches", Packets: 7},
			{Object: "sg:web", ID: "sgr-web-app", Direction: "egress", Action: "allow", Words: "tcp 8080 -> sg:app", Packets: 1204, Flows: 3},
		},
	}
}

func TestBusiest(t *testing.T) {
	f := &fake{}
	path := serve(t, f, clientDeadline)
	c := NewClient(path)
	got, err := c.Busiest(t.Context(), BusiestRequest{Over: 1500 * time.Millisecond, Limit: 7})
	if err != nil || !reflect.DeepEqual(got, sampleBusiest()) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := call[Busiest](context.Background(), c, http.MethodGet, PathBusiest, nil, readDeadline); err != nil {
		t.Error(err)
	}
	if want := []BusiestRequest{{1500 * time.Millisecond, 7}, {time.Second, DefaultBusiest}}; !reflect.DeepEqual(f.busiest, want) {
		t.Errorf("asked %+v, want %+v", f.busiest, want)
	}
	for query, want := range map[string]string{
		"over=0": `over "0"`, "over=10.1": "at most 10 seconds", "over=NaN": "over", "over=x": "over",
		"limit=0": `limit "0"`, "limit=1001": "1 to 1000", "limit=x": "limit",
	} {
		_, err := call[Busiest](t.Context(), c, http.MethodGet, PathBusiest+"?"+query, nil, readDeadline)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", query, err, want)
		}
	}
}
