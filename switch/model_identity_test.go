package vswitch_test

import (
	"net/netip"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// identify is what holds for every frame, whatever rules say (SEM 4.1 step 0,
// SEM 5.4): the sender is who it says, and no group address is spoken to.
func (m *model) identify(in *modelENI, f *wire.Frame) policy.Reason {
	switch {
	case f.Src != in.mac:
		m.say("source MAC %v, but %s has %v", f.Src, in.name, in.mac)
		return policy.SourceMAC
	case f.Kind == wire.KindARP, f.IsND() && f.Dst[0]&1 == 1:
		return policy.None // its sender is looked at when it is answered
	case f.Dst == wire.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}:
		return policy.Broadcast
	case f.Dst[0]&1 == 1 && joinsGroup(f):
		return policy.MulticastMembership
	case f.Dst[0]&1 == 1:
		return policy.Multicast
	}
	src := f.Tuple.Src.Netip()
	switch {
	case in.has(src):
		return policy.None
	case in.instance.DisableSourceDestCheck && !m.isOwnRouter(in, src) && mayForwardFrom(src):
		m.say("%s sends from %s: its source/dest check is off", in.name, src)
		return policy.None
	}
	m.say("%s must not send from %s", in.name, src)
	return policy.SourceAddress
}

// fromNobody are the blocks from which nothing is forwarded: this network,
// loopback, link-local of IPv6, multicast, reserved (RFC 6890).
var fromNobody = prefixesOf("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/128", "::1/128", "fe80::/10", "ff00::/8")

// prefixesOf returns blocks from their text.
func prefixesOf(blocks ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, b := range blocks {
		all = append(all, netip.MustParsePrefix(b))
	}
	return all
}

// inside reports whether an address is in one of the blocks.
func inside(blocks []netip.Prefix, a netip.Addr) bool {
	for _, b := range blocks {
		if b.Contains(a) {
			return true
		}
	}
	return false
}

// mayForwardFrom reports whether an instance that forwards for others may send
// from the address.
func mayForwardFrom(a netip.Addr) bool { return !inside(fromNobody, a) }

// joinsGroup reports whether a packet is IGMP, or multicast listener discovery (RFC
// 2710, RFC 3810), which hosts send by themselves.
func joinsGroup(f *wire.Frame) bool {
	p := packetOf(f)
	if f.Kind == wire.KindIPv4 {
		return p.protocol == 2
	}
	return p.protocol == policy.ICMPv6 && !f.Later && (p.icmpType == 143 || p.icmpType >= 130 && p.icmpType <= 132)
}

// reachable is what of steps 0 and 1 depends on the destination.
func (m *model) reachable(in *modelENI, f *wire.Frame) policy.Reason {
	dst := f.Tuple.Dst.Netip()
	switch {
	case f.Dst == in.mac:
		return policy.Hairpin
	case f.Dst != in.routerMAC && m.neighbour(in, f.Dst) == nil:
		return policy.UnknownMAC
	case in.has(dst):
		return policy.Hairpin
	case m.isRouter(in, dst):
		return policy.RouterService
	case m.isService(dst):
		return policy.PlatformService
	case answersDHCP(f):
		return policy.DHCPSpoofed
	case dst.IsMulticast():
		return policy.Multicast
	case dst == netip.MustParseAddr("255.255.255.255"), dst == broadcastOf(m.subnet(in).CIDR):
		return policy.Broadcast
	}
	return policy.None
}

// answersDHCP reports whether a packet is one of a DHCP server, which no instance
// is (L5).
func answersDHCP(f *wire.Frame) bool {
	p := packetOf(f)
	return p.protocol == policy.UDP && (p.sport == 67 && p.dport == 68 || p.sport == 547 && p.dport == 546)
}
