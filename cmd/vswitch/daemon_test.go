package main

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vswitch/internal/api"
	"vswitch/internal/lab"
	"vswitch/internal/policy"
	"vswitch/internal/wire/wiretest"
	"vswitch/port"
	vswitch "vswitch/switch"
)

// standing returns a daemon of twoInstances whose instances have no devices: it
// needs no rights, and answers everything that does not touch the lab. What
// really runs is tested in internal/e2e.
func standing(t *testing.T) (d *daemon, log *bytes.Buffer) {
	t.Helper()
	return standingOn(t, twoInstances)
}

// talking gives alice of a standing daemon a port, and returns it and what makes of
// words a frame from alice to bob.
func talking(t *testing.T, d *daemon, o port.Offloads) (a *port.Memory, frame func(flow string) []byte) {
	t.Helper()
	a = port.NewMemory(64, o)
	if err := d.sw.Attach("alice", a); err != nil {
		t.Fatal(err)
	}
	full := d.sw.Config()
	alice, bob := full.Interface("alice"), full.Interface("bob")
	return a, func(flow string) []byte { return wiretest.Bytes(t, alice.MAC, bob.MAC, flow) }
}

// standingOn is standing for another file.
func standingOn(t *testing.T, text string) (d *daemon, log *bytes.Buffer) {
	t.Helper()
	file := write(t, "vpc.toml", text)
	full := parsed(t, text)
	sw, err := vswitch.New(full)
	if err != nil {
		t.Fatal(err)
	}
	if err := sw.Start(); err != nil {
		t.Fatal(err)
	}
	s := stateDir{t.TempDir(), "vst-unit"}
	l, err := lab.Open(s.path())
	if err != nil {
		t.Fatal(err)
	}
	log = &bytes.Buffer{}
	d = &daemon{state: s, file: file, log: slog.New(slog.NewTextHandler(log, nil)), started: time.Now(), ended: make(chan struct{}), lab: l, sw: sw, events: newLookout()}
	full = sw.Config()
	if d.flows, err = d.newFlows(&full); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		report, err := l.Down()
		if err := errors.Join(sw.Close(), d.closeFlows(), err, l.Close()); err != nil || report.Anything() {
			t.Errorf("the test touched the host: %+v, %v", report, err)
		}
	})
	return d, log
}

func TestDaemonStatus(t *testing.T) {
	d, _ := standing(t)
	s, err := d.Status()
	if err != nil {
		t.Fatal(err)
	}
	if s.VPC != "vst-unit" || s.File != d.file || s.PID != os.Getpid() || s.Generation != 1 || !strings.HasPrefix(s.ID, "vpc-") ||
		s.CIDR != "10.9.0.0/16" || s.Memory.RSS == 0 || s.Memory.Heap == 0 || s.Descriptors.Open < 3 || s.Descriptors.Limit == 0 || s.Version == "" {
		t.Errorf("got %+v", s)
	}
	in := s.Instances[1]
	want := api.Instance{
		Name: "bob", ID: vswitch.ID("i", "vst-unit", "bob"), Interface: vswitch.ID("eni", "vst-unit", "bob"), IP: "10.9.1.5", IPs: []string{"10.9.1.5"},
		MAC: in.MAC, Subnet: "main", SecurityGroups: []string{"server"}, Kind: "netns", Namespace: "vst-unit-bob", Device: "eth0",
		MTU: 9001, State: api.StateDown, Drops: map[string]uint64{}, Connections: api.ConnectionCount{Max: 1 << 20},
	}
	if diff := cmp.Diff(want, in); diff != "" || len(s.Instances) != 2 || in.MAC == "" {
		t.Errorf("bob (-want +got):\n%s", diff)
	}
}

func TestDaemonConnections(t *testing.T) {
	d, _ := standing(t)
	for _, name := range []string{"", "bob", vswitch.ID("i", "vst-unit", "bob"), vswitch.ID("eni", "vst-unit", "bob")} {
		if got, err := d.Connections(name, 10); err != nil || got.Total != 0 || got.Connections == nil {
			t.Errorf("%q: %+v, %v", name, got, err)
		}
	}
	var refused *api.Error
	if _, err := d.Connections("bbo", 10); !errors.As(err, &refused) || refused.Kind != api.KindNotFound ||
		refused.Message != `no instance "bbo" in VPC vst-unit (did you mean "bob"?)` {
		t.Errorf("bbo: %v", err)
	}
}

