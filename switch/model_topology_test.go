package vswitch_test

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	vswitch "vswitch/switch"

	"vswitch/internal/wire"
	"vswitch/port"
)

// A modelENI is the network interface of an instance: what stays when the
// configuration changes, as long as the instance does.
type modelENI struct {
	name      string
	instance  vswitch.Instance // as the present configuration has it
	addresses []netip.Addr     // all of them but the link-local one, the primary one first
	local     netip.Addr       // the link-local one; the zero Addr where the subnet has no IPv6
	mac       wire.MAC
	routerMAC wire.MAC
	port      *modelPort // nil while it has no device
	conns     map[wire.FiveTuple]*modelConn
	exceeded  uint64
	counters  vswitch.Counters
}

// has reports whether a is an address of the interface.
func (e *modelENI) has(a netip.Addr) bool { return slices.Contains(e.addresses, a) || a == e.local }

// linkLocalOf returns the link-local address that belongs to a MAC (RFC 4291
// appendix A); a VPC knows no other (SEM 5.4).
func linkLocalOf(mac wire.MAC) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("fe80::%02x%02x:%02xff:fe%02x:%02x%02x", mac[0]^2, mac[1], mac[2], mac[3], mac[4], mac[5]))
}

// A modelPort is the device of an interface.
type modelPort struct {
	offloads port.Offloads
	room     int // frames that it takes until somebody empties it
	depth    int // frames that it takes when it is empty
	down     bool
	removed  bool // the device went away under the switch
}

// newModel returns a model without a configuration.
func newModel(now int64, capacity int) *model {
	return &model{now: now, capacity: capacity, enis: map[string]*modelENI{}, tcp: newTCPOracle()}
}

// apply makes c the configuration. Connections, counters and devices of
// instances that stay are kept (SEM 2.4).
func (m *model) apply(c vswitch.Config) {
	for name, e := range m.enis {
		if c.Instance(name) == nil {
			for _, conn := range e.conns {
				m.tcp.forget(conn.tcp)
			}
			m.datagrams = slices.DeleteFunc(m.datagrams, func(d *modelDatagram) bool { return d.from == e })
			delete(m.enis, name)
		}
	}
	addresses := m.assign(&c)
	for i, in := range c.Instances {
		e := m.enis[in.Name]
		if e == nil {
			e = &modelENI{name: in.Name, conns: map[wire.FiveTuple]*modelConn{}}
			m.enis[in.Name] = e
		}
		e.instance = in
		e.addresses = []netip.Addr{addresses[i]}
		if in.IP6.IsValid() {
			e.addresses = append(e.addresses, in.IP6)
		}
		e.addresses = append(e.addresses, in.ExtraIPs...)
	}
	m.config = c
}

// assign returns the primary IPv4 address of every instance: the one that the
// configuration gives, else the one that it has, else the lowest free one.
func (m *model) assign(c *vswitch.Config) []netip.Addr {
	addresses := make([]netip.Addr, len(c.Instances))
	taken := map[netip.Addr]bool{}
	for i, in := range c.Instances {
		addresses[i] = in.IP
		taken[in.IP] = true
		for _, a := range in.ExtraIPs {
			taken[a] = true
		}
	}
	free := func(block netip.Prefix, a netip.Addr) bool {
		base := block.Masked().Addr()
		for range 4 { // the network, the router, and two that AWS keeps (SEM 5.1)
			if a == base {
				return false
			}
			base = base.Next()
		}
		return block.Contains(a) && a != broadcastOf(block) && !taken[a]
	}
	for i, in := range c.Instances {
		old := m.enis[in.Name]
		if !in.IP.IsValid() && old != nil && old.instance.Subnet == in.Subnet && free(c.Subnet(in.Subnet).CIDR, old.addresses[0]) {
			addresses[i] = old.addresses[0]
			taken[addresses[i]] = true
		}
	}
	for i, in := range c.Instances {
		block := c.Subnet(in.Subnet).CIDR
		for a := block.Masked().Addr(); !addresses[i].IsValid(); a = a.Next() {
			if free(block, a) {
				addresses[i] = a
				taken[a] = true
			}
		}
	}
	return addresses
}

// broadcastOf returns the last address of an IPv4 block.
func broadcastOf(block netip.Prefix) netip.Addr {
	a := block.Masked().Addr()
	for block.Contains(a.Next()) {
		a = a.Next()
	}
	return a
}

// mtu returns the MTU of the VPC in bytes (SEM 5.10).
func (m *model) mtu() int {
	if m.config.VPC.MTU == 0 {
		return 9001
	}
	return m.config.VPC.MTU
}

