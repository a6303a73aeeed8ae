package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"vswitch/internal/account"
	"vswitch/internal/api"
	"vswitch/internal/config"
	"vswitch/internal/flowlog"
	"vswitch/internal/lab"
	"vswitch/internal/metrics"
	vswitch "vswitch/switch"
)

// A daemon is one running VPC: the switch, the lab around it, and the file that
// both follow. It is what the API speaks for. All methods may be called by
// several goroutines at once.
type daemon struct {
	state   stateDir
	file    string // absolute
	log     *slog.Logger
	started time.Time
	ended   chan struct{} // closed once Stop has removed everything

	machine config.Machine // as the file said when the daemon started
	workers int            // of the switch

	// change serialises reload and stop, and guards the making and removing of the
	// lab. It is taken before life and tally.
	change  sync.Mutex
	lab     *lab.Lab
	metrics *metrics.Server // nil: nowhere
	written record          // what the file of the record says; the zero record if that is unknown

	events *lookout

	flows     *flowlog.Collector
	book      account.Book
	observing sync.Mutex // taken by observe alone

	tally   sync.Mutex // guards the fields below
	reloads api.Reloads
	failed  int // how many of the frames that failed inside the switch are in the log

	// life is read-locked by whoever looks at the switch, and locked by whoever
	// ends it: a reload, which may take seconds, does not make status wait.
	life    sync.RWMutex
	sw      *vswitch.Switch
	stopped bool
}

