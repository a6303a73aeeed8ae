package vswitch_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	vswitch "vswitch/switch"

	"vswitch/internal/wire"
)

// crowdOf returns a switch whose flow cache holds at most size entries, and n
// flows that it allows, none of which was seen yet.
func crowdOf(t *testing.T, size, n int) (*vswitch.Switch, *crowd) {
	t.Helper()
	sw := openSwitch(t, 10, vswitch.WithClock(func() int64 { return int64(time.Hour) }), vswitch.WithFlowCache(size))
	d, _ := newCrowd(t, sw, n)
	return sw, d
}

// round sends a frame of each flow from the first to the one before end, and
// returns what share of them the flow cache knew.
func (d *crowd) round(sw *vswitch.Switch, first, end int) float64 {
	before := sw.Status().FlowCache
	d.at, d.step, d.flows = first-1, 1, end
	d.send(sw, end-first)
	after := sw.Status().FlowCache
	hits, misses := after.Hits-before.Hits, after.Misses-before.Misses
	return float64(hits) / float64(hits+misses)
}

// What passes once does not push out what is in use: a thousand flows go on while
// a scan of a hundred thousand allowed ports goes by.
func TestScanLeavesLiveFlows(t *testing.T) {
	for _, size := range []int{1 << 13, 3 << 19} {
		t.Run(fmt.Sprint("size=", size), func(t *testing.T) {
			const live, scanned = 1000, 100_000
			sw, d := crowdOf(t, size, live+scanned)
			d.round(sw, 0, live)
			d.round(sw, 0, live)
			sum, rounds := 0.0, 0
			for first := live; first < live+scanned; first += 2000 {
				if share := d.round(sw, first, first+2000); share != 0 {
					t.Fatalf("%v of the scan were hits", share)
				}
				sum += d.round(sw, 0, live)
				rounds++
			}
			if share := sum / float64(rounds); share < 0.99 {
				t.Errorf("of the live flows' frames %.4f were hits, want 0.99", share)
			}
			// A flow that has to be judged anew stays one that is in use.
			c := sw.Config()
			c.Conntrack.Max--
			if err := sw.Apply(c, nil); err != nil {
				t.Fatal(err)
			}
			if share := d.round(sw, 0, live); share != 0 {
				t.Errorf("after a change for everybody, %v of the frames were hits", share)
			}
			d.round(sw, live+scanned, live+scanned+20_000)
			if share := d.round(sw, 0, live); share < 0.99 {
				t.Errorf("after a change and another scan, %.4f were hits, want 0.99", share)
			}
			if n := sw.Status().FlowCache.Entries; n != 1<<13 {
				t.Errorf("the scan made the cache grow to %d entries", n)
			}
		})
	}
}

// Flows that come back and find no place make the cache grow, up to its bound.
func TestFlowCacheGrows(t *testing.T) {
	cases := []struct{ size, flows, want int }{
		{3 << 19, 5000, 1 << 13},
		{3 << 19, 20_000, 1 << 16}, // 40,000 connections
		{1 << 15, 20_000, 1 << 15},
		{1 << 17, 60_000, 1 << 17},
		{1 << 15, 60_000, 1 << 15},
		{100_000, 60_000, 100_000},
		{100, 60_000, 100},
	}
	if testing.Short() { // as the race detector runs it, which makes it twenty times slower and finds nothing in one goroutine
		cases = cases[:3]
	}
	for _, c := range cases {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			sw, d := crowdOf(t, c.size, c.flows)
			share := 0.0
			for range 12 {
				share = d.round(sw, 0, c.flows)
			}
			st := sw.Status().FlowCache
			if st.Entries != c.want {
				t.Errorf("%d entries, want %d", st.Entries, c.want)
			}
			if fits := c.flows < c.want*2/3; fits && share < 0.98 {
				t.Errorf("%d of %d entries used, but only %.4f of the frames were hits", st.Used, st.Entries, share)
			}
			if st.Used > st.Entries || st.Used < min(c.flows, c.want)/2 {
				t.Errorf("%d of %d entries used by %d flows", st.Used, st.Entries, c.flows)
			}
		})
	}
}

