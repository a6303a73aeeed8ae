package event

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// told returns the events behind sequence, one a line.
func told(r *Ring, sequence *uint64) []string {
	var lines []string
	events, next := r.After(*sequence)
	for _, e := range events {
		line := string(e.Type)
		if e.Instance != "" {
			line += " " + e.Instance
		}
		if e.Count > 0 {
			line += fmt.Sprintf(" count=%d", e.Count)
		}
		if e.PID > 0 {
			line += fmt.Sprintf(" pid=%d", e.PID)
		}
		if e.ExitCode != nil {
			line += fmt.Sprintf(" code=%d", *e.ExitCode)
		}
		if !e.Time.Equal(noon) {
			line += " " + e.Time.Sub(noon).String()
		}
		lines = append(lines, line)
	}
	*sequence = next
	slices.Sort(lines) // ports that vanish together do so in no order
	return lines
}

// A step is one look, how long after noon, and what it tells.
type step struct {
	after time.Duration
	look  Snapshot
	run   []Process
	want  []string
}

// play shows the steps to one Watch.
func play(t *testing.T, steps []step) {
	t.Helper()
	r := ringAtNoon()
	w := NewWatch(r)
	var sequence uint64
	for i, s := range steps {
		due, owed := w.Owes()
		owed = owed && !noon.Add(s.after).Before(due)
		w.LookAtSwitch(s.look, noon.Add(s.after))
		w.LookAtProcesses(s.run)
		got := told(r, &sequence)
		if !slices.Equal(got, s.want) {
			t.Errorf("look %d: got %q, want %q", i, got, s.want)
		}
		if owed && len(got) == 0 {
			t.Errorf("look %d: something was owed, and nothing told", i)
		}
	}
}

func TestPortsUpAndDown(t *testing.T) {
	up, down := Port{Instance: "web1", Up: true}, Port{Instance: "web1"}
	db := Port{Instance: "db1", Up: true}
	play(t, []step{
		{look: Snapshot{Ports: []Port{up, db}}, want: []string{"port_up db1", "port_up web1"}},
		{look: Snapshot{Ports: []Port{up, db}}},
		{look: Snapshot{Ports: []Port{down, db}}, want: []string{"port_down web1"}},
		{look: Snapshot{Ports: []Port{down, db}}},
		{look: Snapshot{Ports: []Port{up}}, want: []string{"port_down db1", "port_up web1"}},
		{look: Snapshot{Ports: []Port{down}}, want: []string{"port_down web1"}},
		{look: Snapshot{}}, // it was down already
		{look: Snapshot{Ports: []Port{down}}},
		{look: Snapshot{Ports: []Port{up}}, want: []string{"port_up web1"}},
	})
}

// Refused flows are told when they begin, and then once a minute with their
// number; those of one instance do not silence another.
func TestAllowanceIsToldOnceAMinute(t *testing.T) {
	at := func(web, db uint64) Snapshot {
		return Snapshot{Ports: []Port{{Instance: "web1", Exceeded: web}, {Instance: "db1", Exceeded: db}}}
	}
	play(t, []step{
		{after: 0, look: at(0, 0)},
		{after: 1 * time.Second, look: at(5, 0), want: []string{"allowance_exceeded web1 count=5"}},
		{after: 2 * time.Second, look: at(50, 0)},
		{after: 3 * time.Second, look: at(60, 7), want: []string{"allowance_exceeded db1 count=7"}},
		{after: 60 * time.Second, look: at(60, 7)},
		{after: 61 * time.Second, look: at(60, 7), want: []string{"allowance_exceeded web1 count=55"}},
		{after: 62 * time.Second, look: at(60, 7)},
		{after: 10 * time.Minute, look: at(60, 7)},
		{after: 11 * time.Minute, look: at(61, 7), want: []string{"allowance_exceeded web1 count=1"}},
		{after: 12 * time.Minute, look: at(2, 7), want: []string{"allowance_exceeded web1 count=2"}}, // a new interface of that name
	})
}

// What was kept back is owed when its time comes, and not before.
func TestOwes(t *testing.T) {
	w := NewWatch(ringAtNoon())
	check := func(want time.Duration, owes bool) {
		t.Helper()
		at, owed := w.Owes()
		if owed != owes || owed && !at.Equal(noon.Add(want)) {
			t.Errorf("got %v, %v, want %v after noon, %v", at, owed, want, owes)
		}
	}
	look := func(after time.Duration, web, db uint64) {
		w.LookAtSwitch(Snapshot{Ports: []Port{{Instance: "web1", Exceeded: web}, {Instance: "db1", Exceeded: db}}}, noon.Add(after))
	}
	check(0, false)
	look(0, 1, 0)
	check(0, false) // told at once
	look(time.Second, 2, 1)
	check(rearm, true)
	look(2*time.Second, 2, 5)
	check(rearm, true) // that of web1 comes first
	look(rearm, 2, 5)
	check(rearm+time.Second, true)
	look(rearm+time.Second, 2, 5)
	check(0, false)
}

func TestProcesses(t *testing.T) {
	code := 143
	run := func(pid int) Process {
		return Process{Instance: "web1", PID: pid, Running: true, Since: noon.Add(time.Second)}
	}
	ended := func(pid int, code *int) Process {
		return Process{Instance: "web1", PID: pid, Code: code, Since: noon.Add(2 * time.Second)}
	}
	at := func(p ...Process) []Process { return p }
	play(t, []step{
		{run: at(run(7)), want: []string{"process_started web1 pid=7 1s"}},
		{run: at(run(7))},
		{run: at(ended(7, &code)), want: []string{"process_exited web1 pid=7 code=143 2s"}},
		{run: at(ended(7, &code))},
		// Both its beginning and its end lie between two looks.
		{run: at(ended(8, nil)), want: []string{"process_exited web1 pid=8 2s", "process_started web1 pid=8"}},
		{run: at(run(9)), want: []string{"process_started web1 pid=9 1s"}},
		{run: at(), want: []string{"process_exited web1 pid=9"}},
		{run: at()},
		{run: at(ended(10, nil)), want: []string{"process_exited web1 pid=10 2s", "process_started web1 pid=10"}},
		{run: at()},
	})
}

func TestPanics(t *testing.T) {
	r := ringAtNoon()
	w := NewWatch(r)
	causes := []string{"index out of range\ngoroutine 7", "second\nstack"}
	w.LookAtSwitch(Snapshot{}, noon)
	w.LookAtSwitch(Snapshot{Panics: 1, Causes: causes[:1]}, noon)
	w.LookAtSwitch(Snapshot{Panics: 1, Causes: causes[:1]}, noon)
	w.LookAtSwitch(Snapshot{Panics: 4, Causes: causes}, noon)
	w.LookAtSwitch(Snapshot{Panics: 5, Causes: causes}, noon)
	got, _ := r.After(0)
	var lines []string
	for _, e := range got {
		lines = append(lines, fmt.Sprintf("%s %d %s", e.Type, e.Count, e.Message))
	}
	want := []string{
		"panic_contained 1 the switch failed on frames, and went on: index out of range",
		"panic_contained 3 the switch failed on frames, and went on: second",
		"panic_contained 1 the switch failed on frames, and went on: the frames that were kept are in the log",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
}
