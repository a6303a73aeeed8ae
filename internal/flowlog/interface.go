package flowlog

import (
	"net/netip"

	vswitch "vswitch/switch"
)

// An Interface is what records tell of a network interface. It does not change; a
// reload that changes it makes another one.
type Interface struct {
	Instance, Subnet string // names

	ID, InstanceID, SubnetID, VPCID string
	Account, Region, AZ             string // "" for none

	Primary  netip.Addr // the primary private IPv4 address
	Primary6 netip.Addr // the zero Addr if there is none
}

// primary returns the interface's primary address of the family of a, and a itself
// if it has none.
func (i *Interface) primary(a netip.Addr) netip.Addr {
	switch {
	case a.Is4():
		return i.Primary
	case i.Primary6.IsValid():
		return i.Primary6
	}
	return a
}

// interfaces returns the interfaces of c by the names of their instances. Those
// that are as they were in old are the same.
func interfaces(c *vswitch.Config, old map[string]*Interface) map[string]*Interface {
	vpc := c.VPC.Name
	all := make(map[string]*Interface, len(c.Instances))
	zones := make(map[string]string, len(c.Subnets))
	for i := range c.Subnets {
		zones[c.Subnets[i].Name] = c.Subnets[i].AZ
	}
	for i := range c.Instances {
		in := &c.Instances[i]
		made := &Interface{
			Instance:   in.Name,
			Subnet:     in.Subnet,
			ID:         vswitch.ID("eni", vpc, in.Name),
			InstanceID: vswitch.ID("i", vpc, in.Name),
			SubnetID:   vswitch.ID("subnet", vpc, in.Subnet),
			VPCID:      vswitch.ID("vpc", vpc),
			Account:    c.VPC.Account,
			Region:     c.VPC.Region,
			AZ:         zones[in.Subnet],
			Primary:    in.IP,
			Primary6:   in.IP6,
		}
		if was := old[in.Name]; was != nil && *was == *made {
			made = was
		}
		all[in.Name] = made
	}
	return all
}
