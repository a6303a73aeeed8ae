package vswitch_test

import (
	"encoding/binary"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/port"
)

// TestWorkers refuses numbers of workers that make no sense, and devices with more
// queues than there are workers to read them.
func TestWorkers(t *testing.T) {
	for _, n := range []int{-1, 0, vswitch.MaxWorkers + 1} {
		if _, err := vswitch.New(fixture(), vswitch.WithWorkers(n)); err == nil || !strings.Contains(err.Error(), "workers: want 1 to 16") {
			t.Errorf("%d workers: %v", n, err)
		}
	}
	three := port.NewMemory(1, allOffloads)
	defer three.Close()
	queues := three.Queues(3, port.SteerFrame)
	const want = "instance a1: a device of 3 queues for 2 workers"
	if _, err := vswitch.New(fixture(), vswitch.WithWorkers(2), vswitch.WithDevices(map[string][]port.Device{"a1": queues})); err == nil || err.Error() != want {
		t.Errorf("New: %v", err)
	}
	v := newCrew(t, 0, 2, port.SteerFrame)
	if err := v.sw.Attach("a1", queues...); err == nil || err.Error() != want {
		t.Errorf("Attach: %v", err)
	}
	if err := v.sw.Apply(v.config, map[string][]port.Device{"a1": queues}); err == nil || err.Error() != want {
		t.Errorf("Apply: %v", err)
	}
	for _, none := range [][]port.Device{nil, {nil}} {
		if err := v.sw.Attach("a1", none...); err == nil {
			t.Errorf("Attach(%v) succeeded", none)
		}
	}
	if n := v.sw.Status().Workers; n != 2 {
		t.Errorf("%d workers, want 2", n)
	}
}

// TestFramesReachTheirOwner: steered frames are not handed over, but the errors
// about other hosts' packets, and all that come by a device with one queue do if
// they are not its worker's.
func TestFramesReachTheirOwner(t *testing.T) {
	const workers = 3
	v := newCrew(t, 1<<10, workers, port.SteerFrame)
	v.allowAll()
	sent := 0
	for _, a := range members {
		for _, b := range members {
			if a.name != b.name {
				v.run(a.name + ":40000 > " + b.name + ":53 udp => " + b.name)
				v.run(a.name + ".6:40000 > " + b.name + ".6:53 udp => " + b.name)
				v.run(a.name + " > " + b.name + " icmp echo-request id=7 => " + b.name)
				sent += 3
			}
		}
	}
	v.run("arp who-has 10.0.1.11 tell 10.0.1.10 from=a1 => answered")
	v.run("nd solicit a2.6 from a1.6 from=a1 mac=33:33:ff:00:00:11 => answered")
	v.run("a1 > 10.0.1.1 icmp echo-request id=7 => answered")
	if n := v.sw.Status().HandedOver; n != 0 {
		t.Errorf("%d of %d frames were handed over, want none", n, sent)
	}

	// The same from a device with one queue, which worker 0 reads.
	single := port.NewMemory(64, allOffloads)
	v.must(v.sw.Attach("a1", single))
	v.ports["a1"] = single
	elsewhere := uint64(0)
	for _, b := range members[2:] {
		v.run("a1:40001 > " + b.name + ":53 udp => " + b.name)
		v.run(b.name + ":40001 > a1:53 udp => a1")
		if v.ownerOf("a1", b.name, workers) != 0 {
			elsewhere++
		}
	}
	// What the platform answers is answered at once.
	v.run("arp who-has 10.0.1.11 tell 10.0.1.10 from=a1 => answered")
	for _, x := range []string{"10", "11", "20", "21"} {
		v.run("nd solicit a2.6 from a1.6 from=a1 mac=33:33:ff:00:00:" + x + " => answered")
	}
	v.run("a1 > 10.0.1.1 icmp echo-request id=7 => answered")
	v.run("a1.6 > 2001:db8:a:1::1 icmpv6 echo-request id=7 => answered")
	v.run("a1.ll > A.router icmpv6 echo-request id=7 from=a1 => answered")
	if n := v.sw.Status().HandedOver; n != elsewhere || n == 0 {
		t.Errorf("%d frames were handed over, want %d", n, elsewhere)
	}
}

// TestErrorsOfOtherOwners sends ICMP errors whose own addresses and the quoted
// ones belong to all combinations of three workers, by every queue (SEM 2.6).
func TestErrorsOfOtherOwners(t *testing.T) {
	const workers = 3
	combinations := map[[2]int]bool{}
	for queue := range uint16(workers) {
		v := newCrew(t, 1<<10, workers, func([]byte) uint16 { return queue })
		for _, m := range members {
			v.authorize(m.name, "in", []string{"udp", "53", "10.0.0.0/16"})
		}
		for _, a := range members {
			for _, b := range members {
				for _, c := range members {
					if a.name == b.name || a.name == c.name || b.name == c.name {
						continue
					}
					combinations[[2]int{v.ownerOf(a.name, b.name, workers), v.ownerOf(a.name, c.name, workers)}] = true
					v.run(a.name + ":40000 > " + b.name + ":53 udp => " + b.name)
					for _, flow := range []struct {
						port, want string
						reason     policy.Reason
					}{{"40000", a.name, policy.None}, {"40001", "SG_INGRESS", policy.SGIngress}} {
						quoted := " icmp 3/1 about " + a.address + ":" + flow.port + " > " + b.address + ":53 udp"
						trace, err := v.sw.Trace(c.name, v.frame(c.name, c.address+" > "+a.address+quoted))
						if v.must(err); trace.Steps[len(trace.Steps)-1].Reason != flow.reason {
							t.Fatalf("%s > %s%s: want %v\n%s", c.name, a.name, quoted, flow.reason, trace)
						}
						v.run(c.name + " > " + a.name + quoted + " => " + flow.want)
					}
				}
			}
		}
	}
	if len(combinations) != workers*workers {
		t.Errorf("%d combinations of owners, want %d", len(combinations), workers*workers)
	}
}

