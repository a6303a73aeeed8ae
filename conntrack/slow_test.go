package conntrack_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"vswitch/conntrack"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// A slowTracker is the model of Tracker: a map, and a look at every connection
// wherever the Tracker has an index, a queue or a count. Of TCP it follows one
// connection by the same machine; the tables of segments are what holds that.
type slowTracker struct {
	capacity   int
	conns      map[slowKey]*slowConn
	interfaces map[uint32]*slowInterface
}

type slowKey struct {
	eni  uint32
	flow wire.FiveTuple // from the end with the lower address
}

type slowConn struct {
	tuple wire.FiveTuple // as its opener sees it
	state conntrack.State
	tcp   conntrack.Machine
	used  int64         // when it was last
	idle  time.Duration // for how long it may be idle from then on
}

type slowInterface struct {
	limits   conntrack.Limits
	exceeded uint64
}

// gone reports whether the connection has idled out: ticks are counted, not
// nanoseconds.
func (c *slowConn) gone(now int64) bool { return now/tick > (c.used+int64(c.idle))/tick }

// slowKeyOf returns the key of a packet, and whether its high end sent it.
func slowKeyOf(eni uint32, f *wire.Frame) (slowKey, bool) {
	reverse := f.Tuple.Reverse()
	src := netip.AddrPortFrom(f.Tuple.Src.Netip(), f.Tuple.SrcPort)
	if dst := netip.AddrPortFrom(f.Tuple.Dst.Netip(), f.Tuple.DstPort); src.Compare(dst) > 0 {
		return slowKey{eni, reverse}, true
	}
	return slowKey{eni, f.Tuple}, false
}

// find returns the connection of a packet that has not idled out, or nil.
func (s *slowTracker) find(eni uint32, f *wire.Frame, now int64) *slowConn {
	key, _ := slowKeyOf(eni, f)
	if c := s.conns[key]; c != nil && !c.gone(now) {
		return c
	}
	return nil
}

// track returns what Track should, as a word and the connection.
func (s *slowTracker) track(eni uint32, f *wire.Frame, now int64) (string, *slowConn) {
	key, high := slowKeyOf(eni, f)
	c := s.find(eni, f, now)
	n := s.interfaces[eni]
	switch {
	case c == nil && n != nil && n.limits.Strict && f.Tuple.Protocol == 6 && f.TCP.Flags&0x17 != wire.SYN:
		return "CONNTRACK_STRICT", nil
	case c == nil:
		return "new", nil
	case f.Tuple.Protocol == 6:
		word := c.tcp.Step(high, &f.TCP)
		switch word {
		case "pass":
			c.state = c.tcp.State()
			s.use(eni, c, now)
			if c.tcp.OpenedByHigh() != (c.tuple != key.flow) {
				c.tuple = c.tuple.Reverse()
			}
		case "remove":
			delete(s.conns, key)
		case "fresh":
			delete(s.conns, key)
			return "new", nil
		case "ignore":
		default:
			return word, c
		}
		return "tracked", c
	}
	switch {
	case c.state == conntrack.Unreplied && f.Tuple != c.tuple:
		c.state = conntrack.Replied
	case c.state == conntrack.Replied && f.Tuple == c.tuple && f.Tuple.Protocol == 17:
		c.state = conntrack.Stream
	}
	s.use(eni, c, now)
	return "tracked", c
}

// use notes that a connection was used, by the limits that hold now.
func (s *slowTracker) use(eni uint32, c *slowConn, now int64) {
	c.used = now
	l := s.interfaces[eni].limits
	switch {
	case c.tuple.Protocol == 1:
		c.idle = 30 * time.Second
	default:
		c.idle = map[conntrack.State]time.Duration{
			conntrack.SynSent: time.Minute, conntrack.SynReceived: time.Minute, conntrack.Established: l.TCPEstablished,
			conntrack.Closing: 2 * time.Minute, conntrack.Closed: 2 * time.Minute, conntrack.Unreplied: l.UDP,
			conntrack.Replied: l.UDP, conntrack.Stream: l.UDPStream, conntrack.Active: 10 * time.Minute,
		}[c.state]
	}
}

