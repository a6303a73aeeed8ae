// Package metrics serves the counters of a running switch to Prometheus.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"vswitch/internal/api"
)

// A Snapshot is a running switch at one moment.
type Snapshot struct {
	api.Status // the document that `vswitch status -o json` prints

	Rules []Rule // all of them, in the order of the file
}

// A Rule is what one rule of a security group or network ACL has decided since it
// exists or was reset.
type Rule struct {
	Object    string // sg:NAME or nacl:NAME
	Direction string
	ID        string // as `vswitch rules` prints it
	Packets   uint64
	Flows     uint64
}

// A Source returns a Snapshot.
type Source func() (Snapshot, error)

// A collector turns one snapshot into all samples of a scrape, so that they add
// up as the counters of a status do.
type collector struct {
	source Source
	descs  []*prometheus.Desc // of families, in their order
}

func newCollector(source Source) *collector {
	c := &collector{source: source}
	for _, f := range families {
		c.descs = append(c.descs, prometheus.NewDesc(f.name, f.help, f.labels, nil))
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		descs <- d
	}
}

// Collect implements prometheus.Collector. A switch that is stopping has no
// samples, and fails the scrape.
func (c *collector) Collect(samples chan<- prometheus.Metric) {
	snapshot, err := c.source()
	if err != nil {
		samples <- prometheus.NewInvalidMetric(c.descs[0], err)
		return
	}
	for i, f := range families {
		f.sample(&snapshot, func(value float64, labels ...string) {
			samples <- prometheus.MustNewConstMetric(c.descs[i], f.kind, value, labels...)
		})
	}
}
