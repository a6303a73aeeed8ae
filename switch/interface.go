package vswitch

import (
	"encoding/binary"
	"net/netip"

	"vswitch/internal/wire"
)

// An Interface is the network interface (ENI) of an instance: what a host needs
// to set it up, and the switch to recognise it. All of it follows from the
// completed configuration, so it is the same after a restart.
type Interface struct {
	Instance   string // the instance's name
	ID         string // eni-...
	InstanceID string // i-...
	MAC        wire.MAC
	RouterMAC  wire.MAC     // of the subnet's router
	Addresses  []netip.Addr // the primary IPv4 address first
	Prefix     int          // bits of the subnet's IPv4 block
	Prefix6    int          // bits of its IPv6 block; 0 if it has none
	Router     netip.Addr   // the subnet's router: the first address of its IPv4 block
	Router6    netip.Addr   // the router's link-local address, the EUI-64 of RouterMAC (SEM 5.1); the zero Addr if the subnet has no IPv6 block
	MTU        int          // bytes, without the Ethernet header
	Subnet     string
	Namespace  string // "" for KindHost
	Device     string // eth0 inside the namespace, or the name of the TAP for KindHost
}

// namespaceDevice is the device of an instance inside its namespace.
const namespaceDevice = "eth0"

// Interface returns the network interface of an instance. c must be completed,
// and the instance be one of c's; of any other, Interface returns the zero
// Interface.
func (c *Config) Interface(instance string) Interface {
	in := c.Instance(instance)
	if in == nil {
		return Interface{}
	}
	subnet := c.Subnet(in.Subnet)
	macs := subnetMACs{vpc: c.VPC.Name, subnet: in.Subnet, derive: deriveMAC}
	for i := range c.Instances {
		if c.Instances[i].Subnet == in.Subnet {
			macs.instances = append(macs.instances, c.Instances[i].Name)
		}
	}
	router, mac := macs.of(instance)
	addresses := []netip.Addr{in.IP}
	if in.IP6.IsValid() {
		addresses = append(addresses, in.IP6)
	}
	device := namespaceDevice
	if in.Kind == KindHost {
		device = in.Interface
	}
	face := Interface{
		Instance:   in.Name,
		ID:         ID("eni", c.VPC.Name, in.Name),
		InstanceID: ID("i", c.VPC.Name, in.Name),
		MAC:        mac,
		RouterMAC:  router,
		Addresses:  append(addresses, in.ExtraIPs...),
		Prefix:     subnet.CIDR.Bits(),
		Router:     subnet.CIDR.Masked().Addr().Next(),
		MTU:        c.VPC.MTU,
		Subnet:     in.Subnet,
		Namespace:  in.Namespace,
		Device:     device,
	}
	if subnet.CIDR6.IsValid() {
		face.Prefix6 = subnet.CIDR6.Bits()
		face.Router6 = wire.LinkLocal(router).Netip()
	}
	return face
}

// subnetMACs gives out the MAC addresses of one subnet. Each follows from the
// names alone; where two names of a subnet lead to the same address, the later
// instance takes another, and all take another than the router.
type subnetMACs struct {
	vpc, subnet string
	instances   []string // of the subnet, in the order of the configuration

	// derive returns the n-th address of a name; it is deriveMAC but for tests.
	derive func(n uint64, identity ...string) wire.MAC
}

// of returns the addresses of the router and of one of the instances.
func (m *subnetMACs) of(instance string) (router, mac wire.MAC) {
	router = m.derive(0, m.vpc, "router", m.subnet)
	mac = m.derive(0, m.vpc, "instance", instance)
	collides := mac == router
	for _, other := range m.instances {
		if other != instance && m.derive(0, m.vpc, "instance", other) == mac {
			collides = true
		}
	}
	if !collides {
		return router, mac
	}
	// The rare case: give out all addresses in order, each to the first who asks.
	taken := map[wire.MAC]bool{router: true}
	for _, name := range m.instances {
		n := uint64(0)
		mac = m.derive(n, m.vpc, "instance", name)
		for taken[mac] {
			n++
			mac = m.derive(n, m.vpc, "instance", name)
		}
		taken[mac] = true
		if name == instance {
			break
		}
	}
	return router, mac
}

// deriveMAC returns a MAC address that follows from an identity: unicast and
// locally administered, the first octet 02, 06, 0a or 0e, as those of AWS are.
// n chooses among the addresses of the same identity.
//
// The hash is 64-bit FNV-1a: it need not be strong, as nobody gains by a
// collision, but cheap, as Interface hashes the names of a whole subnet.
func deriveMAC(n uint64, identity ...string) wire.MAC {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for _, s := range identity {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * prime
		}
		h *= prime // a zero byte: keeps "a", "bc" apart from "ab", "c"
	}
	h = (h ^ n) * prime
	// FNV spreads its last bytes upwards only: fold the high half into the low.
	h ^= h >> 32
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], h*prime)
	mac := wire.MAC(b[:6])
	mac[0] = mac[0]&0x0c | 0x02
	return mac
}
