package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vswitch/internal/api"
	"vswitch/internal/plan"
	"vswitch/internal/policy"
	"vswitch/port"
	vswitch "vswitch/switch"
)

// sampleRecords are flow records of every kind.
func sampleRecords() []api.Flow {
	at := time.Date(2026, 11, 23, 9, 30, 0, 125_000_000, time.UTC)
	return []api.Flow{
		{Instance: "web1", State: api.FlowClosed, Status: "OK", Start: at, End: at, Direction: "egress", Action: "ACCEPT", Protocol: "tcp",
			Source: "10.0.1.10", SourcePort: 40000, Destination: "10.0.2.10", DestPort: 8080, Packets: 6, Bytes: 1204, TCPFlags: 3,
			Peer: "app1", Verdict: "DELIVERED", Rules: []string{"sg:web/sgr-web-app", "nacl:public/100"}, Line: "10.0.1.10 ACCEPT"},
		{Instance: "app1", State: api.FlowOpen, Status: "OK", Start: at.Add(time.Second), End: at, Direction: "ingress", Action: "REJECT", Protocol: "icmp",
			Source: "10.0.1.66", Destination: "10.0.2.10", Packets: 1, Bytes: 84, Verdict: "NACL_INGRESS", Rules: []string{"nacl:private/90"}, Line: "10.0.1.66 REJECT"},
		{Instance: "a-name-as-long-as-names-may-be1", State: api.FlowOpen, Status: "OK", Start: at, End: at, Direction: "ingress", Action: "REJECT", Protocol: "udp",
			Source: "2001:db8:a:1::10", SourcePort: 40000, Destination: "2001:db8:a:2::20", DestPort: 53, Packets: 12_345_678, Bytes: 123_456_789_012, Verdict: "SG_INGRESS", Line: "2001:db8:a:1::10 REJECT"},
		{Instance: "db1", State: api.FlowClosed, Status: "SKIPDATA", Start: at, End: at.Add(time.Minute), Line: "- -"},
	}
}

func TestFlowsArePrinted(t *testing.T) {
	for name, v := range map[string]flowsView{"table": {}, "lines": {request: api.FlowsRequest{Format: "srcaddr action"}}} {
		var b bytes.Buffer
		if err := v.write(&b, sampleRecords(), true); err != nil {
			t.Fatal(err)
		}
		golden(t, filepath.Join("table", "flows-"+name), b.String())
	}
}

// Following asks for what comes behind the last answer, says what is missing, and
// ends with the switch.
func TestFollowingFlows(t *testing.T) {
	all := sampleRecords()
	lost := errors.New("lost")
	for _, c := range []struct {
		name string
		end  error
		want error
	}{
		{"the switch stops", &api.Error{Kind: api.KindStopping}, nil},
		{"the switch is gone", api.ErrNotRunning, nil},
		{"something else", lost, lost},
	} {
		var out, errs bytes.Buffer
		cl := &cli{format: formatTable, out: &out, err: &errs}
		var asked []uint64
		answers := []api.Flows{{Flows: all[1:2], Next: 20}, {Next: 20}, {Flows: all[2:], Next: 30, Missed: true}}
		err := cl.followFlows(&flowsView{}, &api.Flows{Flows: all[:1], Next: 10}, func(after uint64) (api.Flows, error) {
			asked = append(asked, after)
			if len(asked) > len(answers) {
				return api.Flows{}, c.end
			}
			return answers[len(asked)-1], nil
		})
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
		if diff := cmp.Diff([]uint64{10, 20, 20, 30}, asked); diff != "" {
			t.Errorf("%s: asked for what is behind (-want +got):\n%s", c.name, diff)
		}
		golden(t, filepath.Join("table", "flows-table"), out.String())
		if n := strings.Count(errs.String(), "records are missing here"); n != 1 {
			t.Errorf("%s: said %q", c.name, errs.String())
		}
	}
}

func TestFlowsErrors(t *testing.T) {
	write(t, "vpc.toml", twoInstances)
	root := t.TempDir()
	for args, want := range map[string]string{
		"flows --format ${acton}":  "vswitch: --format: flow logs have no field \"acton\" (did you mean \"action\"?)\n",
		"flows --format ${action":  "vswitch: --format: \"${action\": want fields as in \"${version} ${action}\", separated by spaces\n",
		"flows -F -o json":         "vswitch: -F has no end, and -o json prints one document: use -o jsonl or table\n",
		"flows one two":            "vswitch: flows takes at most 1 argument, and got 2\nusage: vswitch flows [INSTANCE] [flags]\n",
		"flows --format default x": "vswitch: the switch is not running (start it with vswitch up)\n",
	} {
		got := invoke(t, root, strings.Fields(args)...)
		if got.err != want || got.code == exitOK || got.out != "" {
			t.Errorf("%s: got %+v, want %q", args, got, want)
		}
	}
}

