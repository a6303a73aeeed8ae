package vswitch_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
	"vswitch/port"
)

// talkOf returns a random frame of one of few flows, or one that ends at the switch.
func (v *vpc) talkOf(r *rand.Rand, from string) []byte {
	v.t.Helper()
	to := members[r.IntN(len(members))]
	sender := v.iface(from)
	a, b := fmt.Sprintf("%s:%d", sender.Addresses[0], 1024+r.IntN(8)), fmt.Sprintf("%s:%d", to.address, 50+r.IntN(4))
	switch r.IntN(12) {
	case 0:
		return v.frame(from, fmt.Sprintf("%s > %s tcp S seq=1 win=64240", a, b))
	case 1:
		return v.frame(from, fmt.Sprintf("%s > %s tcp A seq=2 ack=2 win=64240 len=4000 gso=1000", a, b))
	case 2:
		return v.frame(from, fmt.Sprintf("%s > %s tcp A seq=2 ack=2 win=64240 len=%d", a, b, r.IntN(1400)))
	case 3:
		return v.frame(from, fmt.Sprintf("%s > %s icmp echo-request id=%d", sender.Addresses[0], to.address, r.IntN(3)))
	case 4:
		return v.frame(from, fmt.Sprintf("[%s]:%d > [%s]:%d udp len=8", sender.Addresses[1], 1024+r.IntN(8), to.address6, 50+r.IntN(4)))
	case 5:
		return v.frame(from, fmt.Sprintf("10.9.9.9:1 > %s udp len=8", b)) // not its own
	case 6:
		return v.frame(from, fmt.Sprintf("%s > %s udp len=8", a, b))[:20+r.IntN(30)]
	}
	return v.frame(from, fmt.Sprintf("%s > %s udp len=%d", a, b, r.IntN(1000)))
}

// TestReadAheadIsInvisible sends the same bursts through a switch that reads ahead
// and one that does not: all counters are the same after each, and all ports get the
// same frames in the same order.
func TestReadAheadIsInvisible(t *testing.T) {
	for _, workers := range []int{1, 3} {
		t.Run(fmt.Sprint(workers, " workers"), func(t *testing.T) {
			for seed := range uint64(20) {
				compareReadAhead(t, seed, workers)
			}
		})
	}
}

func compareReadAhead(t *testing.T, seed uint64, workers int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	plain, ahead := newCrew(t, 1<<8, workers, port.SteerFrame), newCrew(t, 1<<8, workers, port.SteerFrame)
	both := []*vpc{plain, ahead}
	for _, v := range both {
		v.authorize("b1", "in", []string{"all", "10.0.0.0/16"})
		v.authorize("a2", "in", []string{"udp", "50-52", "10.0.0.0/16"})
		v.authorize("m1", "in", []string{"all", "2001:db8:a::/56"})
		v.apply()
	}
	vswitch.ReadAhead(ahead.sw)
	got, want := make([]byte, wire.MaxFrame), make([]byte, wire.MaxFrame)
	for range 20 {
		for _, m := range members {
			for range r.IntN(50) {
				frame := plain.talkOf(r, m.name)
				for _, v := range both {
					v.ports[m.name].Send(frame)
				}
			}
		}
		for _, v := range both {
			for v.sw.Step() > 0 {
			}
		}
		a, b := plain.sw.Status(), ahead.sw.Status()
		for i := range a.Ports {
			if a, b := &a.Ports[i], &b.Ports[i]; describe(&a.Counters) != describe(&b.Counters) || a.Tracked != b.Tracked {
				t.Fatalf("seed %d, %s:\n%s, %d tracked, ahead\n%s, %d tracked", seed, a.Instance, describe(&a.Counters), a.Tracked, describe(&b.Counters), b.Tracked)
			}
		}
		for _, m := range members {
			for n := 0; ; n++ {
				i, ok := plain.ports[m.name].Receive(want)
				j, alike := ahead.ports[m.name].Receive(got)
				if ok != alike || ok && !bytes.Equal(want[:i], got[:j]) {
					t.Fatalf("seed %d: frame %d to %s: %x, ahead %x", seed, n, m.name, want[:i], got[:j])
				}
				if !ok {
					break
				}
			}
		}
		for _, v := range both {
			v.now += int64(r.IntN(1e9))
		}
	}
	if c := ahead.sw.Status(); c.FlowCache.Hits == 0 || c.Totals.Delivered == 0 || c.Totals.Dropped() == 0 || c.Totals.Answered > 0 != (plain.sw.Status().Totals.Answered > 0) {
		t.Fatalf("seed %d: %+v, %s: the bursts test too little", seed, c.FlowCache, describe(&c.Totals))
	}
}

// What is read ahead finds the entry of its flow: routed or not, of both families.
func TestReadAheadFindsTheEntry(t *testing.T) {
	v := newVPC(t, 1<<10)
	v.allowAll()
	a1, a2 := v.iface("a1"), v.iface("a2")
	for _, c := range []struct {
		dst  wire.MAC
		text string
	}{
		{a1.RouterMAC, "10.0.1.10:40000 > 10.0.2.20:53 udp len=3"},
		{a2.MAC, "10.0.1.10:40000 > 10.0.1.11:53 udp len=3"},
		{a1.RouterMAC, "[2001:db8:a:1::10]:40000 > [2001:db8:a:2::20]:53 udp len=3"},
	} {
		frame := wiretest.Bytes(t, a1.MAC, c.dst, c.text)
		if v.sw.FindsAhead("a1", frame) {
			t.Errorf("%s: found before it was there", c.text)
		}
		v.ports["a1"].Send(frame)
		v.sw.Step()
		if !v.sw.FindsAhead("a1", frame) {
			t.Errorf("%s: not found", c.text)
		}
	}
	if v.sw.FindsAhead("a1", wiretest.Bytes(t, a1.MAC, a2.MAC, "10.0.1.10:40000 > 10.0.2.20:53 udp len=3")) {
		t.Error("found a flow to the router by a frame to a neighbour")
	}
}

// A panic with a frame read ahead costs one frame, not two, and another one for the
// frame behind it costs that.
func TestPanicWithAFrameReadAhead(t *testing.T) {
	v := newVPC(t, 1<<10)
	v.open()
	vswitch.ReadAhead(v.sw)
	inner := port.NewMemory(8, allOffloads)
	v.must(v.sw.Attach("b1", &failingTwice{Memory: inner, left: 2}))
	v.ports["b1"] = inner
	for n := range 5 {
		v.ports["a1"].Send(v.frame("a1", fmt.Sprintf("10.0.1.10:40000 > 10.0.2.20:53 udp len=%d", n)))
	}
	for v.sw.Step() > 0 {
	}
	st := v.sw.Status()
	if st.Panics != 2 || st.Totals.Drops[policy.Panic] != 2 || st.Totals.Delivered != 3 || st.Totals.RxFrames != 5 {
		t.Fatalf("panics %d, counters %s", st.Panics, describe(&st.Totals))
	}
	b := make([]byte, wire.MaxFrame)
	for length := 2; length < 5; length++ {
		if n, ok := inner.Receive(b); !ok || n != len(v.frame("a1", "10.0.1.10:1 > 10.0.2.20:53 udp"))+length {
			t.Errorf("frame of %d bytes of payload: %v, %d bytes in all", length, ok, n)
		}
	}
}

// A failingTwice device panics on its first writes.
type failingTwice struct {
	*port.Memory
	left int
}

func (d *failingTwice) Write(b []byte) port.Status {
	if d.left--; d.left >= 0 {
		panic("injected")
	}
	return d.Memory.Write(b)
}
