package vswitch

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"vswitch/port"
)

// Apply makes c the running configuration, all or nothing. It completes c; an
// instance whose address is left out keeps the one it has. devices holds the
// devices of instances, by name, that the switch shall own from now on; an
// instance that had a device keeps it unless devices names another. Apply returns
// once every further frame is judged by c and the devices that nobody uses any
// more are closed. Tracked connections and counters of instances that stay are
// kept. An error, such as *InvalidError, leaves everything as it was, but for
// that of closing an unused device, which comes when c runs already.
func (s *Switch) Apply(c Config, devices map[string]port.Device) error {
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
	if full.VPC.Name != running.VPC.Name {
		return fmt.Errorf("vpc %s: this switch runs %s; its name cannot change", full.VPC.Name, running.VPC.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		if full.Instance(name) == nil {
			return fmt.Errorf("instance %s: has a device but is not in the configuration", name)
		}
	}
	return s.publish(full, devices)
}

// Attach gives an instance its device, in place of the one it has. The switch
// owns d from then on and closes it when the instance is removed.
func (s *Switch) Attach(instance string, d port.Device) error {
	return s.setDevice(instance, d)
}

// Detach takes an instance's device away and closes it. Frames to the instance
// are dropped as PORT_DOWN until the next Attach.
func (s *Switch) Detach(instance string) error {
	return s.setDevice(instance, nil)
}

func (s *Switch) setDevice(instance string, d port.Device) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return ErrClosed
	}
	p := s.plane.Load()
	if p.byName[instance] == nil {
		return fmt.Errorf("instance %s: not in the configuration", instance)
	}
	return s.publish(p.config, map[string]port.Device{instance: d})
}

// publish compiles and publishes a plane, waits until the worker uses it, and
// closes the devices that only the previous one used. s.mu is held.
func (s *Switch) publish(full Config, devices map[string]port.Device) error {
	old := s.plane.Load()
	p := compile(full, old, devices)
	s.plane.Store(p)
	for _, x := range s.watches {
		x.adopt(p)
	}
	views := s.views(p)
	s.worker.do(func() {
		s.worker.adopt(p)
		s.worker.watching = views
	})

	used := make(map[port.Device]bool, len(p.enis))
	for _, e := range p.enis {
		if e != nil && e.device != nil {
			used[e.device] = true
		}
	}
	var errs []error
	for _, e := range old.enis {
		if e != nil && e.device != nil && !used[e.device] {
			if err := e.device.Close(); err != nil {
				errs = append(errs, fmt.Errorf("port of %s: %w", e.name, err))
			}
		}
	}
	return errors.Join(errs...)
}
