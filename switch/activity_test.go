package vswitch_test

import (
	"testing"
	"time"

	"vswitch/port"
	vswitch "vswitch/switch"
)

// active reports whether the switch has told of activity since the last call.
func (v *vpc) active() bool {
	select {
	case <-v.sw.Activity():
		return true
	default:
		return false
	}
}

// An idle switch tells nothing, one that does something tells it, and between two
// tellings its incidents are the same.
func TestActivityTellsOfIncidents(t *testing.T) {
	v := newVPC(t, 1<<10)
	v.open()
	v.config.Conntrack.Max = 1
	v.dirty = true
	v.apply()
	v.active()
	seen := v.sw.Incidents()
	step := func(name string, told bool, want vswitch.Incidents, do func()) {
		t.Helper()
		do()
		v.now += int64(time.Second)
		v.sw.Step()
		got := v.sw.Incidents()
		if got.Panics-seen.Panics != want.Panics || got.Down-seen.Down != want.Down || got.Exceeded-seen.Exceeded != want.Exceeded || got.Generation != seen.Generation {
			t.Errorf("%s: incidents %+v, and before %+v; want %+v more", name, got, seen, want)
		}
		seen = got
		if is := v.active(); is != told {
			t.Errorf("%s: told %v, want %v", name, is, told)
		}
	}
	send := func(text string) { v.ports["a1"].Send(v.frame("a1", text)) }

	step("nothing", false, vswitch.Incidents{}, func() {})
	step("a flow", true, vswitch.Incidents{}, func() { send("10.0.1.10:40000 > 10.0.2.20:53 udp") })
	step("one too many", true, vswitch.Incidents{Exceeded: 1}, func() { send("10.0.1.10:40001 > 10.0.2.20:53 udp") })
	step("nothing again", false, vswitch.Incidents{}, func() {})
	step("a device gone", true, vswitch.Incidents{Down: 1}, func() { v.must(v.ports["b2"].Close()) })
	step("nothing more", false, vswitch.Incidents{}, func() {})

	v.must(v.sw.Attach("b1", &failing{Memory: port.NewMemory(8, allOffloads)}))
	seen = v.sw.Incidents()
	v.active()
	step("a panic", true, vswitch.Incidents{Panics: 1}, func() { send("10.0.1.10:40000 > 10.0.2.20:53 udp") })

	v.must(v.sw.Close())
	if got := v.sw.Incidents(); got != (vswitch.Incidents{}) {
		t.Errorf("a closed switch: %+v", got)
	}
}
