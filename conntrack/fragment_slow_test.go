package conntrack_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// slowFragments is the model of Fragments: it keeps whole frames, puts their
// bytes together one by one, and adds everything up anew each time. It follows
// SEM 2.8 and rows I4 to I6.
type slowFragments struct{ waiting []*slowDatagram }

type slowDatagram struct {
	like  part // the key, and the family
	start int64
	parts []part
	dead  string // the reason, of a tombstone
}

// blocks returns how many blocks of 512 bytes n bytes need.
func (d *slowDatagram) blocks(more ...part) int {
	n := 0
	for _, p := range append(more, d.parts...) {
		n += 26 + p.header + p.end - p.offset
	}
	return (n + 511) / 512
}

func (d *slowDatagram) over(now int64) bool {
	timeout := 30 * time.Second
	if d.like.from.Is6() {
		timeout = 60 * time.Second
	}
	return now-d.start >= int64(timeout)
}

func sameDatagram(a, b part) bool {
	// RFC 8200 section 4.5: of IPv6 fragments only the first one's protocol counts.
	return a.port == b.port && a.id == b.id && (a.proto == b.proto || a.from.Is6()) && a.from == b.from && a.to == b.to
}

// add is holder.add in words that may be compared.
func (s *slowFragments) add(p part, now int64) string {
	d, fresh := s.datagram(p, now)
	switch {
	case d == nil:
		return "FRAGMENT_LIMIT"
	case d.dead != "":
		return d.dead
	case d.over(now):
		s.drop(d)
		return died("FRAGMENT_TIMEOUT", len(d.parts))
	}
	for _, q := range d.parts {
		if q.offset == p.offset && q.end == p.end && q.more == p.more && q.different == p.different && q.zero == p.zero {
			return "FRAGMENT_OVERLAP"
		}
	}
	if r := slowCheck(append(slices.Clone(d.parts), p)); r != policy.None {
		return d.kill(r)
	}
	if len(d.parts) == 64 {
		return d.kill(policy.FragmentLimit)
	}
	if all := append(slices.Clone(d.parts), p); slowComplete(all) {
		s.drop(d)
		return slowWords(all)
	}
	total, ofPort := 0, 0
	for _, e := range s.waiting {
		total += e.blocks()
		if e.like.port == p.port {
			ofPort += e.blocks()
		}
	}
	if need := d.blocks(p) - d.blocks(); ofPort+need > 512 || total+need > 8192 {
		if fresh {
			s.drop(d)
			return "FRAGMENT_LIMIT"
		}
		return d.kill(policy.FragmentLimit)
	}
	d.parts = append(d.parts, p)
	return "held"
}

// datagram returns the datagram that p belongs to, which may be a fresh one, or
// nil if there is no room for one more.
func (s *slowFragments) datagram(p part, now int64) (d *slowDatagram, fresh bool) {
	ofPort := 0
	for _, d := range s.waiting {
		if sameDatagram(d.like, p) && (d.dead == "" || !d.over(now)) {
			return d, false
		}
		if sameDatagram(d.like, p) {
			s.drop(d)
			return s.datagram(p, now)
		}
		if d.like.port == p.port {
			ofPort++
		}
	}
	if ofPort == 64 || len(s.waiting) == 1000 {
		return nil, false
	}
	d = &slowDatagram{like: p, start: now}
	s.waiting = append(s.waiting, d)
	return d, true
}

func (s *slowFragments) drop(d *slowDatagram) {
	s.waiting = slices.DeleteFunc(s.waiting, func(e *slowDatagram) bool { return e == d })
}

func (d *slowDatagram) kill(r policy.Reason) string {
	n := len(d.parts)
	d.dead, d.parts = r.String(), nil
	return died(r.String(), n)
}

func died(reason string, n int) string {
	if n == 0 {
		return reason
	}
	return fmt.Sprintf("%s kills %d", reason, n)
}

// slowCheck looks whether parts can be of one datagram.
func slowCheck(parts []part) policy.Reason {
	var claimed [2 * wire.MaxDatagram]bool
	end, front := 0, 0
	for _, p := range parts {
		for at := p.offset; at < p.end; at++ {
			if claimed[at] {
				return policy.FragmentOverlap
			}
			claimed[at] = true
		}
		end = max(end, p.end)
		if p.offset == 0 && p.from.Is4() {
			front = p.header
		} else if p.offset == 0 {
			front = p.header - 48
		}
	}
	if front+end > 65535 {
		return policy.FragmentTooLong
	}
	for _, p := range parts {
		if !p.more && p.end != end {
			return policy.FragmentOverlap
		}
	}
	return policy.None
}

