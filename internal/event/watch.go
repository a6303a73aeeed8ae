package event

import (
	"fmt"
	"strings"
	"time"
)

// A Snapshot is the state of a running switch at one moment.
type Snapshot struct {
	Ports  []Port
	Panics uint64   // frames whose handling failed inside the switch
	Causes []string // of the first of them, in order
}

// A Port is that of one instance.
type Port struct {
	Instance string
	Up       bool
	Device   string // for people: "eth0 in namespace two-tier-web1"
	Exceeded uint64 // new flows refused because the tracking allowance was used up
}

// A Process is the command of one instance.
type Process struct {
	Instance string
	Command  string
	PID      int
	Running  bool
	Code     *int      // the exit code, nil if nobody saw it. Valid iff not Running
	Since    time.Time // when it started, or ended
}

// rearm is how long a Watch tells nothing more of an interface whose allowance is
// exceeded.
const rearm = time.Minute

// A Watch compares what it is shown with what it was shown before, and turns the
// differences into events. It is for one goroutine. NewWatch makes one.
type Watch struct {
	ring      *Ring
	ports     map[string]*portMemory // by instance
	processes map[string]processMemory
	panics    uint64
}

// A portMemory is what was last told of a port.
type portMemory struct {
	up       bool
	told     uint64    // refused flows that events have counted
	seen     uint64    // refused flows
	silentTo time.Time // until then no more of them is told
}

// A processMemory is what was last told of a process.
type processMemory struct {
	pid     int
	running bool
}

// NewWatch returns a Watch that has seen nothing yet, so that everything it is
// shown first is news.
func NewWatch(r *Ring) *Watch {
	return &Watch{ring: r, ports: map[string]*portMemory{}, processes: map[string]processMemory{}}
}

// LookAtSwitch compares the switch with what it was.
func (w *Watch) LookAtSwitch(s Snapshot, now time.Time) {
	w.lookAtPorts(s.Ports, now)
	w.lookAtPanics(s.Panics, s.Causes)
}

// Owes returns when LookAtSwitch will have something to tell although nothing
// changes: refused flows that it keeps back. It reports false if it keeps none.
func (w *Watch) Owes() (at time.Time, owes bool) {
	for _, m := range w.ports {
		if m.seen > m.told && (!owes || m.silentTo.Before(at)) {
			at, owes = m.silentTo, true
		}
	}
	return at, owes
}

func (w *Watch) lookAtPorts(ports []Port, now time.Time) {
	present := make(map[string]bool, len(ports))
	for i := range ports {
		p := &ports[i]
		present[p.Instance] = true
		m := w.ports[p.Instance]
		if m == nil {
			m = &portMemory{}
			w.ports[p.Instance] = m
		}
		if p.Up != m.up {
			m.up = p.Up
			if p.Up {
				w.ring.Add(Event{Type: PortUp, Instance: p.Instance, Message: "its device works: " + p.Device})
			} else {
				w.ring.Add(Event{Type: PortDown, Instance: p.Instance, Message: "its device is gone or was taken away: " + p.Device})
			}
		}
		w.lookAtAllowance(p, m, now)
	}
	for instance, m := range w.ports {
		if present[instance] {
			continue
		}
		if m.up {
			w.ring.Add(Event{Type: PortDown, Instance: instance, Message: "its instance was removed"})
		}
		delete(w.ports, instance)
	}
}

// lookAtAllowance tells of refused flows when they begin, and then once a minute
// as long as they go on.
func (w *Watch) lookAtAllowance(p *Port, m *portMemory, now time.Time) {
	if p.Exceeded < m.seen {
		m.told = 0 // another interface has the name
	}
	m.seen = p.Exceeded
	if m.seen == m.told || now.Before(m.silentTo) {
		return
	}
	w.ring.Add(Event{
		Type:     AllowanceExceeded,
		Instance: p.Instance,
		Count:    m.seen - m.told,
		Message:  fmt.Sprintf("new flows were refused because its connection tracking allowance is used up; %d so far", m.seen),
	})
	m.told, m.silentTo = m.seen, now.Add(rearm)
}

// LookAtProcesses compares the instances' commands with what they were.
func (w *Watch) LookAtProcesses(processes []Process) {
	present := make(map[string]bool, len(processes))
	for i := range processes {
		p := &processes[i]
		present[p.Instance] = true
		m := w.processes[p.Instance]
		if p.PID != m.pid {
			started := Event{Type: ProcessStarted, Instance: p.Instance, PID: p.PID, Message: p.Command}
			if p.Running {
				started.Time = p.Since
			}
			w.ring.Add(started)
			m = processMemory{pid: p.PID, running: true}
		}
		if m.running && !p.Running {
			w.ring.Add(Event{Type: ProcessExited, Instance: p.Instance, Time: p.Since, PID: p.PID, ExitCode: p.Code, Message: p.Command})
		}
		m.running = p.Running
		w.processes[p.Instance] = m
	}
	for instance, m := range w.processes {
		if present[instance] {
			continue
		}
		if m.running {
			w.ring.Add(Event{Type: ProcessExited, Instance: instance, PID: m.pid, Message: "it was stopped, because the file has it no more"})
		}
		delete(w.processes, instance)
	}
}

func (w *Watch) lookAtPanics(panics uint64, causes []string) {
	if panics <= w.panics {
		return
	}
	cause := "the frames that were kept are in the log"
	if w.panics < uint64(len(causes)) {
		cause, _, _ = strings.Cut(causes[w.panics], "\n")
	}
	w.ring.Add(Event{Type: PanicContained, Count: panics - w.panics, Message: "the switch failed on frames, and went on: " + cause})
	w.panics = panics
}
