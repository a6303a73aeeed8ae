package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// probing runs the inner half of ping from this process's namespace.
func probing(t *testing.T, s service, format string, count int) outcome {
	t.Helper()
	plan, err := json.Marshal(probe{
		From: "web1", FromIP: "10.0.1.10", To: "app1", ToIP: loopback, Service: s.String(),
		Count: count, Timeout: 100 * time.Millisecond, Format: format,
	})
	if err != nil {
		t.Fatal(err)
	}
	return invoke(t, t.TempDir(), "probe", string(plan))
}

var milliseconds = regexp.MustCompile(`[0-9]+\.[0-9]{3}`)

// What comes back, and what does not, over a real loopback.
func TestProbe(t *testing.T) {
	tcp, udp, _ := serving(t)
	mute, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	silent := service{"udp", netip.MustParseAddrPort(mute.LocalAddr().String()).Port()}
	for _, c := range []struct {
		name string
		to   service
		code int
		want string // the times left out
	}{
		{"tcp", tcp, 0, "  1  open     T ms\n1 of 1 answered, min/avg/max T/T/T ms\n"},
		{"udp", udp, 0, "  1  reply    T ms\n1 of 1 answered, min/avg/max T/T/T ms\n"},
		{"icmp", service{protocol: "icmp"}, 0, "  1  reply    T ms\n1 of 1 answered, min/avg/max T/T/T ms\n"},
		{"tcp, nobody listens", service{"tcp", freePort(t, "tcp")}, 0, "  1  refused  T ms\n1 of 1 answered, min/avg/max T/T/T ms\n"},
		{"udp, nobody listens", service{"udp", freePort(t, "udp")}, 0, "  1  refused  T ms\n1 of 1 answered, min/avg/max T/T/T ms\n"},
		{"udp, silence", silent, 1, "  1  silence  nothing came back within 100ms\n0 of 1 answered\n"},
	} {
		got := probing(t, c.to, formatTable, 1)
		want := c.to.String() + "  web1 (10.0.1.10) > app1 (127.0.0.1)\n" + c.want
		if out := milliseconds.ReplaceAllString(got.out, "T"); got.code != c.code || out != want || got.err != "" {
			t.Errorf("%s: exit code %d, want %d; stderr %q\n%s\nwant\n%s", c.name, got.code, c.code, got.err, out, want)
		}
	}
}

func TestProbeInJSON(t *testing.T) {
	tcp, _, _ := serving(t)
	got := probing(t, tcp, formatJSON, 2)
	var result probeResult
	if err := json.Unmarshal([]byte(got.out), &result); err != nil || got.code != 0 {
		t.Fatalf("%v: %+v", err, got)
	}
	if result.Sent != 2 || result.Answered != 2 || len(result.Attempts) != 2 || result.Attempts[1].Sequence != 2 ||
		result.Attempts[1].Outcome != outcomeOpen || result.Attempts[1].RTT <= 0 || result.Service != tcp.String() {
		t.Errorf("got %+v", result)
	}
	lines := strings.Split(strings.TrimSpace(probing(t, tcp, formatJSONL, 2).out), "\n")
	if len(lines) != 2 || !json.Valid([]byte(lines[1])) || !strings.Contains(lines[1], `"sequence":2,"outcome":"open"`) {
		t.Errorf("jsonl: %q", lines)
	}
}

// What an error says about the probe. One that could not be sent got no answer.
func TestAttempts(t *testing.T) {
	for _, c := range []struct {
		err      error
		outcome  string
		answered bool
	}{
		{nil, outcomeOpen, true},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, outcomeRefused, true},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, outcomeSilence, false},
		{context.DeadlineExceeded, outcomeSilence, false},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}, outcomeError, false},
	} {
		a := attemptOf(1, c.err, outcomeOpen, time.Millisecond)
		if a.Outcome != c.outcome || a.answered() != c.answered || (a.Error != "") != (c.outcome == outcomeError) || (a.RTT == 1) != c.answered {
			t.Errorf("%v: got %+v, want %s", c.err, a, c.outcome)
		}
	}
}

// The echo to an earlier probe is no answer to this one; a server that says
// something else of its own is.
func TestLateAnswers(t *testing.T) {
	const token = 4
	want := []byte("abcd\x00\x00\x00\x02")
	for _, c := range []struct {
		got  string
		late bool
	}{
		{"abcd\x00\x00\x00\x02", false},
		{"hello\nabcd\x00\x00\x00\x02", false},
		{"abcd\x00\x00\x00\x01", true},
		{"hello\nabcd\x00\x00\x00\x01", true},
		{"pong", false},
		{"a longer answer of another kind", false},
	} {
		if got := isLateAnswer([]byte(c.got), want, token); got != c.late {
			t.Errorf("%q: late %v, want %v", c.got, got, c.late)
		}
	}
}

func TestEcho(t *testing.T) {
	p := &icmpProber{id: 0x1234, raw: true, token: [8]byte{1, 2, 3}}
	request := p.echo(7)
	// RFC 1071: the sum over a message with its checksum is all ones.
	if got := checksum(request); got != 0 {
		t.Errorf("checksum over the whole message %#x, want 0", got)
	}
	reply := bytes.Clone(request)
	reply[0] = echoReply
	for _, c := range []struct {
		name string
		edit func(b []byte)
		want bool
	}{
		{"the reply", func([]byte) {}, true},
		{"the request itself", func(b []byte) { b[0] = echoRequest }, false},
		{"of another process", func(b []byte) { b[5]++ }, false},
		{"to an earlier probe", func(b []byte) { b[7]-- }, false},
		{"with another payload", func(b []byte) { b[8]++ }, false},
	} {
		b := bytes.Clone(reply)
		c.edit(b)
		if got := p.answers(b, request); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if p.answers(reply[:10], request) {
		t.Error("half a reply is taken for one")
	}
}

func TestParseService(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"tcp/443", "tcp/443"}, {"udp/65535", "udp/65535"}, {"icmp", "icmp"},
		{"tcp", ""}, {"tcp/", ""}, {"tcp/0", ""}, {"tcp/65536", ""}, {"tcp/-1", ""}, {"icmp/8", ""}, {"sctp/1", ""}, {"", ""}, {"443", ""},
	} {
		got, err := parseService(c.text)
		if (err == nil) != (c.want != "") || err == nil && got.String() != c.want {
			t.Errorf("%q: got %v, %v; want %q", c.text, got, err, c.want)
		}
	}
}
