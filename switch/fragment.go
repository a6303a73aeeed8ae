package vswitch

import (
	"vswitch/conntrack"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// hold keeps a fragment until its datagram is complete. The whole is then judged
// once, by its first fragment, which alone has a transport header, and forwarded
// as it came, all fragments or none (SEM 2.8, reliability rows I3 to I6).
func (w *worker) hold(in *eni, f *wire.Frame) {
	c := &w.counters[in.handle]
	v := w.fragments.Add(in.handle, f, w.now)
	switch v.State {
	case conntrack.FragmentHeld:
		c.Held++
		w.pending = false
		if w.watching != nil {
			w.watching.held()
		}
	case conntrack.FragmentDropped:
		c.Held -= uint64(v.Dropped)
		c.Drops[v.Reason] += uint64(v.Dropped)
		w.countHeld(in.handle, f, v.Reason, v.Dropped)
		w.drop(in, v.Reason)
	case conntrack.FragmentsComplete:
		c.Held -= uint64(len(v.Complete) - 1)
		w.forwardDatagram(in, v)
	}
}

// forwardDatagram judges the first fragment of a complete datagram and sends all
// of them where it may go.
func (w *worker) forwardDatagram(in *eni, v conntrack.Verdict) {
	f := &w.frame
	r, data := policy.None, 0 // data is in bytes, of the whole datagram
	for _, b := range v.Complete {
		if r == policy.None { // else one that is refused now takes all with it
			r = w.reparse(in, b)
			data += len(f.Bytes) - f.Data
		}
	}
	var out *eni
	var flow wire.FiveTuple
	if r == policy.None {
		w.reparse(in, v.Complete[v.First])
		flow = f.Tuple
		f.TCP.Length = data - (f.Payload - f.Data) // what the connection advances by
		_, out, r = w.judge(in, f)
	}
	for _, b := range v.Complete {
		w.pending, w.current = true, b
		if w.watching != nil {
			w.watching.remember(b)
		}
		w.reparse(in, b)
		f.Tuple = flow // it is counted with the flow, whose ports the first fragment alone has
		if r != policy.None {
			w.drop(in, r)
			continue
		}
		w.transmit(in, out, f)
	}
}

// reparse parses a fragment that was held. The sender is checked again: a new
// plane may have been published meanwhile.
func (w *worker) reparse(in *eni, b []byte) policy.Reason {
	if r := w.frame.Parse(b, in.mtu); r != policy.None {
		return r
	}
	return in.identify(&w.frame)
}

// releaseFragments drops the fragments whose datagrams were not completed in
// time.
func (w *worker) releaseFragments() {
	w.fragments.Sweep(w.now, w.fragmentsExpired)
}

// fragmentsExpired counts fragments that idled out at the port they came from.
func (w *worker) fragmentsExpired(handle uint32, frames int) {
	c := &w.counters[handle]
	c.Held -= uint64(frames)
	c.Drops[policy.FragmentTimeout] += uint64(frames)
	w.countHeld(handle, &wire.Frame{}, policy.FragmentTimeout, frames)
}
