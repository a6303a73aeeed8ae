package vswitch

import (
	"cmp"
	"net/netip"
	"slices"
)

// Sizes of blocks, in prefix bits (SEM 5.1).
const (
	minBits4 = 16 // of a VPC's and a subnet's IPv4 block
	maxBits4 = 28

	minBits6       = 44 // of a VPC's and a subnet's IPv6 block, in steps of 4
	maxBits6VPC    = 60
	maxBits6Subnet = 64
	stepBits6      = 4

	maxBlocks4 = 50 // IPv4 blocks of a VPC, AWS's quota at its highest
)

// MTUs, in bytes, without the Ethernet header. 576 is what every IPv4 host must
// take (RFC 1122 section 3.3.3), 1280 what every IPv6 link must carry (RFC 8200
// section 5), 9001 what AWS has inside a VPC (SEM 5.10).
const (
	minMTU  = 576
	minMTU6 = 1280
	maxMTU  = 9001
)

// Blocks that no VPC may have. The IPv4 ones are AWS's (SEM 5.1); of IPv6, AWS
// lets nobody choose, so these are the ranges that are not for hosts and the one
// in which the platform's services live (SEM 1.6).
var (
	forbidden4 = prefixes("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4")
	forbidden6 = prefixes("::/8", "fe80::/10", "ff00::/8", "fd00:ec2::/32")
)

// private are the blocks of RFC 1918, of which AWS lets a VPC use only one. A
// secondary block in restricted is refused whatever the primary (SEM 5.1).
var (
	private    = prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
	restricted = netip.MustParsePrefix("198.19.0.0/16")
)

// prefixes parses blocks that are known to be right.
func prefixes(blocks ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(blocks))
	for i, b := range blocks {
		all[i] = netip.MustParsePrefix(b)
	}
	return all
}

// checkVPC checks the VPC's own table.
func (v *validator) checkVPC() {
	at, vpc := place{table: "vpc"}, &v.c.VPC
	v.checkHostName(at.path("name"), vpc.Name)
	v.checkForm(at.path("account"), vpc.Account, accountForm, "123456789012")
	v.checkForm(at.path("region"), vpc.Region, regionForm, "us-east-1")
	if !vpc.CIDR.IsValid() {
		v.required(at.path("cidr"))
	} else {
		v.checkBlock4(at.path("cidr"), vpc.CIDR)
		v.checkForbidden(at.path("cidr"), vpc.CIDR, forbidden4)
	}
	if n := 1 + len(vpc.CIDRs); n > maxBlocks4 {
		v.problem(at.path("cidrs"), "%d blocks exceed AWS's quota of %d IPv4 blocks per VPC", n, maxBlocks4)
	}
	for i, b := range vpc.CIDRs {
		if v.checkBlock4(at.path("cidrs", nth(i)), b) {
			v.checkSecondary(at.path("cidrs", nth(i)), i)
		}
	}
	if vpc.CIDR6 != (netip.Prefix{}) && v.checkBlock6(at.path("cidr6"), vpc.CIDR6, maxBits6VPC) {
		v.checkForbidden(at.path("cidr6"), vpc.CIDR6, forbidden6)
	}
	lowest := minMTU
	if vpc.CIDR6.IsValid() {
		lowest = minMTU6
	}
	if vpc.MTU != 0 && (vpc.MTU < lowest || vpc.MTU > maxMTU) {
		v.problem(at.path("mtu"), "%d is outside %d-%d", vpc.MTU, lowest, maxMTU)
	}
}

// checkSecondary checks the i-th secondary block against the primary one and the
// secondary ones before it.
func (v *validator) checkSecondary(path []string, i int) {
	vpc := &v.c.VPC
	b := vpc.CIDRs[i]
	if v.checkForbidden(path, b, forbidden4) {
		return
	}
	if b.Overlaps(restricted) {
		v.problem(path, "AWS refuses a secondary block in %s", restricted)
		return
	}
	if !vpc.CIDR.IsValid() {
		return
	}
	for _, r := range private {
		if b.Overlaps(r) && !vpc.CIDR.Overlaps(r) {
			v.problem(path, "AWS refuses a secondary block in %s beside the primary block %s", r, vpc.CIDR.Masked())
			return
		}
	}
	for _, other := range append([]netip.Prefix{vpc.CIDR}, vpc.CIDRs[:min(i, maxBlocks4)]...) {
		if b.Overlaps(other) {
			v.problem(path, "%s overlaps %s", b.Masked(), other.Masked())
			return
		}
	}
}

// checkForbidden reports whether b touches one of the blocks, and records it.
func (v *validator) checkForbidden(path []string, b netip.Prefix, blocks []netip.Prefix) bool {
	for _, f := range blocks {
		if b.Overlaps(f) {
			v.problem(path, "%s is inside %s, which no VPC may use", b.Masked(), f)
			return true
		}
	}
	return false
}

// checkBlock4 checks family and size of a VPC's or a subnet's IPv4 block.
func (v *validator) checkBlock4(path []string, b netip.Prefix) bool {
	switch {
	case !b.IsValid():
		v.required(path)
	case !b.Addr().Is4():
		v.problem(path, "%s is not an IPv4 block", b)
	case b.Bits() < minBits4 || b.Bits() > maxBits4:
		v.problem(path, "%s: the size must be /%d to /%d", b, minBits4, maxBits4)
	default:
		return true
	}
	return false
}

