package vswitch

import (
	"fmt"
	"slices"

	"vswitch/conntrack"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// Status returns a snapshot of the counters and ports. With several workers it is
// taken from one after the other: while frames move, those that have been received
// and what became of them need not add up.
func (s *Switch) Status() Status {
	p := s.plane.Load()
	st := Status{Generation: p.generation, Workers: len(s.workers), Ports: make([]PortStatus, len(p.config.Instances))}
	for i := range st.Ports {
		e := p.byName[p.config.Instances[i].Name]
		st.Ports[i] = PortStatus{Interface: e.iface, Up: true, Offloads: e.offloads}
	}
	for _, w := range s.workers {
		w.do(func() {
			w.addTo(&st)
			for i := range st.Ports {
				w.addPort(&st.Ports[i])
			}
		})
	}
	for i := range st.Ports {
		st.Totals.add(&st.Ports[i].Counters)
	}
	return st
}

// addTo adds what the worker has of its own.
func (w *worker) addTo(st *Status) {
	st.HandedOver += w.handedOver
	st.FlowCache.Entries += len(w.cache.entries)
	st.FlowCache.Used += w.cache.held
	st.FlowCache.Hits += w.cache.hits
	st.FlowCache.Misses += w.cache.misses
	st.Uncounted += w.tally.lost
	st.Panics += w.panics
	st.Capacity += w.conns.Capacity()
	st.Tracked += w.conns.Len()
	st.Captured = append(st.Captured, w.failed[:min(len(w.failed), maxFailed-len(st.Captured))]...)
}

// addPort adds what the worker has of one port. The plane that it uses may be
// another one, while Apply is under way.
func (w *worker) addPort(p *PortStatus) {
	e := w.plane.byName[p.Instance]
	if e == nil {
		return
	}
	u := w.conns.Usage(e.handle)
	p.Up = p.Up && w.live(e)
	p.Counters.add(&w.counters[e.handle])
	p.Tracked += u.Tracked
	p.Allowed = u.Max
	p.Exceeded += u.Exceeded
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
		for _, w := range s.workers {
			all = s.connections(all, w, name, page)
		}
	}
	return all, nil
}

// connections appends those that one worker has of an instance. page is room for
// its use.
func (s *Switch) connections(all []Connection, w *worker, instance string, page []conntrack.Conn) []Connection {
	after := uint32(0)
	for {
		n, next := 0, uint32(0)
		w.do(func() {
			// After Close there are no connections any more, nor the memory they were in.
			if e := w.plane.byName[instance]; e != nil && !s.closed.Load() {
				n, next = w.conns.List(e.handle, after, page, w.clock())
			}
		})
		for _, c := range page[:n] {
			all = append(all, Connection{Instance: instance, Tuple: c.Tuple, State: c.State.String(), Left: c.Left})
		}
		if after = next; after == 0 {
			return all
		}
	}
}

// Trace returns how a frame that instance sends would be judged now, step by
// step, without sending it and without effect on any connection. b is a
// virtio_net_hdr and an Ethernet frame. Its last step is the one that denied, if
// one did.
func (s *Switch) Trace(instance string, b []byte) (*Trace, error) {
	t := &Trace{}
	var err error
	w, q := s.workers[0], quote{}
	if w.crew != nil {
		w, q = s.ownerOf(instance, b)
	}
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
		j := judge{plane: w.plane, conns: w.conns, quote: q, now: w.clock(), dry: true, trace: t}
		j.recorded(in, b)
	})
	return t, err
}

// ownerOf returns which of several workers would judge a frame that instance sends,
// and, of an ICMP error, what the owner of the flow that it quotes says of it.
func (s *Switch) ownerOf(instance string, b []byte) (*worker, quote) {
	w, q := s.workers[0], quote{}
	in := s.plane.Load().byName[instance]
	var f wire.Frame
	if in == nil || f.Parse(slices.Clone(b), in.mtu) != policy.None || f.Kind == wire.KindARP {
		return w, q // no rule will judge it
	}
	owner := w.owner(&f.Tuple)
	if witness, quoted, ok := w.witness(&f); ok && witness != owner {
		asked := s.workers[witness]
		asked.do(func() {
			if in := asked.plane.byName[instance]; in != nil && !s.closed.Load() {
				q = asked.testify(in, &f, quoted, asked.clock())
			}
		})
	}
	return s.workers[owner], q
}