// sweep forgets what has idled out at one interface.
func (s *slowTracker) sweep(eni uint32, now int64) {
	maps.DeleteFunc(s.conns, func(k slowKey, c *slowConn) bool { return k.eni == eni && c.gone(now) })
}

// count returns how many connections an interface has.
func (s *slowTracker) count(eni uint32) (n int) {
	for k := range s.conns {
		if k.eni == eni {
			n++
		}
	}
	return n
}

// insert returns the connection that Insert should make, or nil. ok is what it
// should return.
func (s *slowTracker) insert(eni uint32, f *wire.Frame, now int64) (c *slowConn, ok bool) {
	n := s.interfaces[eni]
	switch {
	case f.Tuple.Protocol == 6 && f.TCP.Flags&wire.RST != 0:
		return nil, true
	case n == nil:
		return nil, false
	}
	key, high := slowKeyOf(eni, f)
	delete(s.conns, key)
	if s.count(eni) >= n.limits.Max {
		s.sweep(eni, now)
	}
	if s.count(eni) < n.limits.Max && len(s.conns) == s.capacity {
		for eni := range s.interfaces {
			s.sweep(eni, now)
		}
	}
	if s.count(eni) >= n.limits.Max || len(s.conns) == s.capacity {
		n.exceeded++
		return nil, false
	}
	c = &slowConn{tuple: f.Tuple}
	switch f.Tuple.Protocol {
	case 6:
		c.tcp.Open(high, &f.TCP)
		c.state = c.tcp.State()
		if c.tcp.OpenedByHigh() != high {
			c.tuple = c.tuple.Reverse()
		}
	case 17, 1:
		c.state = conntrack.Unreplied
	default:
		c.state = conntrack.Active
	}
	s.use(eni, c, now)
	s.conns[key] = c
	return c, true
}

// A modelled is a Tracker beside its model.
type modelled struct {
	tracker *conntrack.Tracker
	model   *slowTracker
	refs    map[conntrack.Ref]*slowConn // all that were ever returned
	at      map[*slowConn]uint32        // the interface of each connection there ever was
	now     int64
	swept   int64
}

// enis are the interfaces that operations draw from; the last is never used.
const enis = 4

// drawFrame draws a packet of one of a few flows. TCP segments are such that they
// often fit.
func drawFrame(t *rapid.T) *wire.Frame {
	protocol := rapid.SampledFrom([]policy.Protocol{policy.TCP, policy.TCP, policy.UDP, policy.ICMP, 50}).Draw(t, "protocol")
	f := numbered(protocol, rapid.IntRange(0, 3).Draw(t, "flow"))
	if protocol == 50 {
		f.Tuple.SrcPort, f.Tuple.DstPort = 0, 0
		f.Tuple.Src[15] = byte(rapid.IntRange(0, 1).Draw(t, "source"))
	}
	if rapid.Bool().Draw(t, "reply") {
		f.Tuple = f.Tuple.Reverse()
	}
	if protocol == policy.TCP {
		f.TCP = wire.TCP{
			Flags: rapid.SampledFrom([]uint8{wire.SYN, wire.SYN | wire.ACK, wire.ACK, wire.ACK, wire.ACK | wire.PSH,
				wire.FIN | wire.ACK, wire.RST, wire.RST | wire.ACK}).Draw(t, "flags"),
			Seq:    rapid.SampledFrom([]uint32{0, 1, 2, 3, 1000, 3e9}).Draw(t, "seq"),
			Ack:    rapid.SampledFrom([]uint32{0, 1, 2, 3, 1000, 3e9}).Draw(t, "ack"),
			Window: 1000,
			Length: rapid.SampledFrom([]int{0, 0, 1, 1000}).Draw(t, "length"),
			Scale:  -1,
		}
	}
	return f
}

