package conntrack_test

import (
	"encoding/binary"
	"testing"
	"time"

	"vswitch/conntrack"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// sequenceStep is how many bytes of fuzz input make one step.
const sequenceStep = 12

// fuzzFrame returns the packet of a step: byte 0 is the flow and the sender, byte
// 1 the TCP flags, 2 and 3 are the length, 4 to 7 the sequence number, 8 to 11 the
// acknowledgement. The fourth flow is UDP's, the others are TCP's.
func fuzzFrame(b []byte) *wire.Frame {
	f := numbered(policy.TCP, int(b[0]&3))
	if b[0]&3 == 3 {
		f = numbered(policy.UDP, 3)
	}
	f.TCP = wire.TCP{
		Flags: b[1], Length: int(binary.BigEndian.Uint16(b[2:])), Window: binary.BigEndian.Uint16(b[2:]) ^ 0xffff,
		Seq: binary.BigEndian.Uint32(b[4:]), Ack: binary.BigEndian.Uint32(b[8:]), Scale: int8(b[0]>>3&15) - 1,
	}
	if b[0]&4 != 0 {
		f.Tuple = f.Tuple.Reverse()
	}
	return f
}

// FuzzSequence takes any segments in, in any order and state: flags that Parse
// would not let through, too. Whatever comes, nothing panics, indexes and counts
// agree, Advance is Track, no drop has an effect, and when nothing more comes
// every connection is gone within the longest timeout of its state.
func FuzzSequence(f *testing.F) {
	seed := func(lines ...string) {
		var data []byte
		for _, line := range lines {
			s := segment(f, line)
			step := make([]byte, sequenceStep)
			if s.Tuple.SrcPort == 22 {
				step[0] |= 4
			}
			step[1] = s.TCP.Flags
			binary.BigEndian.PutUint16(step[2:], uint16(s.TCP.Length))
			binary.BigEndian.PutUint32(step[4:], s.TCP.Seq)
			binary.BigEndian.PutUint32(step[8:], s.TCP.Ack)
			data = append(data, step...)
		}
		f.Add(data)
	}
	seed("a S seq=1000", "b SA seq=5000 ack=1001", "a A seq=1001 ack=5001", "a FA seq=1001 ack=5001", "b FA seq=5001 ack=1002", "a A seq=1002 ack=5002", "a S seq=9000")
	seed("a S seq=1000", "b S seq=5000", "a SA seq=1000 ack=5001", "b SA seq=5000 ack=1001", "a R seq=1001")
	seed("a A seq=1000 ack=5000", "a S seq=9000", "b SA seq=70000 ack=9001", "a A seq=9001 ack=70001 len=100", "a RA seq=9101 ack=70001")
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 3 // connections, of four flows
		l := conntrack.Limits{Max: limit, TCPEstablished: 300 * time.Second}
		c := newConversation(t, l)
		refs := map[wire.FiveTuple]conntrack.Ref{}
		for ; len(data) >= sequenceStep; data = data[sequenceStep:] {
			frame := fuzzFrame(data)
			c.now += int64(time.Second) + int64(data[0]>>7)*int64(data[1])*int64(time.Second)
			flow := frame.Tuple
			if data[0]&4 != 0 {
				flow = flow.Reverse()
			}
			c.ref = refs[flow]
			c.take(frame)
			refs[flow] = c.ref
			if u := c.slow.Usage(eni); u.Tracked > limit {
				t.Fatalf("%d connections where %d may be", u.Tracked, limit)
			}
			for _, conn := range list(c.slow, c.now) {
				if most := longest(conn.State, l); conn.Left > most {
					t.Fatalf("%v is %v, and idles out in %v", conn.Tuple, conn.State, conn.Left)
				}
			}
		}
		c.now += int64(l.TCPEstablished) + tick
		for _, tracker := range []*conntrack.Tracker{c.slow, c.own} {
			if tracker.Sweep(c.now, 10); tracker.Len() != 0 {
				t.Fatalf("%d connections have outlived all timeouts", tracker.Len())
			}
			if err := tracker.Check(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// list returns the connections of eni.
func list(tracker *conntrack.Tracker, now int64) []conntrack.Conn {
	out := make([]conntrack.Conn, 16)
	n, _ := tracker.List(eni, 0, out, now)
	return out[:n]
}

// longest returns for how long a connection in state s may be idle.
func longest(s conntrack.State, l conntrack.Limits) time.Duration {
	switch s {
	case conntrack.SynSent, conntrack.SynReceived:
		return time.Minute
	case conntrack.Established:
		return l.TCPEstablished
	case conntrack.Closing, conntrack.Closed:
		return 2 * time.Minute
	}
	return 3 * time.Minute
}
