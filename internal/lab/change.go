package lab

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync"

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

	mu      sync.Mutex             // guards the fields below while endpoints are set up in parallel
	devices map[string]port.Device // by instance
	indexes map[string]int         // the indexes of their links, by instance
}

// An attachment is an endpoint whose device this process has opened.
type attachment struct {
	endpoint
	index int // the link's
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
		lab:     l,
		config:  full,
		wanted:  wanted,
		devices: map[string]port.Device{},
		indexes: map[string]int{},
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

// Devices returns the devices of the instances that had none, by instance. They
// are the caller's, unless the Change is rolled back.
func (c *Change) Devices() map[string]port.Device { return maps.Clone(c.devices) }

// plan sorts the instances into those that need a device and those that change,
// and refuses what is not ours. It makes nothing.
func (c *Change) plan() error {
	var errs []error
	for i := range c.config.Instances {
		e := c.wanted[c.config.Instances[i].Name]
		a, attached := c.lab.attached[e.instance]
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
// deleted it, or its namespace.
func (a *attachment) works() bool {
	index := 0
	err := a.inside(func() (err error) {
		index, err = linkIndex(a.device)
		return err
	})
	return err == nil && index == a.index
}

// inside calls f on a thread inside the endpoint's namespace.
func (e *endpoint) inside(f func() error) error {
	if e.host() {
		return f()
	}
	n, err := openNamespace(e.namespace)
	if err != nil {
		return err
	}
	return errors.Join(n.do(f), n.close())
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

// describe names the endpoint's place in a message.
func (e *endpoint) describe() string {
	if e.host() {
		return "link " + e.device
	}
	return "namespace " + e.namespace
}

func (c *Change) hosts(e *endpoint) hostsDirectory {
	return hostsDirectory{vpc: c.config.VPC.Name, instance: e.instance, namespace: e.namespace}
}

// make makes what plan found wanting.
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
	return c.lab.record(func(j *journal) {
		for i := range c.attach {
			if e := &c.attach[i]; e.host() {
				j.Links[e.device] = linkRecord{Instance: e.instance, Index: c.indexes[e.instance]}
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

func (c *Change) writeHosts() error {
	names := hostsFile(&c.config, c.wanted)
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
		if err := d.write(names); err != nil {
			return err
		}
	}
	return nil
}

// openLinks opens the devices: those of the host's namespace one after the other,
// because each looks at the routes that are there, the others in parallel.
func (c *Change) openLinks() error {
	ours := map[int]bool{}
	for _, a := range c.lab.attached {
		if a.host() {
			ours[a.index] = true
		}
	}
	var apart []*endpoint
	for i := range c.attach {
		e := &c.attach[i]
		if !e.host() {
			apart = append(apart, e)
			continue
		}
		if err := e.routeConflict(ours); err != nil {
			return err
		}
		if err := c.open(e); err != nil {
			return err
		}
		ours[c.indexes[e.instance]] = true
	}
	return parallel(len(apart), func(i int) error { return c.open(apart[i]) })
}

// open opens the device of one endpoint.
func (c *Change) open(e *endpoint) error {
	var device port.Device
	var index int
	err := e.inside(func() (err error) {
		device, index, err = e.openLink()
		return err
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if device != nil {
		c.devices[e.instance], c.indexes[e.instance] = device, index
	}
	if err != nil {
		return fmt.Errorf("instance %s: %w", e.instance, err)
	}
	return nil
}

// parallel calls f with 0 to n-1, on as many threads as the machine has
// processors, and returns all errors.
func parallel(n int, f func(i int) error) error {
	errs := make([]error, n)
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(n, runtime.NumCPU()) {
		workers.Go(func() {
			for i := range next {
				errs[i] = f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	workers.Wait()
	return errors.Join(errs...)
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
	for name, d := range c.devices {
		if err := d.Close(); err != nil {
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
