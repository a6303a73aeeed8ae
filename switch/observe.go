package vswitch

import (
	"fmt"
	"slices"

	"vswitch/conntrack"
)

// Status returns a snapshot of the counters and ports.
func (s *Switch) Status() Status {
	var st Status
	w := s.worker
	w.do(func() {
		p := w.plane
		st = Status{
			Generation: p.generation,
			FlowCache:  FlowCacheStatus{Entries: len(w.cache.entries), Hits: w.cache.hits, Misses: w.cache.misses},
			Uncounted:  w.tally.lost,
			Panics:     w.panics,
			Capacity:   w.conns.Capacity(),
			Tracked:    w.conns.Len(),
			Captured:   slices.Clone(w.failed),
			Ports:      make([]PortStatus, 0, len(p.byName)),
		}
		for i := range p.config.Instances {
			e := p.byName[p.config.Instances[i].Name]
			u := w.conns.Usage(e.handle)
			st.Ports = append(st.Ports, PortStatus{
				Interface: e.iface,
				Up:        w.live(e),
				Offloads:  e.offloads,
				Counters:  w.counters[e.handle],
				Tracked:   u.Tracked,
				Allowed:   u.Max,
				Exceeded:  u.Exceeded,
			})
		}
	})
	for i := range st.Ports {
		st.Totals.add(&st.Ports[i].Counters)
	}
	return st
}

// connectionsPerLook bounds how many connections are copied between two bursts.
const connectionsPerLook = 1024

// Connections returns the tracked connections of one instance, or of all for "",
// instances in the order of the configuration. A connection that opens or closes
// meanwhile may or may not be among them.
func (s *Switch) Connections(instance string) ([]Connection, error) {
	var all []Connection
	names := []string{instance}
	p := s.plane.Load()
	if instance == "" {
		names = names[:0]
		for i := range p.config.Instances {
			names = append(names, p.config.Instances[i].Name)
		}
	} else if p.byName[instance] == nil {
		return nil, fmt.Errorf("instance %s: not in the configuration", instance)
	}
	page := make([]conntrack.Conn, connectionsPerLook)
	for _, name := range names {
		after := uint32(0)
		for {
			n, next := 0, uint32(0)
			s.worker.do(func() {
				// After Close there are no connections any more, nor the memory they were in.
				if e := s.worker.plane.byName[name]; e != nil && !s.closed.Load() {
					n, next = s.worker.conns.List(e.handle, after, page, s.worker.clock())
				}
			})
			for _, c := range page[:n] {
				all = append(all, Connection{Instance: name, Tuple: c.Tuple, State: c.State.String(), Left: c.Left})
			}
			if after = next; after == 0 {
				break
			}
		}
	}
	return all, nil
}

// Trace returns how a frame that instance sends would be judged now, step by
// step, without sending it and without effect on any connection. b is a
// virtio_net_hdr and an Ethernet frame. Its last step is the one that denied, if
// one did.
func (s *Switch) Trace(instance string, b []byte) (*Trace, error) {
	t := &Trace{}
	var err error
	w := s.worker
	w.do(func() {
		in := w.plane.byName[instance]
		if s.closed.Load() {
			err = ErrClosed
			return
		}
		if in == nil {
			err = fmt.Errorf("instance %s: not in the configuration", instance)
			return
		}
		j := judge{plane: w.plane, conns: w.conns, now: w.clock(), dry: true, trace: t}
		j.recorded(in, b)
	})
	return t, err
}
