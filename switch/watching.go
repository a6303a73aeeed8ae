package vswitch

import (
	"sync/atomic"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// A watching is what one worker copies, and for whom. The worker that has it calls
// arrive before a frame is judged, sent and dropped as it meets its fate, and
// publish behind it: all of that only if it has one. They neither allocate nor
// wait.
type watching struct {
	clock func() int64
	rings []*sightRing // of all captures
	views [][]view     // by handle: the captures that watch the port; none for most

	// Of the frame in hand. It is copied on its arrival, when nobody knows yet what
	// becomes of it, and the switch changes it on the way.
	head    [headSaved]byte // how it began
	saved   int             // valid bytes of head; 0 if nobody watches its port
	opened  [maxWatches]opening
	openeds int  // valid elements of opened
	touched bool // there is something to publish
}

// headSaved is how many bytes of a frame are restored before a capture of dropped
// frames copies it: more than the switch changes, but for a finished checksum
// behind long extension headers.
const headSaved = 128

// A view is one capture of one port.
type view struct {
	ring    *sightRing
	port    uint32
	match   func([]byte, int) bool // nil takes everything
	snap    int
	dropped bool
	lost    *atomic.Uint64
}

// An opening is a record that may still be changed.
type opening struct {
	ring *sightRing
	at   uint64 // where it begins
	s    sight
}

// of returns the captures of a port.
func (g *watching) of(handle uint32) []view {
	if int(handle) >= len(g.views) {
		return nil
	}
	return g.views[handle]
}

// arrive copies the frame b, as in sent it, for the captures of all frames.
func (g *watching) arrive(in *eni, b []byte) {
	views := g.of(in.handle)
	if len(views) == 0 {
		return
	}
	g.remember(b)
	for i := range views {
		v := &views[i]
		if v.dropped || !v.wants(b, nil) {
			continue
		}
		s := sight{port: v.port, stamp: g.clock()}
		if v.copy(&s, b, nil) {
			g.opened[g.openeds] = opening{v.ring, v.ring.last, s}
			g.openeds++
			g.touched = true
		}
	}
}

// remember keeps how b begins, for dropped.
func (g *watching) remember(b []byte) { g.saved = copy(g.head[:], b) }

// sent copies a frame that out has taken, in two parts.
func (g *watching) sent(out *eni, head, payload []byte) {
	views := g.of(out.handle)
	for i := range views {
		v := &views[i]
		if v.dropped || !v.wants(head, payload) {
			continue
		}
		s := sight{port: v.port, stamp: g.clock(), flags: sightSent}
		g.touched = v.copy(&s, head, payload) || g.touched
	}
}

// dropped notes that b, which in sent and which arrive or remember has seen, is
// dropped. It makes of b again what it was.
func (g *watching) dropped(in *eni, b []byte, r policy.Reason, generation uint32, way *passage) {
	if g.saved == 0 {
		return
	}
	gate, rule := way.denied(in, r)
	for i := range g.openeds {
		o := &g.opened[i]
		o.s.reason, o.s.plane, o.s.gate, o.s.rule = r, generation, gate, rule
		o.ring.amend(o.at, &o.s)
	}
	copy(b, g.head[:g.saved])
	views := g.of(in.handle)
	for i := range views {
		v := &views[i]
		if !v.dropped || !v.wants(b, nil) {
			continue
		}
		s := sight{port: v.port, stamp: g.clock(), reason: r, plane: generation, gate: gate, rule: rule}
		g.touched = v.copy(&s, b, nil) || g.touched
	}
}

// held notes that the frame in hand is a fragment which waits for the rest.
func (g *watching) held() {
	for i := range g.openeds {
		o := &g.opened[i]
		o.s.flags |= sightHeld
		o.ring.amend(o.at, &o.s)
	}
}

// restore makes of b, which is in hand and which the switch has only parsed, what
// it was when it arrived.
func (g *watching) restore(b []byte) { copy(b, g.head[:g.saved]) }

// forget takes back what was copied of the frame in hand: another worker goes on
// with it, and copies it again. Nothing but its arrival has been noted.
func (g *watching) forget() {
	for i := range g.openeds {
		g.opened[i].ring.next = g.opened[i].at
	}
	g.saved, g.openeds, g.touched = 0, 0, false
}

// publish shows the readers what was copied, once the frame in hand has met its
// fate.
func (g *watching) publish() {
	g.saved = 0
	if !g.touched {
		return
	}
	g.openeds, g.touched = 0, false
	for _, r := range g.rings {
		r.publish()
	}
}

// wants reports whether the capture takes a frame that lies in two parts, of which
// the first has all headers.
func (v *view) wants(head, payload []byte) bool {
	return v.match == nil || v.match(head[wire.VirtioSize:], len(head)+len(payload)-wire.VirtioSize)
}

// copy writes a record of a frame that lies in two parts. If there is no room it
// counts the frame as lost and returns false.
func (v *view) copy(s *sight, head, payload []byte) bool {
	kept := len(head) + len(payload)
	s.length = uint32(kept - wire.VirtioSize)
	if v.snap > 0 {
		kept = min(kept, wire.VirtioSize+v.snap)
	}
	s.kept = uint32(kept)
	room := v.ring.reserve(s)
	if room == nil {
		v.lost.Add(1)
		return false
	}
	n := copy(room, head)
	copy(room[n:], payload)
	return true
}