// expectOutcome fails unless an outcome is what the model's word says.
func expectOutcome(t *rapid.T, call, word string, outcome conntrack.Outcome, reason policy.Reason) {
	got := reason.String()
	switch outcome {
	case conntrack.NewFlow:
		got = "new"
	case conntrack.Tracked:
		got = "tracked"
	}
	if got != word {
		t.Fatalf("%s returns %s, the model says %s", call, got, word)
	}
}

// packet takes a packet in, and lets it open a connection if it belongs to none
// and the rules allow it.
func (m *modelled) packet(t *rapid.T) {
	eni := rapid.Uint32Range(0, enis-1).Draw(t, "interface")
	f := drawFrame(t)
	foreseen, why := m.tracker.Peek(eni, f, m.now)
	outcome, ref, reason := m.tracker.Track(eni, f, m.now)
	word, c := m.model.track(eni, f, m.now)
	expectOutcome(t, "Peek", word, foreseen, why)
	expectOutcome(t, "Track", word, outcome, reason)
	if outcome == conntrack.Tracked {
		if m.refs[ref] != c {
			t.Fatalf("Track returns %v, the Ref of another connection", ref)
		}
		return
	}
	if ref != (conntrack.Ref{}) {
		t.Fatalf("Track returns %v with %s", ref, word)
	}
	if outcome == conntrack.NewFlow && rapid.Bool().Draw(t, "allowed") {
		m.insert(t, eni, f)
	}
}

// again opens a connection without having asked whether there is one.
func (m *modelled) again(t *rapid.T) {
	m.insert(t, rapid.Uint32Range(0, enis-1).Draw(t, "interface"), drawFrame(t))
}

func (m *modelled) insert(t *rapid.T, eni uint32, f *wire.Frame) {
	ref, ok := m.tracker.Insert(eni, f, m.now)
	c, want := m.model.insert(eni, f, m.now)
	if ok != want {
		t.Fatalf("Insert returns %v, the model says %v", ok, want)
	}
	if _, used := m.refs[ref]; c != nil && used {
		t.Fatalf("Insert returns %v, which another connection had", ref)
	}
	if c != nil {
		m.refs[ref] = c
		m.at[c] = eni
	}
}

// advance takes a packet in by a Ref that was returned at some time.
func (m *modelled) advance(t *rapid.T) {
	if len(m.refs) == 0 {
		t.Skip("no Ref yet")
	}
	refs := slices.SortedFunc(maps.Keys(m.refs), func(a, b conntrack.Ref) int { return int(a.Version) - int(b.Version) })
	ref := rapid.SampledFrom(refs[max(0, len(refs)-8):]).Draw(t, "ref")
	c := m.refs[ref]
	f := drawFrame(t)
	segment := f.TCP
	if f.Tuple = c.tuple; rapid.Bool().Draw(t, "from the other end") {
		f.Tuple = c.tuple.Reverse()
	}
	f.TCP = segment
	eni := m.at[c]
	_, high := slowKeyOf(eni, f)
	want := m.model.find(eni, f, m.now) == c
	if want && f.Tuple.Protocol == 6 {
		machine := c.tcp // a copy
		want = c.state == conntrack.Established && f.TCP.Flags&0x17 == wire.ACK && machine.Step(high, &f.TCP) == "pass"
	}
	if got := m.tracker.Advance(ref, f, m.now); got != want {
		t.Fatalf("Advance returns %v, the model says %v", got, want)
	}
	if want {
		m.model.track(eni, f, m.now)
	}
}

