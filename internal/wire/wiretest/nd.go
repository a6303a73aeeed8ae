package wiretest

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// ndTTL is the hop limit of neighbor discovery, RFC 4861.
const ndTTL = 255

// ND is a message of neighbor discovery (RFC 4861). Its type is that of the frame.
type ND struct {
	Target netip.Addr // of a solicitation, an advertisement, or a redirect
	For    netip.Addr // the destination that a redirect is for

	HasLinkLayer bool
	LinkLayer    wire.MAC // zero for the frame's own source

	Router, Solicited, Override bool // flags of a neighbor advertisement

	// Of a router advertisement.
	Managed          bool
	Hops             uint8
	Lifetime         uint16
	MTU              uint32       // 0 for none
	Prefix           netip.Prefix // the zero Prefix for none
	OnLink, Auto     bool         // flags of the prefix
	Valid, Preferred uint32       // lifetimes of the prefix, in seconds
}

// What a router advertisement says unless told otherwise: RFC 4861 section 6.2.1.
const (
	defaultHops      = 64
	defaultLifetime  = 1800
	defaultValid     = 2592000
	defaultPreferred = 604800
)

// ndTypes are the messages, as lines of text name them.
var ndTypes = map[string]uint8{
	"router-solicit": wire.RouterSolicitation, "router-advert": wire.RouterAdvertisement,
	"solicit": wire.NeighborSolicitation, "advert": wire.NeighborAdvertisement, "redirect": wire.Redirect,
}

// parseND reads what follows "nd".
func (f *Frame) parseND(words []string) error {
	if len(words) == 0 || ndTypes[words[0]] == 0 {
		return fmt.Errorf("nd, but neither solicit, advert, router-solicit, router-advert nor redirect")
	}
	f.Type = ndTypes[words[0]]
	f.Protocol, f.TTL = uint8(policy.ICMPv6), ndTTL
	f.ND = &ND{Hops: defaultHops, Lifetime: defaultLifetime, Valid: defaultValid, Preferred: defaultPreferred}
	words = words[1:]

	var err error
	if f.Type >= wire.NeighborSolicitation {
		if words, err = parseAddress(words, "", &f.ND.Target); err != nil {
			return err
		}
	}
	if f.Type == wire.Redirect {
		if words, err = parseAddress(words, "for", &f.ND.For); err != nil {
			return err
		}
	}
	if words, err = parseAddress(words, "from", &f.Src); err != nil {
		return err
	}
	f.Dst = f.ndDestination()
	if !f.Dst.IsValid() || len(words) > 0 && words[0] == "to" {
		if words, err = parseAddress(words, "to", &f.Dst); err != nil {
			return err
		}
	}
	var rest []string
	for _, w := range words {
		known, err := f.ND.set(f.Type, w)
		if err != nil {
			return fmt.Errorf("%s: %w", w, err)
		}
		if !known {
			rest = append(rest, w)
		}
	}
	return f.parseOptions(rest)
}

// parseAddress reads a word, if there is one, and the IPv6 address behind it, and
// returns what is left.
func parseAddress(words []string, word string, a *netip.Addr) ([]string, error) {
	if word != "" {
		if len(words) == 0 || words[0] != word {
			return nil, fmt.Errorf("%q expected", word)
		}
		words = words[1:]
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("no address at the end")
	}
	var err error
	if *a, err = netip.ParseAddr(words[0]); err == nil && !a.Is6() {
		err = fmt.Errorf("%s is not an IPv6 address", a)
	}
	return words[1:], err
}

// ndDestination returns where a message goes unless told otherwise: to the
// solicited node, all routers, or all nodes; nowhere, if it must be told.
func (f *Frame) ndDestination() netip.Addr {
	a := [16]byte{0: 0xff, 1: 0x02}
	switch f.Type {
	case wire.NeighborSolicitation:
		target := f.ND.Target.As16()
		a[11], a[12] = 1, 0xff
		copy(a[13:], target[13:])
	case wire.RouterSolicitation:
		a[15] = 2
	case wire.RouterAdvertisement:
		a[15] = 1
	default:
		return netip.Addr{}
	}
	return netip.AddrFrom16(a)
}

