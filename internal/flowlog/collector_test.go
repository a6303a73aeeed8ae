package flowlog

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

const ssh = "10.0.1.10:40000 > 10.0.2.20:22 tcp"

// A reload that does not touch a flow log leaves its window alone; one that does
// makes another flow log of it, with a window of its own.
func TestReload(t *testing.T) {
	spec := logTo(t, "interface-id", "packets", "start", "end", "log-status")
	spec.Scope, spec.Traffic = []string{"a1"}, vswitch.TrafficAll
	b := newBench(t, configuration(t, spec))
	a1 := vswitch.ID("eni", "vpc-a", "a1")
	at := func(d time.Duration) string { return decimal(noon.Add(d).Unix()) }

	b.pass(time.Second, b.seen("a1", "b1", ssh, 1, policy.None))
	moved := spec
	moved.Origin = vswitch.Origin{Line: 99}
	b.change(configuration(t, moved))
	b.pass(time.Second, b.seen("a1", "b1", ssh, 2, policy.None))

	changed := spec
	changed.Traffic = vswitch.TrafficAccept
	b.change(configuration(t, changed))
	want(t, spec.File, a1+" 3 "+at(0)+" "+at(time.Second)+" OK") // written before the reload returns
	b.pass(time.Second, b.seen("a1", "b1", ssh, 4, policy.None))
	b.pass(time.Second)
	b.change(configuration(t))
	want(t, spec.File, a1+" 3 "+at(0)+" "+at(time.Second)+" OK", a1+" 4 "+at(2*time.Second)+" "+at(2*time.Second)+" OK")
	b.pass(time.Minute, b.seen("a1", "b1", ssh, 8, policy.None))
	if n := len(lines(t, spec.File)); n != 2 {
		t.Errorf("%d lines after the flow log is gone, want 2", n)
	}
}

// Whoever calls Record when Due says so closes every window in time: all those of
// flow logs, and in memory those in which something happened.
func TestDue(t *testing.T) {
	b := newBench(t, configuration(t))
	due := func(when string, want time.Duration, is bool) {
		t.Helper()
		at, got := b.k.Due()
		if got != is || is && !at.Equal(noon.Add(want)) {
			t.Errorf("%s: got %v, %v, want %v after noon, %v", when, at, got, want, is)
		}
	}
	due("silence", 0, false)
	b.pass(30*time.Second, b.seen("a1", "b1", ssh, 1, policy.None))
	due("a record", time.Minute, true)
	b.pass(30 * time.Second)
	due("the window has closed", 0, false)

	long, short := logTo(t), logTo(t)
	long.Name, long.Interval, short.Interval = "long", vswitch.LongInterval, vswitch.ShortInterval
	b.change(configuration(t, long))
	due("a flow log, and silence", 10*time.Minute, true)
	b.change(configuration(t, long, short))
	due("another flow log", 2*time.Minute, true)
	b.pass(time.Minute)
	due("its next window", 3*time.Minute, true)
	b.change(configuration(t))
	b.pass(time.Second, b.seen("a1", "b1", ssh, 1, policy.None))
	due("the flow logs are gone", 3*time.Minute, true)
	b.close()
	due("the end", 0, false)
}

// A change that cannot be made is not made: the files that it would have opened
// are closed, and the running logs go on.
func TestRefusedChange(t *testing.T) {
	good := logTo(t, "packets", "log-status")
	good.Scope = []string{"a1"}
	b := newBench(t, configuration(t, good))
	other := logTo(t)
	other.Name = "other"
	if _, err := b.k.Prepare(configuration(t, good, other, vswitch.FlowLog{Name: "bad", File: filepath.Join(t.TempDir(), "none", "x.log")})); err == nil {
		t.Fatal("a file in a folder that does not exist is accepted")
	}
	b.pass(time.Second, b.seen("a1", "b1", ssh, 1, policy.None))
	b.close()
	want(t, good.File, "1 OK")
}

