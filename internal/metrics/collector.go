// Package metrics serves the counters of a running switch to Prometheus.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"vswitch/internal/api"
)

// A Source returns a consistent snapshot of a running switch: the document that
// `vswitch status -o json` prints.
type Source func() (api.Status, error)

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
	status, err := c.source()
	if err != nil {
		samples <- prometheus.NewInvalidMetric(c.descs[0], err)
		return
	}
	for i, f := range families {
		f.sample(&status, func(value float64, labels ...string) {
			samples <- prometheus.MustNewConstMetric(c.descs[i], f.kind, value, labels...)
		})
	}
}
