package main

import (
	"vswitch/internal/config"
	"vswitch/internal/metrics"
	"vswitch/internal/plan"
	vswitch "vswitch/switch"
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
		next.Serve(d.snapshot, d.log)
		d.log.Info("serving metrics", "url", "http://"+next.Address().String()+metrics.Path)
	}
}

// snapshot returns what a scrape shows. The rules are read right before the
// counters: while frames move, they know nothing yet of those in between.
func (d *daemon) snapshot() (metrics.Snapshot, error) {
	d.life.RLock()
	defer d.life.RUnlock()
	if d.stopped {
		return metrics.Snapshot{}, errStopping(d.state.vpc)
	}
	d.observe()
	cfg, hits := d.sw.Config(), d.book.Hits()
	s := metrics.Snapshot{Status: d.status()}
	for _, key := range vswitch.RuleKeys(&cfg) {
		h := hits[key]
		s.Rules = append(s.Rules, metrics.Rule{Object: key.Object, Direction: key.Direction.String(), ID: key.ID, Packets: h.Packets, Flows: h.Flows})
	}
	return s, nil
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
func (d *daemon) metricsChange(a config.API) []plan.Change {
	was, is := "", ""
	if d.metrics != nil {
		was = d.metrics.Address().String()
	}
	if a.Metrics.IsValid() {
		is = a.Metrics.String()
	}
	if was == is {
		return nil
	}
	return []plan.Change{{Action: plan.Modify, Object: "api", Fields: []plan.Field{{Name: "metrics", From: was, To: is}}, Rules: []plan.Rule{}}}
}
