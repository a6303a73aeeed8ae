package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"vswitch/internal/config"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// TestMain lets the test binary be an agent, as the program is, and starts agents
// from its first thread, as the program does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == agentCommand {
		if err := runAgent(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-targets relay,vswitch -work pps -rounds 1 -seconds 0.5", ""},
		{"-rules 20000", ""},
		{"-targets relay,switch", `targets: "switch": not one of`},
		{"-work bulk,bulk", "work: bulk: named twice"},
		{"-work ,", `work: "": not one of`},
		{"-rounds 0", "rounds: 0: at least 1"},
		{"-seconds 0", "seconds: 0: must be"},
		{"-seconds 61", "seconds: 61: must be"},
		{"-rules 2", "rules: 2: must be 3 to 20000"},
		{"-rules 20001", "rules: 20001: must be 3 to 20000"},
		{"relay", `argument "relay"`},
	} {
		p, err := parse(strings.Fields(c.args), io.Discard)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.args, err)
		case c.want == "" && (len(p.targets) == 0 || len(p.works) == 0):
			t.Errorf("%s: nothing to measure", c.args)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: error %v, want %q", c.args, err, c.want)
		}
	}
	if _, err := parse([]string{"-h"}, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
}

// Every frame of a flood is one that a strict parser takes, and the flows are as
// many as they are said to be.
func TestFlood(t *testing.T) {
	source, hop := net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	for _, flows := range []int{1, 1000, mostFlows} {
		g, err := newGenerator(source, hop, addressA.Addr(), addressB.Addr(), flows)
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[wire.FiveTuple]bool)
		for range flows/floodBatch + 2 {
			for i := range g.frames {
				b := append(make([]byte, wire.VirtioSize), g.frames[i][:]...)
				var f wire.Frame
				if reason := f.Parse(b, 1500); reason != policy.None {
					t.Fatalf("frame %x: %v", g.frames[i], reason)
				}
				if f.Tuple.Src != wire.AddrFrom(addressA.Addr()) || f.Tuple.Dst != wire.AddrFrom(addressB.Addr()) {
					t.Fatalf("flow %v", f.Tuple)
				}
				if p := f.Tuple.DstPort; p < floodSink || p >= floodSink+floodSinks {
					t.Fatalf("flow %v: nobody discards port %d", f.Tuple, p)
				}
				seen[f.Tuple] = true
			}
			g.address()
		}
		if len(seen) != flows {
			t.Errorf("%d flows, want %d", len(seen), flows)
		}
	}
	for _, flows := range []int{0, mostFlows + 1} {
		if _, err := newGenerator(source, hop, addressA.Addr(), addressB.Addr(), flows); err == nil {
			t.Errorf("%d flows: no error", flows)
		}
	}
}

// vswitch accepts the VPC at both ends of what -rules allows.
func TestVPC(t *testing.T) {
	for _, b := range []netip.Prefix{addressB, addressRouted} {
		for _, rules := range []int{leastRules, 1000, mostRules} {
			c, err := config.Parse("vpc.toml", vpcFile(b, rules))
			if err != nil {
				t.Fatalf("host B %s, %d rules: %v", b, rules, err)
			}
			for _, problem := range c.Validate() {
				t.Errorf("host B %s, %d rules: %v", b, rules, problem)
			}
			if n := len(c.SecurityGroups[0].Ingress); n != rules {
				t.Errorf("host B %s: %d rules, want %d", b, n, rules)
			}
			if same := c.Instances[0].Subnet == c.Instances[1].Subnet; same != (b == addressB) {
				t.Errorf("host B %s: both in one subnet: %v", b, same)
			}
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{7}, 7},
		{[]float64{9, 1}, 5},
		{[]float64{30, 1, 2}, 2},
		{[]float64{4, 100, 1, 2}, 3},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v = %v, want %v", c.values, got, c.want)
		}
	}
}

func TestReport(t *testing.T) {
	p, err := parse(strings.Fields("-targets relay,vswitch,ovs,vde -work bulk,crr"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	r := newReport(p)
	bulk, crr := p.works[0], p.works[1]
	relay, vs, ovs := p.targets[0], p.targets[1], p.targets[2]
	for _, v := range []float64{10, 12, 11} {
		r.add(bulk, relay, v)
	}
	for _, v := range []float64{11, 9} {
		r.add(bulk, vs, v)
	}
	r.add(crr, vs, 5000)
	r.remark(vs, "failed")
	r.remark(ovs, "not installed (ovs-vswitchd)")
	var out bytes.Buffer
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	want := `
bulk: TCP, one stream
                   median Gbit/s       min       max      / relay
       relay               11.00     10.00     12.00         1.00
     vswitch               10.00      9.00     11.00         0.91  failed; values of 2 rounds
         ovs  not installed (ovs-vswitchd)
         vde  not measured

crr: TCP connections, one after the other, a byte there and back over each
                      median 1/s       min       max      / relay
       relay  not measured
     vswitch                5000      5000      5000               failed; values of 1 rounds
         ovs  not installed (ovs-vswitchd)
         vde  not measured
`
	if got := out.String(); !strings.HasSuffix(got, want) {
		t.Errorf("got:\n%s\nwant, at the end:\n%s", got, want)
	}
}

// The targets that need nothing installed carry all work on a real kernel, and
// nothing of a site outlives it.
func TestSites(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("VSWITCH_REQUIRE_ROOT") == "1" {
			t.Fatal("needs root, and VSWITCH_REQUIRE_ROOT=1 forbids to skip")
		}
		t.Skip("needs root")
	}
	// An agent dies with the thread that started it: this one must last as long.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p, err := parse(strings.Fields("-targets relay,bridge -rounds 1 -seconds 0.1 -work reload,lost,flows1k,"+usualWork), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range p.targets {
		t.Run(target.String(), func(t *testing.T) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			r := newReport(p)
			if err := p.visit(ctx, target, r, 1, io.Discard); err != nil {
				t.Fatal(err)
			}
			for _, w := range p.works {
				values := r.values[w][target]
				if reloads := w.name == "reload" || w.name == "lost"; reloads && len(values) != 0 || !reloads && (len(values) != 1 || values[0] <= 0) {
					t.Errorf("%s: %v", w, values)
				}
			}
		})
	}

	t.Run("silent", func(t *testing.T) { // a peer that is not there ends the task, and the agent with it
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		a, err := startAgent("")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.call(t.Context(), task{Op: opConfigure, Device: "lo", Address: "127.0.0.1/8"}); err == nil {
			t.Error("an address that exists was added")
		}
		if _, err := a.call(t.Context(), task{Op: "juggle"}); err == nil || !strings.Contains(err.Error(), "unknown") {
			t.Errorf("unknown operation: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := a.call(ctx, task{Op: opReach, Peer: "127.0.0.9"}); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		pid := a.pid()
		if err := a.stop(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("agent %d: %v", pid, err)
		}
	})
}