// slowComplete looks whether parts, which fit, are a whole datagram.
func slowComplete(parts []part) bool {
	data, last := 0, false
	end := 0
	for _, p := range parts {
		data += p.end - p.offset
		end = max(end, p.end)
		last = last || !p.more
	}
	return last && data == end
}

func slowWords(parts []part) string {
	words := "complete"
	for _, p := range parts {
		if p.offset == 0 {
			words += " [" + p.String() + "]"
		} else {
			words += " " + p.String()
		}
	}
	return words
}

// sweep is holder.sweep.
func (s *slowFragments) sweep(now int64) string {
	var died []string
	for _, d := range slices.Clone(s.waiting) {
		if d.over(now) {
			s.drop(d)
			if len(d.parts) > 0 {
				died = append(died, fmt.Sprintf("port %d: %d", d.like.port, len(d.parts)))
			}
		}
	}
	slices.Sort(died)
	return strings.Join(died, ", ")
}

func (s *slowFragments) remove(port uint32) {
	s.waiting = slices.DeleteFunc(s.waiting, func(d *slowDatagram) bool { return d.like.port == port })
}

func (s *slowFragments) held() (n int) {
	for _, d := range s.waiting {
		n += len(d.parts)
	}
	return n
}

// A fragmentStep is one thing that happens to a Fragments: a part comes, or else
// time passes, or else a port is removed.
type fragmentStep struct {
	part   *part
	wait   time.Duration
	sweep  bool // after the wait
	remove uint32
}

// compareFragments runs the steps on Fragments and on its model.
func compareFragments(t reporter, steps []fragmentStep) {
	h, model := newHolder(t), &slowFragments{}
	for i, step := range steps {
		got, want, what := "", "", "remove"
		switch {
		case step.part != nil:
			what = fmt.Sprintf("%+v", *step.part)
			got, want = h.add(*step.part), model.add(*step.part, h.now)
		case step.wait > 0 || step.sweep:
			h.now += int64(step.wait)
			what = "wait " + step.wait.String()
			if step.sweep {
				got, want = h.sweep(), model.sweep(h.now)
			}
		default:
			h.remove(step.remove)
			model.remove(step.remove)
		}
		if got != want {
			t.Fatalf("step %d, %s: %q, want %q", i, what, got, want)
		}
		if h.h.Len() != model.held() {
			t.Fatalf("step %d, %s: %d held, want %d", i, what, h.h.Len(), model.held())
		}
	}
	h.now += int64(time.Minute)
	if got, want := h.sweep(), model.sweep(h.now); got != want || h.h.Len() != 0 {
		t.Fatalf("after the end: %q and %d held, want %q and 0", got, h.h.Len(), want)
	}
}

// TestFragmentsMatchModel cuts datagrams at random, duplicates, shifts, resizes
// and alters some of the parts, and lets them come in any order.
func TestFragmentsMatchModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var steps []fragmentStep
		for range rapid.IntRange(1, 8).Draw(t, "datagrams") {
			for _, p := range drawParts(t) {
				steps = append(steps, fragmentStep{part: &p})
				switch rapid.IntRange(0, 11).Draw(t, "then") {
				case 0:
					steps = append(steps, fragmentStep{part: &p})
				case 1:
					stranger := p
					stranger.alter(t)
					steps = append(steps, fragmentStep{part: &stranger})
				}
			}
		}
		for range rapid.IntRange(0, 4).Draw(t, "waits") {
			steps = append(steps, fragmentStep{wait: time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second,
				sweep: rapid.Bool().Draw(t, "sweep")})
		}
		if rapid.IntRange(0, 9).Draw(t, "removes") == 0 {
			steps = append(steps, fragmentStep{remove: 1})
		}
		if rapid.Bool().Draw(t, "shuffle") {
			steps = rapid.Permutation(steps).Draw(t, "steps")
		}
		compareFragments(t, steps)
	})
}

// drawParts cuts one datagram. Keys are few, so that datagrams meet; sizes reach
// from 8 bytes to the longest there is, and counts of parts past the bound.
func drawParts(t *rapid.T) []part {
	like := defaultPart()
	like.port = rapid.Uint32Range(1, 2).Draw(t, "port")
	like.id = rapid.Uint32Range(1, 3).Draw(t, "id")
	if rapid.IntRange(0, 3).Draw(t, "family") == 0 {
		like.from, like.header = netip.MustParseAddr("fd00::1"), 48
	}
	size := 8 * rapid.SampledFrom([]int{1, 2, 3, 60, 185, 1122}).Draw(t, "size")
	length := rapid.SampledFrom([]int{1, 8, 40, 300, 520, 3000, 20000, 65507, 65515, 65516, 65535}).Draw(t, "length")
	length = min(length, 70*size)

	var parts []part
	for at := 0; at < length; at += size {
		p := like
		p.offset, p.end = at, min(at+size, length)
		p.more = p.end < length
		parts = append(parts, p)
	}
	return parts
}

