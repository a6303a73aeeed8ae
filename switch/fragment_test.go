package vswitch_test

import (
	"slices"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

// sendFragments sends a packet in fragments. want is the instance that gets all
// of them, "held" if they wait for the rest, or the reason for which all that
// were sent are dropped. Of fragments sent twice, the second ones are dropped as
// overlaps whatever becomes of the first.
func (v *vpc) sendFragments(words []string, want string) {
	v.t.Helper()
	v.apply()
	size := v.number(words[0])
	var how string
	if slices.Contains([]string{"reversed", "twice", "but-last", "but-first"}, words[1]) {
		how = words[1]
		words = words[1:]
	}
	words = words[1:]
	sender := v.owner(words[0])
	from := v.iface(sender)
	fragments := wiretest.Fragments(wiretest.Bytes(v.t, from.MAC, from.RouterMAC, v.text(words)), size)
	before := v.sw.Status()
	repeated := uint64(0)
	switch last := len(fragments) - 1; how {
	case "reversed":
		slices.Reverse(fragments)
	case "but-last":
		fragments = fragments[:last]
	case "but-first":
		fragments = fragments[1:]
	case "twice":
		for i := last - 1; i >= 0; i-- { // not the one that completes the datagram
			fragments = slices.Insert(fragments, i, fragments[i])
			repeated++
		}
	}
	for _, b := range fragments {
		if !v.ports[sender].Send(b) {
			v.fatalf("port of %s is full", sender)
		}
		v.frames++
	}
	v.sw.Step()
	v.checkFragments(before, sender, want, uint64(len(fragments))-repeated, repeated)
	v.observed()
}

// checkFragments compares the counters of the sender with what n fragments that
// met want must have changed, and takes what arrived.
func (v *vpc) checkFragments(before vswitch.Status, sender, want string, n, repeated uint64) {
	v.t.Helper()
	after := v.sw.Status()
	for i, p := range after.Ports {
		got, old := p.Counters, before.Ports[i].Counters
		if p.Instance != sender {
			continue
		}
		wanted := old
		wanted.RxFrames += n + repeated
		wanted.RxPackets += n + repeated
		wanted.RxBytes = got.RxBytes
		wanted.Drops[policy.FragmentOverlap] += repeated
		if reason, isReason := reasonOf(want); isReason {
			wanted.Drops[reason] += n
		} else if want == "held" {
			wanted.Held += n
		} else {
			wanted.Delivered += n
		}
		if got != wanted {
			v.fatalf("=> %s: counters of %s\n got %v\nwant %v", want, sender, describe(&got), describe(&wanted))
		}
	}
	for name, p := range v.ports {
		arrived := uint64(0)
		for b := make([]byte, wire.MaxFrame); ; arrived++ {
			if _, ok := p.Receive(b); !ok {
				break
			}
		}
		if expected := n; name != want && arrived != 0 || name == want && arrived != expected {
			v.fatalf("=> %s: %s received %d fragments", want, name, arrived)
		}
	}
}

// timedOut checks that the sender's held fragments were dropped in the meantime.
func (v *vpc) timedOut(sender string, frames uint64) {
	v.t.Helper()
	v.sw.Step()
	for _, p := range v.sw.Status().Ports {
		if c := p.Counters; p.Instance == sender && (c.Held != 0 || c.Drops[policy.FragmentTimeout] != frames) {
			v.fatalf("want %d fragments timed out: %s", frames, describe(&c))
		}
	}
	v.observed()
}
