package lab

import (
	"errors"
	"fmt"
	"os"
)

// make makes what plan found wanting, in the order of the package comment: the
// journal is on the disk before the first name appears. On an error it stops
// where it is; Rollback finds in the fields of c what there is to undo.
func (c *Change) make() error {
	if len(c.attach) == 0 {
		return nil
	}
	if err := c.makeNamespaces(); err != nil {
		return err
	}
	if err := c.recordIntent(); err != nil {
		return err
	}
	if err := makeRunDir(); err != nil {
		return err
	}
	for _, n := range c.fresh {
		if err := n.publish(); err != nil {
			return err
		}
	}
	if err := c.writeHosts(); err != nil {
		return err
	}
	if err := c.openLinks(); err != nil {
		return err
	}
	for _, n := range c.fresh {
		if err := n.close(); err != nil { // its name keeps it
			return fmt.Errorf("namespace %s: %w", n.name, err)
		}
	}
	// Only now do the TAPs of the host's namespace have an index.
	return c.lab.record(func(j *journal) {
		for i := range c.attach {
			if e := &c.attach[i]; e.host() {
				j.Links[e.device] = linkRecord{Instance: e.instance, Index: c.opened[e.instance].index}
			}
		}
	})
}

// makeNamespaces makes the namespaces that do not exist, still without a name. An
// empty file that a crash left in the place of one is removed.
func (c *Change) makeNamespaces() error {
	var missing []string
	for i := range c.attach {
		e := &c.attach[i]
		if e.host() {
			continue
		}
		who, _, err := whoHolds(e.namespace, c.before.Namespaces[e.namespace].identity)
		if err != nil {
			return err
		}
		if who == leftover {
			if err := unpublish(e.namespace); err != nil {
				return err
			}
		}
		if who != ours {
			missing = append(missing, e.namespace)
		}
	}
	var err error
	c.fresh, err = makeNamespaces(missing)
	return err
}

// recordIntent writes down what will be made, before anybody can see it.
func (c *Change) recordIntent() error {
	_, err := os.Lstat(etcDir)
	c.freshEtc = errors.Is(err, os.ErrNotExist)
	return c.lab.record(func(j *journal) {
		j.VPC = c.config.VPC.Name
		j.EtcNetns = j.EtcNetns || c.freshEtc
		for i := range c.attach {
			e := &c.attach[i]
			if e.host() {
				j.Links[e.device] = linkRecord{Instance: e.instance}
				continue
			}
			j.Hosts[e.namespace] = hostsRecord{Instance: e.instance}
			j.Namespaces[e.namespace] = namespaceRecord{e.instance, j.Namespaces[e.namespace].identity}
		}
		for _, n := range c.fresh {
			j.Namespaces[n.name] = namespaceRecord{j.Namespaces[n.name].Instance, n.id}
		}
	})
}

// writeHosts makes the hosts directories of the endpoints that get a device. The
// other instances learn the new names from Commit.
func (c *Change) writeHosts() error {
	names, err := newNaming(&c.config, c.wanted, &c.lab.services)
	if err != nil {
		return err
	}
	for i := range c.attach {
		e := &c.attach[i]
		if e.host() {
			continue
		}
		d := c.hosts(e)
		exists, err := d.exists()
		if err != nil {
			return fmt.Errorf("hosts of %s: %w", e.instance, err)
		}
		if !exists {
			c.freshHosts = append(c.freshHosts, d)
		}
		if err := d.write(names, e.ipv6(), settled{}); err != nil {
			return err
		}
	}
	return nil
}

// openLinks opens the devices, one after the other. Two at a time are no faster
// (100 instances took 0.7 s either way, on two processors): the kernel makes one
// link at a time.
func (c *Change) openLinks() error {
	ours := map[int]bool{}
	for _, a := range c.lab.attached {
		if a.host() {
			ours[a.index] = true
		}
	}
	for i := range c.attach {
		e := &c.attach[i]
		if err := c.open(e, ours); err != nil {
			return fmt.Errorf("instance %s: %w", e.instance, err)
		}
		if e.host() {
			ours[c.opened[e.instance].index] = true
		}
	}
	return nil
}

// open opens the device of one endpoint. ours are the links of the host's
// namespace whose routes are no conflict.
func (c *Change) open(e *endpoint, ours map[int]bool) error {
	if e.host() {
		if err := e.routeConflict(ours); err != nil {
			return err
		}
	}
	return e.inside(func() error {
		d, err := e.openLink(max(1, c.lab.Queues))
		if err == nil {
			c.opened[e.instance] = d
		}
		return err
	})
}