// configure sets or removes an interface's limits.
func (m *modelled) configure(t *rapid.T) {
	eni := rapid.Uint32Range(0, enis-2).Draw(t, "interface")
	if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
		m.tracker.Remove(eni)
		delete(m.model.interfaces, eni)
		maps.DeleteFunc(m.model.conns, func(k slowKey, _ *slowConn) bool { return k.eni == eni })
		return
	}
	seconds := func(name string) time.Duration {
		return time.Duration(rapid.IntRange(30, 200).Draw(t, name)) * time.Second
	}
	l := conntrack.Limits{
		Max: rapid.IntRange(1, 5).Draw(t, "max"), TCPEstablished: seconds("established"), UDP: seconds("udp"),
		UDPStream: seconds("stream"), Strict: rapid.Bool().Draw(t, "strict"),
	}
	m.tracker.Configure(eni, l)
	if m.model.interfaces[eni] == nil {
		m.model.interfaces[eni] = &slowInterface{}
	}
	m.model.interfaces[eni].limits = l
}

// wait lets time pass: often none, about a timeout, or more than the wheel spans.
// A Tracker must be swept every four years.
func (m *modelled) wait(t *rapid.T) {
	m.now += rapid.OneOf(rapid.Int64Range(0, tick), rapid.Int64Range(0, 4e9), rapid.Int64Range(0, 700e9), rapid.Just(int64(20*24*time.Hour))).Draw(t, "ns")
	if m.now-m.swept > int64(4*365*24*time.Hour) {
		m.sweep(t)
	}
}

func (m *modelled) sweep(t *rapid.T) {
	m.tracker.Sweep(m.now, 1000)
	m.swept = m.now
	for eni := range m.model.interfaces {
		m.model.sweep(eni, m.now)
	}
}

// look compares what the two say without being changed by it.
func (m *modelled) look(t *rapid.T) {
	if err := m.tracker.Check(); err != nil {
		t.Fatal(err)
	}
	if m.tracker.Len() != len(m.model.conns) {
		t.Fatalf("Len is %d, the model has %d", m.tracker.Len(), len(m.model.conns))
	}
	for eni := range uint32(enis) {
		want := conntrack.Usage{Tracked: m.model.count(eni)}
		if n := m.model.interfaces[eni]; n != nil {
			want.Max, want.Exceeded = n.limits.Max, n.exceeded
		}
		if got := m.tracker.Usage(eni); got != want {
			t.Fatalf("interface %d: usage is %+v, the model's %+v", eni, got, want)
		}
		var listed, expected []string
		for after, out := uint32(0), make([]conntrack.Conn, 2); ; {
			n, next := m.tracker.List(eni, after, out, m.now)
			for _, c := range out[:n] {
				listed = append(listed, fmt.Sprint(c.Tuple, c.State))
			}
			if after = next; after == 0 {
				break
			}
		}
		for k, c := range m.model.conns {
			if k.eni == eni && !c.gone(m.now) {
				expected = append(expected, fmt.Sprint(c.tuple, c.state))
				f := &wire.Frame{Tuple: c.tuple}
				if m.tracker.Related(eni, f.Tuple, m.now) != (c.state != conntrack.Closed) {
					t.Fatalf("interface %d: an error about %v is not related, or should not be", eni, c.tuple)
				}
			}
		}
		slices.Sort(listed)
		if slices.Sort(expected); !slices.Equal(listed, expected) {
			t.Fatalf("interface %d: listed are %v, the model has %v", eni, listed, expected)
		}
	}
}

// A Tracker is its model, whatever happens to it.
func TestTrackerMatchesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const capacity = 9
		tracker, err := conntrack.New(capacity)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := tracker.Close(); err != nil {
				t.Error(err)
			}
		})
		m := &modelled{
			tracker: tracker,
			model:   &slowTracker{capacity: capacity, conns: map[slowKey]*slowConn{}, interfaces: map[uint32]*slowInterface{}},
			refs:    map[conntrack.Ref]*slowConn{},
			at:      map[*slowConn]uint32{},
		}
		m.configure(t)
		t.Repeat(map[string]func(*rapid.T){
			"packet 1": m.packet, "packet 2": m.packet, "packet 3": m.packet, "again": m.again, "advance": m.advance,
			"configure": m.configure, "wait": m.wait, "sweep": m.sweep, "": m.look,
		})
	})
}
