package vswitch_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
	"vswitch/port"
)

// A seen is a WatchedFrame that outlives its Read.
type seen struct {
	vswitch.WatchedFrame
	instance string
}

// watch begins a capture that ends with the test.
func (v *vpc) watch(o vswitch.WatchOptions) *vswitch.Watch {
	v.t.Helper()
	x, err := v.sw.Watch(o)
	v.must(err)
	v.t.Cleanup(x.Close)
	return x
}

// read returns what a capture has seen.
func (v *vpc) read(x *vswitch.Watch) (all []seen) {
	v.t.Helper()
	v.must(x.Read(func(f *vswitch.WatchedFrame) error {
		s := seen{*f, x.Ports()[f.Port].Interface.Instance}
		s.Bytes = bytes.Clone(f.Bytes)
		all = append(all, s)
		return nil
	}))
	return all
}

// story returns frames in words, one a line: "a1 > NACL_EGRESS nacl ...". What a
// port was read from stands before an arrow, what was written to it behind one.
func story(all []seen) string {
	var b strings.Builder
	for _, s := range all {
		fmt.Fprint(&b, map[bool]string{false: s.instance + " >", true: "> " + s.instance}[s.Sent])
		if s.Held {
			b.WriteString(" held")
		}
		if s.Reason != policy.None {
			fmt.Fprintf(&b, " %s", s.Reason)
		}
		if s.Denial != nil {
			fmt.Fprintf(&b, " %s (%s)", s.Denial, s.Denial.Origin)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// play lets instance send frames, one by one, and throws away what comes out.
func (v *vpc) play(instance string, frames ...[]byte) {
	v.t.Helper()
	out := make([]byte, wire.MaxFrame)
	for _, b := range frames {
		if !v.ports[instance].Send(b) {
			v.t.Fatal("the port is full")
		}
		v.sw.Step()
		for _, d := range v.ports {
			for more := true; more; {
				_, more = d.Receive(out)
			}
		}
	}
}

// TestWatchTellsTheFateOfFrames: what is read from a watched port is seen with what
// became of it, and what is written to one right behind it.
func TestWatchTellsTheFateOfFrames(t *testing.T) {
	any4 := netip.MustParsePrefix("0.0.0.0/0")
	for _, c := range []struct {
		name, text string
		want       string // of a capture of all ports
		change     func(*vswitch.Config)
	}{
		{"delivered", "10.0.1.10:40000 > 10.0.2.20:22 tcp S seq=1", "a1 >\n> b1\n", nil},
		{"no rule in", "10.0.1.10:40000 > 10.0.2.20:23 tcp S seq=1", "a1 > SG_INGRESS sg g-b1 ingress: no rule (vpc.toml:7)\n",
			func(c *vswitch.Config) { c.SecurityGroup("g-b1").Origin = vswitch.Origin{File: "vpc.toml", Line: 7} }},
		{"no rule out", "10.0.1.10:40000 > 10.0.2.20:22 tcp S seq=1", "a1 > SG_EGRESS sg g-a1, g-a2 egress: no rule ((default))\n",
			func(c *vswitch.Config) {
				c.Instance("a1").SecurityGroups = []string{"g-a1", "g-a2"}
				c.SecurityGroup("g-a1").Egress = []vswitch.SecurityGroupRule{}
				c.SecurityGroup("g-a2").Egress = []vswitch.SecurityGroupRule{}
			}},
		{"implicit deny out", "10.0.1.10:40000 > 10.0.2.20:22 tcp S seq=1", "a1 > NACL_EGRESS nacl edge egress * (implicit deny) ((default))\n",
			func(c *vswitch.Config) {
				c.NetworkACLs = append(c.NetworkACLs, vswitch.NetworkACL{Name: "edge"})
				c.Subnet("A").NetworkACL = "edge"
			}},
		{"deny in", "10.0.1.10:40000 > 10.0.2.20:22 tcp S seq=1", "a1 > NACL_INGRESS nacl edge ingress 90 all <- 0.0.0.0/0 (vpc.toml:70)\n",
			func(c *vswitch.Config) {
				c.NetworkACLs = append(c.NetworkACLs, vswitch.NetworkACL{Name: "edge", Ingress: []vswitch.NetworkACLEntry{
					{Number: 90, Service: policy.AllTraffic, CIDR: any4, Origin: vswitch.Origin{File: "vpc.toml", Line: 70}},
				}})
				c.Subnet("B").NetworkACL = "edge"
			}},
		{"not its own", "10.0.1.99:40000 > 10.0.2.20:22 tcp S seq=1", "a1 > SOURCE_ADDRESS\n", nil},
		{"malformed", "10.0.1.10:40000 > 10.0.2.20:22 tcp SF seq=1", "a1 > TCP_FLAGS\n", nil},
		{"nobody there", "10.0.1.10:40000 > 10.0.2.99:22 tcp S seq=1", "a1 > UNASSIGNED_ADDRESS\n", nil},
		{"answered", "10.0.1.10 > 10.0.1.1 icmp echo-request id=1", "a1 >\n> a1\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newVPC(t, 1<<10)
			v.open()
			if c.change != nil {
				c.change(&v.config)
				v.must(v.sw.Apply(v.config, nil))
			}
			all, dropped := v.watch(vswitch.WatchOptions{}), v.watch(vswitch.WatchOptions{Dropped: true})
			sender := v.watch(vswitch.WatchOptions{Instances: []string{"a1"}})
			receiver := v.watch(vswitch.WatchOptions{Instances: []string{"b1"}})
			b := v.frame("a1", c.text)
			v.play("a1", b)

			frames := v.read(all)
			if got := story(frames); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
			first, rest, _ := strings.Cut(c.want, "\n")
			if rest != "" {
				first = ""
			} else {
				first += "\n"
			}
			drops := v.read(dropped)
			if got := story(drops); got != first {
				t.Errorf("dropped ones alone: got\n%swant\n%s", got, first)
			}
			for _, s := range append(frames[:1:1], drops...) {
				if !bytes.Equal(s.Bytes, b) || s.Length != len(b)-wire.VirtioSize {
					t.Errorf("the frame of %d bytes was seen as %d of %d:\n%x\n%x", len(b), len(s.Bytes), s.Length, b, s.Bytes)
				}
			}
			mine := func(name string) (lines string) {
				for line := range strings.Lines(c.want) {
					if strings.Contains(line, "> "+name) || strings.HasPrefix(line, name+" >") {
						lines += line
					}
				}
				return lines
			}
			for name, x := range map[string]*vswitch.Watch{"a1": sender, "b1": receiver} {
				if got := story(v.read(x)); got != mine(name) {
					t.Errorf("of %s alone: got\n%swant\n%s", name, got, mine(name))
				}
			}
		})
	}
}

// TestWatchSeesWhatTheReceiverGets: a copy of what was written is that, byte by
// byte, for frames that pass whole, in segments and with their checksum finished.
func TestWatchSeesWhatTheReceiverGets(t *testing.T) {
	v := newVPC(t, 1<<10)
	v.open()
	plain := port.NewMemory(256, port.Offloads{})
	v.must(v.sw.Attach("b1", plain))
	x := v.watch(vswitch.WatchOptions{Instances: []string{"a1", "b1"}})
	out := make([]byte, wire.MaxFrame)
	for _, text := range []string{
		"10.0.1.10:40000 > 10.0.2.20:22 tcp S seq=100",
		"10.0.1.10:40000 > 10.0.2.20:22 tcp A seq=101 ack=501 win=512 len=20000 gso=1448",
		"10.0.1.10:40000 > 10.0.2.20:22 tcp A seq=20101 ack=501 win=512 len=64 csum=partial",
	} {
		b := v.frame("a1", text)
		v.ports["a1"].Send(b)
		v.sw.Step()
		frames := v.read(x)
		if len(frames) == 0 || frames[0].Sent || !bytes.Equal(frames[0].Bytes, b) {
			t.Fatalf("%s: not seen as it was sent", text)
		}
		for i, s := range frames[1:] {
			n, ok := plain.Receive(out)
			if !ok || !s.Sent || !bytes.Equal(s.Bytes, out[:n]) || s.Length != n-wire.VirtioSize {
				t.Errorf("%s: frame %d was seen differently", text, i)
			}
		}
		if _, more := plain.Receive(out); more {
			t.Errorf("%s: not all of it was seen", text)
		}
	}
	// A refused frame is seen once, and as it came, although its MACs were rewritten.
	drops := v.watch(vswitch.WatchOptions{Dropped: true})
	v.must(v.sw.Detach("b1"))
	b := v.frame("a1", "10.0.1.10:40000 > 10.0.2.20:53 udp len=64 csum=partial")
	v.play("a1", b)
	for _, x := range []*vswitch.Watch{x, drops} {
		if all := v.read(x); len(all) != 1 || all[0].Reason != policy.PortDown || !bytes.Equal(all[0].Bytes, b) {
			t.Errorf("a port that is down: %s", story(all))
		}
	}
}

// TestWatchOfFragments: a fragment is seen when it comes, and the one that completes
// its datagram with the verdict; of dropped ones, all are.
func TestWatchOfFragments(t *testing.T) {
	for _, c := range []struct{ port, all, dropped string }{
		{"53", "a1 > held\na1 >\n> b1\n> b1\n", ""},
		{"54", "a1 > held\na1 > SG_INGRESS sg g-b1 ingress: no rule ((default))\n", strings.Repeat("a1 > SG_INGRESS sg g-b1 ingress: no rule ((default))\n", 2)},
	} {
		v := newVPC(t, 1<<10)
		v.open()
		all, dropped := v.watch(vswitch.WatchOptions{}), v.watch(vswitch.WatchOptions{Dropped: true})
		parts := wiretest.Fragments(v.frame("a1", "10.0.1.10:40000 > 10.0.2.20:"+c.port+" udp len=1000 ipid=9"), 800)
		v.play("a1", parts...)
		got := v.read(all)
		if story(got) != c.all {
			t.Errorf("port %s: got\n%swant\n%s", c.port, story(got), c.all)
		}
		drops := v.read(dropped)
		if story(drops) != c.dropped {
			t.Errorf("port %s, dropped: got\n%swant\n%s", c.port, story(drops), c.dropped)
		}
		if len(drops) == 2 && (!bytes.Equal(drops[0].Bytes, parts[0]) || !bytes.Equal(drops[1].Bytes, parts[1])) {
			t.Errorf("dropped fragments were seen differently")
		}
	}
}

// TestWatchIsBounded: a capture that is not read loses frames and counts them, and
// goes on once it is read. It is told in time.
func TestWatchIsBounded(t *testing.T) {
	v := newVPC(t, 1<<10)
	x := v.watch(vswitch.WatchOptions{Instances: []string{"a1"}, Memory: 1 << 16})
	b := v.frame("a1", "10.0.1.10:40000 > 10.0.2.20:23 tcp S seq=1")
	total, told := 0, false
	for round := range 5 {
		for range 200 * (round + 1) {
			v.play("a1", append(slices.Clone(b), make([]byte, total%7)...)) // records of many sizes
			total++
			select {
			case <-x.Crowded():
				told = true
			default:
			}
		}
		if !told && round == 4 {
			t.Error("nobody was told that the frames pile up")
		}
		for _, s := range v.read(x) {
			if s.Reason != policy.SGIngress || !bytes.Equal(s.Bytes[:len(b)], b) {
				t.Fatalf("round %d: a frame was seen differently", round)
			}
			total--
		}
	}
	if lost := x.Ports()[0].Lost(); lost == 0 || uint64(total) != lost {
		t.Errorf("%d frames were not seen, %d counted as lost", total, lost)
	}
}

// TestWatchKeepsWhatWasAskedFor: the snap length, and the frames that match.
func TestWatchKeepsWhatWasAskedFor(t *testing.T) {
	v := newVPC(t, 1<<10)
	v.open()
	x := v.watch(vswitch.WatchOptions{Snap: 60, Match: func(frame []byte, length int) bool {
		return length == 14+20+8+500 && frame[12] == 8 && frame[13] == 0
	}})
	v.play("a1", v.frame("a1", "10.0.1.10:40000 > 10.0.2.20:53 udp len=500"), v.frame("a1", "10.0.1.10:40000 > 10.0.2.20:53 udp len=501"))
	got := v.read(x)
	if story(got) != "a1 >\n> b1\n" || len(got[0].Bytes) != wire.VirtioSize+60 || got[0].Length != 542 || len(got[1].Bytes) != wire.VirtioSize+60 {
		t.Errorf("got %d frames\n%s", len(got), story(got))
	}
}

// TestWatchOverReloads: a capture of all ports takes in those that come, and keeps
// the places of those that go.
func TestWatchOverReloads(t *testing.T) {
	v := newVPC(t, 1<<10)
	all, one := v.watch(vswitch.WatchOptions{}), v.watch(vswitch.WatchOptions{Instances: []string{"a1"}})
	c := fixture()
	c.Instances = slices.DeleteFunc(c.Instances, func(i vswitch.Instance) bool { return i.Name == "p1" })
	c.SecurityGroups = append(c.SecurityGroups, vswitch.SecurityGroup{Name: "g-new"})
	c.Instances = append(c.Instances, vswitch.Instance{Name: "new", Subnet: "A", SecurityGroups: []string{"g-new"}, IP: netip.MustParseAddr("10.0.1.77")})
	v.ports["new"] = port.NewMemory(8, allOffloads)
	v.must(v.sw.Apply(c, map[string][]port.Device{"new": {v.ports["new"]}}))
	v.play("new", v.frame("new", "10.0.1.77:1 > 10.0.2.20:2 udp len=5"))
	v.play("a1", v.frame("a1", "10.0.1.10:1 > 10.0.2.20:2 udp len=5"))
	if got, want := story(v.read(all)), "new > SG_INGRESS sg g-b1 ingress: no rule ((default))\na1 > SG_INGRESS sg g-b1 ingress: no rule ((default))\n"; got != want {
		t.Errorf("all: got\n%swant\n%s", got, want)
	}
	if got, want := story(v.read(one)), "a1 > SG_INGRESS sg g-b1 ingress: no rule ((default))\n"; got != want {
		t.Errorf("one: got\n%swant\n%s", got, want)
	}
	var names []string
	for _, p := range all.Ports() {
		names = append(names, p.Interface.Instance)
	}
	if got, want := fmt.Sprint(names), "[p1 a1 a2 b1 b2 m1 new]"; got != want {
		t.Errorf("ports %s, want %s", got, want)
	}
}

// TestWatchReadsInOrder: what several workers have copied is read as it happened.
func TestWatchReadsInOrder(t *testing.T) {
	now := int64(time.Hour)
	sw, err := vswitch.New(fixture(), vswitch.WithWorkers(3), vswitch.WithClock(func() int64 { return now }), vswitch.WithCapacity(1<<12))
	if err != nil {
		t.Fatal(err)
	}
	defer sw.Close()
	a := port.NewMemory(8, allOffloads)
	if err := sw.Attach("a1", a); err != nil {
		t.Fatal(err)
	}
	x, err := sw.Watch(vswitch.WatchOptions{Dropped: true})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	full := sw.Config()
	i := full.Interface("a1")
	const frames = 60
	for n := range frames {
		now += int64(time.Millisecond)
		a.Send(wiretest.Bytes(t, i.MAC, i.RouterMAC, fmt.Sprintf("10.0.1.10:%d > 10.0.2.%d:80 tcp S seq=1", 1024+n, 100+n%13)))
		sw.Step()
	}
	var last time.Time
	seen := 0
	if err := x.Read(func(f *vswitch.WatchedFrame) error {
		if seen++; !f.Time.After(last) {
			return fmt.Errorf("frame %d was seen %v after the one before", seen, f.Time.Sub(last))
		}
		last = f.Time
		return nil
	}); err != nil || seen != frames {
		t.Errorf("%d frames, %v", seen, err)
	}
}

func TestWatchLimits(t *testing.T) {
	v := newVPC(t, 1<<10)
	if _, err := v.sw.Watch(vswitch.WatchOptions{Instances: []string{"a1", "nobody"}}); err == nil || err.Error() != "instance nobody: not in the configuration" {
		t.Errorf("an unknown instance: %v", err)
	}
	first := v.watch(vswitch.WatchOptions{})
	for range 3 {
		v.watch(vswitch.WatchOptions{Dropped: true})
	}
	if _, err := v.sw.Watch(vswitch.WatchOptions{}); !errors.Is(err, vswitch.ErrWatches) {
		t.Errorf("one too many: %v", err)
	}
	first.Close()
	first.Close()
	<-first.Done()
	v.play("a1", v.frame("a1", "10.0.1.10:1 > 10.0.2.20:2 udp len=5"))
	if got := v.read(first); len(got) != 0 {
		t.Errorf("seen after Close: %s", story(got))
	}
	last := v.watch(vswitch.WatchOptions{})
	v.must(v.sw.Close())
	<-last.Done()
	if _, err := v.sw.Watch(vswitch.WatchOptions{}); !errors.Is(err, vswitch.ErrClosed) {
		t.Errorf("after Close of the switch: %v", err)
	}
}

// TestWatchAllocatesNothing: captures cost frames no allocation, whatever becomes
// of them, and none when there is no room either.
func TestWatchAllocatesNothing(t *testing.T) {
	v := newVPC(t, 1<<10)
	v.open()
	v.watch(vswitch.WatchOptions{Memory: 1 << 16, Match: func([]byte, int) bool { return true }})
	v.watch(vswitch.WatchOptions{Dropped: true, Memory: 1 << 16})
	out := make([]byte, wire.MaxFrame)
	for _, text := range []string{
		"10.0.1.10:40000 > 10.0.2.20:53 udp len=500", "10.0.1.10:40000 > 10.0.2.20:23 tcp S seq=1", "10.0.1.10 > 10.0.1.1 icmp echo-request id=1",
	} {
		b := v.frame("a1", text)
		if n := testing.AllocsPerRun(200, func() {
			v.ports["a1"].Send(b)
			v.sw.Step()
			v.ports["a1"].Receive(out)
			v.ports["b1"].Receive(out)
		}); n != 0 {
			t.Errorf("%s: %v allocations", text, n)
		}
	}
}

// TestWatchOfARunningSwitch: while workers run, captures begin and end and others
// are read, each frame that a capture takes is seen once and whole, in order; what
// is missing is counted.
func TestWatchOfARunningSwitch(t *testing.T) {
	for _, workers := range []int{1, 2} {
		c := fixture()
		c.SecurityGroup("g-b1").Ingress = []vswitch.SecurityGroupRule{{Service: policy.AllTraffic, Peer: vswitch.Peer{Prefix: netip.MustParsePrefix("10.0.0.0/16")}}}
		sw, err := vswitch.New(c, vswitch.WithWorkers(workers), vswitch.WithCapacity(1<<12))
		if err != nil {
			t.Fatal(err)
		}
		a, b := port.NewMemory(64, allOffloads), port.NewMemory(64, allOffloads)
		if err := errors.Join(sw.Attach("a1", a), sw.Attach("b1", b), sw.Start()); err != nil {
			t.Fatal(err)
		}
		x, err := sw.Watch(vswitch.WatchOptions{Instances: []string{"a1"}, Memory: 1 << 16})
		if err != nil {
			t.Fatal(err)
		}
		const frames = 2000
		full := sw.Config()
		i := full.Interface("a1")
		go func() { // what begins and ends beside it does not matter
			for range 20 {
				if other, err := sw.Watch(vswitch.WatchOptions{}); err == nil {
					other.Close()
				}
			}
		}()
		go func() {
			for n := range frames {
				frame := wiretest.Bytes(t, i.MAC, i.RouterMAC, fmt.Sprintf("10.0.1.10:40000 > 10.0.2.20:53 udp len=%d ipid=%d", n%900, 1+n))
				for deadline := time.Now().Add(20 * time.Second); !a.Send(frame) && time.Now().Before(deadline); {
					runtime.Gosched()
				}
			}
		}()
		seen, last := 0, uint32(0)
		deadline := time.After(20 * time.Second)
		for seen+int(x.Ports()[0].Lost()) < frames {
			select {
			case <-deadline:
				t.Fatalf("%d frames of %d after 20 s, %d lost", seen, frames, x.Ports()[0].Lost())
			default:
			}
			err := x.Read(func(w *vswitch.WatchedFrame) error {
				var f wire.Frame
				n := len(w.Bytes)
				if r := f.Parse(w.Bytes, 9001); r != policy.None || f.ID <= last || n != w.Length+wire.VirtioSize || n != f.Payload+int((f.ID-1)%900) {
					return fmt.Errorf("frame %d behind %d, %d of %d bytes: %s", f.ID, last, n, w.Length, r)
				}
				seen++
				last = f.ID
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := sw.Close(); err != nil {
			t.Error(err)
		}
	}
}
