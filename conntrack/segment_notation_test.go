package conntrack_test

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"vswitch/conntrack"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// flowBetween returns the flow of a protocol from a, 10.0.1.10, to b, 10.0.2.20:
// from port 40000 to 22, or the echo requests of identifier 7.
func flowBetween(p policy.Protocol) wire.FiveTuple {
	flow := wire.FiveTuple{
		Src: wire.AddrFrom(netip.MustParseAddr("10.0.1.10")), Dst: wire.AddrFrom(netip.MustParseAddr("10.0.2.20")), Protocol: uint8(p),
	}
	switch {
	case p.HasPorts():
		flow.SrcPort, flow.DstPort = 40000, 22
	case p.HasTypes():
		flow.SrcPort, flow.DstPort = 7, 8<<8
	}
	return flow
}

// protocols are those that the notation knows besides TCP.
var protocols = map[string]policy.Protocol{"udp": policy.UDP, "icmp": policy.ICMP, "icmpv6": policy.ICMPv6, "esp": 50}

// segment reads a TCP segment: who sends it, its flags, and what is not at its
// default; or a packet of another protocol:
//
//	a S seq=1000 ack=0 win=64240 len=0 scale=7
//	b udp
//
// The flags are the first letters of FIN SYN RST PSH ACK URG ECE CWR. Without
// scale= a SYN has no window scale option.
func segment(t reporter, text string) *wire.Frame {
	t.Helper()
	words := strings.Fields(text)
	if len(words) < 2 || words[0] != "a" && words[0] != "b" {
		t.Fatalf("segment %q: want who sends it and its flags", text)
	}
	f := &wire.Frame{Tuple: flowBetween(policy.TCP), Kind: wire.KindIPv4, TCP: wire.TCP{Window: 64240, Scale: -1}}
	protocol, other := protocols[words[1]]
	if other {
		f = &wire.Frame{Tuple: flowBetween(protocol), Kind: wire.KindIPv4}
	}
	if words[0] == "b" {
		f.Tuple = f.Tuple.Reverse()
	}
	if other {
		return f
	}
	for _, letter := range words[1] {
		bit := strings.IndexRune("FSRPAUEC", letter)
		if bit < 0 {
			t.Fatalf("segment %q: unknown flag %c", text, letter)
		}
		f.TCP.Flags |= 1 << bit
	}
	for _, word := range words[2:] {
		name, value, _ := strings.Cut(word, "=")
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			t.Fatalf("segment %q: %v", text, err)
		}
		switch name {
		case "seq":
			f.TCP.Seq = uint32(n)
		case "ack":
			f.TCP.Ack = uint32(n)
		case "win":
			f.TCP.Window = uint16(n)
		case "len":
			f.TCP.Length = int(n)
		case "scale":
			f.TCP.Scale = int8(n)
		default:
			t.Fatalf("segment %q: unknown field %s", text, name)
		}
	}
	return f
}

// A conversation takes segments into two Trackers: by Track alone, and by
// Advance where that takes them, as behind a flow cache. It fails as soon as the
// two differ, as Peek differs from Track, or as either contradicts itself.
type conversation struct {
	t         reporter
	slow, own *conntrack.Tracker // own is asked by Advance first
	ref       conntrack.Ref      // of the connection in own
	now       int64
}

// eni is the interface of a conversation.
const eni = 3

// newTracker returns a Tracker that lives as long as the test, with one
// interface, eni.
func newTracker(t testing.TB, capacity int, l conntrack.Limits) *conntrack.Tracker {
	t.Helper()
	tracker, err := conntrack.New(capacity)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tracker.Close(); err != nil {
			t.Error(err)
		}
	})
	tracker.Configure(eni, l)
	return tracker
}

func newConversation(t testing.TB, l conntrack.Limits) *conversation {
	return &conversation{t: t, slow: newTracker(t, 16, l), own: newTracker(t, 16, l), now: int64(time.Hour)}
}