// FL-10, and the way back: an interface that is gone keeps what it did until then,
// and has no NODATA records afterwards.
func TestInterfacesComeAndGo(t *testing.T) {
	spec := logTo(t, "interface-id", "packets", "start", "log-status")
	spec.Scope = []string{"A"}
	full := configuration(t, spec)
	without := *full
	without.Instances = nil
	for _, in := range full.Instances {
		if in.Name != "a1" {
			without.Instances = append(without.Instances, in)
		}
	}
	b := newBench(t, completed(t, without))
	a1, a2 := vswitch.ID("eni", "vpc-a", "a1"), vswitch.ID("eni", "vpc-a", "a2")
	at := func(d time.Duration) string { return decimal(noon.Add(d).Unix()) }
	b.now = noon.Add(20 * time.Second)
	b.change(full)
	b.now = noon.Add(time.Minute)
	b.pass(0)
	b.pass(time.Second, b.seen("a1", "b1", ssh, 1, policy.None))
	b.change(completed(t, without))
	b.pass(time.Second, b.seen("a1", "b1", ssh, 2, policy.None)) // collected after it is gone
	b.now = noon.Add(2 * time.Minute)
	b.pass(0)
	b.close()
	want(t, spec.File,
		a2+" - "+at(0)+" NODATA", a1+" - "+at(20*time.Second)+" NODATA",
		a1+" 3 "+at(time.Minute)+" OK", a2+" - "+at(time.Minute)+" NODATA")
}

// SKIPDATA: for flows that the switch could not tell apart, and for those that
// find no place in the window.
func TestSkipData(t *testing.T) {
	spec := logTo(t, "interface-id", "packets", "start", "end", "log-status")
	b := newBench(t, configuration(t, spec))
	b.k.logs[0].window.limit = 2
	id := func(name string) string { return vswitch.ID("eni", "vpc-a", name) }
	many := b.seen("a2", "", ssh, 5, policy.SGEgress)
	many.Many, many.Tuple = true, tuple(t, "0.0.0.0 > 0.0.0.0 icmp")
	many.Tuple.Protocol = 0
	many.Tuple.Src, many.Tuple.Dst = [16]byte{}, [16]byte{}
	b.pass(time.Second, many,
		b.seen("a1", "", "10.0.1.10:1 > 10.0.2.20:22 tcp", 1, policy.SGEgress),
		b.seen("a1", "", "10.0.1.10:2 > 10.0.2.20:22 tcp", 2, policy.SGEgress),
		b.seen("a1", "b1", "10.0.1.10:3 > 10.0.2.20:22 tcp", 3, policy.None),
		b.seen("a1", "", "10.0.1.10:1 > 10.0.2.20:22 tcp", 4, policy.SGEgress)) // has its place
	if all, _ := b.k.Figures(); all[0].Lost != 3 {
		t.Errorf("lost %d, want 3", all[0].Lost)
	}
	b.now = noon.Add(time.Minute)
	b.pass(0)
	b.close()
	span := decimal(noon.Unix()) + " " + decimal(noon.Unix()+59) + " SKIPDATA"
	one := decimal(noon.Unix()) + " " + decimal(noon.Unix())
	want(t, spec.File, id("a1")+" 5 "+one+" OK", id("a1")+" 2 "+one+" OK", id("a1")+" - "+span, id("a2")+" - "+span, id("b1")+" - "+span)
}

// A daemon that is started again goes on in the same file.
func TestRestart(t *testing.T) {
	spec := logTo(t, "packets", "log-status")
	spec.Scope, spec.Header = []string{"a1"}, true
	for range 2 {
		b := newBench(t, configuration(t, spec))
		b.pass(time.Second, b.seen("a1", "b1", ssh, 1, policy.None))
		b.close()
	}
	want(t, spec.File, "packets log-status", "1 OK", "1 OK")
}

// summary returns records in few words.
func summary(all []Record) string {
	var words []string
	for i := range all {
		r := &all[i]
		state := "closed"
		if r.Open() {
			state = "open"
		}
		words = append(words, fmt.Sprintf("%s %s %s %d %s", r.Interface.Instance, r.Direction, r.Action, r.Packets, state))
	}
	return strings.Join(words, ", ")
}

