package conntrack_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"vswitch/conntrack"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// establish makes n TCP connections of an interface, and returns of each a
// segment that it takes, and its Ref.
func establish(t testing.TB, tracker *conntrack.Tracker, n int, now int64) ([]wire.Frame, []conntrack.Ref) {
	t.Helper()
	frames, refs := make([]wire.Frame, n), make([]conntrack.Ref, n)
	for i := range n {
		f := numbered(policy.TCP, i)
		f.TCP = wire.TCP{Flags: wire.ACK, Seq: 1000, Ack: 5000, Window: 500, Length: 100}
		ref, ok := tracker.Insert(eni, f, now)
		if !ok {
			t.Fatal("no room")
		}
		frames[i], refs[i] = *f, ref
	}
	return frames, refs
}

// The path of a frame allocates nothing, whatever comes of it.
func TestTrackingDoesNotAllocate(t *testing.T) {
	tracker := newTracker(t, 1000, conntrack.Limits{Max: 100})
	now := int64(time.Hour)
	frames, refs := establish(t, tracker, 10, now)
	fresh := numbered(policy.UDP, 5)
	blind := frames[0]
	blind.TCP.Seq = 3e9
	fin := frames[1]
	fin.TCP.Flags |= wire.FIN
	for name, f := range map[string]func(){
		"Advance":         func() { tracker.Advance(refs[0], &frames[0], now) },
		"Track":           func() { tracker.Track(eni, &frames[0], now) },
		"Track, FIN":      func() { tracker.Track(eni, &fin, now) },
		"Track, outside":  func() { tracker.Track(eni, &blind, now) },
		"Track, unknown":  func() { tracker.Track(eni, fresh, now) },
		"Peek":            func() { tracker.Peek(eni, &frames[0], now) },
		"Related":         func() { tracker.Related(eni, frames[0].Tuple, now) },
		"Insert":          func() { tracker.Insert(eni, fresh, now) },
		"Insert, refused": func() { tracker.Insert(eni+1, fresh, now) },
		"Sweep":           func() { tracker.Sweep(now, 100) },
		"all in turn": func() {
			now += int64(time.Second)
			if _, ok := tracker.Insert(eni, fresh, now); !ok {
				t.Error("no room")
			}
			fresh.Tuple.SrcPort++
			tracker.Sweep(now, 100)
		},
	} {
		if n := testing.AllocsPerRun(1000, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// BenchmarkAdvance is the cost of a frame whose flow the cache knows, for one
// connection in use at a time and for so many that no cache of the processor
// holds them.
func BenchmarkAdvance(b *testing.B) {
	for _, n := range []int{1, 1000, 1_000_000} {
		b.Run(fmt.Sprintf("connections=%d", n), func(b *testing.B) {
			tracker := newTracker(b, n, conntrack.Limits{})
			now := int64(time.Hour)
			frames, refs := establish(b, tracker, n, now)
			order := rand.New(rand.NewPCG(1, 2)).Perm(n)
			f := frames[0] // one frame, as a worker has
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				at := order[i]
				if i++; i == n {
					i = 0
				}
				if n > 1 {
					f.Tuple = frames[at].Tuple
				}
				if now += 100; !tracker.Advance(refs[at], &f, now) {
					b.Fatal("not taken")
				}
			}
		})
	}
}

// BenchmarkTrack is the cost of a frame on the slow path.
func BenchmarkTrack(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprintf("connections=%d", n), func(b *testing.B) {
			tracker := newTracker(b, n, conntrack.Limits{})
			now := int64(time.Hour)
			frames, _ := establish(b, tracker, n, now)
			order := rand.New(rand.NewPCG(1, 2)).Perm(n)
			f := frames[0]
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				f.Tuple = frames[order[i]].Tuple
				if i++; i == n {
					i = 0
				}
				if outcome, _, _ := tracker.Track(eni, &f, now); outcome != conntrack.Tracked {
					b.Fatal("not tracked")
				}
			}
		})
	}
}

