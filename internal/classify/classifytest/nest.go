package classifytest

import (
	"net/netip"

	"vswitch/internal/classify"
	"vswitch/internal/policy"
)

// A Nest is a list of rules for blocks around one address, and for hosts near it,
// of which many match the same packets.
type Nest struct {
	Rules []classify.Rule

	center netip.Addr
	hosts  int // how many there may be near the center
}

// nestPorts is how many ports the rules and the packets of a Nest are about.
const nestPorts = 96

// Nest draws a nest of one family, with up to 400 rules.
func (pick Pick) Nest() Nest {
	n := Nest{center: netip.MustParseAddr(one(pick, []string{"10.0.1.0", "2001:db8:a:1::"}))}
	n.Rules = make([]classify.Rule, pick(400))
	lengths := 1 + pick(n.center.BitLen()+1)
	n.hosts = 1 + pick(128)
	hostly := pick(9) // eighths of the rules that are about hosts
	for i := range n.Rules {
		block := netip.PrefixFrom(n.center, pick(lengths))
		if pick(8) < hostly {
			block = netip.PrefixFrom(n.host(pick), n.center.BitLen())
		}
		n.Rules[i] = classify.Rule{Prefixes: []netip.Prefix{block}, Service: pick.nearService()}
	}
	return n
}

// nearService draws a service that shares ports with others: usually a short
// range of TCP or UDP.
func (pick Pick) nearService() policy.Service {
	if pick(16) == 1 {
		return pick.Service()
	}
	s := policy.Service{Protocol: one(pick, []policy.Protocol{policy.TCP, policy.UDP})}
	s.Ports.From = uint16(pick(nestPorts))
	s.Ports.To = s.Ports.From + uint16(pick(4))
	return s
}

// Packet draws a packet from or to a host of the nest, or an address that only
// the shorter blocks hold.
func (n *Nest) Packet(pick Pick) classify.Packet {
	p := pick.Packet()
	p.Remote = n.host(pick)
	if pick(2) == 1 {
		b := n.center.AsSlice()
		bit := pick(n.center.BitLen())
		b[bit/8] ^= 1 << (7 - bit%8)
		p.Remote, _ = netip.AddrFromSlice(b)
	}
	if pick(8) != 1 {
		p.Protocol, p.Port = uint8(one(pick, []policy.Protocol{policy.TCP, policy.UDP})), uint16(pick(nestPorts))
	}
	return p
}

// host draws an address near the center.
func (n *Nest) host(pick Pick) netip.Addr {
	b := n.center.AsSlice()
	b[len(b)-1] = byte(pick(n.hosts))
	a, _ := netip.AddrFromSlice(b)
	return a
}
