package vswitch_test

import (
	"sync/atomic"
	"testing"
	"time"

	vswitch "vswitch/switch"
)

// A worker with nothing to do frees all that has idled out, not one portion in a
// sweep.
func TestIdleWorkerFreesAll(t *testing.T) {
	const n = 100_000
	var ahead atomic.Int64
	start := time.Now()
	sw := openSwitch(t, 10, vswitch.WithClock(func() int64 { return int64(time.Since(start)) + ahead.Load() }))
	d, _ := newCrowd(t, sw, n)
	d.send(sw, n)
	if got := sw.Status().Tracked; got != 2*n {
		t.Fatalf("%d connections, want %d", got, 2*n)
	}
	if err := sw.Start(); err != nil {
		t.Fatal(err)
	}
	ahead.Store(int64(time.Minute))
	for deadline := time.Now().Add(10 * time.Second); ; {
		left := sw.Status().Tracked // and the worker wakes
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are left", left)
		}
	}
}
