package vswitch

import "net/netip"

// An allocator gives out the IPv4 addresses of subnets.
type allocator struct {
	taken map[netip.Addr]bool
	next  map[string]netip.Addr // by subnet: no address below it is free
}

// allocate gives an address to every instance that has none: first to those that
// running had in the same subnet, their old one if it is free; then to the
// others, in their order, the lowest free one. The order makes the result depend
// on nothing but c and running.
func (c *Config) allocate(running *Config) {
	a := allocator{
		taken: make(map[netip.Addr]bool, len(c.Instances)),
		next:  make(map[string]netip.Addr, len(c.Subnets)),
	}
	for i := range c.Instances {
		in := &c.Instances[i]
		if in.IP.IsValid() {
			a.taken[in.IP] = true
		}
		for _, extra := range in.ExtraIPs {
			a.taken[extra] = true
		}
	}
	subnets := make(map[string]netip.Prefix, len(c.Subnets))
	for i := range c.Subnets {
		subnets[c.Subnets[i].Name] = c.Subnets[i].CIDR
	}
	before := addressesOf(running)
	for i := range c.Instances {
		in := &c.Instances[i]
		old, had := before[in.Name]
		if in.IP.IsValid() || !had || old.subnet != in.Subnet {
			continue
		}
		block := subnets[in.Subnet]
		if block.Contains(old.ip) && !reserved(block, old.ip) && !a.taken[old.ip] {
			in.IP = old.ip
			a.taken[old.ip] = true
		}
	}
	for i := range c.Instances {
		if in := &c.Instances[i]; !in.IP.IsValid() {
			in.IP = a.lowest(in.Subnet, subnets[in.Subnet])
		}
	}
}

// An oldAddress is where the running configuration has an instance.
type oldAddress struct {
	subnet string
	ip     netip.Addr
}

// addressesOf returns the primary addresses of running's instances by name.
func addressesOf(running *Config) map[string]oldAddress {
	if running == nil {
		return nil
	}
	old := make(map[string]oldAddress, len(running.Instances))
	for i := range running.Instances {
		in := &running.Instances[i]
		old[in.Name] = oldAddress{in.Subnet, in.IP}
	}
	return old
}

// lowest takes and returns the lowest free address of a subnet. Validate has
// counted that there is one.
func (a *allocator) lowest(subnet string, block netip.Prefix) netip.Addr {
	ip, ok := a.next[subnet]
	if !ok {
		ip = block.Addr()
	}
	for a.taken[ip] || reserved(block, ip) {
		ip = ip.Next()
		if !block.Contains(ip) {
			panic("unreachable: Validate refuses a subnet without a free address")
		}
	}
	a.taken[ip] = true
	a.next[subnet] = ip.Next()
	return ip
}
