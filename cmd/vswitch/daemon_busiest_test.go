package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vswitch/internal/account"
	"vswitch/internal/api"
	"vswitch/internal/policy"
	"vswitch/port"
	vswitch "vswitch/switch"
)

// What a daemon's switch does while somebody asks is in the answer, and what it did
// before is not.
func TestDaemonBusiest(t *testing.T) {
	d, _ := standing(t)
	full := d.sw.Config()
	a, frame := talking(t, d, port.Offloads{})
	send := func(flow string) {
		if !a.Send(frame(flow)) {
			t.Fatal("the port is full")
		}
	}
	dropped := func(n uint64) {
		eventually(t, "a frame is dropped", func() bool { return d.sw.Status().Totals.Drops[policy.SGIngress] == n })
	}
	send("10.9.1.4:40000 > 10.9.1.5:22 tcp S seq=1")
	dropped(1)
	cancelled, enough := context.WithCancel(context.Background())
	ctx := awaited{cancelled, make(chan struct{})}
	type answer struct {
		api.Busiest
		err error
	}
	answers := make(chan answer)
	go func() {
		b, err := d.Busiest(ctx, api.BusiestRequest{Over: time.Minute, Limit: 10})
		answers <- answer{b, err}
	}()
	<-ctx.begun
	send("10.9.1.4:40001 > 10.9.1.5:23 tcp S seq=1")
	dropped(2)
	enough()
	got := <-answers
	want := api.Busiest{
		Seconds: got.Seconds, TotalFlows: 1,
		Flows: []api.BusyFlow{{From: "alice", To: "bob", Protocol: "tcp", Source: "10.9.1.4", SourcePort: 40001, Destination: "10.9.1.5", DestPort: 23, Verdict: "SG_INGRESS", Packets: 1, Bytes: 40}},
		Rules: []api.BusyRule{
			{Object: "sg:server", ID: "*", Direction: "ingress", Action: "deny", Words: "no rule matches", Packets: 1},
			{Object: "sg:default", ID: full.SecurityGroup("default").Egress[0].ID, Direction: "egress", Action: "allow", Words: "all -> 0.0.0.0/0", Packets: 1, Flows: 1},
		},
	}
	if diff := cmp.Diff(want, got.Busiest); diff != "" || got.err != nil || got.Seconds <= 0 || got.Seconds > 30 {
		t.Errorf("%v, after %v s (-want +got):\n%s", got.err, got.Seconds, diff)
	}
	for range 10 { // more than there may be meters at one time
		if _, err := d.Busiest(cancelled, api.BusiestRequest{Over: time.Minute, Limit: 10}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	var refused *api.Error
	if _, err := d.Busiest(context.Background(), api.BusiestRequest{Over: time.Minute, Limit: 10}); !errors.As(err, &refused) || refused.Kind != api.KindStopping {
		t.Errorf("got %v", err)
	}
}

// An awaited is a context that tells when somebody begins to wait for its end.
type awaited struct {
	context.Context
	begun chan struct{}
}

func (a awaited) Done() <-chan struct{} {
	close(a.begun)
	return a.Context.Done()
}

// Rules that were reset or removed in between, and those that did nothing.
func TestBusyRules(t *testing.T) {
	cfg := exampleConfig(t, "two-tier")
	key := func(object, id string) vswitch.RuleKey {
		return vswitch.RuleKey{Object: object, Direction: policy.Egress, ID: id}
	}
	web, deny, reset := key("sg:web", "sgr-web-app"), key("nacl:public", "*"), key("nacl:public", "100")
	before := map[vswitch.RuleKey]account.Hits{web: {Packets: 10, Flows: 1}, reset: {Packets: 100, Flows: 9}, key("sg:app", "sgr-app-db"): {Packets: 7}}
	now := map[vswitch.RuleKey]account.Hits{
		web: {Packets: 15, Flows: 3}, reset: {Packets: 3, Flows: 1}, deny: {Packets: 2}, key("sg:app", "sgr-app-db"): {Packets: 7},
		key("sg:gone", "sgr-gone"): {Packets: 1000}, key("sg:web", "sgr-gone"): {Packets: 1000},
	}
	want := []api.BusyRule{
		{Object: "nacl:public", ID: "*", Direction: "egress", Action: "deny", Words: "no rule matches", Packets: 2},
		{Object: "sg:web", ID: "sgr-web-app", Direction: "egress", Action: "allow", Words: "tcp 8080 -> sg:app", Packets: 5, Flows: 2},
		{Object: "nacl:public", ID: "100", Direction: "egress", Action: "allow", Words: "tcp 8080 -> 10.0.2.0/24", Packets: 3, Flows: 1},
	}
	if diff := cmp.Diff(want, busyRules(cfg, before, now, 10)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := busyRules(cfg, before, now, 1); len(got) != 1 || got[0].ID != "*" {
		t.Errorf("one: %+v", got)
	}
}