// startDaemon builds the lab of a configuration and sets the switch going. It
// takes over what a daemon that was killed has left. If anything cannot be made,
// everything is as it was before. The caller has begun an operation on s. openLog
// is called when s is locked.
func startDaemon(s stateDir, file string, cfg config.File, openLog func() (*slog.Logger, error)) (*daemon, error) {
	if err := lab.Check(); err != nil {
		return nil, err
	}
	l, err := lab.Open(s.path())
	if errors.Is(err, lab.ErrInUse) {
		return nil, alreadyRuns(s, file)
	}
	if err != nil {
		return nil, err
	}
	d := &daemon{state: s, file: file, started: time.Now(), ended: make(chan struct{}), lab: l, events: newLookout()}
	var next *metrics.Server
	if d.log, err = openLog(); err == nil {
		d.chooseWorkers(cfg.Machine)
		l.Queues = d.workers
		next, err = d.reserveMetrics(cfg.API)
	}
	if err == nil {
		if err = d.buildOrAdopt(cfg.VPC); err != nil {
			d.releaseMetrics(next)
		}
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	d.serveMetrics(next)
	return d, nil
}

// buildOrAdopt builds the lab, on top of what an earlier daemon has left of the
// same file. If that fails, the record is again what it was.
func (d *daemon) buildOrAdopt(cfg vswitch.Config) error {
	old, err := readRecord(d.state)
	if errors.Is(err, fs.ErrNotExist) {
		if err := d.build(cfg); err != nil {
			return errors.Join(err, d.state.clear())
		}
		return nil
	}
	if err != nil {
		return err
	}
	if !samePath(old.File, d.file) {
		return &api.Error{Kind: api.KindConflict, Message: fmt.Sprintf(
			"VPC %s: a switch that was killed has left what it made from another file, %s: take it down first (vswitch down --vpc %s)", old.VPC, old.File, old.VPC)}
	}
	d.log.Info("taking over what an earlier switch left", "vpc", old.VPC, "pid", old.PID)
	if err := d.build(cfg); err != nil {
		return errors.Join(err, old.write(d.state))
	}
	return nil
}

// alreadyRuns says that the VPC runs, and from which file.
func alreadyRuns(s stateDir, file string) error {
	r, err := readRecord(s)
	if err != nil {
		return &api.Error{Kind: api.KindConflict, Message: fmt.Sprintf("VPC %s: already starting or running (process %d)", s.vpc, s.daemonPID())}
	}
	if !samePath(r.File, file) {
		return anotherFile(s, r.File)
	}
	return &api.Error{Kind: api.KindConflict, Message: fmt.Sprintf(
		"VPC %s: already running (process %d): vswitch reload makes it read %s again", s.vpc, s.daemonPID(), file)}
}

// anotherFile says that the VPC's name is taken.
func anotherFile(s stateDir, file string) error {
	return &api.Error{Kind: api.KindConflict, Message: fmt.Sprintf(
		"VPC %s: already running from another file, %s: take that one down (vswitch down --vpc %s), or give this VPC another name", s.vpc, file, s.vpc)}
}

// build makes the switch and the lab, and starts the instances' commands last.
func (d *daemon) build(cfg vswitch.Config) error {
	full, err := vswitch.Complete(cfg, nil)
	if err != nil {
		return err
	}
	if err := d.record(&full); err != nil {
		return err
	}
	if d.flows, err = d.newFlows(&full); err != nil {
		return err
	}
	change, err := d.lab.Prepare(full)
	if err != nil {
		return errors.Join(err, d.closeFlows())
	}
	sw, err := vswitch.New(full, vswitch.WithWorkers(d.workers), vswitch.WithDevices(change.Devices()))
	if err != nil {
		return errors.Join(err, change.Rollback(), d.closeFlows())
	}
	if err := sw.Start(); err != nil {
		return errors.Join(err, sw.Close(), change.Rollback(), d.closeFlows())
	}
	d.sw = sw
	if err := change.Commit(); err != nil {
		d.log.Error("lab incomplete", "error", err)
	}
	return nil
}

// record brings the file of the record up to date. d.change is held, or nobody else
// has d yet.
func (d *daemon) record(full *vswitch.Config) error {
	r := newRecord(full, d.file)
	if _, err := os.Lstat(d.state.record()); err == nil && reflect.DeepEqual(r, d.written) {
		return nil
	}
	d.written = record{}
	if err := r.write(d.state); err != nil {
		return err
	}
	d.written = r
	return nil
}

// Reload reads the file again and makes it the running configuration, all or
// nothing.
func (d *daemon) Reload(r api.ReloadRequest) (api.ReloadReply, error) {
	d.change.Lock()
	defer d.change.Unlock()
	if d.stopped {
		return api.ReloadReply{}, errStopping(d.state.vpc)
	}
	if r.File != "" && !samePath(r.File, d.file) {
		return api.ReloadReply{}, anotherFile(d.state, d.file)
	}
	reply, err := d.reload(r)
	if !r.DryRun {
		d.count(err)
		d.tellReload(&reply, err)
	}
	switch {
	case r.DryRun:
	case err != nil:
		d.log.Error("reload refused: the running configuration stays", "file", d.file, "error", err)
	default:
		if r.Status {
			status := d.status()
			reply.Status = &status
		}
		d.log.Info("reloaded", "file", d.file, "generation", reply.Generation, "changes", len(reply.Changes))
	}
	return reply, err
}

// maxLastError bounds the error that status repeats, in bytes: a file can have
// any number of mistakes.
const maxLastError = 4096

// count counts a reload that ended with err.
func (d *daemon) count(err error) {
	d.tally.Lock()
	defer d.tally.Unlock()
	if err == nil {
		d.reloads.Succeeded++
		d.reloads.LastError = ""
		return
	}
	d.reloads.Failed++
	text := err.Error()
	d.reloads.LastError = strings.ToValidUTF8(text[:min(len(text), maxLastError)], "")
}

// reloadCounts returns the outcomes of the reloads so far.
func (d *daemon) reloadCounts() api.Reloads {
	d.tally.Lock()
	defer d.tally.Unlock()
	return d.reloads
}

// reload is Reload. d.change is held.
func (d *daemon) reload(r api.ReloadRequest) (api.ReloadReply, error) {
	read, full, err := d.read()
	if err != nil {
		return api.ReloadReply{}, err
	}
	running := d.sw.Config()
	reply := api.ReloadReply{DryRun: r.DryRun, Changes: []api.Change{}, Generation: d.sw.Generation()}
	for _, c := range d.changes(&running, &full, read.API).Changes {
		reply.Changes = append(reply.Changes, api.Change{Action: c.Action, Object: c.Object, Name: c.Name})
	}
	if r.DryRun {
		return reply, nil
	}
	next, err := d.reserveMetrics(read.API)
	if err != nil {
		return api.ReloadReply{}, err
	}
	if reply.Warnings, err = d.apply(full, reply.Generation); err != nil {
		d.releaseMetrics(next)
		return api.ReloadReply{}, err
	}
	d.serveMetrics(next)
	reply.Generation = d.sw.Generation()
	return reply, nil
}

// read returns what the file says now, and its configuration completed. d.change is
// held.
func (d *daemon) read() (config.File, vswitch.Config, error) {
	read, err := config.LoadFile(d.file)
	if err != nil {
		return config.File{}, vswitch.Config{}, &api.Error{Kind: api.KindConfiguration, Message: err.Error()}
	}
	if name := read.VPC.VPC.Name; name != d.state.vpc {
		return config.File{}, vswitch.Config{}, &api.Error{Kind: api.KindConflict, Message: fmt.Sprintf(
			"%s now describes the VPC %s, and %s runs from it: take that one down first (vswitch down --vpc %s)", d.file, name, d.state.vpc, d.state.vpc)}
	}
	if err := d.checkWorkers(read.Machine); err != nil {
		return config.File{}, vswitch.Config{}, err
	}
	running := d.sw.Config()
	full, err := vswitch.Complete(read.VPC, &running)
	if err != nil {
		return config.File{}, vswitch.Config{}, &api.Error{Kind: api.KindConfiguration, Message: err.Error()}
	}
	return read, full, nil
}

// apply prepares the lab, publishes the configuration, and retires what it no
// longer has. An error means that nothing changed; warnings tell what went wrong
// once the new rules were in force.
func (d *daemon) apply(full vswitch.Config, generation uint32) (warnings []string, err error) {
	flows, err := d.flows.Prepare(&full)
	if err != nil {
		return nil, err
	}
	change, err := d.lab.Prepare(full)
	if err != nil {
		return nil, errors.Join(err, flows.Rollback())
	}
	warn := func(err error) {
		if err != nil {
			warnings = append(warnings, err.Error())
			d.log.Warn("reload incomplete", "error", err)
		}
	}
	d.observe() // what the old configuration saw is logged by it
	if err := d.sw.ApplyComplete(full, change.Devices()); err != nil {
		if d.sw.Generation() == generation {
			return nil, errors.Join(err, change.Rollback(), flows.Rollback())
		}
		warn(err) // published, but an old device could not be closed
	}
	d.book.Retain(&full)
	warn(d.changeFlows(flows))
	warn(change.Commit())
	warn(d.record(&full))
	return warnings, nil
}

// Stop closes the switch and removes what the daemon made. After it the daemon
// does nothing more; its process ends when ended is closed.
func (d *daemon) Stop() (api.StopReply, error) {
	d.change.Lock()
	defer d.change.Unlock()
	if d.stopped {
		return api.StopReply{}, errStopping(d.state.vpc)
	}
	d.logFailed(d.sw.Status().Captured)
	d.tellStopping()
	d.serveMetrics(nil)
	d.life.Lock()
	d.stopped = true
	d.observe()
	err := errors.Join(d.sw.Close(), d.closeFlows())
	d.life.Unlock()

	report, downErr := d.lab.Down()
	err = errors.Join(err, downErr, d.state.clear())
	reply := api.StopReply{Removed: report.Removed, Warnings: report.Left}
	if err != nil {
		reply.Warnings = append(reply.Warnings, err.Error())
	}
	for _, w := range reply.Warnings {
		d.log.Warn("not removed", "reason", w)
	}
	d.log.Info("stopped", "vpc", d.state.vpc, "removed", reply.Removed)
	close(d.ended)
	return reply, nil
}

// errStopping is the answer to a call that came too late.
func errStopping(vpc string) error {
	return &api.Error{Kind: api.KindStopping, Message: fmt.Sprintf("VPC %s: the switch is stopping", vpc)}
}
