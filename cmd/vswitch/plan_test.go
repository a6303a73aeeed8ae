package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vswitch/internal/plan"
)

// samplePlanned returns a plan with everything that plan can show.
func samplePlanned() *plan.Plan {
	at := func(line int) *plan.Origin { return &plan.Origin{File: "vpc.toml", Line: line} }
	p := &plan.Plan{VPC: "two-tier", Generation: 3, Instances: []plan.Instance{{Name: "web2", Action: plan.Create, Why: "new in the file"}, {Name: "app1", Action: plan.Restart, Why: "run"}}}
	p.AddChanges(
		plan.Change{Action: plan.Modify, Object: "security_group", Name: "web", Origin: at(24), Rules: []plan.Rule{
			{Action: plan.Add, Direction: "ingress", ID: "sgr-web-ssh", Words: "tcp 22 <- 10.0.0.0/8", Origin: at(26)},
			{Action: plan.Modify, Direction: "ingress", ID: "sgr-web-https", Words: "tcp 443 <- 10.0.0.0/8", Was: "tcp 443 <- 0.0.0.0/0", Origin: at(27)},
			{Action: plan.Remove, Direction: "egress", ID: "sgr-web-app", Words: "tcp 8080 -> sg:app", Origin: at(31)},
		}},
		plan.Change{Action: plan.Modify, Object: "route", Name: "main", Rules: []plan.Rule{{Action: plan.Add, ID: "10.9.0.0/16", Words: "-> blackhole", Origin: at(70)}}},
		plan.Change{Action: plan.Add, Object: "instance", Name: "web2", Origin: at(80)},
		plan.Change{Action: plan.Modify, Object: "instance", Name: "app1", Origin: at(86), Fields: []plan.Field{{Name: "sg", From: "app", To: "app, ssh"}, {Name: "ip6", To: "fd00::5"}}},
		plan.Change{Action: plan.Modify, Object: "quotas", Origin: at(99), Fields: []plan.Field{{Name: "rules_per_interface", From: "1000", To: "900"}}},
		plan.Change{Action: plan.Remove, Object: "subnet", Name: "old", Origin: at(12)},
	)
	p.Flows = plan.Flows{
		Kept: 12, Tracked: 1, Cut: 3, Unjudged: 1,
		Causes: []plan.Cause{
			{Fate: "cut", Words: "nacl private egress 90 tcp -> 10.0.1.66/32", Origin: at(60), Flows: 2},
			{Fate: "cut", Words: "instance db1 is removed", Flows: 1},
			{Fate: "tracked", Words: "sg web ingress: no rule", Origin: at(24), Flows: 1},
		},
		Flows: []plan.Flow{
			{Fate: "cut", From: "web1", To: "app1", Protocol: "tcp", Source: "10.0.1.10", SourcePort: 40000, Destination: "10.0.2.10", DestPort: 8080, State: "established", Cause: "nacl private egress 90 tcp -> 10.0.1.66/32"},
			{Fate: "cut", From: "web1", Protocol: "udp", Source: "10.0.1.10", SourcePort: 40000, Destination: "203.0.113.7", DestPort: 53, Cause: "sg web egress: no rule", Revives: true},
			{Fate: "tracked", From: "web2", To: "web1", Protocol: "icmp", Source: "10.0.1.66", Destination: "10.0.1.10", State: "replied", Cause: "sg web ingress: no rule"},
			{Fate: "kept", To: "web1", Protocol: "tcp", Source: "fd00::7", SourcePort: 40001, Destination: "fd00::1", DestPort: 443, State: "established"},
		},
	}
	return p
}

func TestPlanTables(t *testing.T) {
	for _, c := range []struct {
		name  string
		plan  *plan.Plan
		flows int
	}{
		{"plan", samplePlanned(), 0},
		{"plan-flows", samplePlanned(), 4},
		{"plan-nothing", &plan.Plan{VPC: "two-tier", Generation: 3, Flows: plan.Flows{Kept: 2}}, 100},
	} {
		var b bytes.Buffer
		if err := writePlan(&b, c.plan, c.flows); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		golden(t, filepath.Join("table", c.name), b.String())
	}
}

// Without a switch that runs, all of the file is new; reload is not that patient.
func TestPlanOfWhatDoesNotRun(t *testing.T) {
	t.Setenv("VSWITCH_FILE", "")
	t.Chdir(t.TempDir())
	if err := os.WriteFile("vpc.toml", []byte(twoInstances), 0o644); err != nil {
		t.Fatal(err)
	}
	got := invoke(t, t.TempDir(), "plan")
	if got.code != exitOK {
		t.Errorf("exit code %d, %s", got.code, got.err)
	}
	golden(t, filepath.Join("table", "plan-new"), got.out)
	for _, args := range [][]string{{"plan", "--vpc", "elsewhere"}, {"plan", "-f", "nowhere.toml"}, {"plan", "--limit", "0"}, {"plan", "x"}} {
		if got := invoke(t, t.TempDir(), args...); got.code == exitOK || got.out != "" {
			t.Errorf("%s: exit code %d, printed %q", strings.Join(args, " "), got.code, got.out)
		}
	}
}

// reload --dry-run is plan by another name.
func TestDryRunIsPlan(t *testing.T) {
	t.Setenv("VSWITCH_FILE", "")
	t.Chdir(t.TempDir())
	if err := os.WriteFile("vpc.toml", []byte(twoInstances), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"table", "json"} {
		planned, dry := invoke(t, t.TempDir(), "plan", "-o", format), invoke(t, t.TempDir(), "reload", "--dry-run", "-o", format)
		if planned != dry || planned.out == "" {
			t.Errorf("-o %s: plan prints\n%s%s\nreload --dry-run\n%s%s", format, planned.out, planned.err, dry.out, dry.err)
		}
	}
}
