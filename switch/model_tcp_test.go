package vswitch_test

import (
	"fmt"
	"time"

	"vswitch/conntrack"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// A tcpOracle says what a TCP segment means for its connection. Restating the
// window to the byte, for every order in which two ends can begin, reset and
// reopen, would be the same program again; so this one sub-decision is taken
// from package conntrack, whose own tests hold it against the RFCs. What the
// model does not take from there: which connection a segment belongs to, whether
// there is one, the timeouts, the allowance, strict tracking, and all rules. Every
// connection is kept alone, under a handle of its own, in a Tracker whose clock
// stands as good as still and which never refuses one.
type tcpOracle struct {
	tracker *conntrack.Tracker
	unused  []uint32 // handles
	page    [1]conntrack.Conn
}

// A tcpConn is one connection of the oracle.
type tcpConn struct {
	handle uint32
	ref    conntrack.Ref
	clock  int64 // of this connection alone: a second past the segment that refreshed it last
	left   time.Duration
	state  string
	opener wire.FiveTuple
}

func newTCPOracle() *tcpOracle {
	t, err := conntrack.New(1 << 14)
	if err != nil {
		panic(err)
	}
	o := &tcpOracle{tracker: t}
	for h := uint32(1 << 9); h > 0; h-- {
		o.unused = append(o.unused, h)
	}
	return o
}

func (o *tcpOracle) close() error { return o.tracker.Close() }

// open begins the connection of a segment, which is no reset.
func (o *tcpOracle) open(f *wire.Frame) *tcpConn {
	last := len(o.unused) - 1
	c := &tcpConn{handle: o.unused[last], clock: int64(time.Second)}
	o.unused = o.unused[:last]
	o.tracker.Configure(c.handle, conntrack.Limits{})
	var ok bool
	if c.ref, ok = o.tracker.Insert(c.handle, f, 0); !ok {
		panic("the oracle has no room")
	}
	o.look(c)
	return c
}

// step takes a segment into a connection. It returns conntrack's verdict, whether
// the connection is still there, and whether the segment refreshed its timeout.
func (o *tcpOracle) step(c *tcpConn, f *wire.Frame) (outcome conntrack.Outcome, r policy.Reason, alive, refreshed bool) {
	o.look(c)
	left := c.left
	outcome, _, r = o.tracker.Track(c.handle, f, c.clock)
	if outcome == conntrack.NewFlow || !o.look(c) {
		return outcome, r, false, false
	}
	if refreshed = c.left != left; refreshed {
		c.clock += int64(time.Second)
	}
	return outcome, r, true, refreshed
}

// look reads the state of a connection, and reports whether it is there.
func (o *tcpOracle) look(c *tcpConn) bool {
	n, _ := o.tracker.List(c.handle, c.ref.Slot-1, o.page[:], c.clock)
	if n == 0 {
		return false
	}
	c.left, c.state, c.opener = o.page[0].Left, o.page[0].State.String(), o.page[0].Tuple
	return true
}

// forget ends a connection; nil is none.
func (o *tcpOracle) forget(c *tcpConn) {
	if c != nil {
		o.tracker.Remove(c.handle)
		o.unused = append(o.unused, c.handle)
	}
}

// continuesTCP takes a segment into its connection, as continues does.
func (m *model) continuesTCP(e *modelENI, c *modelConn, f *wire.Frame) (known bool, r policy.Reason) {
	outcome, r, alive, refreshed := m.tcp.step(c.tcp, f)
	if !alive {
		m.remove(e, c) // a reset, or a SYN after the end
		return outcome != conntrack.NewFlow, r
	}
	if c.tuple != c.tcp.opener { // the other end has opened it anew
		delete(e.conns, c.tuple)
		c.tuple = c.tcp.opener
		e.conns[c.tuple] = c
	}
	c.state = c.tcp.state
	if refreshed {
		m.touch(e, c)
	}
	if outcome == conntrack.Refused && refreshed {
		panic(fmt.Sprintf("%s: a refused segment refreshed its connection (SEM 2.4)", f.Tuple))
	}
	return true, r
}
