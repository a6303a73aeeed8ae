package vswitch_test

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	vswitch "vswitch/switch"

	"vswitch/port"
)

// change publishes another configuration, which differs from the present one in
// one thing, sometimes two. One that is not valid must be refused and change
// nothing.
func (w *world) change() {
	c := cloneConfig(&w.config)
	what := w.edit(&c)
	if w.one(4) {
		what += ", " + w.edit(&c)
	}
	if len(c.Validate()) > 0 {
		w.seen.refused++
		w.note(event{what: "refused: " + what})
		for _, s := range w.twins {
			if s.sw.Apply(c, nil) == nil {
				w.fail("%s, it takes a configuration that is not valid", s.name)
			}
		}
		w.compare()
		return
	}
	w.seen.changes++
	w.note(event{what: what})
	w.config = c
	w.model.apply(c)
	fresh := map[string]*modelPort{}
	for _, in := range c.Instances {
		if w.model.enis[in.Name].port == nil && w.twins[0].ports[in.Name] == nil && !w.one(8) {
			fresh[in.Name] = w.randomPort()
		}
	}
	for _, s := range w.twins {
		devices := map[string][]port.Device{}
		for name := range s.ports {
			if c.Instance(name) == nil {
				delete(s.ports, name) // the switch closes it
			}
		}
		for name, p := range fresh {
			s.ports[name] = port.NewMemory(p.depth, p.offloads)
			devices[name] = s.ports[name].Queues(s.workers, s.steer)
		}
		s.observe()
		s.forgetRemoved(&c)
		if err := s.sw.Apply(c, devices); err != nil {
			panic(fmt.Sprintf("%s: %v", what, err))
		}
	}
	for name, p := range fresh {
		w.model.enis[name].port = p
	}
	w.adopt()
	w.compare()
}

// adopt tells the model the MACs, which are the switch's to choose, and compares
// the addresses of the instances.
func (w *world) adopt() {
	c := w.twins[0].sw.Config()
	for _, e := range w.model.enis {
		i := c.Interface(e.name)
		e.mac, e.routerMAC, e.local = i.MAC, i.RouterMAC, netip.Addr{}
		if w.model.subnet(e).CIDR6.IsValid() {
			e.local = linkLocalOf(e.mac)
		}
		if !slices.Equal(i.Addresses, e.addresses) {
			w.fail("%s has the addresses %v, want %v", e.name, i.Addresses, e.addresses)
		}
	}
}

// edit changes one thing in c, and says what. Slices are replaced, not changed.
func (w *world) edit(c *vswitch.Config) string {
	switch w.r.IntN(14) {
	case 9:
		c.VPC.MTU = pick(w, 0, 1500, 1280)
		return fmt.Sprintf("mtu %d", c.VPC.MTU)
	case 0, 1:
		g := &c.SecurityGroups[w.r.IntN(len(c.SecurityGroups))]
		return w.editRules(c, g.Name, "ingress", &g.Ingress)
	case 2:
		g := &c.SecurityGroups[w.r.IntN(len(c.SecurityGroups))]
		return w.editRules(c, g.Name, "egress", &g.Egress)
	case 3:
		in := &c.Instances[w.r.IntN(len(c.Instances))]
		in.SecurityGroups = w.memberships()
		return fmt.Sprintf("groups of %s: %v", in.Name, in.SecurityGroups)
	case 4:
		s := &c.Subnets[w.r.IntN(len(c.Subnets))]
		s.NetworkACL = pick(w, "", "x", "y")
		return fmt.Sprintf("network ACL of %s: %q", s.Name, s.NetworkACL)
	case 5:
		a := &c.NetworkACLs[w.r.IntN(len(c.NetworkACLs))]
		if w.one(2) {
			a.Ingress = w.entries()
		} else {
			a.Egress = w.entries()
		}
		return fmt.Sprintf("entries of network ACL %s", a.Name)
	case 6:
		family := w.r.IntN(len(c.PrefixLists))
		l := &c.PrefixLists[family]
		l.CIDRs = w.prefixes(family)
		return fmt.Sprintf("prefix list %s: %v", l.Name, l.CIDRs)
	case 7:
		c.RouteTables = []vswitch.RouteTable{{Name: "r", Routes: w.routes(c)}, {Name: "main", Routes: w.routes(c)}}
		s := &c.Subnets[w.r.IntN(len(c.Subnets))]
		s.RouteTable = pick(w, "", "r")
		return fmt.Sprintf("routes, and subnet %s has %q", s.Name, s.RouteTable)
	case 8:
		c.Conntrack = w.conntrack()
		return fmt.Sprintf("conntrack: strict %v, max %d, profile %q, %+v", c.Conntrack.Strict, c.Conntrack.Max, c.Conntrack.Profile, c.Conntrack.Timeouts)
	}
	return w.editInstance(c)
}

// editRules adds a rule, removes one, or replaces them all.
func (w *world) editRules(c *vswitch.Config, group, direction string, rules *[]vswitch.SecurityGroupRule) string {
	switch n := len(*rules); {
	case n > 0 && w.one(2):
		i := w.r.IntN(n)
		gone := (*rules)[i]
		*rules = slices.Delete(slices.Clone(*rules), i, i+1)
		return fmt.Sprintf("%s of %s without %s %s", direction, group, gone.Service, gone.Peer)
	case w.one(4):
		*rules = w.groupRules(c)
		return fmt.Sprintf("%s of %s is another list", direction, group)
	}
	r := w.groupRule(c)
	*rules = append(slices.Clone(*rules), r)
	return fmt.Sprintf("%s of %s with %s %s", direction, group, r.Service, r.Peer)
}

