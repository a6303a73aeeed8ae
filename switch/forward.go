package vswitch

// The life of a frame, in the order of the functions below. Whoever changes the
// order changes this list.
//
//  1. rx: a worker drains one port at a time, up to burstFrames frames,
//     burstBytes bytes or burstSegments segments to cut (a sender of superframes
//     cannot starve one of 64 B frames), then turns to the next. While it
//     remembers many flows, it reads one frame ahead (ahead.go).
//  2. parse: wire.Frame.Parse, once and strictly. Nothing behind it can fail.
//  3. identity: the frame is the sender's own (eni.identify). Before the cache,
//     always.
//  4. ARP and neighbour discovery are answered by the VPC (responder.go). Nothing
//     is ever flooded. With several workers, a frame that another one owns is
//     handed over to it now (steer.go), which goes on from here.
//  5. flow cache: one exact-match lookup (flow.go). A hit must be made since its
//     two interfaces changed last, and both of its connections must live and take
//     the segment. A TCP SYN, ICMP and fragments never ask it.
//  6. decide, on a miss (decide.go): the platform's own addresses, then the
//     checks in AWS's order, in two halves with a hop between them. Fragments
//     are held until their datagram is complete, and then judged once.
//  7. tx: the MACs are rewritten in place if the router was addressed, and the
//     same bytes written to the receiver's port. A superframe that the port does
//     not take is cut into its segments (segment.go). A frame leaves by at most
//     one port, so the buffer has one owner, the worker. TTLs are never touched:
//     a VPC's router is no hop (SEM 5.4).

import (
	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/port"
)

// The quantum of one port in one turn: whichever is used up first.
const (
	burstFrames   = 64
	burstBytes    = 256 << 10
	burstSegments = 512 // about what burstBytes are at TCP's default MSS of 536 bytes
)

// burst takes frames in from one port and returns how many there were. A panic
// ends the burst and costs the frame that caused it, no more (contain).
//
// Each turn of its loop reads one frame and forwards one: the same, or, where it pays
// to read ahead, the one read before. It does not read ahead of a large frame.
//
// It reads and writes the devices itself. A return behind a system call is
// mispredicted, so the calls around one are kept few; and the compiler puts a
// device's method in the place of a call through the interface, by its profile
// (`make pgo`), only in the function that the call is written in.
func (w *worker) burst(in *eni) (frames int) {
	defer w.contain(in)
	w.now = w.clock()
	w.cache.grow(w.conns.Len(), &w.tally)
	w.segments = 0
	device, bytes, open, far := in.queues[w.index], 0, true, w.cache.far()
	for {
		b := w.ahead.frame
		w.ahead.frame = nil
		open = open && frames < burstFrames && bytes < burstBytes && w.segments < burstSegments
		if open && len(b) <= aheadBytes {
			n, status := device.Read(w.buffer)
			if open = status == port.OK; open {
				frames++
				bytes += n
			}
			switch {
			case status == port.Gone:
				w.retire(in)
			case open && far:
				w.readAhead(in, n)
			case open:
				b = w.buffer[:n]
			}
		}
		// None is in hand if this was the first to be read ahead, or if there was
		// nothing left to read.
		if b == nil {
			if !open {
				return frames
			}
			continue
		}
		if w.watching != nil {
			w.watching.arrive(in, b)
		}
		if out := w.forward(in, b); out != nil && w.prepare(in, out, &w.frame) {
			w.settle(in, w.written(out, out.queues[w.index].Write(w.frame.Bytes), w.frame.Segments, w.frame.Bytes, nil))
		}
		if w.watching != nil {
			w.watching.publish()
		}
		if w.ahead.frame != nil {
			w.followAhead()
		}
	}
}

// forward parses and judges one frame, which in sent, and returns the interface
// that it goes to; nil if it was answered, is held, or was dropped, and is counted
// as that.
func (w *worker) forward(in *eni, b []byte) *eni {
	f, c := &w.frame, &w.counters[in.handle]
	w.pending, w.current, w.way = true, b, passage{}
	c.RxFrames++
	c.RxBytes += uint64(len(b) - wire.VirtioSize)
	if r := f.Parse(b, in.mtu); r != policy.None {
		c.RxPackets++
		w.drop(in, r)
		return nil
	}
	c.RxPackets += uint64(f.Segments)
	if r := in.identify(f); r != policy.None {
		w.drop(in, r)
		return nil
	}
	if f.Kind == wire.KindARP {
		w.answerARP(in, f)
		return nil
	}
	if w.crew != nil && w.handsOver(in, f) {
		return nil
	}
	if out := w.known(in, f); out != nil {
		return out
	}
	return w.next(in, f)
}

