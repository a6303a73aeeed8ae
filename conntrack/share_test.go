package conntrack_test

import (
	"sync"
	"testing"
	"time"

	"vswitch/conntrack"
	"vswitch/internal/policy"
)

// SEM 2.5: the allowance of an interface holds over all Trackers that share it.
func TestAllowanceOfSeveralTrackers(t *testing.T) {
	limits := conntrack.Limits{Max: 10, UDP: time.Minute}
	a, b := newTracker(t, 100, limits), newTracker(t, 100, limits)
	var shared conntrack.Allowance
	a.Share(eni, &shared)
	b.Share(eni, &shared)
	now := int64(time.Hour)
	insert(t, a, eni, 0, 7, now)
	insert(t, b, eni, 100, 3, now+int64(30*time.Second))
	for _, tracker := range []*conntrack.Tracker{a, b} {
		if _, ok := tracker.Insert(eni, numbered(policy.UDP, 200), now); ok {
			t.Error("the eleventh connection is let in")
		}
	}
	expectUsage(t, a, eni, conntrack.Usage{Tracked: 7, Max: 10, Exceeded: 1})
	expectUsage(t, b, eni, conntrack.Usage{Tracked: 3, Max: 10, Exceeded: 1})

	// A flow that begins anew takes the place that it had.
	insert(t, a, eni, 0, 1, now)
	expectUsage(t, a, eni, conntrack.Usage{Tracked: 7, Max: 10, Exceeded: 1})

	// What idles out in one makes room in the other, once it is swept.
	later := now + int64(61*time.Second)
	a.Sweep(later, 100)
	insert(t, b, eni, 300, 7, later)
	if _, ok := a.Insert(eni, numbered(policy.UDP, 400), later); ok {
		t.Error("one more than the allowance is let in")
	}

	// So does what is removed.
	b.Remove(eni)
	insert(t, a, eni, 500, 10, later)
	expectUsage(t, a, eni, conntrack.Usage{Tracked: 10, Max: 10, Exceeded: 2})
}

// A table that is full refuses without using up the allowance.
func TestFullTableGivesTheAllowanceBack(t *testing.T) {
	limits := conntrack.Limits{Max: 10}
	a, b := newTracker(t, 3, limits), newTracker(t, 100, limits)
	var shared conntrack.Allowance
	a.Share(eni, &shared)
	b.Share(eni, &shared)
	now := int64(time.Hour)
	insert(t, a, eni, 0, 3, now)
	for i := range 20 {
		if _, ok := a.Insert(eni, numbered(policy.UDP, 100+i), now); ok {
			t.Fatal("the full table takes another connection")
		}
	}
	insert(t, b, eni, 200, 7, now)
}

// Several workers at once never have more than the allowance together.
func TestAllowanceUnderConcurrency(t *testing.T) {
	const maximum, each = 50, 200
	var shared conntrack.Allowance
	var wg sync.WaitGroup
	trackers := make([]*conntrack.Tracker, 3)
	for i := range trackers {
		trackers[i] = newTracker(t, 1000, conntrack.Limits{Max: maximum})
		trackers[i].Share(eni, &shared)
		wg.Go(func() {
			for n := range each {
				trackers[i].Insert(eni, numbered(policy.UDP, 1000*i+n), int64(time.Hour))
			}
		})
	}
	wg.Wait()
	total := 0
	for _, tracker := range trackers {
		total += tracker.Usage(eni).Tracked
	}
	if total != maximum {
		t.Errorf("%d connections, want %d", total, maximum)
	}
}
