package main

import (
	"fmt"
	"runtime"

	"vswitch/internal/api"
	"vswitch/internal/config"
	"vswitch/port"
)

// mostWorkers is how many workers a switch gets without being asked.
const mostWorkers = 4

// workersFor returns how many workers suit a machine. On few processors one is
// faster than several: the kernels of the instances need the others.
func workersFor(processors int) int {
	if processors < 4 {
		return 1
	}
	return min(processors/2, mostWorkers)
}

// reservePlaces has Go's scheduler run a goroutine more at a time than there are
// workers. A worker keeps a place to itself while there is traffic, and whoever
// reloads would wait for it, tens of milliseconds a step. Having been told, the
// scheduler no longer follows the processors that the process may use, which may
// become fewer at any time.
func reservePlaces(workers int) { runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), workers+1)) }

// chooseWorkers decides how many workers the switch gets, for as long as the daemon
// runs, and reserves their places. Those that nobody asked for it does without where
// the kernel cannot steer packets to them.
func (d *daemon) chooseWorkers(m config.Machine) {
	defer func() { reservePlaces(d.workers) }()
	d.machine, d.workers = m, m.Workers
	if d.workers > 0 {
		return
	}
	d.workers = workersFor(runtime.NumCPU())
	if d.workers == 1 {
		return
	}
	if err := port.CheckSteering(); err != nil {
		d.workers = 1
		d.log.Warn("one worker only", "error", err)
	}
}

// checkWorkers refuses a configuration with another number of workers than the
// switch has.
func (d *daemon) checkWorkers(m config.Machine) error {
	if m.Workers == d.machine.Workers || m.Workers == d.workers {
		return nil
	}
	wanted := fmt.Sprint(m.Workers)
	if m.Workers == 0 {
		wanted = "as many as suit the machine"
	}
	return &api.Error{Kind: api.KindConflict, Message: fmt.Sprintf(
		"%s: [machine] workers is now %s, and the switch runs with %d: only a restart changes that (vswitch down, then up)", d.file, wanted, d.workers)}
}