// subnet returns the subnet of an interface.
func (m *model) subnet(e *modelENI) *vswitch.Subnet { return m.config.Subnet(e.instance.Subnet) }

// contains reports whether an address is of a block of the subnet.
func contains(s *vswitch.Subnet, a netip.Addr) bool {
	return s.CIDR.Contains(a) || s.CIDR6.IsValid() && s.CIDR6.Contains(a)
}

// router returns the address of the router in an interface's subnet: the first
// of the block (SEM 5.1).
func (m *model) router(e *modelENI) netip.Addr { return m.subnet(e).CIDR.Masked().Addr().Next() }

// isOwnRouter reports whether a is an address of the router in the interface's
// subnet (SEM 5.1).
func (m *model) isOwnRouter(e *modelENI, a netip.Addr) bool {
	s := m.subnet(e)
	return a == m.router(e) || s.CIDR6.IsValid() &&
		(a == s.CIDR6.Masked().Addr().Next() || a == linkLocalOf(e.routerMAC) || a == netip.MustParseAddr("fe80:ec2::1"))
}

// isRouter reports whether a is the router's address in any subnet, as seen from
// that of e.
func (m *model) isRouter(e *modelENI, a netip.Addr) bool {
	for _, s := range m.config.Subnets {
		if s.CIDR.Masked().Addr().Next() == a || s.CIDR6.IsValid() && s.CIDR6.Masked().Addr().Next() == a {
			return true
		}
	}
	return m.isOwnRouter(e, a)
}

// isService reports whether a is an address of the platform: one of its blocks, of
// which the IPv4 one is link-local anyway, so that no router forwards to it (RFC
// 3927 section 7), or the resolver's, the base of the primary block plus two (SEM
// 1.6, 5.1).
func (m *model) isService(a netip.Addr) bool {
	return inside(platform, a) || a == m.config.VPC.CIDR.Masked().Addr().Next().Next()
}

// platform are the blocks where AWS's services are (SEM 1.6, 5.3).
var platform = prefixesOf("169.254.0.0/16", "fd00:ec2::/32")

// owner returns the interface that has an address, as seen from that of e, or nil.
func (m *model) owner(e *modelENI, a netip.Addr) *modelENI {
	for _, other := range m.enis {
		if other.has(a) && (!a.IsLinkLocalUnicast() || other.instance.Subnet == e.instance.Subnet) {
			return other
		}
	}
	return nil
}

// neighbour returns the interface with a MAC in the subnet of e, or nil.
func (m *model) neighbour(e *modelENI, mac wire.MAC) *modelENI {
	for _, other := range m.enis {
		if other.mac == mac && other.instance.Subnet == e.instance.Subnet {
			return other
		}
	}
	return nil
}

// route returns where the route table of an interface's subnet sends packets to
// an address: the longest block wins (SEM 5.3). Every table has a local route for
// every block of the VPC, unless it has another one for the same block (SEM 5.2).
func (m *model) route(e *modelENI, dst netip.Addr) (target vswitch.Target, ok bool) {
	name := m.subnet(e).RouteTable
	if name == "" {
		name = "main"
	}
	var routes []vswitch.Route
	for _, block := range append([]netip.Prefix{m.config.VPC.CIDR, m.config.VPC.CIDR6}, m.config.VPC.CIDRs...) {
		if block.IsValid() {
			routes = append(routes, vswitch.Route{Destination: block})
		}
	}
	for _, t := range m.config.RouteTables {
		if t.Name == name {
			routes = append(routes, t.Routes...) // behind the local routes, so that they replace them
		}
	}
	best := -1
	for _, r := range routes {
		if r.Destination.Contains(dst) && r.Destination.Bits() >= best {
			best, target = r.Destination.Bits(), r.Target
		}
	}
	m.say("route table %s: %s goes to %s (/%d)", name, dst, target, best)
	return target, best >= 0
}

// timeouts returns the idle timeouts of an interface: its own, else the VPC's,
// else those of the VPC's profile (SEM 2.3).
func (m *model) timeouts(e *modelENI) vswitch.Timeouts {
	first := func(candidates ...time.Duration) time.Duration {
		for _, d := range candidates {
			if d != 0 {
				return d
			}
		}
		return 0
	}
	established := 432000 * time.Second
	if m.config.Conntrack.Profile == "nitrov6" {
		established = 350 * time.Second
	}
	own, vpc := e.instance.Conntrack, m.config.Conntrack
	return vswitch.Timeouts{
		TCPEstablished: first(own.TCPEstablished, vpc.TCPEstablished, established),
		UDP:            first(own.UDP, vpc.UDP, 30*time.Second),
		UDPStream:      first(own.UDPStream, vpc.UDPStream, 180*time.Second),
	}
}