// TestAllowanceOverWorkers: SEM 2.5 knows one allowance for an interface, however
// many workers keep its connections.
func TestAllowanceOverWorkers(t *testing.T) {
	const workers, allowance = 3, 10
	v := newCrew(t, 1<<10, workers, port.SteerFrame)
	v.config.Conntrack.Max = allowance
	for _, m := range members {
		v.authorize(m.name, "in", []string{"all", "10.0.0.0/16"})
		*v.rules(m.name, "out") = []vswitch.SecurityGroupRule{v.rule([]string{"udp", "53", "10.0.0.0/16"})} // tracked
	}
	v.apply()
	owners := map[int]bool{}
	n := 0
	for _, source := range []string{"40000", "40001", "40002", "40003"} {
		for _, to := range []string{"a2", "b1", "b2", "m1", "p1"} {
			owners[v.ownerOf("a1", to, workers)] = true
			want := to
			if n++; n > allowance {
				want = "CONNTRACK_ALLOWANCE_EGRESS"
			}
			v.run("a1:" + source + " > " + to + ":53 udp => " + want)
		}
	}
	if len(owners) < 2 {
		t.Fatalf("all of this belongs to the workers %v: the test shows nothing", owners)
	}
	for _, p := range v.sw.Status().Ports {
		if p.Instance == "a1" && (p.Tracked != allowance || p.Allowed != allowance || p.Exceeded != uint64(n-allowance)) {
			t.Errorf("a1 has %d connections of %d and exceeded them %d times, want %d, %d, %d", p.Tracked, p.Allowed, p.Exceeded, allowance, allowance, n-allowance)
		}
	}
	v.run("wait 31s")
	v.run("a1:40009 > b1:53 udp => b1") // what has idled out made room
}

// waitFor waits until a condition holds.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// TestWorkersKeepOrder sends numbered packets of several flows through three
// running workers, while configurations are published: no packet of a flow
// overtakes another, whether its worker reads it or gets it handed over.
func TestWorkersKeepOrder(t *testing.T) {
	for name, steer := range map[string]func([]byte) uint16{
		"steered":     port.SteerFrame,
		"handed over": func(frame []byte) uint16 { return port.SteerFrame(frame) + 1 },
		"one queue":   func([]byte) uint16 { return 0 },
	} {
		t.Run(name, func(t *testing.T) {
			v := newCrew(t, 1<<10, 3, steer)
			v.allowAll()
			v.must(v.sw.Start())
			const packets, window = 1000, 32 // of a flow; the ports hold 64 frames
			flows := [][2]string{{"a1", "b1"}, {"b1", "a2"}, {"a2", "m1"}, {"m1", "p1"}, {"p1", "b2"}, {"b2", "a1"}}
			var wg sync.WaitGroup
			for _, flow := range flows {
				from, to := v.ports[flow[0]], v.ports[flow[1]]
				frames := make([][]byte, packets)
				for n := range frames {
					frames[n] = v.datagram(flow[0], flow[1], 40000, n)
				}
				wg.Go(func() {
					buf := make([]byte, wire.MaxFrame)
					end := time.Now().Add(patience)
					for sent, got := 0, 0; got < packets; {
						if sent < packets && sent-got < window && from.Send(frames[sent]) {
							sent++
						}
						n, ok := to.Receive(buf)
						if !ok {
							if runtime.Gosched(); time.Now().After(end) {
								t.Errorf("%s to %s: %d of %d packets arrived", flow[0], flow[1], got, packets)
								return
							}
							continue
						}
						if number := int(binary.BigEndian.Uint64(buf[n-8 : n])); number != got {
							t.Errorf("%s to %s: packet %d came as number %d", flow[0], flow[1], number, got)
							return
						}
						got++
					}
				})
			}
			published := make(chan struct{})
			ended := make(chan struct{})
			go func() {
				defer close(published)
				for {
					select {
					case <-ended:
						return
					default:
						if err := v.sw.Apply(v.config, nil); err != nil {
							t.Error(err)
							return
						}
					}
				}
			}()
			wg.Wait()
			close(ended)
			<-published
			waitFor(t, "the counters add up", func() bool {
				c := v.sw.Status().Totals
				return c.RxFrames == c.Delivered+c.Dropped()
			})
			st := v.sw.Status()
			if st.Totals.Delivered != uint64(len(flows)*packets) || st.Generation < 5 {
				t.Errorf("%d generations, %s", st.Generation, describe(&st.Totals))
			}
			if handed := st.HandedOver > 0; handed != (name != "steered") {
				t.Errorf("%d frames were handed over", st.HandedOver)
			}
		})
	}
}

