package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"vswitch/internal/wire"
	vswitch "vswitch/switch"
)

// An endpoint is all that the host must have for one instance.
type endpoint struct {
	instance  string
	namespace string // "" for kind host: the TAP stays in the host's namespace
	device    string
	mac       wire.MAC
	mtu       int            // bytes, without the Ethernet header
	addresses []netip.Prefix // the primary IPv4 one first, each with the length of its subnet
	router    netip.Addr
	router6   netip.Addr     // link-local; the zero Addr if the subnet has no IPv6, which then is off on the link
	blocks    []netip.Prefix // the VPC's blocks, which the host reaches through the routers. Valid iff namespace is ""
	forward   bool           // the instance may forward for others: no source/dest check
	run       string         // the command; "" for none
}

// endpoints returns what the host must have for the completed configuration c,
// by instance.
func endpoints(c *vswitch.Config) (map[string]endpoint, error) {
	all := make(map[string]endpoint, len(c.Instances))
	for i := range c.Instances {
		in := &c.Instances[i]
		face := c.Interface(in.Name)
		e := endpoint{
			instance: in.Name,
			device:   face.Device,
			mac:      face.MAC,
			mtu:      face.MTU,
			router:   face.Router,
			router6:  face.Router6,
			forward:  in.DisableSourceDestCheck,
			run:      in.Run,
		}
		switch in.Kind {
		case vswitch.KindNetns, "":
			e.namespace = face.Namespace
			if _, err := namespacePath(e.namespace); err != nil {
				return nil, fmt.Errorf("instance %s: %w", in.Name, err)
			}
		case vswitch.KindHost:
			e.blocks = append(append(e.blocks, c.VPC.CIDR), c.VPC.CIDRs...)
			if e.ipv6() {
				e.blocks = append(e.blocks, c.VPC.CIDR6)
			}
		default:
			return nil, fmt.Errorf("instance %s: kind %s has no place on this host", in.Name, in.Kind)
		}
		for _, a := range face.Addresses {
			bits := face.Prefix
			if a.Is6() {
				if !e.ipv6() {
					return nil, fmt.Errorf("instance %s: address %s: its subnet %s has no IPv6 block", in.Name, a, face.Subnet)
				}
				bits = face.Prefix6
			}
			e.addresses = append(e.addresses, netip.PrefixFrom(a, bits))
		}
		if len(e.addresses) == 0 {
			return nil, fmt.Errorf("instance %s: no address", in.Name)
		}
		all[in.Name] = e
	}
	return all, nil
}

// host reports whether the device stays in the host's namespace.
func (e *endpoint) host() bool { return e.namespace == "" }

// ipv6 reports whether the link has IPv6: iff its subnet has a block.
func (e *endpoint) ipv6() bool { return e.router6.IsValid() }

// routerFor returns the router on the way to a block: an address of its family.
func (e *endpoint) routerFor(b netip.Prefix) netip.Addr {
	if b.Addr().Is6() {
		return e.router6
	}
	return e.router
}

// place says where the device is. Two endpoints of one instance with the same
// place share the device.
func (e *endpoint) place() string { return e.namespace + "/" + e.device }

// sameLink reports whether the link of o looks like that of e.
func (e *endpoint) sameLink(o *endpoint) bool {
	return e.mac == o.mac && e.mtu == o.mtu && e.router == o.router &&
		e.router6 == o.router6 && e.forward == o.forward &&
		slices.Equal(e.addresses, o.addresses) && slices.Equal(e.blocks, o.blocks)
}

// describe names the endpoint's place in a message.
func (e *endpoint) describe() string {
	if e.host() {
		return "link " + e.device
	}
	return "namespace " + e.namespace
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
