package conntrack_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vswitch/conntrack"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// numbered returns a packet of the n-th of many flows of a protocol.
func numbered(p policy.Protocol, n int) *wire.Frame {
	f := &wire.Frame{Tuple: flowBetween(p), Kind: wire.KindIPv4, TCP: wire.TCP{Flags: wire.SYN, Scale: -1, Window: 64240}}
	f.Tuple.Src = wire.AddrFrom4([]byte{10, byte(n >> 32), byte(n >> 24), byte(n >> 16)})
	f.Tuple.SrcPort = uint16(n)
	return f
}

// insert makes n flows from the first one on connections of an interface, which
// must have room for them.
func insert(t testing.TB, tracker *conntrack.Tracker, eni uint32, first, n int, now int64) {
	t.Helper()
	for i := first; i < first+n; i++ {
		if _, ok := tracker.Insert(eni, numbered(policy.UDP, i), now); !ok {
			t.Fatalf("flow %d: no room", i)
		}
	}
}

// expectUsage fails unless an interface's usage is as given and the Tracker
// consistent.
func expectUsage(t testing.TB, tracker *conntrack.Tracker, eni uint32, want conntrack.Usage) {
	t.Helper()
	if got := tracker.Usage(eni); got != want {
		t.Errorf("usage is %+v, want %+v", got, want)
	}
	if err := tracker.Check(); err != nil {
		t.Error(err)
	}
}

// SEM 2.5, CT-17: at the allowance new flows are refused and those that there are
// go on.
func TestAllowanceIsExact(t *testing.T) {
	tracker := newTracker(t, 100, conntrack.Limits{Max: 10})
	tracker.Configure(eni+1, conntrack.Limits{Max: 10})
	now := int64(time.Hour)
	insert(t, tracker, eni, 0, 10, now)
	expectUsage(t, tracker, eni, conntrack.Usage{Tracked: 10, Max: 10})
	for i := 10; i < 13; i++ {
		if ref, ok := tracker.Insert(eni, numbered(policy.UDP, i), now); ok || ref != (conntrack.Ref{}) {
			t.Errorf("flow %d is let in, as %v", i, ref)
		}
	}
	expectUsage(t, tracker, eni, conntrack.Usage{Tracked: 10, Max: 10, Exceeded: 3})
	for i := range 10 {
		if outcome, _, _ := tracker.Track(eni, numbered(policy.UDP, i), now); outcome != conntrack.Tracked {
			t.Errorf("flow %d was given up for another", i)
		}
	}
	insert(t, tracker, eni+1, 0, 10, now) // another interface has an allowance of its own
	expectUsage(t, tracker, eni, conntrack.Usage{Tracked: 10, Max: 10, Exceeded: 3})
	expectUsage(t, tracker, eni+1, conntrack.Usage{Tracked: 10, Max: 10})
}

// Reliability row T6: what has idled out makes room before anything is refused,
// also when it was queued behind others that have not.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	tracker := newTracker(t, 100, conntrack.Limits{Max: 3})
	now := int64(time.Hour)
	insert(t, tracker, eni, 0, 1, now)
	insert(t, tracker, eni, 1, 1, now+int64(20*time.Second))
	insert(t, tracker, eni, 2, 1, now+int64(21*time.Second))
	tracker.Track(eni, numbered(policy.UDP, 0), now+int64(2*time.Second))
	tracker.Track(eni, numbered(policy.UDP, 1), now+int64(25*time.Second))
	for _, step := range []struct {
		at   time.Duration
		fits bool
	}{
		{32 * time.Second, false}, // the first one was used after 2 s
		{33 * time.Second, true},
		{51 * time.Second, false},
		{52 * time.Second, true}, // the third one
		{55 * time.Second, false},
		{56 * time.Second, true}, // the second one
		{57 * time.Second, false},
	} {
		if _, ok := tracker.Insert(eni, numbered(policy.UDP, 100+int(step.at)), now+int64(step.at)); ok != step.fits {
			t.Errorf("after %v: let in %v, want %v", step.at, ok, step.fits)
		}
		if err := tracker.Check(); err != nil {
			t.Fatal(err)
		}
	}
	expectUsage(t, tracker, eni, conntrack.Usage{Tracked: 3, Max: 3, Exceeded: 4})
}

