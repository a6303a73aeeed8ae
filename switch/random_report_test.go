package vswitch_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
	"vswitch/internal/wire/wiretest"
)

func lines(all []string) string { return strings.Join(all, "\n") }

// report returns what one needs to understand a mismatch: the VPC, the last
// steps, how the switch explained the frame before it was sent, and the model's
// reasons.
func (w *world) report() string {
	var b strings.Builder
	fmt.Fprintf(&b, "The VPC at step %d:\n%s\nThe last steps:\n", w.steps, printConfig(&w.config))
	for i := range w.last {
		e := &w.last[(w.steps+1+i)%len(w.last)]
		switch {
		case e.from != "":
			fmt.Fprintf(&b, "  %8s %s: %s => %s\n", time.Duration(e.at), e.from, wiretest.Format(e.frame), e.what)
		case e.what != "":
			fmt.Fprintf(&b, "  %8s %s\n", time.Duration(e.at), e.what)
		}
	}
	if w.last[w.steps%len(w.last)].from != "" {
		fmt.Fprintf(&b, "The switch's trace:\n%sThe model's reasons:\n%s", w.trace, w.model.reasoning())
	}
	return b.String()
}

// A tally counts what happened in all VPCs, so that a run that tests less than it
// seems to is noticed.
type tally struct {
	steps     int
	frames    int
	delivered int
	answered  int
	held      int
	idle      int // steps whose port could not send
	changes   int
	refused   int // changes that were no valid configuration
	drops     [policy.NumReasons]int
}

// count notes the verdict on a frame.
func (s *tally) count(v verdict) {
	s.frames++
	switch {
	case v.to != "":
		s.delivered++
	case v.answered:
		s.answered++
	case v.held:
		s.held++
	default:
		s.drops[v.reason]++
	}
}

// unreachable are the reasons that no frame is to meet.
var unreachable = map[policy.Reason]bool{
	policy.None: true, policy.Panic: true,
	policy.WorkerBusy: true, // each step sends one frame, and no ring fills up: TestWorkerBusy
}

// check fails the test if a long run did not meet every reason to drop a frame,
// or delivered little.
func (s *tally) check(t *testing.T, steps int) {
	t.Helper()
	t.Logf("%d steps: %d frames, %d delivered, %d answered, %d held; %d steps whose port was down; %d changes, and %d that were none",
		s.steps, s.frames, s.delivered, s.answered, s.held, s.idle, s.changes, s.refused)
	for r, n := range s.drops {
		t.Logf("%8d %s", n, policy.Reason(r))
	}
	const long = 300_000
	if steps < long {
		return
	}
	for r, n := range s.drops {
		if n == 0 && !unreachable[policy.Reason(r)] {
			t.Errorf("no frame in %d was dropped for %s", s.frames, policy.Reason(r))
		}
	}
	if s.delivered < s.frames/5 || s.changes < 3*s.refused {
		t.Errorf("too few frames were delivered, or too few changes were possible")
	}
}

// printConfig returns a configuration in the manner of vpc.toml.
func printConfig(c *vswitch.Config) string {
	var b []string
	add := func(format string, args ...any) { b = append(b, fmt.Sprintf(format, args...)) }
	add("[vpc] cidr = %s cidrs = %v cidr6 = %v mtu = %d", c.VPC.CIDR, c.VPC.CIDRs, c.VPC.CIDR6, c.VPC.MTU)
	add("[conntrack] profile = %q strict = %v max = %d %+v", c.Conntrack.Profile, c.Conntrack.Strict, c.Conntrack.Max, c.Conntrack.Timeouts)
	for _, s := range c.Subnets {
		add("[subnet.%s] cidr = %s cidr6 = %v nacl = %q route = %q", s.Name, s.CIDR, s.CIDR6, s.NetworkACL, s.RouteTable)
	}
	for _, l := range c.PrefixLists {
		add("[prefix_list.%s] %v", l.Name, l.CIDRs)
	}
	for _, t := range c.RouteTables {
		add("[route.%s]", t.Name)
		for _, r := range t.Routes {
			add("  %s -> %s", r.Destination, r.Target)
		}
	}
	for _, g := range c.SecurityGroups {
		add("[security_group.%s] egress left out: %v", g.Name, g.Egress == nil)
		for _, r := range g.Ingress {
			add("  in  %s %s", r.Service, r.Peer)
		}
		for _, r := range g.Egress {
			add("  out %s %s", r.Service, r.Peer)
		}
	}
	for _, a := range c.NetworkACLs {
		add("[nacl.%s]", a.Name)
		for _, e := range a.Ingress {
			add("  in  %d %s %s %s", e.Number, e.Action, e.Service, e.CIDR)
		}
		for _, e := range a.Egress {
			add("  out %d %s %s %s", e.Number, e.Action, e.Service, e.CIDR)
		}
	}
	for _, in := range c.Instances {
		add("[instance.%s] subnet = %s ip = %v extra = %v ip6 = %v sg = %v check off = %v timeouts %+v",
			in.Name, in.Subnet, in.IP, in.ExtraIPs, in.IP6, in.SecurityGroups, in.DisableSourceDestCheck, in.Conntrack)
	}
	return lines(b)
}