// editInstance changes an instance, adds one, or removes one.
func (w *world) editInstance(c *vswitch.Config) string {
	i := w.r.IntN(len(c.Instances))
	if len(w.parts) > 0 && w.one(2) { // while its fragments wait
		i = max(0, slices.IndexFunc(c.Instances, func(in vswitch.Instance) bool { return in.Name == w.parts[0].from }))
	}
	in := &c.Instances[i]
	switch w.r.IntN(7) {
	case 0:
		in.DisableSourceDestCheck = !in.DisableSourceDestCheck
		return fmt.Sprintf("source/dest check of %s off: %v", in.Name, in.DisableSourceDestCheck)
	case 1:
		in.Conntrack = w.timeouts()
		return fmt.Sprintf("timeouts of %s: %+v", in.Name, in.Conntrack)
	case 2:
		in.ExtraIPs = nil
		if w.one(2) {
			in.ExtraIPs = []netip.Addr{w.freeAddress(c, c.Subnet(in.Subnet).CIDR)}
		}
		return fmt.Sprintf("other addresses of %s: %v", in.Name, in.ExtraIPs)
	case 3:
		w.addAddresses(c, in)
		return fmt.Sprintf("addresses of %s: %v %v %v", in.Name, in.IP, in.IP6, in.ExtraIPs)
	case 4:
		in.Subnet = pick(w, c.Subnets...).Name
		w.addAddresses(c, in)
		return fmt.Sprintf("%s moves to subnet %s", in.Name, in.Subnet)
	case 5:
		if len(c.Instances) > 2 {
			name := in.Name
			c.Instances = slices.Delete(c.Instances, i, i+1)
			return "without instance " + name
		}
	}
	return "with instance " + w.addInstance(c)
}

// wait lets the clock go on, by what timeouts are made of. Half of the time the
// switch gets to notice before the next frame does.
func (w *world) wait() {
	d := pick[time.Duration](w, 1, 1, 5, 14, 29, 30, 31, 46, 59, 60, 61, 99, 119, 121, 180, 349, 351, 601) * time.Second
	if w.one(20) {
		d = pick(w, 120*time.Hour, 120*time.Hour+time.Second, 13*24*time.Hour)
	}
	w.now += int64(d)
	w.model.now, w.swept = w.now, false
	w.note(event{what: "wait " + d.String()})
	if w.one(2) {
		w.look()
	}
}

// look lets the switches do what they do without frames.
func (w *world) look() {
	for _, s := range w.twins {
		if n := s.sw.Step(); n != 0 {
			w.fail("%s, it took in %d frames, but none was sent", s.name, n)
		}
	}
	w.swept = true
	w.model.endDatagrams()
	w.compare()
}

// randomPort returns the properties of a new device. Most take everything.
func (w *world) randomPort() *modelPort {
	p := &modelPort{offloads: allOffloads, depth: 16}
	if w.one(3) {
		p.offloads = port.Offloads{Checksum: w.one(2), TSO4: w.one(2), TSO6: w.one(2), USO: w.one(2)}
	}
	if w.one(8) {
		p.depth = pick(w, 1, 2) // so that it refuses some fragments of a datagram
	}
	p.room = p.depth
	return p
}

// attach gives an instance a new device.
func (w *world) attach(name string) {
	p := w.randomPort()
	for _, s := range w.twins {
		d := port.NewMemory(p.depth, p.offloads)
		s.ports[name] = d
		if err := s.sw.Attach(name, d.Queues(s.workers, s.steer)...); err != nil {
			panic(err)
		}
	}
	w.model.enis[name].port = p
}

// flap does something to a port: it goes down or comes up, its device is taken
// away by the switch or goes by itself, or it gets another one.
func (w *world) flap() {
	name := pick(w, w.config.Instances...).Name
	for _, in := range w.config.Instances { // mostly, what is broken is mended
		if p := w.model.enis[in.Name].port; (p == nil || p.down || p.removed) && !w.one(4) {
			name = in.Name
		}
	}
	p := w.model.enis[name].port
	switch {
	case p == nil, p.removed:
		w.note(event{what: "attach " + name})
		w.attach(name)
	case p.down:
		w.note(event{what: name + " up"})
		w.setDown(name, false)
	case w.one(3):
		w.note(event{what: name + " down"})
		w.setDown(name, true)
	case w.one(3):
		w.note(event{what: "detach " + name})
		for _, s := range w.twins {
			delete(s.ports, name)
			if err := s.sw.Detach(name); err != nil {
				panic(err)
			}
		}
		w.model.enis[name].port = nil
	case w.one(3):
		w.note(event{what: "the device of " + name + " goes"})
		for _, s := range w.twins {
			if err := s.ports[name].Close(); err != nil {
				panic(err)
			}
		}
		p.removed = true
		w.look()
	default:
		w.note(event{what: "another device for " + name})
		w.attach(name)
	}
	w.compare()
}

func (w *world) setDown(name string, down bool) {
	for _, s := range w.twins {
		s.ports[name].SetDown(down)
	}
	w.model.enis[name].port.down = down
}