// A lowered allowance ends no connection; new ones wait until there is room.
func TestAllowanceIsLowered(t *testing.T) {
	tracker := newTracker(t, 100, conntrack.Limits{Max: 10})
	now := int64(time.Hour)
	insert(t, tracker, eni, 0, 10, now)
	tracker.Configure(eni, conntrack.Limits{Max: 5})
	expectUsage(t, tracker, eni, conntrack.Usage{Tracked: 10, Max: 5})
	for i := range 4 {
		if outcome, _, _ := tracker.Track(eni, numbered(policy.UDP, i), now+int64(20*time.Second)); outcome != conntrack.Tracked {
			t.Errorf("flow %d has ended", i)
		}
	}
	if _, ok := tracker.Insert(eni, numbered(policy.UDP, 10), now+int64(20*time.Second)); ok {
		t.Error("an eleventh flow is let in where five may be")
	}
	now += int64(31 * time.Second)
	insert(t, tracker, eni, 10, 1, now)
	if _, ok := tracker.Insert(eni, numbered(policy.UDP, 11), now); ok {
		t.Error("a sixth flow is let in where five may be")
	}
	expectUsage(t, tracker, eni, conntrack.Usage{Tracked: 5, Max: 5, Exceeded: 2})
}

// The table is shared: when it is full, what has idled out at any interface makes
// room.
func TestCapacityIsShared(t *testing.T) {
	tracker := newTracker(t, 20, conntrack.Limits{})
	for i := range uint32(10) {
		tracker.Configure(i, conntrack.Limits{})
	}
	now := int64(time.Hour)
	if tracker.Capacity() != 20 {
		t.Errorf("capacity is %d, want 20", tracker.Capacity())
	}
	for i := range 20 {
		insert(t, tracker, uint32(i%10), i, 1, now+int64(i))
	}
	if _, ok := tracker.Insert(eni, numbered(policy.UDP, 20), now); ok {
		t.Error("a flow is let in beyond the capacity")
	}
	expectUsage(t, tracker, eni, conntrack.Usage{Tracked: 2, Max: conntrack.DefaultMax, Exceeded: 1})
	now += int64(31 * time.Second)
	insert(t, tracker, eni, 20, 20, now)
	if tracker.Len() != 20 {
		t.Errorf("there are %d connections, want 20", tracker.Len())
	}
	expectUsage(t, tracker, eni, conntrack.Usage{Tracked: 20, Max: conntrack.DefaultMax, Exceeded: 1})
	expectUsage(t, tracker, eni+1, conntrack.Usage{Max: conntrack.DefaultMax})
}

// One sweep looks at no more than it may, and many get everywhere.
func TestSweepIsBounded(t *testing.T) {
	tracker := newTracker(t, 100_000, conntrack.Limits{})
	now := int64(time.Hour)
	for i := range uint32(50) {
		tracker.Configure(i, conntrack.Limits{})
		insert(t, tracker, i, 0, 200, now)
	}
	now += int64(31 * time.Second)
	left := tracker.Len()
	for sweeps := 0; left > 0; sweeps++ {
		if sweeps > 100 {
			t.Fatalf("%d connections are left after %d sweeps of 300 each", left, sweeps)
		}
		tracker.Sweep(now, 300)
		if n := tracker.Len(); n < left-300 {
			t.Fatalf("one sweep of 300 freed %d", left-n)
		}
		left = tracker.Len()
		if err := tracker.Check(); err != nil {
			t.Fatal(err)
		}
	}
}