// Flows that were in use and are over make way for others.
func TestFlowsInUseAge(t *testing.T) {
	const size = 1 << 10
	sw, d := crowdOf(t, size, 4*size)
	for range 4 {
		d.round(sw, 0, 2*size)
	}
	share := 0.0
	for range 20 {
		share = d.round(sw, 3*size, 3*size+100)
	}
	if share < 0.95 {
		t.Errorf("%.2f of the frames of new flows were hits, want 0.95", share)
	}
}

// A cache that grows while frames pass through it allocates nothing.
func TestGrowthAllocatesNothing(t *testing.T) {
	const n = 40_000
	sw, d := crowdOf(t, 1<<20, n)
	d.round(sw, 0, 10)
	d.flows, d.step, d.left = n, crowdStep%n, 0
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	d.send(sw, 5*n)
	runtime.ReadMemStats(&after)
	if sw.Status().FlowCache.Entries == 1<<13 {
		t.Fatal("the cache has not grown")
	}
	if n := after.Mallocs - before.Mallocs; n > 100 { // of the test itself, and of the runtime
		t.Errorf("%d allocations in %d frames", n, 5*n)
	}
}

// A connection costs 96 bytes at each end and 4 for its place in the table, and a
// flow two lines of 64 bytes and 4 more in a cache that is not quite full.
func TestMemoryOfManyFlows(t *testing.T) {
	n := 200_000
	if testing.Short() {
		n = 40_000
	}
	sw := openSwitch(t, 10, vswitch.WithClock(func() int64 { return int64(time.Hour) }))
	d, to := newCrowd(t, sw, n)
	base := residentBytes(t)
	d.send(sw, 8*n)
	sw.ForgetSums()
	used := residentBytes(t) - base
	if to.taken != 8*n || sw.Status().Tracked != 2*n {
		t.Fatalf("%d of %d frames arrived, %d connections", to.taken, 8*n, sw.Status().Tracked)
	}
	cache, buckets, marks := sw.Status().FlowCache.Entries*132, 16<<20, 2<<20
	if most := 2*n*96 + cache + buckets + marks + 8<<20; used > most {
		t.Errorf("%d flows take %d MiB, want %d at most", n, used>>20, most>>20)
	}
}

// A hit must be exact: the same addresses and ports to another MAC, or from another
// interface, are another flow.
func TestHitIsExact(t *testing.T) {
	v := newVPC(t, 1<<10)
	v.authorize("a2", "in", []string{"udp", "0-65535", "10.0.1.0/24"})
	v.authorize("a1", "in", []string{"udp", "0-65535", "10.0.1.0/24"})
	v.apply()
	a1, a2, p1 := v.iface("a1"), v.iface("a2"), v.iface("p1")
	const text = "10.0.1.10:5000 > 10.0.1.11:53 udp len=10"
	for _, step := range []struct {
		dst  wire.MAC
		hit  bool
		to   string
		what string
	}{
		{a2.MAC, false, "a2", "the first frame"},
		{a2.MAC, true, "a2", "the second one"},
		{p1.MAC, false, "", "to the MAC of another subnet"},
		{a1.RouterMAC, false, "a2", "to the router"},
		{a1.RouterMAC, true, "a2", "to the router again"},
		{a2.MAC, true, "a2", "to the neighbour, which has an entry of its own"},
	} {
		before := v.sw.Status().FlowCache
		if to := v.deliver("a1", a1.MAC, step.dst, text); to != step.to {
			t.Errorf("%s: delivered to %q, want %q", step.what, to, step.to)
		}
		after := v.sw.Status().FlowCache
		if hit := after.Hits > before.Hits; hit != step.hit {
			t.Errorf("%s: hit %v, want %v", step.what, hit, step.hit)
		}
	}
}
