package vswitch

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"vswitch/conntrack"
	"vswitch/port"
)

// Apply makes c the running configuration, all or nothing. It completes c; an
// instance whose address is left out keeps the one it has. devices holds the
// devices of instances, by name, that the switch shall own from now on; an
// instance that had a device keeps it unless devices names another, queue by queue. Apply returns
// once every further frame is judged by c and the devices that nobody uses any
// more are closed. Tracked connections and counters of instances that stay are
// kept. An error, such as *InvalidError, leaves everything as it was, but for
// that of closing an unused device, which comes when c runs already.
func (s *Switch) Apply(c Config, devices map[string][]port.Device) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return ErrClosed
	}
	running := s.plane.Load().config
	full, err := Complete(c, &running)
	if err != nil {
		return err
	}
	return s.apply(full, devices)
}

// ApplyComplete is Apply for what Complete has made of a configuration, with the one
// of this switch as the running one, and nobody has changed since: it is not checked
// again.
func (s *Switch) ApplyComplete(full Config, devices map[string][]port.Device) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return ErrClosed
	}
	return s.apply(full, devices)
}

// apply is Apply of a completed configuration. s.mu is held.
func (s *Switch) apply(full Config, devices map[string][]port.Device) error {
	if name := s.plane.Load().config.VPC.Name; full.VPC.Name != name {
		return fmt.Errorf("vpc %s: this switch runs %s; its name cannot change", full.VPC.Name, name)
	}
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		if full.Instance(name) == nil {
			return fmt.Errorf("instance %s: has a device but is not in the configuration", name)
		}
	}
	if err := s.checkQueues(devices); err != nil {
		return err
	}
	return s.publish(full, devices)
}

// Attach gives an instance its device, in place of the one it has: its only queue,
// or all of them, at most one for each worker, in the order in which port.Steer
// numbers them. The switch owns them from then on and closes them when the
// instance is removed.
func (s *Switch) Attach(instance string, queues ...port.Device) error {
	if len(queues) == 0 || slices.Contains(queues, nil) {
		return fmt.Errorf("instance %s: a device without queues", instance)
	}
	return s.setDevice(instance, queues)
}

// Detach takes an instance's device away and closes it. Frames to the instance
// are dropped as PORT_DOWN until the next Attach.
func (s *Switch) Detach(instance string) error {
	return s.setDevice(instance, nil)
}

func (s *Switch) setDevice(instance string, queues []port.Device) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return ErrClosed
	}
	p := s.plane.Load()
	if p.byName[instance] == nil {
		return fmt.Errorf("instance %s: not in the configuration", instance)
	}
	devices := map[string][]port.Device{instance: queues}
	if err := s.checkQueues(devices); err != nil {
		return err
	}
	return s.publish(p.config, devices)
}

// checkQueues refuses a device with more queues than there are workers to read
// them.
func (s *Switch) checkQueues(devices map[string][]port.Device) error {
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		if n := len(devices[name]); n > len(s.workers) {
			return fmt.Errorf("instance %s: a device of %d queues for %d workers", name, n, len(s.workers))
		}
	}
	return nil
}

// publish compiles and publishes a plane, waits until all workers use it, and
// closes the devices that only the previous one used. s.mu is held.
func (s *Switch) publish(full Config, devices map[string][]port.Device) error {
	old := s.plane.Load()
	p := s.compile(full, old, devices)
	s.plane.Store(p)
	for _, x := range s.watches {
		x.adopt(p)
	}
	s.adopt(p)
	return closeDevices(old, p)
}

// compile compiles a plane for as many workers as there are.
func (s *Switch) compile(full Config, old *plane, devices map[string][]port.Device) *plane {
	p := compile(full, old, devices)
	if len(s.workers) > 1 {
		for len(s.allowances) < len(p.enis) {
			s.allowances = append(s.allowances, new(conntrack.Allowance))
		}
	}
	for _, e := range p.enis {
		for e != nil && e.read > 0 && len(e.queues) < len(s.workers) {
			e.queues = append(e.queues[:len(e.queues):len(e.queues)], e.queues[len(e.queues)%e.read])
		}
	}
	return p
}

// adopt makes all workers use p, one after the other. Then it lets them forward
// what they had handed over to each other before: the next plane may give the
// handle of an interface that p has not to another one, and nothing of the old one
// must be left then.
func (s *Switch) adopt(p *plane) {
	for _, w := range s.workers {
		views := s.views(p, w)
		w.do(func() {
			w.adopt(p, s.allowances)
			w.watching = views
		})
	}
	s.forwardHandedOver()
}

// forwardHandedOver makes the workers forward all that they have handed over to
// each other until now. A frame changes hands twice at most (steer.go).
func (s *Switch) forwardHandedOver() {
	if len(s.workers) == 1 {
		return
	}
	for range 2 {
		for _, w := range s.workers {
			w.do(w.receiveAll)
		}
	}
}

// closeDevices closes the devices of old that p, which may be nil, does not use.
func closeDevices(old, p *plane) error {
	closed := make(map[port.Device]bool, len(old.enis)) // or in use
	if p != nil {
		for _, e := range p.enis {
			if e != nil {
				for _, d := range e.queues {
					closed[d] = true
				}
			}
		}
	}
	var errs []error
	for _, e := range old.enis {
		if e == nil {
			continue
		}
		for _, d := range e.queues {
			if closed[d] {
				continue
			}
			closed[d] = true
			if err := d.Close(); err != nil {
				errs = append(errs, fmt.Errorf("port of %s: %w", e.name, err))
			}
		}
	}
	return errors.Join(errs...)
}
