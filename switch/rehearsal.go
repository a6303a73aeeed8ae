package vswitch

import (
	"fmt"
	"net/netip"

	"vswitch/conntrack"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// A Rehearsal judges packets by the rules of one plane, step by step, without
// sending them: the path of a frame with a recorder and with connections of its
// own, of which there are none at first. So it tells what would become of flows
// that begin now, their replies included, whatever runs already. It touches
// neither a port nor the worker of a Switch. It is not safe for concurrent use.
type Rehearsal struct {
	plane *plane
	conns *conntrack.Tracker
	used  []*eni // interfaces that may have connections
}

// rehearsed is how many connections a Rehearsal can hold before Forget: those of
// one exchange, tried from many ports.
const rehearsed = 1 << 16

// NewRehearsal returns a Rehearsal of a configuration, which it completes as New
// does; the error is *InvalidError for one with mistakes.
func NewRehearsal(c Config) (*Rehearsal, error) {
	full, err := Complete(c, nil)
	if err != nil {
		return nil, err
	}
	return rehearse(compile(full, nil, nil))
}

// Rehearse returns a Rehearsal of what runs now. A later Apply does not change it.
func (s *Switch) Rehearse() (*Rehearsal, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	return rehearse(s.plane.Load())
}

func rehearse(p *plane) (*Rehearsal, error) {
	conns, err := conntrack.New(rehearsed)
	if err != nil {
		return nil, fmt.Errorf("connection table: %w", err)
	}
	for _, e := range p.enis {
		if e != nil {
			conns.Configure(e.handle, e.limits)
		}
	}
	return &Rehearsal{plane: p, conns: conns}, nil
}

// Close gives the memory of the connections back.
func (r *Rehearsal) Close() error { return r.conns.Close() }

// Send returns how a frame that instance sends is judged after those sent since
// Forget. The last step is the one that denied, if one did. b is a virtio_net_hdr
// and an Ethernet frame; fragments are judged as if they were whole.
func (r *Rehearsal) Send(instance string, b []byte) (*Trace, error) {
	in := r.plane.byName[instance]
	if in == nil {
		return nil, fmt.Errorf("instance %s: not in the configuration", instance)
	}
	j := judge{plane: r.plane, conns: r.conns, trace: &Trace{Steps: make([]Step, 0, Gates+1)}}
	j.recorded(in, b)
	r.used = append(r.used, in)
	if out := r.plane.byName[j.trace.To]; out != nil {
		r.used = append(r.used, out)
	}
	return j.trace, nil
}

// A Ruling is a Trace without its steps.
type Ruling struct {
	To      string        // as in Trace
	Reason  policy.Reason // None if the frame was not denied
	Tracked bool          // a connection of each interface that it met is about it; valid iff To is not ""
}

// Judge is Send for those who do not ask why, in a tenth of its time.
func (r *Rehearsal) Judge(instance string, b []byte) (Ruling, error) {
	in := r.plane.byName[instance]
	if in == nil {
		return Ruling{}, fmt.Errorf("instance %s: not in the configuration", instance)
	}
	j := judge{plane: r.plane, conns: r.conns}
	out, reason := j.rehearse(in, b)
	r.used = append(r.used, in)
	if out == nil {
		return Ruling{Reason: reason}, nil
	}
	r.used = append(r.used, out)
	return Ruling{out.name, reason, j.refs.egress != conntrack.Ref{} && j.refs.ingress != conntrack.Ref{}}, nil
}

// Forget ends all connections.
func (r *Rehearsal) Forget() {
	if r.conns.Len() > 0 {
		for _, e := range r.used {
			r.conns.Remove(e.handle)
			r.conns.Configure(e.handle, e.limits)
		}
	}
	r.used = r.used[:0]
}

// Generation returns the number of the plane: 1 for one that no Switch runs.
func (r *Rehearsal) Generation() uint32 { return r.plane.generation }

// Config returns the configuration, completed. It must not be changed.
func (r *Rehearsal) Config() *Config { return &r.plane.config }

// Interface returns the network interface of an instance, and false if there is
// no such instance.
func (r *Rehearsal) Interface(instance string) (Interface, bool) {
	e := r.plane.byName[instance]
	if e == nil {
		return Interface{}, false
	}
	return e.iface, true
}

// Owner returns the instance that has an address, or "". Link-local addresses
// have none: each subnet has its own.
func (r *Rehearsal) Owner(a netip.Addr) string {
	if e := r.plane.byAddress[wire.AddrFrom(a)]; e != nil {
		return e.name
	}
	return ""
}
