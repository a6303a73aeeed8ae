package main

import (
	"vswitch/internal/api"
	"vswitch/internal/config"
	"vswitch/internal/plan"
	vswitch "vswitch/switch"
)

// Plan says what a reload would change, and changes nothing.
func (d *daemon) Plan(r api.PlanRequest) (*plan.Plan, error) {
	d.change.Lock() // so that what is planned is what runs, from here to the flows
	defer d.change.Unlock()
	if d.stopped {
		return nil, errStopping(d.state.vpc)
	}
	if r.File != "" && !samePath(r.File, d.file) {
		return nil, anotherFile(d.state, d.file)
	}
	read, full, err := d.read()
	if err != nil {
		return nil, err
	}
	running := d.sw.Config()
	p := d.changes(&running, &full, read.API)
	p.Generation = d.sw.Generation()
	flows, err := d.sw.PlanFlows(full, r.Flows)
	if err != nil {
		return nil, err
	}
	p.SetFlows(&flows)
	return p, nil
}

// changes returns what differs between two configurations, and in [api].
func (d *daemon) changes(from, to *vswitch.Config, a config.API) *plan.Plan {
	p := plan.New(from, to)
	p.AddChanges(d.metricsChange(a)...)
	return p
}
