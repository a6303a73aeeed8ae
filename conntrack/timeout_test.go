package conntrack_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"vswitch/conntrack"
	"vswitch/internal/wire"
)

// tick is the unit in which connections idle out: they may live that much longer.
const tick = 1 << 26

// SEM 2.3, CT-07 to CT-16. A second passes before each packet.
func TestIdleTimeouts(t *testing.T) {
	for _, test := range []struct {
		name   string
		limits conntrack.Limits
		lines  string
	}{
		{"CT-07: UDP, an answer after 29 s", conntrack.Limits{}, `
			a udp | new unreplied
			wait 28s
			b udp | pass replied`},
		{"CT-08: UDP, an answer after 31 s is a new flow", conntrack.Limits{}, `
			a udp | new unreplied
			wait 30s
			b udp | new unreplied`},
		{"UDP, an answer after exactly 30 s", conntrack.Limits{}, `
			a udp | new unreplied
			wait 29s
			b udp | pass replied`},
		{"UDP, many answers to one request are no stream", conntrack.Limits{}, `
			a udp | new unreplied
			b udp | pass replied
			b udp | pass replied
			wait 30s
			b udp | new unreplied`},
		{"UDP, requests without an answer are no stream", conntrack.Limits{}, `
			a udp | new unreplied
			a udp | pass unreplied
			a udp | pass unreplied
			wait 30s
			a udp | new unreplied`},
		{"CT-09: a UDP stream, the server sends after 170 s", conntrack.Limits{}, `
			a udp | new unreplied
			b udp | pass replied
			a udp | pass stream
			b udp | pass stream
			wait 169s
			b udp | pass stream`},
		{"CT-10: a UDP stream, the server sends after 181 s", conntrack.Limits{}, `
			a udp | new unreplied
			b udp | pass replied
			a udp | pass stream
			b udp | pass stream
			wait 180s
			b udp | new unreplied`},
		{"CT-11: UDP timeout of 60 s", conntrack.Limits{UDP: 60 * time.Second}, `
			a udp | new unreplied
			b udp | pass replied
			wait 49s
			b udp | pass replied
			wait 60s
			b udp | new unreplied`},
		{"UDP stream timeout of 60 s", conntrack.Limits{UDPStream: 60 * time.Second}, `
			a udp | new unreplied
			b udp | pass replied
			a udp | pass stream
			wait 59s
			a udp | pass stream
			wait 60s
			a udp | new unreplied`},
		{"CT-12: TCP established timeout of 60 s", conntrack.Limits{TCPEstablished: 60 * time.Second}, handshake + `
			wait 59s
			b A  seq=5001 ack=1001 len=10 | pass established
			wait 60s
			b A  seq=5011 ack=1001 len=10 | new established
			opener b`},
		{"CT-13: the same in strict mode", conntrack.Limits{TCPEstablished: 60 * time.Second, Strict: true}, handshake + `
			wait 60s
			a A  seq=1001 ack=5001 len=10 | drop strict`},
		{"CT-14: profile nitrov6", conntrack.Limits{TCPEstablished: 350 * time.Second}, handshake + `
			wait 349s
			a A  seq=1001 ack=5001        | pass established
			wait 350s
			a A  seq=1001 ack=5001        | new established`},
		{"TCP established, five days", conntrack.Limits{}, handshake + `
			wait 431999s
			a A  seq=1001 ack=5001        | pass established
			wait 432000s
			a A  seq=1001 ack=5001        | new established`},
		{"TCP before it is established, 60 s", conntrack.Limits{}, `
			a S  seq=1000          | new syn-sent
			wait 59s
			a S  seq=1000          | pass syn-sent
			wait 59s
			b SA seq=5000 ack=1001 | pass syn-received
			wait 60s
			a A  seq=1001 ack=5001 | new established`},
		{"repeated segments of the handshake do not keep it alive", conntrack.Limits{}, `
			a S  seq=1000          | new syn-sent
			b SA seq=5000 ack=1001 | pass syn-received
			wait 40s
			a S  seq=1000          | ignore syn-received
			b SA seq=5000 ack=1001 | ignore syn-received
			wait 17s
			b SA seq=5000 ack=1001 | ignore syn-received
			wait 1s
			b SA seq=5000 ack=1001 | new syn-received`},
		{"TCP after a FIN, 120 s", conntrack.Limits{}, handshake + `
			a FA seq=1001 ack=5001 | pass closing
			wait 119s
			b A  seq=5001 ack=1002 | pass closing
			wait 120s
			b A  seq=5001 ack=1002 | new established`},
		{"what is dropped keeps nothing alive", conntrack.Limits{TCPEstablished: 60 * time.Second}, handshake + `
			wait 30s
			a A  seq=3000000000 ack=5001 len=10 | drop window
			a R  seq=3000000000                 | drop window
			a S  seq=3000000000                 | ignore established
			wait 26s
			a R  seq=3000000000                 | drop window
			a A  seq=1001 ack=5001              | new established`},
		{"ICMP echo, 30 s", conntrack.Limits{UDP: 60 * time.Second}, `
			a icmp | new unreplied
			wait 29s
			b icmp | pass replied
			a icmp | pass replied
			wait 29s
			a icmp | pass replied
			wait 30s
			b icmp | new unreplied`},
		{"ICMPv6 echo, 30 s", conntrack.Limits{UDP: 60 * time.Second}, `
			a icmpv6 | new unreplied
			wait 30s
			b icmpv6 | new unreplied`},
		{"CT-16: other protocols, 600 s", conntrack.Limits{}, `
			a esp | new active
			wait 589s
			b esp | pass active
			wait 609s
			b esp | new active`},
	} {
		t.Run(test.name, func(t *testing.T) { newConversation(t, test.limits).run(test.lines) })
	}
}

