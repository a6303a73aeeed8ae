package vswitch_test

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
	"vswitch/port"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open lets b1 take tcp 22 and udp 53 from subnet A, tracked at both ends.
func (v *vpc) open() {
	v.t.Helper()
	v.authorize("b1", "in", []string{"tcp", "22", "10.0.1.0/24"})
	v.authorize("b1", "in", []string{"udp", "53", "10.0.1.0/24"})
	v.apply()
}

// frame returns a frame that instance sends to the router.
func (v *vpc) frame(instance, text string) []byte {
	v.t.Helper()
	i := v.iface(instance)
	return wiretest.Bytes(v.t, i.MAC, i.RouterMAC, text)
}

// TestForwardAllocatesNothing holds the promise of 0 allocations a frame: on a
// hit of the flow cache, on a miss, on the slow path, and on a drop.
func TestForwardAllocatesNothing(t *testing.T) {
	for _, c := range []struct {
		name  string
		cache int
		text  string
		drop  bool
	}{
		{"hit", 1 << 10, "10.0.1.10:40000 > 10.0.2.20:22 tcp A seq=101 ack=501 win=64240 len=1000", false},
		{"miss", 0, "10.0.1.10:40000 > 10.0.2.20:22 tcp A seq=101 ack=501 win=64240 len=1000", false},
		{"new flow denied", 1 << 10, "10.0.1.10:40000 > 10.0.2.20:23 tcp S seq=1", true},
		{"icmp denied", 1 << 10, "10.0.1.10 > 10.0.2.20 icmp echo-request id=7", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newVPC(t, c.cache)
			v.open()
			out := make([]byte, wire.MaxFrame)
			step := func(sender, receiver, text string) {
				v.ports[sender].Send(v.frame(sender, text))
				v.sw.Step()
				v.ports[receiver].Receive(out)
			}
			step("a1", "b1", "10.0.1.10:40000 > 10.0.2.20:22 tcp S seq=100 win=64240")
			step("b1", "a1", "10.0.2.20:22 > 10.0.1.10:40000 tcp SA seq=500 ack=101 win=64240")
			step("a1", "b1", "10.0.1.10:40000 > 10.0.2.20:22 tcp A seq=101 ack=501 win=64240")
			b := v.frame("a1", c.text)
			from, to := v.ports["a1"], v.ports["b1"]
			if n := testing.AllocsPerRun(500, func() {
				from.Send(b)
				if v.sw.Step() != 1 {
					t.Fatal("the frame was not taken in")
				}
				if _, ok := to.Receive(out); ok == c.drop {
					t.Fatalf("delivered: %v, want %v", ok, !c.drop)
				}
			}); n != 0 {
				t.Errorf("%v allocations per frame, want 0", n)
			}
		})
	}
}

// TestSuperframePassesUntouched sends a TCP superframe: judged once, counted by
// its segments, delivered with its virtio header as it came.
func TestSuperframePassesUntouched(t *testing.T) {
	v := newVPC(t, 1<<10)
	v.open()
	v.run("a1:40000 > b1:22 tcp S seq=100 win=64240 wscale=7 => b1")
	v.run("b1:22 > a1:40000 tcp SA seq=500 ack=101 win=64240 wscale=7 => a1")
	v.run("a1:40000 > b1:22 tcp A seq=101 ack=501 win=64240 => b1")
	sent := v.frame("a1", "10.0.1.10:40000 > 10.0.2.20:22 tcp A seq=101 ack=501 win=64240 len=50000 gso=1448")
	v.ports["a1"].Send(sent)
	v.sw.Step()
	b := make([]byte, wire.MaxFrame)
	n, ok := v.ports["b1"].Receive(b)
	if !ok {
		t.Fatalf("not delivered\n%s", v.explain("a1", sent))
	}
	if !bytes.Equal(b[:wire.VirtioSize], sent[:wire.VirtioSize]) || !bytes.Equal(b[wire.VirtioSize+12:n], sent[wire.VirtioSize+12:]) {
		t.Error("the superframe changed on its way")
	}
	const segments = (50000 + 1447) / 1448
	for _, p := range v.sw.Status().Ports {
		if p.Instance == "b1" && p.Counters.TxPackets != 2+segments {
			t.Errorf("b1 got %d packets, want %d", p.Counters.TxPackets, 2+segments)
		}
	}
}