// A stuck device does not return from Write before it is told to.
type stuck struct {
	*port.Memory
	entered, leave chan struct{}
}

func (d *stuck) Write(b []byte) port.Status {
	select {
	case d.entered <- struct{}{}:
	default:
	}
	<-d.leave
	return d.Memory.Write(b)
}

// TestWorkerBusy: frames for a worker that is too far behind are dropped for
// WORKER_BUSY, and the others go on.
func TestWorkerBusy(t *testing.T) {
	v := newCrew(t, 1<<10, 2, func([]byte) uint16 { return 0 })
	v.allowAll()
	from, to := v.pair(1, 2, all()...)
	inner := port.NewMemory(1<<12, allOffloads)
	d := &stuck{inner, make(chan struct{}, 1), make(chan struct{})}
	v.must(v.sw.Attach(to, d))
	v.must(v.sw.Start())
	v.ports[from].Send(v.datagram(from, to, 40000, 0))
	<-d.entered // worker 1 is stuck

	const frames = 500
	big := v.frame(from, v.iface(from).Addresses[0].String()+":40000 > "+v.iface(to).Addresses[0].String()+":53 udp len=8000 csum=partial")
	for range frames {
		waitFor(t, "worker 0 reads on", func() bool { return v.ports[from].Send(big) })
	}
	a, b := v.pair(0, 2, all()...)
	other := v.datagram(a, b, 40000, 0)
	waitFor(t, "worker 0 reads on", func() bool { return v.ports[a].Send(other) })
	buf := make([]byte, wire.MaxFrame)
	waitFor(t, "a frame of worker 0's arrives", func() bool { _, ok := v.ports[b].Receive(buf); return ok })
	close(d.leave)

	var st vswitch.Status
	waitFor(t, "the counters add up", func() bool {
		st = v.sw.Status()
		return st.Totals.RxFrames == frames+2 && st.Totals.RxFrames == st.Totals.Delivered+st.Totals.Dropped()
	})
	fits := uint64(vswitch.HandoverSize / (len(big) + vswitch.ParcelSize))
	if st.Totals.Delivered > fits+3 || st.Totals.Delivered < fits-3 || st.Totals.Dropped() != st.Totals.Drops[policy.WorkerBusy] {
		t.Errorf("of %d frames: %s; want about %d delivered, the others dropped for WORKER_BUSY", frames+2, describe(&st.Totals), fits)
	}
	var busy uint64
	for _, o := range v.observed() {
		if o.Reason == policy.WorkerBusy && o.From == from {
			busy += o.Frames
		}
	}
	if busy == 0 || busy != st.Totals.Drops[policy.WorkerBusy] {
		t.Errorf("%d frames are observed as dropped for WORKER_BUSY, want %d", busy, st.Totals.Drops[policy.WorkerBusy])
	}
}

// TestCrewAllocatesNothing holds the promise of 0 allocations a frame for those
// that are handed over.
func TestCrewAllocatesNothing(t *testing.T) {
	v := newCrew(t, 1<<10, 3, func(frame []byte) uint16 { return port.SteerFrame(frame) + 1 })
	v.allowAll()
	b := v.datagram("a1", "b1", 40000, 0)
	out := make([]byte, wire.MaxFrame)
	if n := testing.AllocsPerRun(500, func() {
		v.ports["a1"].Send(b)
		v.sw.Step()
		if _, ok := v.ports["b1"].Receive(out); !ok {
			t.Fatal("not delivered")
		}
	}); n != 0 {
		t.Errorf("%v allocations per frame, want 0", n)
	}
}

// TestHandingOverWakes sends frames one by one to a worker that sleeps as long as
// nobody wakes it: it has no connections, and no frames come by its own queue.
func TestHandingOverWakes(t *testing.T) {
	v := newCrew(t, 1<<10, 2, func([]byte) uint16 { return 0 })
	for _, m := range members {
		v.authorize(m.name, "in", []string{"all", "0.0.0.0/0"}) // untracked
	}
	v.apply()
	from, to := v.pair(1, 2, all()...)
	v.must(v.sw.Start())
	buf := make([]byte, wire.MaxFrame)
	sent, arrived := 0, 0 // of 50, each of which would be noticed after a second without being told of
	waitFor(t, "all frames arrive", func() bool {
		if sent == arrived {
			v.ports[from].Send(v.datagram(from, to, 40000, sent))
			sent++
		}
		if _, ok := v.ports[to].Receive(buf); ok {
			arrived++
		}
		return arrived == 50
	})
	if st := v.sw.Status(); st.Tracked != 0 || st.HandedOver != 50 {
		t.Errorf("%d connections, %d frames handed over: the test shows nothing", st.Tracked, st.HandedOver)
	}
}
