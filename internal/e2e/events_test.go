package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// An event is one line of `vswitch events`.
type event struct {
	Sequence uint64 `json:"sequence"`
	Type     string `json:"type"`
	Instance string `json:"instance"`
	Count    int    `json:"count"`
	PID      int    `json:"pid"`
	ExitCode *int   `json:"exit_code"`
	Message  string `json:"message"`
}

// String returns the type, and whom it is about.
func (e event) String() string { return strings.TrimSpace(e.Type + " " + e.Instance) }

// events returns what `vswitch events` prints.
func (l *lab) events() []event {
	l.t.Helper()
	var all []event
	for line := range strings.Lines(l.must("events")) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			l.t.Fatalf("%v: %s", err, line)
		}
		all = append(all, e)
	}
	return all
}

// What happens to a lab is told, in order, once, to those who ask later and to
// those who follow; and following ends with the switch.
func TestEvents(t *testing.T) {
	t.Parallel()
	l := startLab(t, oneSubnet+`run = "exec sleep 1000"`+"\n")
	follow := l.follow("events", "-F")
	followed := map[string]event{}
	var order []string
	// await waits for that event, and returns it.
	await := func(want string) event {
		t.Helper()
		eventually(t, "event "+want, func() bool {
			for {
				select {
				case line, more := <-follow.lines:
					if !more {
						return followed[want].Type != ""
					}
					var e event
					if err := json.Unmarshal([]byte(line), &e); err != nil {
						t.Fatalf("%v: %s", err, line)
					}
					followed[e.String()] = e
					order = append(order, e.String())
				default:
					return followed[want].Type != ""
				}
			}
		})
		return followed[want]
	}

	await("port_up alice")
	await("port_up bob")
	await("process_started bob")
	if e := await("daemon_started"); e.Sequence != 1 || e.Count != 2 || e.PID != l.status().PID {
		t.Errorf("got %+v", e)
	}

	whole := l.config()
	l.write(whole + "\n[nonsense]\n[more.nonsense]\n")
	if err := syscall.Kill(l.status().PID, syscall.SIGHUP); err != nil { // the command would refuse the file itself
		t.Fatal(err)
	}
	if e := await("reload_refused"); e.Count != 2 || !strings.Contains(e.Message, "nonsense") {
		t.Errorf("got %+v", e)
	}
	l.write(whole + carol)
	l.must("reload")
	if e := await("reload_done"); e.Count != 1 {
		t.Errorf("got %+v", e)
	}
	await("port_up carol")
	l.write(whole)
	l.must("reload")
	await("port_down carol")

	if err := syscall.Kill(followed["process_started bob"].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := await("process_exited bob"); e.ExitCode == nil || *e.ExitCode != 137 {
		t.Errorf("got %+v", e)
	}
	// The device vanishes under an idle switch.
	l.must("exec", "alice", "--", "ip", "link", "delete", "eth0")
	await("port_down alice")

	asked := l.events()
	for i, e := range asked {
		if e.Sequence != uint64(i+1) || i < len(order) && e.String() != order[i] {
			t.Errorf("event %d is %d, %s; who followed got %v", i+1, e.Sequence, e, order)
		}
	}
	l.must("down")
	await("daemon_stopping")
	if rest, code := follow.end(); code != 0 || len(rest) != 0 {
		t.Errorf("following ends with exit code %d, and %v", code, rest)
	}
	if n := len(order); order[n-1] != "daemon_stopping" || slices.Index(order, "daemon_stopping") != n-1 {
		t.Errorf("followed %v", order)
	}
	l.must("up")
}

// Flows over the allowance are told once, with their number.
func TestAllowanceIsAnEvent(t *testing.T) {
	t.Parallel()
	l := startLab(t, oneSubnet+"\n[conntrack]\nmax = 1\n")
	for range 3 { // each has an identifier of its own, so it is another flow
		l.answers("alice", "bob", "icmp")
	}
	var told []event
	eventually(t, "an allowance exceeded", func() bool {
		told = slices.DeleteFunc(l.events(), func(e event) bool { return e.Type != "allowance_exceeded" })
		return len(told) > 0
	})
	if e := told[0]; e.Count == 0 || e.Instance == "" {
		t.Errorf("got %+v", e)
	}
}

// Following somebody who is killed is an error; so is asking him.
func TestEventsOfAKilledSwitch(t *testing.T) {
	t.Parallel()
	l := startLab(t, oneSubnet)
	follow := l.follow("events", "-F")
	for !strings.Contains(follow.line(), "port_up") {
	}
	if err := syscall.Kill(l.status().PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, code := follow.end(); code != 1 {
		t.Errorf("following a switch that is killed: exit code %d, want 1", code)
	}
	if r := l.try("events"); r.code != 1 || !strings.Contains(r.stderr, "not running") {
		t.Errorf("want exit code 1:\n%v", r)
	}
}