// run takes the lines of a table: one segment each and, behind a bar, what must
// come of it.
//
//	new STATE     it belongs to no connection, and opens one that is now in STATE
//	pass STATE    it passes and refreshes the timeout
//	ignore STATE  it passes and refreshes nothing; STATE is what it was
//	end           it passes and ends the connection
//	drop REASON   it is dropped, without any effect
//
// A second passes before each segment. "wait 59s" lets time pass, "opener b"
// says who has opened the connection.
func (c *conversation) run(lines string) {
	c.t.Helper()
	for line := range strings.Lines(lines) {
		text, want, _ := strings.Cut(strings.TrimSpace(line), "|")
		text, want = strings.TrimSpace(text), strings.TrimSpace(want)
		switch verb, object, _ := strings.Cut(text, " "); verb {
		case "":
		case "wait":
			d, err := time.ParseDuration(object)
			if err != nil {
				c.t.Fatal(err)
			}
			c.now += int64(d)
		case "opener":
			if got := c.opener(); got != object {
				c.t.Fatalf("%s: it is %s", text, got)
			}
		default:
			c.now += int64(time.Second)
			if got := c.take(segment(c.t, text)); got != want {
				c.t.Fatalf("%s\n got: %s\nwant: %s", text, got, want)
			}
		}
	}
}

// opener returns who has opened the connection, a or b.
func (c *conversation) opener() string {
	var out [2]conntrack.Conn
	switch n, _ := c.slow.List(eni, 0, out[:], c.now); {
	case n != 1:
		return fmt.Sprintf("none of %d connections", n)
	case out[0].Tuple == flowBetween(policy.TCP):
		return "a"
	}
	return "b"
}

// take puts one frame through both Trackers and returns what came of it, in the
// words of run.
func (c *conversation) take(f *wire.Frame) string {
	c.t.Helper()
	words, _ := c.track(c.slow, f)
	was := c.own.Image(eni, f.Tuple)
	advanced := c.own.Advance(c.ref, f, c.now)
	is := c.own.Image(eni, f.Tuple)
	switch {
	case !advanced && is != was:
		c.t.Fatalf("Advance returned false and changed\n%+v to\n%+v", was, is)
	case advanced && words != "pass "+is.State().String():
		c.t.Fatalf("Advance took a frame that Track says of: %s", words)
	case !advanced:
		_, c.ref = c.track(c.own, f)
	}
	if one, other := c.slow.Image(eni, f.Tuple), c.own.Image(eni, f.Tuple); one != other {
		c.t.Fatalf("Advance (%v) and Track lead to different connections:\n%+v\n%+v", advanced, other, one)
	}
	for _, tracker := range []*conntrack.Tracker{c.slow, c.own} {
		if err := tracker.Check(); err != nil {
			c.t.Fatal(err)
		}
	}
	return words
}

// track puts a frame through one Tracker, as decide does when the rules allow
// everything.
func (c *conversation) track(t *conntrack.Tracker, f *wire.Frame) (string, conntrack.Ref) {
	c.t.Helper()
	was := t.Image(eni, f.Tuple)
	foreseen, why := t.Peek(eni, f, c.now)
	if is := t.Image(eni, f.Tuple); is != was {
		c.t.Fatalf("Peek changed\n%+v to\n%+v", was, is)
	}
	outcome, ref, reason := t.Track(eni, f, c.now)
	if outcome != foreseen || reason != why {
		c.t.Fatalf("Peek: %v %v, Track: %v %v", foreseen, why, outcome, reason)
	}
	is := t.Image(eni, f.Tuple)
	switch outcome {
	case conntrack.Tracked:
		switch {
		case ref == conntrack.Ref{}:
			c.t.Fatal("the Ref of a tracked packet says that it is untracked")
		case is == conntrack.Image{}:
			return "end", ref
		case is.Refreshed(was), is.State() != was.State(): // a new state's timeout may end when the old one's would have
			return "pass " + is.State().String(), ref
		}
		return "ignore " + is.State().String(), ref
	case conntrack.Refused:
		if is != was {
			c.t.Fatalf("a dropped segment changed\n%+v to\n%+v", was, is)
		}
		return "drop " + strings.ToLower(strings.TrimPrefix(reason.String(), "CONNTRACK_")), ref
	}
	ref, ok := t.Insert(eni, f, c.now)
	if !ok {
		return "full", ref
	}
	if f.TCP.Flags&wire.RST != 0 {
		return "new", ref
	}
	return "new " + t.Image(eni, f.Tuple).State().String(), ref
}
