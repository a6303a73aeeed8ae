package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"vswitch/internal/api"
	"vswitch/internal/explain/explaintest"
	vswitch "vswitch/switch"
)

// parsed returns a completed configuration.
func parsed(t *testing.T, text string) vswitch.Config {
	t.Helper()
	full, err := vswitch.Complete(explaintest.Parse(t, text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return full
}

// AWS's defaults are in the completed configuration, and not in the counts.
func TestCountsLeaveOutDefaults(t *testing.T) {
	full := parsed(t, twoInstances)
	if len(full.SecurityGroups) < 2 || len(full.NetworkACLs) < 1 {
		t.Fatalf("no defaults in %+v", full)
	}
	want := api.Counts{Subnets: 1, Instances: 2, SecurityGroups: 1, SecurityGroupRules: 1}
	if diff := cmp.Diff(want, counts(&full)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