// TestDaemonFlows sends a frame through a daemon's switch: it is in the answer at
// once, in the form that was asked for, and in the flow log's file when that ends.
func TestDaemonFlows(t *testing.T) {
	d, _ := standing(t)
	a, frame := talking(t, d, port.Offloads{})
	full := d.sw.Config()
	alice, bob := full.Interface("alice"), full.Interface("bob")
	if !a.Send(frame("10.9.1.4:40000 > 10.9.1.5:22 tcp S seq=1")) {
		t.Fatal("the port is full")
	}
	r := api.FlowsRequest{Limit: 10, Follow: true, Format: "srcaddr dstaddr dstport action vswitch-verdict"}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	watched(t, d)
	got, err := d.Flows(ctx, r)
	if err != nil || len(got.Flows) != 2 {
		t.Fatalf("got %+v, %v", got, err)
	}
	cancel()
	for i, want := range []api.Flow{
		{Instance: "alice", Interface: alice.ID, State: api.FlowOpen, Status: "OK", Direction: "egress", Action: "ACCEPT", Peer: "bob", Line: "10.9.1.4 10.9.1.5 22 ACCEPT SG_INGRESS"},
		{Instance: "bob", Interface: bob.ID, State: api.FlowOpen, Status: "OK", Direction: "ingress", Action: "REJECT", Peer: "alice", Line: "10.9.1.4 10.9.1.5 22 REJECT SG_INGRESS"},
	} {
		want.Protocol, want.Source, want.SourcePort, want.Destination, want.DestPort = "tcp", "10.9.1.4", 40000, "10.9.1.5", 22
		want.Packets, want.Bytes, want.TCPFlags, want.Verdict = 1, 40, 2, policy.SGIngress.String()
		have := got.Flows[i]
		want.Start, want.End, want.Rules = have.Start, have.End, have.Rules
		if diff := cmp.Diff(want, have); diff != "" || time.Since(have.Start).Abs() > time.Minute {
			t.Errorf("record %d (-want +got):\n%s", i, diff)
		}
	}
	late, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range []struct {
		r    api.FlowsRequest
		want int
	}{
		{api.FlowsRequest{Limit: 10}, 2}, {api.FlowsRequest{Limit: 1}, 1}, {api.FlowsRequest{Limit: 10, Instance: bob.ID}, 1},
		{api.FlowsRequest{Limit: 10, Rejected: true}, 1}, {api.FlowsRequest{Limit: 10, Follow: true, After: got.Next}, 0},
	} {
		if got, err := d.Flows(late, c.r); err != nil || len(got.Flows) != c.want || got.Flows == nil {
			t.Errorf("%+v: %+v, %v, want %d records", c.r, got, err, c.want)
		}
	}
	var refused *api.Error
	if _, err := d.Flows(late, api.FlowsRequest{Instance: "bbo"}); !errors.As(err, &refused) || refused.Kind != api.KindNotFound || !strings.Contains(refused.Message, `"bob"`) {
		t.Errorf("an unknown instance: %v", err)
	}
	if _, err := d.Flows(late, api.FlowsRequest{Format: "nothing"}); !errors.As(err, &refused) || refused.Kind != api.KindUsage {
		t.Errorf("an unknown field: %v", err)
	}
}

// Whoever follows is told when the switch stops.
func TestFollowersLeaveWithTheDaemon(t *testing.T) {
	d, _ := standing(t)
	told := make(chan error)
	go func() {
		_, err := d.Flows(context.Background(), api.FlowsRequest{Limit: 1, Follow: true})
		told <- err
	}()
	if _, err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	var refused *api.Error
	if err := <-told; !errors.As(err, &refused) || refused.Kind != api.KindStopping {
		t.Errorf("told %v, want %s", err, api.KindStopping)
	}
}

// A reload that asks for a flow log whose file cannot be made changes nothing.
func TestReloadWithAFlowLogThatCannotBe(t *testing.T) {
	d, _ := standing(t)
	bad := twoInstances + "[flow_log.x]\nfile = \"none/x.log\"\n"
	if err := os.WriteFile(d.file, []byte(bad), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := d.Reload(api.ReloadRequest{})
	if err == nil || !strings.Contains(err.Error(), "flow_log x: open ") {
		t.Errorf("got %v", err)
	}
	if cfg := d.sw.Config(); len(cfg.FlowLogs) != 0 || d.status().Generation != 1 {
		t.Error("the configuration was published")
	}
}

// What a reload gains and loses is told by name.
func TestFlowLogChanges(t *testing.T) {
	from, to := parsed(t, twoInstances), parsed(t, twoInstances+"[flow_log.x]\nfile = \"x.log\"\n")
	if got := plan.New(&from, &to).Changes; len(got) != 1 || got[0].Action != plan.Add || got[0].Object != "flow_log" || got[0].Name != "x" {
		t.Errorf("got %+v", got)
	}
	if got := to.IDs()["flow_log.x"]; got != vswitch.ID("fl", "vst-unit", "x") {
		t.Errorf("id %q", got)
	}
}
