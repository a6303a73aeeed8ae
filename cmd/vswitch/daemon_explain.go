package main

import (
	"errors"

	"vswitch/internal/api"
	"vswitch/internal/explain"
)

// Explain tells what would become of a flow that begins now, for the API.
func (d *daemon) Explain(r api.ExplainRequest) (api.Explanation, error) {
	d.life.RLock()
	defer d.life.RUnlock()
	if d.stopped {
		return api.Explanation{}, errStopping(d.state.vpc)
	}
	x, err := explain.Running(d.sw)
	if err != nil {
		return api.Explanation{}, err
	}
	reply, err := x.Document(r)
	if err != nil {
		err = &api.Error{Kind: api.KindUsage, Message: err.Error()}
	}
	return reply, errors.Join(err, x.Close())
}
