package vswitch

import (
	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/port"
)

// With several workers, each owns the traffic between the pairs of addresses that
// port.Steer gives to it: their connections, fragments and cached flows. The hash
// is the one by which a device of as many queues chooses a queue, and each worker
// reads the queue of its own number, so that most frames are read by their owner.
// The others are handed over (handover.go): those of a device with fewer queues,
// and some ICMP errors.
//
// A flow always takes the same way, so that its frames stay in order: the device
// chooses its queue, and here its owner, by the same addresses.

// A quote is what the owner of a connection has said of an ICMP error that
// quotes a packet of it. Both ends of the error may have another owner, who keeps
// all that there is of the error itself, but the quoted connection. The zero quote
// says nothing.
type quote struct {
	known bool
	at    [2]uint32 // handles of the interfaces at which the quoted connection lives; 0 for none
}

// live reports whether the quoted connection lives at an interface. known must be
// set.
func (q *quote) live(e *eni) bool { return q.at[0] == e.handle || q.at[1] == e.handle }

// owner returns the number of the worker that owns a flow.
func (w *worker) owner(t *wire.FiveTuple) int {
	return int(uint32(port.Steer(&t.Src, &t.Dst)) % uint32(len(w.crew)))
}

// witness returns the number of the worker that owns the flow which an ICMP error
// quotes, and that flow. It reports false if f is no such error.
func (w *worker) witness(f *wire.Frame) (int, wire.FiveTuple, bool) {
	if !policy.Protocol(f.Tuple.Protocol).HasTypes() {
		return 0, wire.FiveTuple{}, false
	}
	quoted, ok := f.ICMPError()
	if !ok {
		return 0, wire.FiveTuple{}, false
	}
	return w.owner(&quoted), quoted, true
}

// handsOver hands a frame that in sent, and that has been parsed, over to its
// owner, unless that is w itself. An ICMP error goes by way of the owner of the
// flow that it quotes. What the platform answers is answered by whoever reads it.
// w is one of several.
func (w *worker) handsOver(in *eni, f *wire.Frame) bool {
	owner := w.owner(&f.Tuple)
	if policy.Protocol(f.Tuple.Protocol).HasTypes() && !f.Fragment {
		if f.IsND() || in.subnet.echoes(f) {
			return false
		}
		if witness, quoted, ok := w.witness(f); ok && witness != owner {
			if witness == w.index {
				w.handOver(owner, in, w.testify(in, f, quoted, w.now))
			} else {
				w.handOver(witness, in, quote{})
			}
			return true
		}
	}
	if owner == w.index {
		return false
	}
	w.handOver(owner, in, quote{})
	return true
}

// testify returns where the flow lives that an ICMP error of in quotes: at in, and
// at the interface that the error goes to.
func (w *worker) testify(in *eni, f *wire.Frame, quoted wire.FiveTuple, now int64) quote {
	q := quote{known: true}
	out := in.subnet.neighbours[f.Dst]
	if f.Dst == in.subnet.routerMAC {
		_, out, _ = w.plane.route(in, &f.Tuple)
	}
	for i, e := range [2]*eni{in, out} {
		if e != nil && w.conns.Related(e.handle, quoted, now) {
			q.at[i] = e.handle
		}
	}
	return q
}
