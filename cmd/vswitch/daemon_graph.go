package main

import "vswitch/internal/graph"

// Graph returns the running VPC as a graph, for the API. A large one takes its
// time, and nobody waits for it.
func (d *daemon) Graph() (*graph.Graph, error) {
	d.life.RLock()
	if d.stopped {
		d.life.RUnlock()
		return nil, errStopping(d.state.vpc)
	}
	cfg := d.sw.Config()
	d.life.RUnlock()
	return graph.New(&cfg), nil
}
