package vswitch

import (
	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// count counts the frame in hand, which in sent, for what Observations tells: in
// its flow's place in the flow cache if it has one and the frame was delivered,
// else in the tally.
func (w *worker) count(in *eni, r policy.Reason) {
	f := &w.frame
	place := w.way.place
	if place != 0 && r == policy.None {
		w.cache.count(place-1, f, w.way.opened, w.now)
	} else {
		if place != 0 { // its port did not take it
			w.way.out, w.way.rules = w.cache.entries[place-1].out>>1, w.cache.counts[place-1].rules
		}
		k := flowRecord{in: in.handle, out: w.way.out, rules: w.way.rules, reason: r}
		if f.Kind == wire.KindIPv4 || f.Kind == wire.KindIPv6 {
			k.tuple = f.Tuple
		}
		s := w.tally.record(&k)
		if s == nil {
			w.tally.lost++
			return
		}
		if f.Kind == wire.KindNone { // it could not be parsed
			s.addRaw(1, max(len(w.current)-wire.VirtioSize-wire.EthernetSize, 0), w.now)
		} else {
			s.add(f, w.now)
		}
		s.opened += w.way.opened
	}
	w.way.opened = 0 // or each fragment of a datagram would count it
}

// countHeld counts fragments that were held and are now dropped, of the flow of f
// as far as that is known. Their bytes are forgotten.
func (w *worker) countHeld(handle uint32, f *wire.Frame, r policy.Reason, frames int) {
	if frames == 0 {
		return
	}
	k := flowRecord{tuple: f.Tuple, in: handle, reason: r}
	if s := w.tally.record(&k); s != nil {
		s.addRaw(uint64(frames), 0, w.now)
	} else {
		w.tally.lost += uint64(frames)
	}
}