// A backlog that was never swept gives way bit by bit, and what is used lives on.
func TestBacklogMakesRoom(t *testing.T) {
	const backlog = 3 * conntrack.SweepPerInsert
	tracker := newTracker(t, backlog, conntrack.Limits{Max: backlog})
	now := int64(time.Hour)
	insert(t, tracker, eni, 0, backlog, now)
	now += int64(20 * time.Second)
	for i := range backlog - 1 {
		tracker.Track(eni, numbered(policy.UDP, i), now)
	}
	now += int64(15 * time.Second) // only the last one has idled out
	refused := 0
	for {
		if _, ok := tracker.Insert(eni, numbered(policy.UDP, backlog), now); ok {
			break
		}
		if refused++; refused > 3 {
			t.Fatal("an idle connection makes no room")
		}
		if err := tracker.Check(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range backlog - 1 {
		if outcome, _ := tracker.Peek(eni, numbered(policy.UDP, i), now); outcome != conntrack.Tracked {
			t.Fatalf("flow %d has ended", i)
		}
	}
}

func TestRemove(t *testing.T) {
	tracker := newTracker(t, 100, conntrack.Limits{Max: 20})
	tracker.Configure(eni+1, conntrack.Limits{})
	now := int64(time.Hour)
	insert(t, tracker, eni, 0, 20, now)
	insert(t, tracker, eni+1, 0, 20, now)
	ref, _ := tracker.Insert(eni+1, numbered(policy.UDP, 20), now)
	if _, ok := tracker.Insert(eni, numbered(policy.UDP, 20), now); ok {
		t.Error("the allowance is not held")
	}
	tracker.Remove(eni)
	expectUsage(t, tracker, eni, conntrack.Usage{})
	expectUsage(t, tracker, eni+1, conntrack.Usage{Tracked: 21, Max: conntrack.DefaultMax})
	if outcome, _, _ := tracker.Track(eni, numbered(policy.UDP, 0), now); outcome != conntrack.NewFlow {
		t.Error("a connection has outlived its interface")
	}
	if !tracker.Advance(ref, numbered(policy.UDP, 20), now) {
		t.Error("a connection of another interface is gone")
	}
	tracker.Configure(eni, conntrack.Limits{Max: 5})
	insert(t, tracker, eni, 0, 5, now)
	expectUsage(t, tracker, eni, conntrack.Usage{Tracked: 5, Max: 5})
}

// A handle that nobody configured tracks nothing, and does no harm.
func TestUnknownInterface(t *testing.T) {
	tracker := newTracker(t, 10, conntrack.Limits{Strict: true})
	for _, unknown := range []uint32{0, eni - 1, eni + 1, ^uint32(0)} {
		f := numbered(policy.TCP, 1)
		f.TCP.Flags = wire.ACK
		if outcome, ref, reason := tracker.Track(unknown, f, 0); outcome != conntrack.NewFlow || ref != (conntrack.Ref{}) || reason != policy.None {
			t.Errorf("interface %d: Track returns %v %v %v", unknown, outcome, ref, reason)
		}
		if ref, ok := tracker.Insert(unknown, f, 0); ok || ref != (conntrack.Ref{}) {
			t.Errorf("interface %d: Insert returns %v %v", unknown, ref, ok)
		}
		if n, next := tracker.List(unknown, 0, make([]conntrack.Conn, 1), 0); n != 0 || next != 0 {
			t.Errorf("interface %d: List returns %d %d", unknown, n, next)
		}
		tracker.Remove(unknown)
		expectUsage(t, tracker, unknown, conntrack.Usage{})
	}
}

// The same flow at two interfaces is two connections (SEM 2.7).
func TestInterfacesAreApart(t *testing.T) {
	tracker := newTracker(t, 10, conntrack.Limits{})
	tracker.Configure(eni+1, conntrack.Limits{})
	f := segment(t, "a S seq=1000")
	insertOne := func(eni uint32) conntrack.Ref {
		ref, ok := tracker.Insert(eni, f, 0)
		if !ok {
			t.Fatal("no room")
		}
		return ref
	}
	first := insertOne(eni)
	if outcome, _, _ := tracker.Track(eni+1, f, 0); outcome != conntrack.NewFlow {
		t.Error("a connection is known at another interface")
	}
	if second := insertOne(eni + 1); second == first {
		t.Error("two connections have one Ref")
	}
	if tracker.Related(eni, f.Tuple, 0) != true || tracker.Related(eni+2, f.Tuple, 0) != false {
		t.Error("an ICMP error is related at the wrong interface")
	}
}

// Reliability row T4: an ICMP error is related to a live connection, in either
// direction, and changes nothing.
func TestRelated(t *testing.T) {
	c := newConversation(t, conntrack.Limits{})
	related := func(want bool) {
		t.Helper()
		tuple := flowBetween(policy.TCP)
		was := c.slow.Image(eni, tuple)
		if c.slow.Related(eni, tuple, c.now) != want || c.slow.Related(eni, tuple.Reverse(), c.now) != want {
			t.Errorf("related is not %v", want)
		}
		if c.slow.Image(eni, tuple) != was {
			t.Error("an ICMP error has an effect")
		}
	}
	related(false)
	c.run(`a S seq=1000 | new syn-sent`)
	related(true)
	c.run(`b SA seq=5000 ack=1001 | pass syn-received
		a A  seq=1001 ack=5001 | pass established`)
	related(true)
	c.run(closing)
	related(false)
}

// A Ref finds its connection and no other, however often the slot is used.
func TestStaleRefs(t *testing.T) {
	tracker := newTracker(t, 1, conntrack.Limits{})
	tracker.Configure(eni+1, conntrack.Limits{})
	f := segment(t, "a udp")
	now := int64(0)
	var stale []conntrack.Ref
	expect := func(ref conntrack.Ref) {
		t.Helper()
		if ref != (conntrack.Ref{}) && !tracker.Advance(ref, f, now) {
			t.Errorf("%v does not find its connection", ref)
		}
		was := tracker.Image(eni, f.Tuple)
		for _, old := range append(stale, conntrack.Ref{}) {
			if tracker.Advance(old, f, now) {
				t.Errorf("%v finds a connection after its end", old)
			}
		}
		if tracker.Image(eni, f.Tuple) != was {
			t.Error("a stale Ref has an effect")
		}
	}
	use := func(f *wire.Frame) {
		t.Helper()
		ref, ok := tracker.Insert(eni, f, now)
		if !ok {
			t.Fatal("no room")
		}
		if f.Tuple.Protocol == uint8(policy.UDP) {
			expect(ref)
		}
		stale = append(stale, ref)
	}
	expect(conntrack.Ref{})
	use(f) // ends by idling out, and is swept
	now += int64(31 * time.Second)
	expect(conntrack.Ref{})
	tracker.Sweep(now, 10)
	expect(conntrack.Ref{})
	use(f) // ends by another one in its place
	use(f) // ends by idling out, and the slot is used again at once
	now += int64(31 * time.Second)
	use(f) // ends with its interface
	tracker.Remove(eni)
	expect(conntrack.Ref{})
	tracker.Configure(eni, conntrack.Limits{})
	use(f)
	now += int64(31 * time.Second)

	syn := segment(t, "a S seq=1000") // ends by a reset
	use(syn)
	_, ref, _ := tracker.Track(eni, segment(t, "a R seq=1001"), now)
	if ref == (conntrack.Ref{}) {
		t.Error("the Ref of a reset says that it is untracked")
	}
	stale = append(stale, ref)
	expect(conntrack.Ref{})
	reset, ok := tracker.Insert(eni, segment(t, "a R seq=1001"), now) // opens none
	if !ok || reset == (conntrack.Ref{}) {
		t.Errorf("a reset without a connection: %v %v", reset, ok)
	}
	stale = append(stale, reset)
	expect(conntrack.Ref{})
	use(f)
}

// Versions wrap without becoming that of no connection.
func TestVersionsWrap(t *testing.T) {
	tracker := newTracker(t, 10, conntrack.Limits{})
	tracker.SetVersion(^uint32(0) - 3)
	seen := map[uint32]bool{0: true, ^uint32(0): true}
	for i := range 5 {
		f := numbered(policy.UDP, i)
		ref, ok := tracker.Insert(eni, f, 0)
		if !ok || seen[ref.Version] || !tracker.Advance(ref, f, 0) {
			t.Errorf("connection %d is %v, %v", i, ref, ok)
		}
		seen[ref.Version] = true
		if err := tracker.Check(); err != nil {
			t.Error(err)
		}
	}
}

// A flow that is a connection already gets a new one in its place.
func TestInsertTwice(t *testing.T) {
	tracker := newTracker(t, 10, conntrack.Limits{Max: 1})
	f := segment(t, "a S seq=1000")
	old, _ := tracker.Insert(eni, f, 0)
	ref, ok := tracker.Insert(eni, segment(t, "b A seq=5000 ack=1001"), 0)
	if !ok || ref == old || tracker.Image(eni, f.Tuple).State() != conntrack.Established {
		t.Errorf("the second one is %v %v in state %v, the first was %v", ref, ok, tracker.Image(eni, f.Tuple).State(), old)
	}
	expectUsage(t, tracker, eni, conntrack.Usage{Tracked: 1, Max: 1})
}

func TestList(t *testing.T) {
	const flows = 2*conntrack.SlotsPerList + 100
	tracker := newTracker(t, 2*flows, conntrack.Limits{})
	tracker.Configure(eni+1, conntrack.Limits{})
	now := int64(time.Hour)
	for i := range flows {
		insert(t, tracker, eni+uint32(i%2), i, 1, now)
	}
	tracker.Track(eni, numbered(policy.UDP, 0), now+int64(10*time.Second))
	reply := numbered(policy.UDP, 2)
	reply.Tuple = reply.Tuple.Reverse()
	tracker.Track(eni, reply, now+int64(20*time.Second))

	all := func(eni uint32, page int, now int64) (conns []conntrack.Conn, calls int) {
		for after, n := uint32(0), 0; calls == 0 || after != 0; calls++ {
			out := make([]conntrack.Conn, page)
			n, after = tracker.List(eni, after, out, now)
			conns = append(conns, out[:n]...)
		}
		return conns, calls
	}
	for _, page := range []int{1000, 7, flows} {
		seen := map[wire.FiveTuple]bool{}
		conns, calls := all(eni, page, now+int64(20*time.Second))
		for _, c := range conns {
			seen[c.Tuple] = true
			want := conntrack.Conn{Tuple: c.Tuple, State: conntrack.Unreplied, Left: 10 * time.Second, ENI: eni}
			switch c.Tuple {
			case numbered(policy.UDP, 0).Tuple:
				want.Left = 20 * time.Second
			case reply.Tuple.Reverse():
				want.State, want.Left = conntrack.Replied, 30*time.Second
			}
			if c != want {
				t.Fatalf("listed as %+v, want %+v", c, want)
			}
		}
		if len(conns) != flows/2 || len(seen) != flows/2 || calls < 3 {
			t.Errorf("pages of %d: %d connections listed, %d of them different, in %d calls", page, len(conns), len(seen), calls)
		}
	}
	if conns, _ := all(eni, 1000, now+int64(35*time.Second)); len(conns) != 2 {
		t.Errorf("%d connections are listed, want the two that have not idled out", len(conns))
	}
	seen := map[conntrack.Conn]bool{}
	for after, more := uint32(0), true; more; more = after != 0 {
		out, n := make([]conntrack.Conn, 1000), 0
		n, after = tracker.ListAll(after, out, now)
		for _, c := range out[:n] {
			seen[c] = true
		}
	}
	if len(seen) != flows {
		t.Errorf("%d connections of all interfaces are listed, want %d", len(seen), flows)
	}
	if conns, _ := all(eni+2, 1000, now); len(conns) != 0 {
		t.Errorf("%d connections of no interface are listed", len(conns))
	}
}

// The opener of a listed connection comes first, whichever has the lower address.
func TestListNamesTheOpenerFirst(t *testing.T) {
	for _, line := range []string{"a udp", "b udp"} {
		tracker := newTracker(t, 1, conntrack.Limits{})
		f := segment(t, line)
		var out [1]conntrack.Conn
		if _, ok := tracker.Insert(eni, f, 0); !ok {
			t.Fatal("no room")
		}
		if n, _ := tracker.List(eni, 0, out[:], 0); n != 1 || out[0].Tuple != f.Tuple {
			t.Errorf("%s: listed as %v", line, out[0].Tuple)
		}
	}
}

func TestStateNames(t *testing.T) {
	for state, want := range map[conntrack.State]string{
		conntrack.SynSent: "syn-sent", conntrack.SynReceived: "syn-received", conntrack.Established: "established",
		conntrack.Closing: "closing", conntrack.Closed: "closed", conntrack.Unreplied: "unreplied", conntrack.Replied: "replied",
		conntrack.Stream: "stream", conntrack.Active: "active", 0: "free", conntrack.Active + 1: "invalid",
	} {
		if got := state.String(); got != want {
			t.Errorf("state %d is called %s, want %s", state, got, want)
		}
	}
}

func TestNewRefusesCapacity(t *testing.T) {
	for _, capacity := range []int{-1, 0, 1<<30 + 1} {
		if _, err := conntrack.New(capacity); err == nil {
			t.Errorf("a capacity of %d is accepted", capacity)
		}
	}
}

// An address space too small for all of the table, or for its second part, is an
// error, and leaves nothing mapped.
func TestNewWithoutMemory(t *testing.T) {
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_AS, &was); err != nil {
		t.Fatal(err)
	}
	used := addressSpace(t)
	for _, spare := range []uint64{16 << 30, 98 << 30} { // of 96 GiB for connections and 4 for buckets
		if err := unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: min(used+spare, was.Max), Max: was.Max}); err != nil {
			t.Fatal(err)
		}
		_, err := conntrack.New(1 << 30)
		if err := unix.Setrlimit(unix.RLIMIT_AS, &was); err != nil {
			t.Fatal(err)
		}
		if err == nil {
			t.Errorf("100 GiB fit into %d bytes", spare)
		}
		if left := addressSpace(t); left > used+1<<30 {
			t.Errorf("of %d bytes, %d stay mapped", spare, left-used)
		}
	}
}