// A file with a mistake, of another VPC or gone is refused, and counted; what
// runs stays (F4).
func TestReloadRefuses(t *testing.T) {
	d, log := standing(t)
	for i, c := range []struct {
		name, text string // "" for no file
		kind       api.Kind
		want       string
	}{
		{"mistake", strings.Replace(twoInstances, "8080", "80800", 1), api.KindConfiguration, "vpc.toml:9:"},
		{"half-written", twoInstances[:150], api.KindConfiguration, "vpc.toml:"},
		{"gone", "", api.KindConfiguration, "vpc.toml"},
		{"another VPC", strings.Replace(twoInstances, "vst-unit", "vst-other", 1), api.KindConflict, "now describes the VPC vst-other"},
	} {
		if err := os.Remove(d.file); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if c.text != "" {
			if err := os.WriteFile(d.file, []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		_, err := d.Reload(api.ReloadRequest{})
		var refused *api.Error
		if !errors.As(err, &refused) || refused.Kind != c.kind || !strings.Contains(refused.Message, c.want) {
			t.Errorf("%s: %v, want %s %q", c.name, err, c.kind, c.want)
		}
		s, err := d.Status()
		if err != nil || s.Generation != 1 || s.Reloads.Failed != i+1 || !strings.Contains(s.Reloads.LastError, c.want) {
			t.Errorf("%s: generation %d, reloads %+v, %v", c.name, s.Generation, s.Reloads, err)
		}
	}
	if n := strings.Count(log.String(), "reload refused"); n != 4 {
		t.Errorf("%d refusals in the log, want 4:\n%s", n, log)
	}
}

func TestReloadOfAnotherFileIsNoReload(t *testing.T) {
	d, _ := standing(t)
	_, err := d.Reload(api.ReloadRequest{File: filepath.Join(t.TempDir(), "other.toml")})
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Kind != api.KindConflict || !strings.Contains(refused.Message, d.file) {
		t.Errorf("got %v, want a conflict that names %s", err, d.file)
	}
	if got := d.reloadCounts(); got != (api.Reloads{}) {
		t.Errorf("counted: %+v", got)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	d, _ := standing(t)
	more := twoInstances + "[instance.carol]\nsubnet = \"main\"\n"
	if err := os.WriteFile(d.file, []byte(more), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := d.Reload(api.ReloadRequest{DryRun: true, File: d.file})
	want := api.ReloadReply{DryRun: true, Generation: 1, Changes: []api.Change{{Action: api.ActionAdd, Object: "instance", Name: "carol"}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if s, err := d.Status(); err != nil || s.Generation != 1 || len(s.Instances) != 2 || s.Reloads != (api.Reloads{}) {
		t.Errorf("after a dry run: %+v, %v", s, err)
	}
}

func TestStop(t *testing.T) {
	d, _ := standing(t)
	if reply, err := d.Stop(); err != nil || len(reply.Warnings) != 0 {
		t.Errorf("Stop: %+v, %v", reply, err)
	}
	<-d.ended
	late := func(what string, err error) {
		var refused *api.Error
		if !errors.As(err, &refused) || refused.Kind != api.KindStopping {
			t.Errorf("%s after Stop: %v, want %s", what, err, api.KindStopping)
		}
	}
	_, err := d.Status()
	late("Status", err)
	_, err = d.Connections("", 1)
	late("Connections", err)
	_, err = d.Reload(api.ReloadRequest{})
	late("Reload", err)
	_, err = d.Stop()
	late("Stop", err)
}

func TestCountersInJSON(t *testing.T) {
	c := vswitch.Counters{RxFrames: 1, RxPackets: 2, RxBytes: 3, TxFrames: 4, TxPackets: 5, TxBytes: 6, Delivered: 7, Answered: 8, Held: 9}
	c.Drops[policy.SGEgress], c.Drops[policy.NACLIngress] = 10, 20
	want := api.Counters{RxFrames: 1, RxPackets: 2, RxBytes: 3, TxFrames: 4, TxPackets: 5, TxBytes: 6, Delivered: 7, Answered: 8, Held: 9, Dropped: 30}
	if diff := cmp.Diff(want, counters(&c)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]uint64{"SG_EGRESS": 10, "NACL_INGRESS": 20}, drops(&c)); diff != "" {
		t.Error(diff)
	}
}

func TestProcessInJSON(t *testing.T) {
	since := time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)
	seven := 7
	for _, c := range []struct {
		name string
		in   lab.Process
		want api.Process
	}{
		{"runs", lab.Process{Command: "x", PID: 5, Running: true, Since: since}, api.Process{Command: "x", State: "running", PID: 5, Since: since}},
		{"exited", lab.Process{Command: "x", PID: 5, Code: 7, Since: since}, api.Process{Command: "x", State: "exited", ExitCode: &seven, Since: since}},
		{"exited unseen", lab.Process{Command: "x", PID: 5, Code: lab.UnknownCode, Since: since}, api.Process{Command: "x", State: "exited", Since: since}},
	} {
		if diff := cmp.Diff(&c.want, process(&c.in)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// Each frame that failed is logged once, as often as one looks.
func TestFailedFramesAreLoggedOnce(t *testing.T) {
	d, log := standing(t)
	frames := []vswitch.FailedFrame{{Instance: "bob", Cause: "index out of range", Bytes: []byte{0xca, 0xfe}}}
	d.logFailed(frames)
	d.logFailed(frames)
	d.logFailed(append(frames, vswitch.FailedFrame{Instance: "alice", Cause: "nil map"}))
	if n := strings.Count(log.String(), "please report"); n != 2 || !strings.Contains(log.String(), "frame=cafe") {
		t.Errorf("%d lines, want 2:\n%s", n, log)
	}
}
