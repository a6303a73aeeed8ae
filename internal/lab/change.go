package lab

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"vswitch/port"
	vswitch "vswitch/switch"
)

// A Change is a lab on its way from one configuration to the next: see the
// package comment. It ends with Commit or Rollback.
type Change struct {
	lab    *Lab
	config vswitch.Config
	wanted map[string]endpoint // by instance

	attach []endpoint // those that get a device, in the order of the configuration
	update []endpoint // those that keep theirs, but look different

	before     journal // the maps of the journal before the Change
	fresh      []*namespace
	freshHosts []hostsDirectory
	freshEtc   bool // /etc/netns was made by this Change

	opened map[string]tap // those of attach, by instance
}

// A tap is a TAP that this process has opened, and gives away: whoever has its
// queues closes them.
type tap struct {
	queues []*port.TAP
	index  int // the link's
}

// An attachment is an endpoint whose device this process has opened.
type attachment struct {
	endpoint
	tap
}

// Prepare makes the namespaces and devices that the completed configuration full
// needs and the lab does not have, and nothing else: what is there already stays
// as it is until Commit. If anything cannot be made, nothing was: the error names
// every instance that is in the way. One Change can be open at a time.
func (l *Lab) Prepare(full vswitch.Config) (*Change, error) {
	if l.change != nil {
		return nil, errors.New("a change is open: commit it or roll it back first")
	}
	wanted, err := endpoints(&full)
	if err != nil {
		return nil, err
	}
	c := &Change{
		lab:    l,
		config: full,
		wanted: wanted,
		opened: map[string]tap{},
	}
	var vpc string
	l.recorded(func(j *journal) {
		vpc = j.VPC
		c.before = journal{Namespaces: maps.Clone(j.Namespaces), Links: maps.Clone(j.Links), Hosts: maps.Clone(j.Hosts)}
	})
	if vpc != "" && vpc != full.VPC.Name {
		return nil, fmt.Errorf("state directory %s: belongs to VPC %s, not %s", l.dir, vpc, full.VPC.Name)
	}
	if err := c.plan(); err != nil {
		return nil, err
	}
	l.change = c
	if err := c.make(); err != nil {
		return nil, errors.Join(err, c.Rollback())
	}
	return c, nil
}

// Devices returns the devices of the instances that had none, by instance, each
// with all of its queues. They are the caller's, unless the Change is rolled back.
func (c *Change) Devices() map[string][]port.Device {
	devices := make(map[string][]port.Device, len(c.opened))
	for instance, d := range c.opened {
		for _, q := range d.queues {
			devices[instance] = append(devices[instance], q)
		}
	}
	return devices
}

// plan sorts the instances into those that need a device and those that change,
// and refuses what is not ours. It makes nothing.
func (c *Change) plan() error {
	var errs []error
	for i := range c.config.Instances {
		e := c.wanted[c.config.Instances[i].Name]
		a, attached := c.lab.attached[e.instance]
		// An endpoint in another place is a new one; Commit removes the old. One whose
		// device is gone gets another, so that a reload repairs it.
		switch {
		case !attached || a.place() != e.place() || !a.works():
			errs = append(errs, c.claim(&e))
			c.attach = append(c.attach, e)
		case !a.sameLink(&e):
			c.update = append(c.update, e)
		}
	}
	return errors.Join(errs...)
}

// works reports whether the link still is in its place. Somebody may have
// deleted it, or its namespace: this process alone keeps that alive then. No thread
// goes there to look: every reload asks this of every instance.
func (a *attachment) works() bool {
	path := ownNamespace
	if !a.host() {
		var err error
		if path, err = namespacePath(a.namespace); err != nil {
			return false
		}
	}
	var there unix.Stat_t
	if err := unix.Stat(path, &there); err != nil {
		return false
	}
	at, err := a.queues[0].Place()
	return err == nil && at == port.Place{Name: a.device, Device: there.Dev, Inode: there.Ino}
}

// claim returns an error if what the endpoint needs belongs to somebody else.
func (c *Change) claim(e *endpoint) error {
	for _, a := range c.lab.attached {
		if a.instance != e.instance && a.place() == e.place() {
			return fmt.Errorf("instance %s: %s still belongs to instance %s: remove that one first, with a reload of its own", e.instance, e.describe(), a.instance)
		}
	}
	if e.host() {
		return nil // openLink looks for itself
	}
	who, _, err := whoHolds(e.namespace, c.before.Namespaces[e.namespace].identity)
	if err != nil {
		return fmt.Errorf("instance %s: %w", e.instance, err)
	}
	if who == foreign {
		return fmt.Errorf("instance %s: namespace %s exists and vswitch did not make it: delete it (ip netns del %s), or choose another name with namespace = \"...\"", e.instance, e.namespace, e.namespace)
	}
	d := c.hosts(e)
	exists, err := d.exists()
	if err != nil {
		return fmt.Errorf("instance %s: %w", e.instance, err)
	}
	if _, recorded := c.before.Hosts[e.namespace]; exists && !recorded && !d.marked() {
		return fmt.Errorf("instance %s: directory %s exists and vswitch did not make it: move it away, or choose another name with namespace = \"...\"", e.instance, d.path())
	}
	return nil
}

// hosts returns the endpoint's directory in /etc/netns. It is in a namespace of
// its own.
func (c *Change) hosts(e *endpoint) hostsDirectory {
	return hostsDirectory{vpc: c.config.VPC.Name, instance: e.instance, namespace: e.namespace}
}

// Rollback undoes what Prepare did, and closes the devices. After a Commit or a
// Rollback it does nothing.
func (c *Change) Rollback() error {
	l := c.lab
	if l.change != c {
		return nil
	}
	l.change = nil
	var errs []error
	// A TAP ends with its descriptor, and with it its addresses and routes.
	for name, d := range c.opened {
		if err := closeQueues(d.queues); err != nil {
			errs = append(errs, fmt.Errorf("instance %s: %w", name, err))
		}
	}
	gone := newRemoval(&Report{})
	for _, n := range c.fresh {
		gone.namespace(n.name, namespaceRecord{identity: n.id})
		errs = append(errs, n.close())
	}
	for _, d := range c.freshHosts {
		gone.hosts(d)
	}
	if c.freshEtc {
		gone.etcDir()
	}
	errs = append(errs, gone.errs...)
	errs = append(errs, l.record(func(j *journal) { c.restore(j, gone) }))
	return errors.Join(errs...)
}

// restore makes the journal what it was before the Change, but for what could not
// be removed.
func (c *Change) restore(j *journal, gone *removal) {
	namespaces, hosts := j.Namespaces, j.Hosts
	j.Namespaces, j.Links, j.Hosts = c.before.Namespaces, c.before.Links, c.before.Hosts
	for _, n := range c.fresh {
		if !slices.Contains(gone.namespaces, n.name) {
			j.Namespaces[n.name] = namespaces[n.name]
		}
	}
	for _, d := range c.freshHosts {
		if !slices.Contains(gone.hostsDirs, d.namespace) {
			j.Hosts[d.namespace] = hosts[d.namespace]
		}
	}
	if gone.etc {
		j.EtcNetns = false
	}
}