// alter makes of the part one that does not belong.
func (p *part) alter(t *rapid.T) {
	switch rapid.IntRange(0, 4).Draw(t, "alteration") {
	case 0:
		p.different = true
	case 1:
		p.more = !p.more
	case 2:
		p.offset, p.end = p.offset+8, p.end+8
	case 3:
		p.end += 8
	case 4:
		p.header += 4
	}
	// What wire.Parse lets through (I4): whole units of 8 bytes before the last,
	// and no fragment that is too long by itself.
	if p.more {
		p.end = p.offset + (p.end-p.offset+7)&^7
	}
	if p.offset > 65528 || p.from.Is4() && p.header+p.end > 65535 {
		p.offset, p.end, p.header = 0, 8, max(p.header, 20)
	}
}

// fuzzStep is how many bytes of fuzz input make one step.
const fuzzStep = 5

// fuzzSteps reads any bytes as steps. Of each five, the first two are switches,
// the third and fourth an offset in units of 8 bytes, the fifth a length.
func fuzzSteps(data []byte) (steps []fragmentStep) {
	for ; len(data) >= fuzzStep; data = data[fuzzStep:] {
		switch b := data[0]; {
		case b&0xf0 == 0xf0:
			steps = append(steps, fragmentStep{wait: time.Duration(data[4]) * time.Second / 4, sweep: b&1 != 0})
		case b == 0xe0:
			steps = append(steps, fragmentStep{remove: uint32(data[4] & 3)})
		default:
			p := defaultPart()
			p.port, p.id = uint32(b&3), uint32(b>>2&3)
			if b&0x10 != 0 {
				p.from, p.header = netip.MustParseAddr("fd00::1"), 48
			}
			p.more, p.different = data[1]&1 != 0, data[1]&2 != 0
			p.header += int(data[1] >> 4 & 7 * 4)
			p.offset = (int(data[2])<<8 | int(data[3])) & 0x1fff * 8
			n := int(data[4]) + 1
			if data[1]&4 != 0 {
				n *= 40 // up to 10,240 bytes
			}
			if p.more {
				n = (n + 7) &^ 7
			}
			p.end = p.offset + n
			steps = append(steps, fragmentStep{part: &p})
		}
	}
	return steps
}

// FuzzFragments holds Fragments against its model for whatever comes.
func FuzzFragments(f *testing.F) {
	const (
		more   = 1
		other  = 2
		long   = 4
		v6     = 0x10
		sweep  = 0xf1
		late   = 0xf0
		remove = 0xe0
	)
	f.Add([]byte{})
	f.Add([]byte{1, more, 0, 0, 23, 1, 0, 0, 3, 7})                                                                 // two fragments
	f.Add([]byte{1, 0, 0, 3, 7, 1, more, 0, 0, 23})                                                                 // in reverse
	f.Add([]byte{1, more, 0, 0, 23, 1, more, 0, 0, 23, 1, 0, 0, 3, 7})                                              // a duplicate
	f.Add([]byte{1, more, 0, 0, 23, 1, more | other, 0, 0, 23, 1, 0, 0, 3, 7, late, 0, 0, 0, 120, 1, 0, 0, 3, 7})   // other bytes
	f.Add([]byte{1, more, 0, 0, 23, 1, 0, 0, 2, 7, sweep, 0, 0, 0, 119, 1, 0, 0, 9, 7, sweep, 0, 0, 0, 1})          // an overlap
	f.Add([]byte{1, 0, 0, 3, 7, 1, 0, 0, 5, 7})                                                                     // two ends
	f.Add([]byte{1, more, 0, 0, 23, 1, 0, 0x1f, 0xfd, 4})                                                           // past 65,535 bytes
	f.Add([]byte{v6 | 1, more | 0x20, 0, 0, 23, v6 | 1, 0, 0x1f, 0xff, 1})                                          // likewise, IPv6
	f.Add([]byte{2, more, 0, 0, 23, late, 0, 0, 0, 120, 2, 0, 0, 3, 7, remove, 0, 0, 0, 2})                         // too late
	f.Add(append(bytes.Repeat([]byte{1, more | long, 0, 0, 255, 5, more | long, 0, 0, 255}, 13), 9, more, 0, 0, 7)) // long ones
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64*fuzzStep {
			return // longer ones find nothing new, slowly
		}
		compareFragments(t, fuzzSteps(data))
	})
}
