package main

import (
	"vswitch/internal/api"
	"vswitch/internal/config"
	"vswitch/internal/metrics"
)

// reserveMetrics takes the address that a configuration serves metrics at, before
// anything is changed: one that is taken refuses the configuration. It returns the
// server that runs, another one that does not answer yet, or nil. Exactly one of
// serveMetrics and releaseMetrics must follow. d.change is held, or nobody knows d yet.
func (d *daemon) reserveMetrics(a config.API) (*metrics.Server, error) {
	switch {
	case !a.Metrics.IsValid():
		return nil, nil
	case d.metrics != nil && d.metrics.Address() == a.Metrics:
		return d.metrics, nil
	}
	return metrics.Listen(a.Metrics)
}

// serveMetrics makes a reserved server answer, in place of the one that ran.
func (d *daemon) serveMetrics(next *metrics.Server) {
	if next == d.metrics {
		return
	}
	if err := d.metrics.Close(); err != nil {
		d.log.Warn("metrics", "error", err)
	}
	d.metrics = next
	if next != nil {
		next.Serve(d.Status, d.log)
		d.log.Info("serving metrics", "url", "http://"+next.Address().String()+metrics.Path)
	}
}

// releaseMetrics gives a reserved address back.
func (d *daemon) releaseMetrics(next *metrics.Server) {
	if next != d.metrics && next != nil {
		if err := next.Close(); err != nil {
			d.log.Warn("metrics", "error", err)
		}
	}
}

// metricsChange returns the change that a reload makes to [api], if it makes one.
func (d *daemon) metricsChange(a config.API) []api.Change {
	running := d.metrics != nil
	if running != a.Metrics.IsValid() || running && d.metrics.Address() != a.Metrics {
		return []api.Change{{Action: api.ActionChange, Object: "api"}}
	}
	return nil
}
