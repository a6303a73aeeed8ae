package main

import (
	"errors"

	"vswitch/internal/api"
	"vswitch/internal/explain"
	"vswitch/internal/reach"
)

// Reach tells who can reach whom, for the API.
func (d *daemon) Reach(r api.ReachRequest) (api.Reach, error) {
	d.life.RLock()
	stopped := d.stopped
	d.life.RUnlock()
	if stopped {
		return api.Reach{}, errStopping(d.state.vpc)
	}
	// The plane that x judges by stays what it is, so nobody need wait meanwhile.
	x, err := explain.Running(d.sw)
	if err != nil {
		return api.Reach{}, err
	}
	reply, err := reach.Document(x, r)
	if err != nil {
		err = &api.Error{Kind: api.KindUsage, Message: err.Error()}
	}
	return reply, errors.Join(err, x.Close())
}
