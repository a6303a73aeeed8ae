package main

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vswitch/internal/api"
	"vswitch/internal/graph"
)

// The example of two tiers, without a running switch, in every format.
func TestGraphOfAFile(t *testing.T) {
	for format, name := range map[string]string{"": "mermaid", "mermaid": "mermaid", "dot": "dot", "svg": "svg", "json": "json"} {
		args := []string{"graph", "-f", "../../examples/two-tier/vpc.toml"}
		if format != "" {
			args = append(args, "-o", format)
		}
		got := invoke(t, t.TempDir(), args...)
		if got.code != exitOK || got.err != "" {
			t.Errorf("%s: exit code %d, stderr %q", name, got.code, got.err)
		}
		golden(t, "graph/two-tier-"+name, got.out)
	}
}

// A name of a VPC that does not run is not taken for the file's.
func TestGraphOfNothing(t *testing.T) {
	write(t, "vpc.toml", twoInstances)
	for args, want := range map[string]int{"--vpc=vst-none": exitFailure, "-f=none.toml": exitUsage, "-o=png": exitUsage} {
		if got := invoke(t, t.TempDir(), "graph", args); got.code != want || got.out != "" || got.err == "" {
			t.Errorf("graph %s: got %+v, want exit code %d", args, got, want)
		}
	}
}

// The daemon draws what runs.
func TestDaemonGraph(t *testing.T) {
	d, _ := standing(t)
	got, err := d.Graph()
	if err != nil {
		t.Fatal(err)
	}
	cfg := d.sw.Config()
	if diff := cmp.Diff(graph.New(&cfg), got); diff != "" || len(got.Edges) != 1 || got.Edges[0].From != "alice" {
		t.Errorf("got %+v\n%s", got, diff)
	}
	d.life.Lock()
	d.stopped = true
	d.life.Unlock()
	var stopping *api.Error
	if _, err := d.Graph(); !errors.As(err, &stopping) || stopping.Kind != api.KindStopping {
		t.Errorf("of a daemon that stops: got %v", err)
	}
}
