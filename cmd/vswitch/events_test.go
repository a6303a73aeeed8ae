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
	"vswitch/internal/event"
	vswitch "vswitch/switch"
)

// sampleEvents are events of every type.
func sampleEvents() []event.Event {
	at := time.Date(2026, 11, 23, 9, 30, 0, 125_000_000, time.UTC)
	code := 143
	events := []event.Event{
		{Type: event.Gap, Count: 79, Message: "earlier events are gone: only the last ones are kept"},
		{Type: event.DaemonStarted, Generation: 1, Count: 4, PID: 4711, Message: "vswitch v0.1.0 runs /lab/vpc.toml"},
		{Type: event.PortUp, Instance: "web1", Message: "its device works: eth0 in namespace two-tier-web1"},
		{Type: event.ProcessStarted, Instance: "web1", PID: 4802, Message: "vswitch serve tcp/443"},
		{Type: event.ReloadDone, Generation: 2, Count: 1, Message: "/lab/vpc.toml"},
		{Type: event.ReloadRefused, Generation: 2, Count: 2, Message: "/lab/vpc.toml:12:9: instance.web1.sg: no security group \"wbe\""},
		{Type: event.AllowanceExceeded, Instance: "web1", Count: 12, Message: "new flows were refused because its connection tracking allowance is used up; 12 so far"},
		{Type: event.PanicContained, Count: 1, Message: "the switch failed on frames, and went on: index out of range"},
		{Type: event.RecordsLost, Message: "flow log all: write /lab/flow.log: no space left on device"},
		{Type: event.FramesLost, Count: 4096, Message: "a capture of web1, app1 has ended; its reader was too slow for them"},
		{Type: event.ProcessExited, Instance: "web1", PID: 4802, ExitCode: &code, Message: "vswitch serve tcp/443"},
		{Type: event.PortDown, Instance: "a-name-as-long-as-names-may-be1", Message: "its instance was removed"},
		{Type: event.DaemonStopping, PID: 4711, Message: "everything that was made is removed"},
	}
	for i := range events {
		events[i].Sequence, events[i].Time = uint64(80+i), at.Add(time.Duration(i)*time.Second)
	}
	return events
}

func TestEventsArePrinted(t *testing.T) {
	for _, format := range []string{formatTable, formatJSONL} {
		var b bytes.Buffer
		c := &cli{format: format, out: &b}
		if err := c.writeNews(sampleEvents()); err != nil {
			t.Fatal(err)
		}
		golden(t, filepath.Join("table", "events-"+format), b.String())
	}
}

// Following asks for what comes behind the last answer, and ends with the switch.
func TestFollowingEvents(t *testing.T) {
	all := sampleEvents()
	last := len(all) - 1
	lost := errors.New("lost")
	for _, c := range []struct {
		name    string
		answers []api.Events
		end     error // after the answers
		want    error
		asked   []uint64
		lines   int
	}{
		{"until it stops", []api.Events{{Next: 2}, {Events: all[2:4], Next: 4}, {Events: all[4:], Next: 9}}, lost, nil, []uint64{2, 2, 4}, len(all)},
		{"until it has stopped", []api.Events{{Events: all[2:last], Next: 8}}, &api.Error{Kind: api.KindStopping}, nil, []uint64{2, 8}, last},
		{"until it is lost", []api.Events{{Events: all[2:4], Next: 4}}, lost, lost, []uint64{2, 4}, 4},
	} {
		var b bytes.Buffer
		var asked []uint64
		cli := &cli{format: formatJSONL, out: &b}
		err := cli.followEvents(&api.Events{Events: all[:2], Next: 2}, func(after uint64) (api.Events, error) {
			asked = append(asked, after)
			if len(asked) > len(c.answers) {
				return api.Events{}, c.end
			}
			return c.answers[len(asked)-1], nil
		})
		if !errors.Is(err, c.want) || !cmp.Equal(asked, c.asked) || strings.Count(b.String(), "\n") != c.lines {
			t.Errorf("%s: got %v, asked %v, want %v, %v and %d lines of\n%s", c.name, err, asked, c.want, c.asked, c.lines, &b)
		}
	}
}

func TestFollowingHasNoDocument(t *testing.T) {
	if got := invoke(t, t.TempDir(), "events", "-F", "-o", "json"); got.code != exitUsage || !strings.Contains(got.err, "-o jsonl") {
		t.Errorf("got %+v", got)
	}
}

// types returns the types of a daemon's events, with their instances.
func types(t *testing.T, d *daemon) []string {
	t.Helper()
	reply, err := d.Events(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range reply.Events {
		names = append(names, strings.TrimSpace(string(e.Type)+" "+e.Instance))
	}
	return names
}

// What a daemon's reloads come to are events; what it looks at is, once.
func TestDaemonTellsEvents(t *testing.T) {
	d, _ := standing(t)
	w := event.NewWatch(d.events.ring)
	seen := d.look(w, vswitch.Incidents{}, time.Now(), true)
	if again := d.look(w, seen, time.Now(), true); again != seen || seen.Generation != 1 || seen.Down != 2 {
		t.Errorf("got %+v, and then %+v", seen, again)
	}
	if err := os.WriteFile(d.file, []byte(strings.Replace(twoInstances, "10.9.0.0/16", "10.9.0.0/33", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Reload(api.ReloadRequest{}); err == nil {
		t.Fatal("a file with a mistake was taken")
	}
	if _, err := d.Reload(api.ReloadRequest{DryRun: true}); err == nil {
		t.Fatal("a file with a mistake was taken, dry")
	}
	if diff := cmp.Diff([]string{"reload_refused"}, types(t, d)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	reply, err := d.Events(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if e := reply.Events[0]; e.Count == 0 || e.Generation != 1 || !strings.HasPrefix(e.Message, d.file+":") || strings.Contains(e.Message, "\n") {
		t.Errorf("got %+v", e)
	}
	d.tellStopping()
	reply, err = d.Events(context.Background(), reply.Next) // does not wait
	if err != nil || len(reply.Events) != 1 || reply.Events[0].Type != event.DaemonStopping {
		t.Errorf("got %+v, %v", reply, err)
	}
}