// A connection is there for its whole timeout, and less than a tick longer.
func TestTimeoutIsNeverEarly(t *testing.T) {
	tracker := newTracker(t, 1, conntrack.Limits{})
	rapid.Check(t, func(t *rapid.T) {
		began := rapid.Int64Range(0, int64(200*24*365*time.Hour)).Draw(t, "began")
		timeout := time.Duration(rapid.Int64Range(1, int64(24*365*time.Hour)).Draw(t, "timeout"))
		tracker.Configure(eni, conntrack.Limits{UDP: timeout})
		f := segment(t, "a udp")
		ref, ok := tracker.Insert(eni, f, began)
		if !ok {
			t.Fatal("no room")
		}
		last := began + int64(timeout)
		if outcome, _ := tracker.Peek(eni, f, last); outcome != conntrack.Tracked {
			t.Fatal("gone at its timeout")
		}
		if tracker.Sweep(last, 100); tracker.Len() != 1 {
			t.Fatal("swept at its timeout")
		}
		if outcome, _ := tracker.Peek(eni, f, last+tick); outcome != conntrack.NewFlow {
			t.Fatal("there a tick after its timeout")
		}
		if tracker.Related(eni, f.Tuple, last+tick) || tracker.Advance(ref, f, last+tick) {
			t.Fatal("Related or Advance finds it a tick after its timeout")
		}
		if tracker.Sweep(last+tick, 100); tracker.Len() != 0 {
			t.Fatal("not swept a tick after its timeout")
		}
		if err := tracker.Check(); err != nil {
			t.Fatal(err)
		}
	})
}

// New timeouts hold from a connection's next packet on, in both directions, and
// what has idled out by them is swept in time.
func TestTimeoutsChange(t *testing.T) {
	tracker := newTracker(t, 4, conntrack.Limits{UDP: 60 * time.Second})
	now := int64(time.Hour)
	used, idle := segment(t, "a udp"), segment(t, "b udp")
	idle.Tuple.SrcPort = 53
	for _, f := range []*wire.Frame{used, idle} {
		if _, ok := tracker.Insert(eni, f, now); !ok {
			t.Fatal("no room")
		}
	}
	tracker.Configure(eni, conntrack.Limits{UDP: 30 * time.Second})
	now += int64(time.Second)
	tracker.Track(eni, used, now)
	for _, step := range []struct {
		after time.Duration
		left  int
	}{{30 * time.Second, 2}, {31 * time.Second, 1}, {59 * time.Second, 1}, {61 * time.Second, 0}} {
		if tracker.Sweep(now+int64(step.after), 100); tracker.Len() != step.left {
			t.Errorf("%v after the change %d connections are left, want %d", step.after, tracker.Len(), step.left)
		}
		if err := tracker.Check(); err != nil {
			t.Error(err)
		}
	}

	f := segment(t, "a udp")
	if _, ok := tracker.Insert(eni, f, now); !ok {
		t.Fatal("no room")
	}
	tracker.Configure(eni, conntrack.Limits{UDP: 60 * time.Second})
	tracker.Track(eni, f, now)
	if tracker.Sweep(now+int64(59*time.Second), 100); tracker.Len() != 1 {
		t.Error("swept before a timeout that was made longer")
	}
}

// Sweep says whether it has seen all that has idled out.
func TestSweepTellsWhetherItIsDone(t *testing.T) {
	now := int64(time.Hour)
	tracker := newTracker(t, 100, conntrack.Limits{UDP: 30 * time.Second})
	insert(t, tracker, eni, 0, 10, now)
	if !tracker.Sweep(now, 4) {
		t.Error("nothing has idled out, and Sweep is not done")
	}
	later := now + int64(31*time.Second)
	for _, left := range []int{6, 2, 0} {
		if done := tracker.Sweep(later, 4); tracker.Len() != left || done != (left == 0) {
			t.Errorf("%d connections left, done: %v; want %d", tracker.Len(), done, left)
		}
	}
}