// checkBlock6 checks family and size of a VPC's or a subnet's IPv6 block.
func (v *validator) checkBlock6(path []string, b netip.Prefix, maxBits int) bool {
	switch {
	case !b.IsValid() || !b.Addr().Is6() || b.Addr().Is4In6():
		v.problem(path, "%s is not an IPv6 block", b)
	case b.Bits() < minBits6 || b.Bits() > maxBits || b.Bits()%stepBits6 != 0:
		v.problem(path, "%s: the size must be /%d to /%d in steps of %d", b, minBits6, maxBits, stepBits6)
	default:
		return true
	}
	return false
}

// A subnetBlock is one block of one subnet, for the search for overlaps.
type subnetBlock struct {
	prefix netip.Prefix // masked
	key    string       // "cidr" or "cidr6"
	order  int          // the subnet's index
}

// checkSubnets checks every subnet, and that no two overlap.
func (v *validator) checkSubnets() {
	seen := make(map[string]string, len(v.c.Subnets))
	var blocks []subnetBlock
	for i := range v.c.Subnets {
		s := &v.c.Subnets[i]
		at := place{table: "subnet", name: s.Name}
		v.checkName(at.path(), s.Name)
		v.checkPeerName(at.path(), s.Name)
		v.unique(seen, at.path(), s.Name, s.Name)
		if v.checkBlock4(at.path("cidr"), s.CIDR) && v.checkInside(at.path("cidr"), s.CIDR, v.vpcBlocks4()) {
			blocks = append(blocks, subnetBlock{s.CIDR.Masked(), "cidr", i})
		}
		if s.CIDR6 != (netip.Prefix{}) && v.checkBlock6(at.path("cidr6"), s.CIDR6, maxBits6Subnet) &&
			v.checkInside(at.path("cidr6"), s.CIDR6, []netip.Prefix{v.c.VPC.CIDR6}) {
			blocks = append(blocks, subnetBlock{s.CIDR6.Masked(), "cidr6", i})
		}
		if s.NetworkACL != "" && !v.acls.has(s.NetworkACL) {
			v.problem(at.path("nacl"), "no network ACL %q", s.NetworkACL)
			v.hintNearest(s.NetworkACL, v.acls.order)
		}
		if s.RouteTable != "" && !v.tables.has(s.RouteTable) {
			v.problem(at.path("route"), "no route table %q", s.RouteTable)
			v.hintNearest(s.RouteTable, v.tables.order)
		}
		v.checkForm(at.path("az"), s.AZ, azForm, "use1-az1")
	}
	v.checkOverlaps(blocks)
}

// vpcBlocks4 returns the VPC's IPv4 blocks, as far as AWS's quota goes. It leaves
// out what is none.
func (v *validator) vpcBlocks4() []netip.Prefix {
	vpc := &v.c.VPC
	blocks := []netip.Prefix{vpc.CIDR}
	for _, b := range vpc.CIDRs[:min(len(vpc.CIDRs), maxBlocks4)] {
		if b.Addr().Is4() {
			blocks = append(blocks, b)
		}
	}
	return blocks
}

// checkInside checks that a subnet's block lies inside one of the VPC's. It
// records nothing if the VPC's own blocks are missing: that is a problem of its
// own.
func (v *validator) checkInside(path []string, b netip.Prefix, blocks []netip.Prefix) bool {
	if !blocks[0].IsValid() {
		if b.Addr().Is6() && v.c.VPC.CIDR.IsValid() {
			v.problem(path, "the VPC has no IPv6 block")
			v.hint("add cidr6 to [vpc]")
		}
		return false
	}
	for _, block := range blocks {
		if block.Bits() <= b.Bits() && block.Contains(b.Addr()) {
			return true
		}
	}
	v.problem(path, "%s is not inside the VPC's %s", b.Masked(), joinPrefixes(blocks))
	return false
}

// checkOverlaps checks that no two of the blocks overlap. Sorted by address and
// then by size, a block that overlaps any other one lies inside an earlier one.
func (v *validator) checkOverlaps(blocks []subnetBlock) {
	slices.SortStableFunc(blocks, func(a, b subnetBlock) int {
		return cmp.Or(a.prefix.Addr().Compare(b.prefix.Addr()), cmp.Compare(a.prefix.Bits(), b.prefix.Bits()))
	})
	var outer subnetBlock
	for i, b := range blocks {
		if i == 0 || !outer.prefix.Overlaps(b.prefix) {
			outer = b
			continue
		}
		first, second := outer, b
		if first.order > second.order {
			first, second = second, first
		}
		v.problem(place{table: "subnet", name: v.c.Subnets[second.order].Name}.path(second.key),
			"%s overlaps %s of subnet %q", second.prefix, first.prefix, v.c.Subnets[first.order].Name)
	}
}

// joinPrefixes returns the blocks as a sentence has them.
func joinPrefixes(blocks []netip.Prefix) string {
	s := ""
	for i, b := range blocks {
		if i > 0 {
			s += ", "
		}
		s += b.Masked().String()
	}
	return s
}

// reserved reports whether a is one of the five addresses of a subnet's block
// that AWS keeps: the first four and the last (SEM 5.1).
func reserved(block netip.Prefix, a netip.Addr) bool {
	r := block.Masked().Addr()
	for range 4 {
		if a == r {
			return true
		}
		r = r.Next()
	}
	return !block.Contains(a.Next())
}

// usable returns how many addresses of a subnet's IPv4 block instances can have.
func usable(block netip.Prefix) int { return 1<<(32-block.Bits()) - 5 }