// known returns the interface that a frame goes to which in sent and w owns, if the
// flow cache knows; else nil. A SYN may become a connection where the rest of its
// flow has none.
func (w *worker) known(in *eni, f *wire.Frame) *eni {
	if !cacheable(f) || opens(f) {
		return nil
	}
	return w.remembered(in, f)
}

// next is known for a frame that the flow cache does not know: nil if it was
// answered, is held, or was dropped.
func (w *worker) next(in *eni, f *wire.Frame) *eni {
	if !cacheable(f) {
		return w.uncached(in, f)
	}
	j, out, r := w.judge(in, f)
	if r != policy.None {
		w.drop(in, r)
		return nil
	}
	w.way.place = w.cache.remember(in, out, &j, &w.tally)
	w.way.opened = j.way.opened
	return out
}

// cacheable reports whether the flow cache may know f. ICMP and fragments always
// take the full path, as on Nitro (SEM 2.1).
func cacheable(f *wire.Frame) bool {
	return !f.Fragment && !policy.Protocol(f.Tuple.Protocol).HasTypes()
}

// advance lets both connections of a cached flow take the frame. It returns
// false if one of them is gone or wants a closer look.
func (w *worker) advance(e *flowEntry, f *wire.Frame) bool {
	none := refs{}
	if e.refs == none {
		return true // untracked at both ends (SEM 2.2)
	}
	if e.refs.egress != none.egress && !w.conns.Advance(e.refs.egress, f, w.now) {
		return false
	}
	return e.refs.ingress == none.ingress || w.conns.Advance(e.refs.ingress, f, w.now)
}

// uncached is forward for fragments and ICMP: it answers neighbour discovery and
// pings of the router, and takes the others through the slow path.
func (w *worker) uncached(in *eni, f *wire.Frame) *eni {
	switch {
	case f.Fragment:
		w.hold(in, f)
		return nil
	case f.IsND():
		w.answerND(in, f)
		return nil
	case in.subnet.echoes(f):
		w.answerEcho(in, f)
		return nil
	}
	_, out, r := w.judge(in, f)
	if r != policy.None {
		w.drop(in, r)
		return nil
	}
	return out
}

// judge takes f through the slow path, and keeps the cache true to what that has
// changed.
func (w *worker) judge(in *eni, f *wire.Frame) (judge, *eni, policy.Reason) {
	j := judge{plane: w.plane, conns: w.conns, frame: f, now: w.now, quote: w.quote}
	out, r := j.decide(in)
	w.way = j.way
	if j.way.opened > 0 {
		w.cache.forget(f.Tuple)
	}
	return j, out, r
}

// transmit writes f, which in sent, to the port of out.
func (w *worker) transmit(in, out *eni, f *wire.Frame) {
	if w.prepare(in, out, f) {
		w.settle(in, w.written(out, out.queues[w.index].Write(f.Bytes), f.Segments, f.Bytes, nil))
	}
}

// prepare makes f, which in sent, what the port of out takes, and reports whether
// it is still to be written. It is not if there is no port, and not if f had to be
// cut: then its segments have been written.
func (w *worker) prepare(in, out *eni, f *wire.Frame) bool {
	if f.Dst != out.mac { // the router was addressed
		f.SetMACs(out.subnet.routerMAC, out.mac)
	}
	switch {
	case out.read == 0:
		w.drop(in, policy.PortDown)
		return false
	case !out.accepts(f):
		w.settle(in, w.segment(out, f))
		return false
	case !out.offloads.Checksum:
		f.FinishChecksum()
	}
	return true
}

// settle counts the frame that in sent as delivered, or as dropped for r.
func (w *worker) settle(in *eni, r policy.Reason) {
	if r != policy.None {
		w.drop(in, r)
		return
	}
	w.counters[in.handle].Delivered++
	w.pending = false
	w.count(in, policy.None)
}

// written counts a frame, which lies in two parts, at the port that took it, or
// returns why it was not taken.
func (w *worker) written(out *eni, s port.Status, packets int, head, payload []byte) policy.Reason {
	switch s {
	case port.OK:
	case port.Refused:
		return policy.PortRefused
	default:
		return policy.PortDown
	}
	c := &w.counters[out.handle]
	c.TxFrames++
	c.TxPackets += uint64(packets)
	c.TxBytes += uint64(len(head) + len(payload) - wire.VirtioSize)
	if w.watching != nil {
		w.watching.sent(out, head, payload)
	}
	return policy.None
}

// drop counts the frame that in sent as dropped.
func (w *worker) drop(in *eni, r policy.Reason) {
	w.counters[in.handle].Drops[r]++
	w.pending = false
	w.count(in, r)
	if w.watching != nil {
		w.watching.dropped(in, w.current, r, w.plane.generation, &w.way)
	}
}
