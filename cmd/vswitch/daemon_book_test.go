package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vswitch/internal/api"
	"vswitch/internal/wire/wiretest"
	"vswitch/port"
	vswitch "vswitch/switch"
)

// TestDaemonTellsWhy sends frames that each gate drops through a daemon's switch.
// What why tells of each is what its trace says, with the rule and the line; and
// the rule's counters, those of the metrics and those of the status agree.
func TestDaemonTellsWhy(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "examples", "two-tier", "vpc.toml"))
	if err != nil {
		t.Fatal(err)
	}
	file := changed(t, string(text), `ports = 5432, from = "sg:app"`, `ports = 5432, from = "sg:web"`)
	file = changed(t, file, `  { rule = 100, action = "allow", proto = "tcp", ports = "1024-65535", to = "10.0.1.0/24" },`, "")
	d, _ := standingOn(t, file)
	full := d.sw.Config()
	ports := map[string]*port.Memory{}
	for _, name := range []string{"web1", "web2", "app1"} {
		ports[name] = port.NewMemory(4, port.Offloads{})
		if err := d.sw.Attach(name, ports[name]); err != nil {
			t.Fatal(err)
		}
	}
	send := func(from, flow string) *vswitch.Trace {
		at := full.Interface(from)
		mac := at.RouterMAC
		if strings.Contains(flow, "> 10.0.2.20") && from == "app1" {
			db1 := full.Interface("db1")
			mac = db1.MAC
		}
		b := wiretest.Bytes(t, at.MAC, mac, flow)
		why, err := d.sw.Trace(from, b)
		if err != nil || !ports[from].Send(b) {
			t.Fatalf("%s: %v", flow, err)
		}
		return why
	}
	send("web1", "10.0.1.10:40000 > 10.0.2.10:8080 tcp S seq=1")
	eventually(t, "the request arrives", func() bool { _, ok := ports["app1"].Receive(make([]byte, 1<<16)); return ok })
	for i, c := range []struct{ from, flow, reason, by string }{
		{"web2", "10.0.1.66:40000 > 10.0.2.10:8080 tcp S seq=1", "NACL_INGRESS", "nacl private ingress 90"},
		{"app1", "10.0.2.10:8080 > 10.0.1.10:40000 tcp SA seq=1 ack=2", "NACL_EGRESS", "nacl private egress *"},
		{"web1", "10.0.1.10:40000 > 10.0.2.20:5432 tcp S seq=1", "SG_EGRESS", "sg web egress: no rule"},
		{"app1", "10.0.2.10:40000 > 10.0.2.20:5432 tcp S seq=1", "SG_INGRESS", "sg db ingress: no rule"},
	} {
		why := send(c.from, c.flow)
		var drops api.Drops
		eventually(t, c.flow+" is in the book", func() bool {
			if drops, err = d.Drops(api.DropsRequest{}); err != nil {
				t.Fatal(err)
			}
			return len(drops.Drops) == i+1
		})
		got, step := &drops.Drops[0], why.Steps[len(why.Steps)-1]
		var rule, key, line string
		switch {
		case step.Check == vswitch.CheckNetworkACL && step.Rule == vswitch.ImplicitDeny:
			line = "(implicit deny)"
			fallthrough
		case step.Check == vswitch.CheckNetworkACL:
			rule = fmt.Sprintf("nacl:%s %s %s", step.Where, step.Direction, step.Rule)
			key, line = rule, cmp.Or(line, step.Origin.String())
		default: // of the group that has no rule
			group := strings.Fields(c.by)[1]
			key, line = fmt.Sprintf("sg:%s %s *", group, step.Direction), full.SecurityGroup(group).Origin.String()
		}
		if got.From != c.from || got.Reason != c.reason || step.Reason.String() != c.reason || got.By != c.by || got.Rule != rule || got.Where != line {
			t.Errorf("%s: got %+v, want %s by %s, rule %q at %s\n%s", c.flow, got, c.reason, c.by, rule, line, why)
		}
		s, err := d.snapshot()
		if err != nil || s.Drops[c.reason] != 1 {
			t.Fatalf("%s: drops %v, %v", c.flow, s.Drops, err)
		}
		hits := map[string]uint64{}
		for _, r := range s.Rules {
			hits[r.Object+" "+r.Direction+" "+r.ID] = r.Packets
		}
		if hits[key] != 1 {
			t.Errorf("%s: %q has %d hits, want 1: %v", c.flow, key, hits[key], hits)
		}
	}
}

// Fragments that are given up are told with what the refused one says of their flow:
// the addresses, and ports only if it was the first.
func TestDaemonTellsOfFragments(t *testing.T) {
	for _, c := range []struct {
		refused int // of the fragments that overlap what is held
		port    uint16
	}{{0, 40000}, {1, 0}} {
		d, _ := standing(t)
		a, frame := talking(t, d, port.Offloads{})
		datagram := frame("10.9.1.4:40000 > 10.9.1.5:53 udp len=4000 ipid=7")
		held, overlapping := wiretest.Fragments(datagram, 1480)[c.refused], wiretest.Fragments(datagram, 1000)[c.refused]
		for _, b := range [][]byte{held, overlapping} {
			if !a.Send(b) {
				t.Fatal("the port is full")
			}
		}
		var drops api.Drops
		eventually(t, "both are dropped", func() bool {
			var err error
			if drops, err = d.Drops(api.DropsRequest{}); err != nil {
				t.Fatal(err)
			}
			return len(drops.Drops) == 1 && drops.Drops[0].Packets == 2
		})
		got := &drops.Drops[0]
		if got.Reason != "FRAGMENT_OVERLAP" || got.From != "alice" || got.Source != "10.9.1.4" || got.To != "bob" || got.Protocol != "udp" || got.SourcePort != c.port {
			t.Errorf("fragment %d is refused: %+v", c.refused, got)
		}
	}
}

// changed returns a text in which one part, which it must have, is another one.
func changed(t *testing.T, text, part, other string) string {
	t.Helper()
	if strings.Count(text, part) != 1 {
		t.Fatalf("%q is not once in the text", part)
	}
	return strings.Replace(text, part, other, 1)
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.After(10 * time.Second); !is(); {
		select {
		case <-deadline:
			t.Fatalf("%s: not in 10 s", what)
		case <-time.After(time.Millisecond):
		}
	}
}