// TestPortWithoutOffloads gets finished checksums. What it gets for a superframe is
// in segment_test.go.
func TestPortWithoutOffloads(t *testing.T) {
	v := newVPC(t, 1<<10)
	v.open()
	plain := port.NewMemory(8, port.Offloads{})
	v.must(v.sw.Attach("b1", plain))
	v.ports["b1"] = plain
	const syn = "10.0.1.10:40000 > 10.0.2.20:22 tcp S seq=100 win=64240"
	v.ports["a1"].Send(v.frame("a1", syn+" csum=partial"))
	v.sw.Step()
	b := make([]byte, wire.MaxFrame)
	n, ok := plain.Receive(b)
	if whole := v.frame("a1", syn); !ok || !bytes.Equal(b[:wire.VirtioSize], whole[:wire.VirtioSize]) || !bytes.Equal(b[wire.VirtioSize+12:n], whole[wire.VirtioSize+12:]) {
		t.Errorf("got %x\nwant the checksum filled in: %x", b[:n], whole)
	}
}

// TestPortReasons covers what a receiving port may refuse.
func TestPortReasons(t *testing.T) {
	t.Run("PORT_DOWN: the device is down", func(t *testing.T) {
		v := newVPC(t, 1<<10)
		v.open()
		v.ports["b1"].SetDown(true)
		v.run("a1:40000 > b1:22 tcp S => PORT_DOWN")
		v.ports["b1"].SetDown(false)
		v.run("a1:40000 > b1:22 tcp S => b1")
	})
	t.Run("PORT_DOWN: there is no device, and ARP does not answer for it", func(t *testing.T) {
		v := newVPC(t, 1<<10)
		v.open()
		v.must(v.sw.Detach("b1"))
		v.run("a1:40000 > b1:22 tcp S => PORT_DOWN")
		v.must(v.sw.Detach("a2"))
		v.run("arp who-has 10.0.1.11 tell 10.0.1.10 from=a1 => ARP_UNANSWERED")
	})
	t.Run("PORT_REFUSED: the device does not take the frame", func(t *testing.T) {
		v := newVPC(t, 1<<10)
		v.open()
		full := port.NewMemory(1, allOffloads)
		v.must(v.sw.Attach("b1", full))
		v.ports["b1"] = full
		v.ports["a1"].Send(v.frame("a1", "10.0.1.10:40000 > 10.0.2.20:53 udp"))
		v.sw.Step()
		before := v.sw.Status()
		b := v.frame("a1", "10.0.1.10:40001 > 10.0.2.20:53 udp")
		v.ports["a1"].Send(b)
		v.sw.Step()
		full.Receive(make([]byte, wire.MaxFrame))
		v.check(before, "a1", "PORT_REFUSED", "second frame into a full queue", b)
	})
}

// A failing device panics on its first write, as a bug in the switch would.
type failing struct {
	*port.Memory
	panicked bool
}

func (d *failing) Write(b []byte) port.Status {
	if !d.panicked {
		d.panicked = true
		panic("injected")
	}
	return d.Memory.Write(b)
}

// TestPanicCostsOneFrame injects a panic: the frame is counted and kept, the
// others of the burst and of the other ports go on.
func TestPanicCostsOneFrame(t *testing.T) {
	v := newVPC(t, 1<<10)
	v.open()
	inner := port.NewMemory(8, allOffloads)
	v.must(v.sw.Attach("b1", &failing{Memory: inner}))
	v.ports["b1"] = inner
	first := v.frame("a1", "10.0.1.10:40000 > 10.0.2.20:53 udp len=3")
	v.ports["a1"].Send(first)
	v.ports["a1"].Send(v.frame("a1", "10.0.1.10:40000 > 10.0.2.20:53 udp len=4"))
	for v.sw.Step() > 0 {
	}
	st := v.sw.Status()
	if st.Panics != 1 || len(st.Captured) != 1 || st.Totals.Drops[policy.Panic] != 1 || st.Totals.Delivered != 1 {
		t.Fatalf("panics %d, kept %d, counters %s", st.Panics, len(st.Captured), describe(&st.Totals))
	}
	if c := st.Captured[0]; c.Instance != "a1" || !bytes.Equal(c.Bytes[wire.VirtioSize+12:], first[wire.VirtioSize+12:]) || c.Cause == "" {
		t.Errorf("kept %+v", c)
	}
	if st.Totals.RxFrames != st.Totals.Delivered+st.Totals.Answered+st.Totals.Held+st.Totals.Dropped() {
		t.Errorf("the counters do not add up: %s", describe(&st.Totals))
	}
}

