package vswitch

import (
	"slices"
	"time"

	"vswitch/conntrack"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// A liveFlow is a conversation that goes on: tracked connections, or packets of
// late that no interface tracks.
type liveFlow struct {
	tuple wire.FiveTuple  // as its opener sees it, as far as that is known
	state conntrack.State // the zero State if it is untracked everywhere
	at    []uint32        // handles of the interfaces that track it
	met   []uint32        // handles of interfaces on its way, those of at included
	talks [2]bool         // packets go in the direction of tuple, and in the other one
	ended bool            // one end of the untracked TCP connection said goodbye last
}

const (
	// maxLiveFlows bounds how many flows a plan judges.
	maxLiveFlows = 1 << 18

	// untrackedLife is how long an untracked flow is taken to live after its last
	// packet. AWS advises keepalives of less than that (SEM 2.3).
	untrackedLife = int64(5 * time.Minute)

	// placesPerLook bounds how many places of a flow cache are looked at between two
	// bursts: 1 MiB of memory.
	placesPerLook = 1 << 13
)

// liveFlows are the flows that go on. The zero value has none.
type liveFlows struct {
	all   []liveFlow
	index map[wire.FiveTuple]int32 // by the flow's tuple
	more  int                      // what did not fit in, in connections and cached flows
}

// find returns the flow of a tuple, and in which of its directions the tuple is.
// It returns nil if there is no room for a new one.
func (l *liveFlows) find(t wire.FiveTuple) (f *liveFlow, direction int) {
	if i, ok := l.index[t]; ok {
		return &l.all[i], 0
	}
	if i, ok := l.index[t.Reverse()]; ok {
		return &l.all[i], 1
	}
	if len(l.all) == maxLiveFlows {
		l.more++
		return nil, 0
	}
	if l.index == nil {
		l.index = map[wire.FiveTuple]int32{}
	}
	l.index[t] = int32(len(l.all))
	l.all = append(l.all, liveFlow{tuple: t})
	return &l.all[len(l.all)-1], 0
}

// liveFlows returns the flows of p, which runs. Frames never wait longer for it
// than for one look.
func (s *Switch) liveFlows(p *plane) liveFlows {
	var l liveFlows
	page := make([]conntrack.Conn, connectionsPerLook)
	for _, w := range s.workers {
		for after, more := uint32(0), true; more; more = after != 0 {
			n := 0
			w.do(func() { n, after = w.conns.ListAll(after, page, w.clock()) })
			for i := range page[:n] {
				l.addConnection(&page[i])
			}
		}
	}
	flows := make([]cachedFlow, 0, placesPerLook)
	for _, w := range s.workers {
		for at, size := 0, -1; at != size; {
			w.do(func() {
				if size != len(w.cache.entries) { // flows have come to other places since the last look
					at, size = 0, len(w.cache.entries)
				}
				flows, at = w.cache.untracked(flows[:0], at, p, w.clock())
			})
			for i := range flows {
				l.addUntracked(&flows[i])
			}
		}
	}
	return l
}

// addConnection adds what one interface tracks, unless it is not a conversation: it
// has not begun, has ended, or is a single message of ICMP.
func (l *liveFlows) addConnection(c *conntrack.Conn) {
	if c.State == conntrack.SynSent || c.State == conntrack.Closed {
		return
	}
	t, answer := c.Tuple, false
	if policy.Protocol(t.Protocol).HasTypes() {
		if !asks(&t) { // an instance that forwards may see the answers alone
			t, answer = t.Reverse(), true
		}
		if !asks(&t) {
			return
		}
	}
	f, direction := l.find(t)
	if f == nil {
		return
	}
	if answer {
		direction = 1 - direction
	}
	f.at, f.met = append(f.at, c.ENI), append(f.met, c.ENI)
	f.state = c.State
	f.talks[direction] = true
	if c.State != conntrack.Unreplied {
		f.talks = [2]bool{true, true}
	}
}

// asks reports whether a tuple of ICMP is that of a question.
func asks(t *wire.FiveTuple) bool {
	_, question := wire.ReplyType(t.Protocol, uint8(t.DstPort>>8))
	return question
}

// A cachedFlow is an untracked flow in one direction.
type cachedFlow struct {
	tuple   wire.FiveTuple
	in, out uint32 // handles
	ended   bool   // its last segment was the end of a TCP connection
}

// untracked appends the untracked flows of late that lie in some of the cache's
// places, from the place at on, and returns where to go on.
func (c *flowCache) untracked(all []cachedFlow, at int, p *plane, now int64) (_ []cachedFlow, next int) {
	next = min(at+placesPerLook, len(c.entries))
	for place := at; place < next; place++ {
		e, count := &c.entries[place], &c.counts[place]
		if e.made == 0 || e.refs != (refs{}) || now-count.sums.last > untrackedLife || !p.current(e) {
			continue
		}
		t := wire.FiveTuple{Src: e.src, Dst: e.dst, SrcPort: e.srcPort, DstPort: e.dstPort, Protocol: uint8(e.from)}
		ended := policy.Protocol(t.Protocol) == policy.TCP && count.sums.lastFlags&(wire.FIN|wire.RST) != 0
		all = append(all, cachedFlow{t, uint32(e.from >> handleShift), e.out >> 1, ended})
	}
	return all, next
}

// addUntracked adds one direction of an untracked flow. The end with the lower port
// is taken to be the one that was called.
func (l *liveFlows) addUntracked(c *cachedFlow) {
	t, direction := c.tuple, 0
	if t.SrcPort < t.DstPort {
		t, direction = t.Reverse(), 1
	}
	f, turned := l.find(t)
	if f == nil {
		return
	}
	for _, e := range [2]uint32{c.in, c.out} {
		if !slices.Contains(f.met, e) {
			f.met = append(f.met, e)
		}
	}
	f.talks[direction^turned] = true
	f.ended = f.ended || c.ended
}
