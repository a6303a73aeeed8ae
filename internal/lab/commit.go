package lab

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Commit ends the Change: it changes the addresses and links of instances that
// look different now, removes what belongs to instances that are gone, writes the
// hosts files, and stops and starts commands. It is called after the switch has
// published the configuration, and goes on after an error: the error it returns
// tells all that went wrong. A command that goes on with the same instance, in
// the same namespace, is left alone, whether it runs or has ended.
func (c *Change) Commit() error {
	l := c.lab
	if l.change != c {
		return errors.New("the change is not open any more")
	}
	l.change = nil
	var errs []error
	// The switch already judges by the new addresses, so these come first.
	for i := range c.update {
		e := &c.update[i]
		old := l.attached[e.instance].endpoint
		if err := e.inside(func() error { return e.changeLink(&old) }); err != nil {
			errs = append(errs, fmt.Errorf("instance %s: %w", e.instance, err))
		}
	}
	c.adopt()
	// Commands go before the namespaces they run in, and come after all names
	// resolve.
	errs = append(errs, l.stopProcesses(c.obsoleteCommands()))
	errs = append(errs, c.retire())
	errs = append(errs, c.rewriteHosts())
	errs = append(errs, l.startProcesses(c.newCommands()))
	return errors.Join(errs...)
}

// adopt makes the endpoints of the Change those of the lab.
func (c *Change) adopt() {
	attached := make(map[string]attachment, len(c.wanted))
	for instance, e := range c.wanted {
		d, fresh := c.opened[instance]
		if !fresh {
			d = c.lab.attached[instance].tap
		}
		attached[instance] = attachment{e, d}
	}
	c.lab.attached = attached
}

// obsoleteCommands returns the instances whose command is to be stopped: it is
// not wanted any more, not like that, or not there.
func (c *Change) obsoleteCommands() []string {
	var all []string
	c.lab.recorded(func(j *journal) {
		for instance, r := range j.Processes {
			e, ok := c.wanted[instance]
			if !ok || e.run != r.Command || e.namespace != r.Namespace || c.lab.lost[instance] {
				all = append(all, instance)
			}
		}
	})
	slices.Sort(all)
	return all
}

// newCommands returns the endpoints whose command has no process, neither one
// that runs nor one that has ended, in the order of the configuration.
func (c *Change) newCommands() []endpoint {
	var all []endpoint
	c.lab.recorded(func(j *journal) {
		for i := range c.config.Instances {
			e := c.wanted[c.config.Instances[i].Name]
			if _, known := j.Processes[e.instance]; e.run != "" && !known {
				all = append(all, e)
			}
		}
	})
	return all
}

// retire removes all that the journal lists and no instance wants.
func (c *Change) retire() error {
	namespaces, links := map[string]bool{}, map[string]bool{}
	for _, e := range c.wanted {
		if e.host() {
			links[e.device] = true
		} else {
			namespaces[e.namespace] = true
		}
	}
	var old journal
	c.lab.recorded(func(j *journal) {
		old = journal{Namespaces: maps.Clone(j.Namespaces), Links: maps.Clone(j.Links), Hosts: maps.Clone(j.Hosts)}
	})
	// The switch has closed the devices, which were the links; what is left of them
	// are names.
	var report Report
	gone := newRemoval(&report)
	for name, r := range old.Namespaces {
		if !namespaces[name] {
			gone.namespace(name, r)
		}
	}
	for name, r := range old.Links {
		if !links[name] {
			gone.link(name, r)
		}
	}
	for name, r := range old.Hosts {
		if !namespaces[name] {
			gone.hosts(hostsDirectory{c.config.VPC.Name, r.Instance, name})
		}
	}
	errs := gone.errs
	for _, left := range report.Left {
		errs = append(errs, errors.New(left))
	}
	if gone.nothing() && c.lab.isSaved() {
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, c.lab.record(gone.forget))...)
}

// rewriteHosts brings the hosts files up to date.
func (c *Change) rewriteHosts() error {
	names, err := newNaming(&c.config, c.wanted, &c.lab.services)
	if err != nil {
		return err
	}
	var errs []error
	before := c.lab.settled
	c.lab.settled = make(map[string]settled, len(c.config.Instances))
	for i := range c.config.Instances {
		e := c.wanted[c.config.Instances[i].Name]
		if e.host() {
			continue
		}
		known := before[e.namespace]
		if known == nil {
			known = settled{}
		}
		c.lab.settled[e.namespace] = known
		errs = append(errs, c.hosts(&e).write(names, e.ipv6(), known))
	}
	return errors.Join(errs...)
}