// TestGoneDevice takes a device away under the switch: its port is down, the
// others go on, and a new device puts it back.
func TestGoneDevice(t *testing.T) {
	v := newVPC(t, 1<<10)
	v.open()
	v.must(v.ports["b1"].Close())
	v.sw.Step()
	v.ports["a1"].Send(v.frame("a1", "10.0.1.10:40000 > 10.0.2.20:53 udp"))
	v.sw.Step()
	st := v.sw.Status()
	for _, p := range st.Ports {
		if p.Up == (p.Instance == "b1") {
			t.Errorf("%s up: %v", p.Instance, p.Up)
		}
	}
	if st.Totals.Drops[policy.PortDown] != 1 {
		t.Errorf("drops: %s", describe(&st.Totals))
	}
	again := port.NewMemory(8, allOffloads)
	v.must(v.sw.Attach("b1", again))
	v.ports["b1"] = again
	v.run("a1:40000 > b1:53 udp => b1")
}

// TestApplyIsAllOrNothing applies a configuration with a mistake: the running
// one stays, and so do connections.
func TestApplyIsAllOrNothing(t *testing.T) {
	v := newVPC(t, 1<<10)
	v.open()
	v.run("a1:40000 > b1:22 tcp S seq=100 win=64240 => b1")
	generation := v.sw.Status().Generation
	bad := v.sw.Config()
	bad.Subnets = append([]vswitch.Subnet(nil), bad.Subnets...)
	bad.Subnets[0].CIDR = netip.MustParsePrefix("192.168.0.0/24")
	var invalid *vswitch.InvalidError
	if err := v.sw.Apply(bad, nil); !errors.As(err, &invalid) {
		t.Fatalf("got %v, want an InvalidError", err)
	}
	if got := v.sw.Status().Generation; got != generation {
		t.Errorf("generation %d after a refused configuration, want %d", got, generation)
	}
	v.run("b1:22 > a1:40000 tcp SA seq=500 ack=101 win=64240 => a1")
}

// TestApplyComplete: what Complete has made is applied as it is, to a switch of that
// VPC that is not closed, with devices of its instances.
func TestApplyComplete(t *testing.T) {
	v := newVPC(t, 1<<10)
	running := v.sw.Config()
	next := running
	next.SecurityGroups = slices.Clone(running.SecurityGroups)
	next.SecurityGroup("g-b1").Ingress = []vswitch.SecurityGroupRule{{Service: policy.AllTraffic, Peer: vswitch.Peer{Prefix: netip.MustParsePrefix("10.0.1.10/32")}}}
	full, err := vswitch.Complete(next, &running)
	v.must(err)
	generation := v.sw.Generation()
	v.must(v.sw.ApplyComplete(full, nil))
	if got := v.sw.Config(); !reflect.DeepEqual(got, full) || v.sw.Generation() == generation || v.sw.Status().Generation != v.sw.Generation() {
		t.Errorf("generation %d after %d, running %+v", v.sw.Generation(), generation, got)
	}
	v.run("a1:40000 > b1:22 tcp S seq=100 win=64240 => b1")

	stranger := port.NewMemory(8, allOffloads)
	if err := v.sw.ApplyComplete(full, map[string][]port.Device{"nobody": {stranger}}); err == nil || !strings.Contains(err.Error(), "instance nobody") {
		t.Errorf("a device of no instance: %v", err)
	}
	other := full
	other.VPC.Name = "other"
	if err := v.sw.ApplyComplete(other, nil); err == nil || !strings.Contains(err.Error(), "its name cannot change") {
		t.Errorf("another VPC: %v", err)
	}
	v.must(v.sw.Close())
	if err := v.sw.ApplyComplete(full, nil); !errors.Is(err, vswitch.ErrClosed) {
		t.Errorf("a closed switch: %v", err)
	}
}

// TestApplyRemovesAndAddsInstances checks that nothing of a removed instance is
// left for one that takes its place.
func TestApplyRemovesAndAddsInstances(t *testing.T) {
	v := newVPC(t, 1<<10)
	v.open()
	v.run("a1:40000 > b1:22 tcp S seq=100 win=64240 => b1")
	without := v.sw.Config()
	without.Instances = nil
	for _, i := range v.sw.Config().Instances {
		if i.Name != "b1" {
			without.Instances = append(without.Instances, i)
		}
	}
	old := v.ports["b1"]
	v.must(v.sw.Apply(without, nil))
	if _, status := old.Read(make([]byte, wire.MaxFrame)); status != port.Gone {
		t.Errorf("the removed instance's device gives %v, want it closed", status)
	}
	with := v.sw.Config()
	with.Instances = append(with.Instances, vswitch.Instance{Name: "c1", Subnet: "B", IP: netip.MustParseAddr("10.0.2.20"), SecurityGroups: []string{"g-b2"}})
	d := port.NewMemory(8, allOffloads)
	v.must(v.sw.Apply(with, map[string][]port.Device{"c1": {d}}))
	conns, err := v.sw.Connections("c1")
	if err != nil || len(conns) != 0 {
		t.Errorf("the new instance has connections %v, %v", conns, err)
	}
	v.ports["a1"].Send(v.frame("a1", "10.0.1.10:40001 > 10.0.2.20:22 tcp A seq=101 ack=501"))
	v.sw.Step()
	if n := v.sw.Status().Totals.Drops[policy.SGIngress]; n != 1 {
		t.Errorf("%d frames denied by the new instance's groups, want 1", n)
	}
	if _, err := v.sw.Connections("b1"); err == nil {
		t.Error("connections of a removed instance: want an error")
	}
}

