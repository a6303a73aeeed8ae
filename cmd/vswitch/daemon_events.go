package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"vswitch/internal/api"
	"vswitch/internal/event"
	"vswitch/internal/lab"
	vswitch "vswitch/switch"
)

// A lookout turns what happens to a daemon into events. Its methods may be called
// by several goroutines at once.
type lookout struct {
	ring  *event.Ring
	again chan struct{} // asks the daemon's watch to look
	ended chan struct{} // closed once that has returned
}

func newLookout() *lookout {
	return &lookout{ring: event.NewRing(time.Now), again: make(chan struct{}, 1), ended: make(chan struct{})}
}

// hurry makes the daemon's watch look at a switch that may be idle.
func (l *lookout) hurry() {
	select {
	case l.again <- struct{}{}:
	default: // it has been asked already
	}
}

// look shows w what has changed since the incidents that it has seen, and returns
// those that it has seen now. Most looks find nothing and cost microseconds. If told
// to write, it puts what the switch has observed into the books before, which takes
// longer the more flows there are.
func (d *daemon) look(w *event.Watch, seen vswitch.Incidents, now time.Time, write bool) vswitch.Incidents {
	d.life.RLock()
	defer d.life.RUnlock()
	if d.stopped {
		return seen
	}
	if write {
		d.observe()
	}
	incidents := d.sw.Incidents()
	w.LookAtProcesses(snapshotProcesses(d.lab.Processes()))
	if at, owes := w.Owes(); incidents == seen && (!owes || now.Before(at)) {
		return seen
	}
	status := d.sw.Status()
	d.logFailed(status.Captured)
	s := event.Snapshot{Panics: status.Panics}
	for i := range status.Captured {
		s.Causes = append(s.Causes, status.Captured[i].Cause)
	}
	for i := range status.Ports {
		p := &status.Ports[i]
		device := p.Device
		if p.Namespace != "" {
			device += " in namespace " + p.Namespace
		}
		s.Ports = append(s.Ports, event.Port{Instance: p.Instance, Up: p.Up, Device: device, Exceeded: p.Exceeded})
	}
	w.LookAtSwitch(s, now)
	return incidents
}

// tellStarted tells that the switch forwards.
func (d *daemon) tellStarted() {
	cfg := d.sw.Config()
	d.events.ring.Add(event.Event{
		Type:       event.DaemonStarted,
		Generation: d.sw.Generation(),
		Count:      uint64(len(cfg.Instances)),
		PID:        os.Getpid(),
		Message:    fmt.Sprintf("vswitch %s runs %s", buildVersion().Version, d.file),
	})
}

// tellStopping tells that the switch ends, and sends those away who wait for more.
func (d *daemon) tellStopping() {
	d.events.ring.Add(event.Event{Type: event.DaemonStopping, PID: os.Getpid(), Message: "everything that was made is removed"})
	d.events.ring.Close()
}

// tellReload tells how a reload ended.
func (d *daemon) tellReload(reply *api.ReloadReply, err error) {
	if err == nil {
		d.events.ring.Add(event.Event{Type: event.ReloadDone, Generation: reply.Generation, Count: uint64(len(reply.Changes)), Message: d.file})
		d.events.hurry()
		return
	}
	mistakes := strings.Split(err.Error(), "\n")
	refused := event.Event{Type: event.ReloadRefused, Generation: d.sw.Generation(), Message: mistakes[0]}
	var known *api.Error
	if errors.As(err, &known) && known.Kind == api.KindConfiguration {
		refused.Count = uint64(len(mistakes))
	}
	d.events.ring.Add(refused)
}

// tellLost tells that a flow log could not keep its records.
func (d *daemon) tellLost(flowLog string, err error) {
	d.events.ring.Add(event.Event{Type: event.RecordsLost, Message: fmt.Sprintf("flow log %s: %v", flowLog, err)})
}

// tellLostFrames tells that a capture of some instances, none for all, has lost
// frames.
func (d *daemon) tellLostFrames(instances []string, lost uint64) {
	of := "all instances"
	if len(instances) > 0 {
		of = strings.Join(instances, ", ")
	}
	d.events.ring.Add(event.Event{Type: event.FramesLost, Count: lost, Message: "a capture of " + of + " has ended; its reader was too slow for them"})
}

// Events returns the events behind the one of that sequence, for the API. It
// waits for one as the API's EventSource does.
func (d *daemon) Events(ctx context.Context, after uint64) (api.Events, error) {
	d.events.ring.Wait(ctx, after)
	reply := api.Events{Events: []event.Event{}}
	news, next := d.events.ring.After(after)
	reply.Events, reply.Next = append(reply.Events, news...), next
	if len(news) == 0 {
		select {
		case <-d.ended:
			return api.Events{}, errStopping(d.state.vpc)
		default:
		}
	}
	return reply, nil
}

// snapshotProcesses returns the instances' commands as events know them.
func snapshotProcesses(all []lab.Process) []event.Process {
	out := make([]event.Process, len(all))
	for i := range all {
		p := &all[i]
		out[i] = event.Process{Instance: p.Instance, Command: p.Command, PID: p.PID, Running: p.Running, Since: p.Since}
		if !p.Running && p.Code != lab.UnknownCode {
			out[i].Code = &p.Code
		}
	}
	return out
}
