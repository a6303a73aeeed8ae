package vswitch

import (
	"net/netip"
	"strings"

	"vswitch/conntrack"
	"vswitch/filter"
	"vswitch/internal/wire"
	"vswitch/port"
)

// compile makes the plane of a completed configuration. It is pure: it changes
// neither prev nor the devices. Instances that prev had keep their handle and
// their device; devices holds those of the others, as far as they have one. A
// new handle is never one that prev used, so that nothing of a removed instance
// can be taken for that of a new one.
func compile(c Config, prev *plane, devices map[string][]port.Device) *plane {
	p := &plane{
		generation: 1,
		config:     c,
		byName:     make(map[string]*eni, len(c.Instances)),
		byAddress:  make(map[wire.Addr]*eni, len(c.Instances)),
		subnets:    make(map[string]*subnet, len(c.Subnets)),
		routers:    make(map[wire.Addr]bool, len(c.Subnets)),
		services:   make(map[wire.Addr]bool),
	}
	local := append([]netip.Prefix{c.VPC.CIDR}, c.VPC.CIDRs...)
	if c.VPC.CIDR6.IsValid() {
		local = append(local, c.VPC.CIDR6)
	}
	if prev != nil {
		p.generation = max(prev.generation+1, 1)
	}
	// The resolver's address is the base of the primary block plus two (SEM 5.1).
	p.services[wire.AddrFrom(c.VPC.CIDR.Addr().Next().Next())] = true

	p.numbers = numberRules(&c, prev)
	p.acls = p.compileACLs(prev)
	tables := make(map[string]*routeTable, len(c.RouteTables))
	for i := range c.RouteTables {
		tables[c.RouteTables[i].Name] = compileRoutes(&c.RouteTables[i], local)
	}
	for i := range c.Subnets {
		s := newSubnet(&c.Subnets[i], p.acls)
		s.routes = tables[c.Subnets[i].RouteTable]
		p.subnets[s.name] = s
		p.routers[s.router] = true
		if s.cidr6.IsValid() {
			p.routers[wire.AddrFrom(s.cidr6.Addr().Next())] = true
		}
	}
	p.compileGroups(prev)
	p.rules = groupRulesByID(&p.config)
	everywhere := p.topologyDiffers(prev)
	p.enis = make([]*eni, 1, len(c.Instances)+1)
	if prev != nil {
		p.enis = make([]*eni, len(prev.enis), len(prev.enis)+len(c.Instances))
	}
	free := newHandles(prev)
	for i := range c.Instances {
		inst := &c.Instances[i]
		e := newENI(&c, inst, p.subnets[inst.Subnet], p.groups)
		e.handle, e.since = free.handle(inst.Name), p.generation
		if old := prev.eni(e.name); old != nil {
			e.queues, e.read = old.queues, old.read
			if !everywhere && e.judgedAs(old) {
				e.since = old.since
			}
		}
		if queues, ok := devices[e.name]; ok {
			e.queues, e.read = queues, len(queues)
		}
		if e.read > 0 {
			e.offloads = e.queues[0].Offloads()
		}
		for int(e.handle) >= len(p.enis) {
			p.enis = append(p.enis, nil)
		}
		p.enis[e.handle] = e
		p.byName[e.name] = e
		e.subnet.neighbours[e.mac] = e
		for _, a := range e.addresses {
			if isLinkLocal6(&a) {
				e.subnet.linkLocal[a] = e
			} else {
				p.byAddress[a] = e
			}
		}
	}
	p.former = p.formerly(prev)
	for _, t := range tables {
		for i := range t.routes {
			t.routes[i].via = p.byName[t.routes[i].target.Name]
		}
	}
	return p
}