// TestConnections lists a flow at both ends, as its opener sees it.
func TestConnections(t *testing.T) {
	v := newVPC(t, 1<<10)
	v.open()
	v.run("a1:40000 > b1:22 tcp S seq=100 win=64240 => b1")
	v.run("b1:22 > a1:40000 tcp SA seq=500 ack=101 win=64240 => a1")
	v.run("a1:40000 > b1:22 tcp A seq=101 ack=501 win=64240 => b1")
	conns, err := v.sw.Connections("")
	v.must(err)
	if len(conns) != 2 || conns[0].Instance != "a1" || conns[1].Instance != "b1" {
		t.Fatalf("got %v", conns)
	}
	for _, c := range conns {
		if c.Tuple.String() != "10.0.1.10:40000 > 10.0.2.20:22 tcp" || c.Left != 432000*time.Second {
			t.Errorf("got %s, %v left", c.Tuple, c.Left)
		}
	}
}

// TestRunningSwitch drives a started switch from other goroutines, with reloads
// and readers beside it: frames arrive, and Close ends everything.
func TestRunningSwitch(t *testing.T) {
	c := fixture()
	for i := range c.SecurityGroups {
		c.SecurityGroups[i].Ingress = []vswitch.SecurityGroupRule{{Service: policy.AllTraffic, Peer: vswitch.Peer{Prefix: netip.MustParsePrefix("10.0.0.0/16")}}}
	}
	sw, err := vswitch.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ports := map[string]*port.Memory{}
	for _, m := range members {
		ports[m.name] = port.NewMemory(64, allOffloads)
		if err := sw.Attach(m.name, ports[m.name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := sw.Start(); err != nil {
		t.Fatal(err)
	}
	full := sw.Config()
	frame := func(from, text string) []byte {
		i := full.Interface(from)
		return wiretest.Bytes(t, i.MAC, i.RouterMAC, text)
	}
	there := frame("a1", "10.0.1.10:40000 > 10.0.2.20:53 udp len=100")
	back := frame("b1", "10.0.2.20:53 > 10.0.1.10:40000 udp len=100")

	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, beside := range []func(){
		func() { sw.Status() },
		func() { _, _ = sw.Connections("") },
		func() {
			if err := sw.Apply(c, nil); err != nil {
				t.Error(err)
			}
		},
	} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-stop:
					return
				default:
					beside()
				}
			}
		}()
	}
	exchange := func(from, to string, b []byte) {
		if !ports[from].Send(b) {
			t.Fatalf("port of %s is full", from)
		}
		buf := make([]byte, wire.MaxFrame)
		for deadline := time.Now().Add(10 * time.Second); ; {
			if _, ok := ports[to].Receive(buf); ok {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("no frame within 10 s")
			}
		}
	}
	for range 200 {
		exchange("a1", "b1", there)
		exchange("b1", "a1", back)
	}
	close(stop)
	wg.Wait()
	if err := sw.Close(); err != nil {
		t.Error(err)
	}
	if err := sw.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if err := sw.Apply(c, nil); !errors.Is(err, vswitch.ErrClosed) {
		t.Errorf("Apply after Close: %v", err)
	}
	if st := sw.Status(); st.Totals.Delivered != 400 {
		t.Errorf("delivered %d after Close, want 400: %s", st.Totals.Delivered, describe(&st.Totals))
	}
}

// TestCloseEndsAnIdleSwitch closes switches that sleep: with nothing waiting,
// only Close itself can wake them.
func TestCloseEndsAnIdleSwitch(t *testing.T) {
	for range 50 {
		sw, err := vswitch.New(fixture())
		if err != nil {
			t.Fatal(err)
		}
		if err := sw.Attach("a1", port.NewMemory(1, allOffloads)); err != nil {
			t.Fatal(err)
		}
		if err := sw.Start(); err != nil {
			t.Fatal(err)
		}
		closed := make(chan error)
		go func() { closed <- sw.Close() }()
		select {
		case err := <-closed:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("Close did not return within 10 s")
		}
	}
}