func TestFlowsInMemory(t *testing.T) {
	b := newBench(t, configuration(t))
	ctx := context.Background()
	find := func(q Query, want string) {
		t.Helper()
		if q.Limit == 0 {
			q.Limit = 100
		}
		if got := summary(b.k.Flows(ctx, q).Records); got != want {
			t.Errorf("%+v: got\n%s\nwant\n%s", q, got, want)
		}
	}
	b.pass(time.Second, b.seen("a1", "b1", ssh, 1, policy.None))
	b.pass(time.Minute)
	b.pass(time.Second, b.seen("a2", "b1", "10.0.1.11:40000 > 10.0.2.20:22 tcp", 2, policy.SGIngress))
	b.pass(time.Second, b.seen("a2", "b1", "10.0.1.11:40000 > 10.0.2.20:22 tcp", 3, policy.SGIngress))
	find(Query{}, "a1 egress ACCEPT 1 closed, b1 ingress ACCEPT 1 closed, a2 egress ACCEPT 5 open, b1 ingress REJECT 5 open")
	find(Query{Instance: "b1"}, "b1 ingress ACCEPT 1 closed, b1 ingress REJECT 5 open")
	find(Query{Rejected: true}, "b1 ingress REJECT 5 open")
	find(Query{Limit: 1}, "b1 ingress REJECT 5 open")
	if r := b.k.Flows(ctx, Query{Limit: 1}); r.Total != 4 {
		t.Errorf("total %d, want 4", r.Total)
	}
}

// Who follows sees every record when it begins and when it closes, whatever the
// size of the portions.
func TestFollow(t *testing.T) {
	b := newBench(t, configuration(t))
	ctx := context.Background()
	next, seen := uint64(0), ""
	follow := func() {
		for {
			ended, cancel := context.WithCancel(ctx)
			cancel() // do not wait
			r := b.k.Flows(ended, Query{Follow: true, After: next, Limit: 1})
			if r.Missed {
				t.Error("missed something")
			}
			next = r.Next
			if len(r.Records) == 0 {
				return
			}
			seen += summary(r.Records) + "\n"
		}
	}
	b.pass(time.Second, b.seen("a1", "b1", ssh, 1, policy.None))
	follow()
	b.pass(time.Second, b.seen("a1", "b1", ssh, 2, policy.None))
	follow()
	b.pass(time.Minute)
	follow()
	if want := "a1 egress ACCEPT 1 open\nb1 ingress ACCEPT 1 open\na1 egress ACCEPT 3 closed\nb1 ingress ACCEPT 3 closed\n"; seen != want {
		t.Errorf("saw\n%swant\n%s", seen, want)
	}

	waiting := make(chan Reply)
	go func() { waiting <- b.k.Flows(ctx, Query{Follow: true, After: next, Limit: 10}) }()
	b.pass(time.Second) // no news
	b.pass(time.Second, b.seen("a2", "", "10.0.1.11 > 10.0.2.20 47", 7, policy.SGEgress))
	if got := summary((<-waiting).Records); got != "a2 egress REJECT 7 open" {
		t.Errorf("who waited saw %q", got)
	}
	go func() { waiting <- b.k.Flows(ctx, Query{Follow: true, After: b.k.Flows(ctx, Query{}).Next, Limit: 10}) }()
	b.close()
	if r := <-waiting; len(r.Records) != 0 {
		t.Errorf("who waited at the end saw %q", summary(r.Records))
	}
}

// The memory of closed windows is bounded; a follower who is too slow is told.
func TestMemoryIsBounded(t *testing.T) {
	b := newBench(t, configuration(t))
	b.k.recent.limit = 3
	for i := range 5 {
		flow := fmt.Sprintf("10.0.1.10:%d > 10.0.2.20:22 tcp", 40000+i)
		b.pass(time.Minute, b.seen("a1", "", flow, uint64(i+1), policy.SGEgress))
	}
	b.pass(time.Minute)
	all := b.k.Flows(context.Background(), Query{Limit: 100})
	if got := summary(all.Records); got != "a1 egress REJECT 3 closed, a1 egress REJECT 4 closed, a1 egress REJECT 5 closed" {
		t.Errorf("remembers %s", got)
	}
	if r := b.k.Flows(context.Background(), Query{Follow: true, After: 1, Limit: 100}); !r.Missed || len(r.Records) != 3 {
		t.Errorf("a slow follower: %+v", r)
	}
	if r := b.k.Flows(context.Background(), Query{Follow: true, After: all.Next - 1, Limit: 100}); r.Missed || len(r.Records) != 1 {
		t.Errorf("a quick follower: %+v", r)
	}
}

// A host without IPv6 of its own still shows the address of the packet.
func TestPrimaryAddress(t *testing.T) {
	i := Interface{Primary: netip.MustParseAddr("10.0.1.10")}
	if a := netip.MustParseAddr("fe80::1"); i.primary(a) != a {
		t.Errorf("got %s", i.primary(a))
	}
}