// newSubnet compiles a subnet; its neighbours are added with the instances.
func newSubnet(s *Subnet, acls map[string]*compiledACL) *subnet {
	router := s.CIDR.Addr().Next()
	return &subnet{
		name:       s.Name,
		cidr:       s.CIDR,
		cidr6:      s.CIDR6,
		router:     wire.AddrFrom(router),
		broadcast:  wire.AddrFrom(lastAddress(s.CIDR)),
		acl:        acls[s.NetworkACL],
		aclName:    s.NetworkACL,
		neighbours: make(map[wire.MAC]*eni),
		linkLocal:  make(map[wire.Addr]*eni),
		onLink:     [2]route{{block: s.CIDR}, {block: s.CIDR6}},
	}
}

// setRouter notes the MAC of the subnet's router, and the IPv6 addresses that the
// router has: the first of the block, the link-local one of its MAC, and the one
// that AWS documents for all routers (SEM 5.1).
func (s *subnet) setRouter(mac wire.MAC) {
	s.routerMAC = mac
	if s.cidr6.IsValid() {
		s.routers6 = []wire.Addr{wire.LinkLocal(mac), wire.AddrFrom(s.cidr6.Addr().Next()), wire.AddrFrom(documentedRouter6)}
	}
}

// documentedRouter6 is the link-local address that AWS prints for the router.
var documentedRouter6 = netip.MustParseAddr("fe80:ec2::1")

// lastAddress returns the highest address of an IPv4 block.
func lastAddress(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		a[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(a)
}

// newENI compiles an instance's interface, without handle and device.
func newENI(c *Config, inst *Instance, s *subnet, groups map[string]*compiledGroup) *eni {
	e := &eni{
		name:         inst.Name,
		iface:        c.Interface(inst.Name),
		subnet:       s,
		checkAddress: !inst.DisableSourceDestCheck,
		mtu:          c.VPC.MTU,
		limits:       limits(c, inst),
	}
	s.setRouter(e.iface.RouterMAC)
	e.mac = e.iface.MAC
	for _, a := range e.iface.Addresses {
		e.addresses = append(e.addresses, wire.AddrFrom(a))
	}
	if s.cidr6.IsValid() {
		e.addresses = append(e.addresses, wire.LinkLocal(e.mac))
	}
	e.address = e.addresses[0]
	for _, name := range inst.SecurityGroups {
		e.members = append(e.members, groups[name].group)
		e.groups = append(e.groups, groups[name].id)
	}
	e.policy = filter.NewPolicy(e.members...)
	return e
}

// limits returns the tracking limits of an instance: its own timeouts where it
// has some, else those of the VPC (SEM 2.3).
func limits(c *Config, inst *Instance) conntrack.Limits {
	l := conntrack.Limits{
		Max:            c.Conntrack.Max,
		TCPEstablished: c.Conntrack.TCPEstablished,
		UDP:            c.Conntrack.UDP,
		UDPStream:      c.Conntrack.UDPStream,
		Strict:         c.Conntrack.Strict,
	}
	if t := inst.Conntrack.TCPEstablished; t != 0 {
		l.TCPEstablished = t
	}
	if t := inst.Conntrack.UDP; t != 0 {
		l.UDP = t
	}
	if t := inst.Conntrack.UDPStream; t != 0 {
		l.UDPStream = t
	}
	return l
}

// groupRulesByID indexes all rules of security groups for traces.
func groupRulesByID(c *Config) map[string]*Rule {
	all := AllRules(c)
	byID := make(map[string]*Rule, len(all))
	for i := range all {
		if r := &all[i]; strings.HasPrefix(r.Key.Object, "sg:") && r.Key.ID != ImplicitDeny {
			byID[r.Key.ID] = r
		}
	}
	return byID
}

// handles gives out interface handles: those that prev used to the same names,
// the others to nobody.
type handles struct {
	prev *plane
	next uint32
}

func newHandles(prev *plane) *handles { return &handles{prev: prev} }

// handle returns the handle of the named instance: the one it had, or the lowest
// that prev does not use.
func (h *handles) handle(name string) uint32 {
	if h.prev != nil {
		if e := h.prev.byName[name]; e != nil {
			return e.handle
		}
	}
	for {
		h.next++
		if h.prev == nil || int(h.next) >= len(h.prev.enis) || h.prev.enis[h.next] == nil {
			return h.next
		}
	}
}
