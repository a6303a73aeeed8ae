package vswitch

import "net/netip"

// An addressBook is who has which address of the VPC, as far as the
// configuration says so.
type addressBook struct {
	v      *validator
	owners map[netip.Addr]string // the instance that has the address
	given  map[string]int        // IPv4 addresses given, by subnet
	asking []asking              // instances without an address, in file order
}

// An asking is an instance that wants an address of its subnet.
type asking struct {
	at     place
	subnet *Subnet
}

// newAddressBook returns an empty book.
func newAddressBook(v *validator) *addressBook {
	return &addressBook{
		v:      v,
		owners: make(map[netip.Addr]string, len(v.c.Instances)),
		given:  make(map[string]int, len(v.c.Subnets)),
	}
}

// take checks the addresses of an instance and enters them.
func (b *addressBook) take(at place, in *Instance) {
	s := b.v.subnets.byName[in.Subnet]
	if s == nil {
		return // reported already
	}
	if !in.IP.IsValid() {
		b.asking = append(b.asking, asking{at, s})
	} else if in.IP.Is4() {
		b.enter(at, []string{"ip"}, in, s, in.IP)
	} else {
		b.v.problem(at.path("ip"), "%s is not an IPv4 address", in.IP)
	}
	switch {
	case !in.IP6.IsValid():
	case in.IP6.Is4() || in.IP6.Is4In6():
		b.v.problem(at.path("ip6"), "%s is not an IPv6 address", in.IP6)
	default:
		b.enter(at, []string{"ip6"}, in, s, in.IP6)
	}
	for i, a := range in.ExtraIPs {
		if !a.IsValid() {
			b.v.required(at.path("extra_ips", nth(i)))
			continue
		}
		b.enter(at, []string{"extra_ips", nth(i)}, in, s, a)
	}
}

// enter checks one address and enters it.
func (b *addressBook) enter(at place, keys []string, in *Instance, s *Subnet, a netip.Addr) {
	block, family := s.CIDR, "IPv4"
	if !a.Is4() {
		block, family = s.CIDR6, "IPv6"
	}
	switch {
	case a.Zone() != "" || a.Is4In6():
		b.v.problem(at.path(keys...), "%s: want a plain address", a)
		return
	case !block.IsValid():
		if s.CIDR.IsValid() { // else the subnet's own mistake is reported
			b.v.problem(at.path(keys...), "subnet %q has no %s block", s.Name, family)
		}
		return
	case !block.Masked().Contains(a):
		b.v.problem(at.path(keys...), "%s is not in subnet %q, %s", a, s.Name, block.Masked())
		return
	case reserved(block, a):
		b.v.problem(at.path(keys...), "%s is one of the five addresses of subnet %q that AWS keeps", a, s.Name)
		return
	}
	if owner, ok := b.owners[a]; ok {
		b.v.problem(at.path(keys...), "%s is taken by instance %q", a, owner)
		return
	}
	b.owners[a] = in.Name
	if a.Is4() {
		b.given[s.Name]++
	}
}

// checkRoom checks that every subnet has an address for all that ask for one.
func (b *addressBook) checkRoom() {
	asked := make(map[string]int, len(b.given))
	for _, q := range b.asking {
		if !q.subnet.CIDR.IsValid() || !q.subnet.CIDR.Addr().Is4() {
			continue // reported already
		}
		name := q.subnet.Name
		asked[name]++
		if asked[name]+b.given[name] > usable(q.subnet.CIDR) {
			b.v.problem(q.at.path("ip"), "subnet %q, %s, has no address left: all %d are taken", name, q.subnet.CIDR.Masked(), usable(q.subnet.CIDR))
		}
	}
}