// addressSpace returns how many bytes the process has mapped.
func addressSpace(t *testing.T) uint64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var pages uint64
	if _, err := fmt.Sscan(string(text), &pages); err != nil {
		t.Fatal(err)
	}
	return pages * uint64(unix.Getpagesize())
}

// The memory of many connections goes back when the last one is swept.
func TestMemoryIsGivenBack(t *testing.T) {
	tracker := newTracker(t, 50_000, conntrack.Limits{})
	now := int64(time.Hour)
	for round := range 3 {
		insert(t, tracker, eni, 0, 50_000, now)
		if pages := tracker.Pages(); pages < 50_000*96/4096 {
			t.Fatalf("round %d: 50,000 connections are in %d pages", round, pages)
		}
		now += int64(31 * time.Second)
		tracker.Sweep(now, 100_000)
		if pages := tracker.Pages(); tracker.Len() != 0 || pages > 4 {
			t.Errorf("round %d: %d connections are in %d pages", round, tracker.Len(), pages)
		}
		if err := tracker.Check(); err != nil {
			t.Error(err)
		}
	}
}

// Reliability row T7: no pattern of addresses and ports makes chains long.
func TestChainsAreShort(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, tuple := range map[string]func(i int) wire.FiveTuple{
		"one client's ports": func(i int) wire.FiveTuple {
			f := flowBetween(policy.TCP)
			f.SrcPort, f.DstPort = uint16(i), uint16(i>>16)
			return f
		},
		"addresses in a row": func(i int) wire.FiveTuple {
			f := flowBetween(policy.TCP)
			f.Src = wire.AddrFrom4([]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			return f
		},
		"both addresses and both ports in step": func(i int) wire.FiveTuple {
			f := flowBetween(policy.TCP)
			f.Src = wire.AddrFrom4([]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			f.Dst = wire.AddrFrom4([]byte{11, byte(i >> 16), byte(i >> 8), byte(i)})
			f.SrcPort, f.DstPort = uint16(i), uint16(i)
			return f
		},
		"addresses 2^k apart": func(i int) wire.FiveTuple {
			f := flowBetween(policy.TCP)
			f.Src = wire.AddrFrom4([]byte{byte(i), byte(i >> 8), byte(i >> 16), 1})
			return f
		},
		"IPv6 interface identifiers": func(i int) wire.FiveTuple {
			f := flowBetween(policy.TCP)
			f.Src, f.Dst = wire.Addr{0: 0xfd, 7: byte(i), 15: byte(i >> 8)}, wire.Addr{0: 0xfd, 6: byte(i >> 16), 14: 1}
			return f
		},
		"random": func(int) wire.FiveTuple {
			f := flowBetween(policy.TCP)
			f.SrcPort, f.DstPort = uint16(random.Uint32()), uint16(random.Uint32())
			return f
		},
	} {
		tracker := newTracker(t, 1<<17, conntrack.Limits{})
		for i := range 1 << 17 {
			f := &wire.Frame{Tuple: tuple(i), TCP: wire.TCP{Flags: wire.SYN}}
			if _, ok := tracker.Insert(eni, f, 0); !ok {
				t.Fatalf("%s: no room for flow %d", name, i)
			}
		}
		if n := tracker.LongestChain(); n > 16 {
			t.Errorf("%s: a chain of %d", name, n)
		}
	}
}

// A connection keeps its mark for as long as it lives, and no other has it.
func TestMark(t *testing.T) {
	const highest = conntrack.MaxInterface
	tracker := newTracker(t, 2, conntrack.Limits{})
	tracker.Configure(highest, conntrack.Limits{})
	now := int64(time.Hour)
	first, _ := tracker.Insert(eni, numbered(policy.UDP, 1), now)
	second, _ := tracker.Insert(highest, numbered(policy.UDP, 1), now)
	tracker.Mark(first, 7)
	tracker.Mark(second, 65535)
	tracker.Mark(conntrack.Ref{}, 9)
	tracker.Advance(first, numbered(policy.UDP, 1), now+1)
	for ref, want := range map[conntrack.Ref]uint16{first: 7, second: 65535, {}: 0} {
		if got := tracker.Marked(ref); got != want {
			t.Errorf("%v is marked %d, want %d", ref, got, want)
		}
	}
	tracker.Remove(eni)
	again, ok := tracker.Insert(highest, numbered(policy.UDP, 2), now)
	tracker.Mark(first, 8)
	if !ok || again.Slot != first.Slot || tracker.Marked(first) != 0 || tracker.Marked(again) != 0 || tracker.Marked(second) != 65535 {
		t.Error("a new connection has the mark of the one before it")
	}
}