// BenchmarkInsertExpire is the cost of a connection's life: it opens, and its slot
// is freed when it has idled out. A hundred thousand live at a time.
func BenchmarkInsertExpire(b *testing.B) {
	const live = 100_000
	tracker := newTracker(b, 2*live, conntrack.Limits{})
	f := numbered(policy.UDP, 0)
	now := int64(time.Hour)
	const pace = int64(30*time.Second) / live // ns between two connections
	i := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		i++
		f.Tuple.SrcPort, f.Tuple.DstPort = uint16(i), uint16(i>>16)
		if now += pace; i%1000 == 0 {
			tracker.Sweep(now, 2000)
		}
		if _, ok := tracker.Insert(eni, f, now); !ok {
			b.Fatal("no room")
		}
	}
	if tracker.Len() > live+5000 {
		b.Fatalf("%d connections live", tracker.Len())
	}
}

// BenchmarkInsertRefused is the cost of a new flow that there is no room for, that
// of a flood: at the allowance of its interface, or in a full table of a thousand
// interfaces.
func BenchmarkInsertRefused(b *testing.B) {
	const live = 100_000
	for _, by := range []struct {
		name     string
		capacity int
		max      int
	}{{"allowance", 2 * live, live}, {"capacity", live, 2 * live}} {
		b.Run(by.name, func(b *testing.B) {
			tracker := newTracker(b, by.capacity, conntrack.Limits{Max: by.max})
			now := int64(time.Hour)
			for i := range uint32(1000) {
				if i != eni {
					tracker.Configure(i, conntrack.Limits{})
				}
			}
			establish(b, tracker, live, now)
			f := numbered(policy.UDP, 0)
			b.ReportAllocs()
			for b.Loop() {
				f.Tuple.SrcPort++
				now += 100
				if _, ok := tracker.Insert(eni, f, now); ok {
					b.Fatal("let in")
				}
			}
		})
	}
}

// BenchmarkSweep is the cost of a sweep of a thousand interfaces, each with a
// thousand connections that are in use or idle, with nothing due.
func BenchmarkSweep(b *testing.B) {
	tracker := newTracker(b, 1_000_000, conntrack.Limits{})
	now := int64(time.Hour)
	for i := range uint32(1000) {
		tracker.Configure(i, conntrack.Limits{})
		for j := range 1000 {
			f := numbered(policy.TCP, j)
			f.TCP.Flags = wire.ACK
			if _, ok := tracker.Insert(i, f, now); !ok {
				b.Fatal("no room")
			}
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		now += tick
		tracker.Sweep(now, 4096)
	}
}

// BenchmarkExpire is the end of a million connections that idle out at once, in
// steps as a worker takes them: the time is that of all of them. Frames wait for a
// step: half of them are shorter than p50, and of a thousand one is longer than
// p99.9. The last one gives the memory back.
func BenchmarkExpire(b *testing.B) {
	const n = 1_000_000
	var steps []time.Duration
	var last time.Duration
	for b.Loop() {
		b.StopTimer()
		tracker := newTracker(b, n, conntrack.Limits{})
		now := int64(time.Hour)
		for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
			if _, ok := tracker.Insert(eni, numbered(policy.UDP, i), now); !ok {
				b.Fatal("no room")
			}
		}
		now += int64(31 * time.Second)
		b.StartTimer()
		for done := false; !done; {
			began := time.Now()
			done = tracker.Sweep(now, 256)
			if step := time.Since(began); done {
				last = max(last, step)
			} else {
				steps = append(steps, step)
			}
		}
		if tracker.Len() != 0 {
			b.Fatalf("%d connections are left", tracker.Len())
		}
	}
	slices.Sort(steps)
	b.ReportMetric(float64(steps[len(steps)/2].Microseconds()), "us-p50")
	b.ReportMetric(float64(steps[len(steps)*999/1000].Microseconds()), "us-p99.9")
	b.ReportMetric(float64(last.Microseconds()), "us-last")
}