// set reads an option of a message of the type. It returns false if there is none
// of that name.
func (nd *ND) set(typ uint8, word string) (known bool, err error) {
	key, value, has := strings.Cut(word, "=")
	number := func(bits int) uint32 {
		n, e := strconv.ParseUint(value, 10, bits)
		err = e
		return uint32(n)
	}
	switch fmt.Sprint(typ, " ", key) {
	case "136 router":
		nd.Router = true
	case "136 solicited":
		nd.Solicited = true
	case "136 override":
		nd.Override = true
	case "134 managed":
		nd.Managed = true
	case "134 hops":
		nd.Hops = uint8(number(8))
	case "134 lifetime":
		nd.Lifetime = uint16(number(16))
	case "134 mtu":
		nd.MTU = number(32)
	case "134 valid":
		nd.Valid = number(32)
	case "134 preferred":
		nd.Preferred = number(32)
	case "134 prefix":
		nd.Prefix, err = netip.ParsePrefix(value)
	case "134 onlink":
		nd.OnLink = true
	case "134 auto":
		nd.Auto = true
	default:
		if key != "lladdr" {
			return false, nil
		}
		nd.HasLinkLayer = true
		if has {
			nd.LinkLayer, err = parseMAC(value)
		}
	}
	return true, err
}

// parseMAC reads an Ethernet address.
func parseMAC(s string) (wire.MAC, error) {
	mac, err := net.ParseMAC(s)
	if err != nil {
		return wire.MAC{}, err
	}
	if len(mac) != len(wire.MAC{}) {
		return wire.MAC{}, fmt.Errorf("%s is no Ethernet address", mac)
	}
	return wire.MAC(mac), nil
}

// flag returns bit if set.
func flag(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

// message returns the message from its type on, without its checksum. mac is the
// frame's source.
func (nd *ND) message(typ, code uint8, mac wire.MAC) []byte {
	b := []byte{typ, code, 0, 0, 0, 0, 0, 0}
	target, about := nd.Target.As16(), nd.For.As16()
	option := byte(1) // the source's link-layer address
	switch typ {
	case wire.RouterAdvertisement:
		b[4], b[5] = nd.Hops, flag(nd.Managed, 0x80)
		binary.BigEndian.PutUint16(b[6:], nd.Lifetime)
		b = append(b, make([]byte, 8)...) // reachable and retransmission time: unspecified
	case wire.NeighborSolicitation:
		b = append(b, target[:]...)
	case wire.NeighborAdvertisement:
		b[4] = flag(nd.Router, 0x80) | flag(nd.Solicited, 0x40) | flag(nd.Override, 0x20)
		b, option = append(b, target[:]...), 2
	case wire.Redirect:
		b, option = append(append(b, target[:]...), about[:]...), 2
	}
	if nd.HasLinkLayer {
		if nd.LinkLayer != (wire.MAC{}) {
			mac = nd.LinkLayer
		}
		b = append(append(b, option, 1), mac[:]...)
	}
	if nd.MTU != 0 {
		b = binary.BigEndian.AppendUint32(append(b, 5, 1, 0, 0), nd.MTU)
	}
	if nd.Prefix.IsValid() {
		b = append(b, 3, 4, byte(nd.Prefix.Bits()), flag(nd.OnLink, 0x80)|flag(nd.Auto, 0x40))
		b = binary.BigEndian.AppendUint32(b, nd.Valid)
		b = binary.BigEndian.AppendUint32(b, nd.Preferred)
		address := nd.Prefix.Addr().As16()
		b = append(append(b, 0, 0, 0, 0), address[:]...)
	}
	return b
}
