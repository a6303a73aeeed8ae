package wiretest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"vswitch/internal/wire"
)

// ndName returns the name that lines of text have for a type of message.
func ndName(typ uint8) string {
	for name, t := range ndTypes {
		if t == typ {
			return name
		}
	}
	return ""
}

// writeND writes the message as parseND reads it.
func (f *Frame) writeND(s *strings.Builder) {
	nd := f.ND
	fmt.Fprintf(s, "nd %s", ndName(f.Type))
	if f.Type >= wire.NeighborSolicitation {
		fmt.Fprintf(s, " %s", nd.Target)
	}
	if f.Type == wire.Redirect {
		fmt.Fprintf(s, " for %s", nd.For)
	}
	fmt.Fprintf(s, " from %s", f.Src)
	if f.Dst != f.ndDestination() {
		fmt.Fprintf(s, " to %s", f.Dst)
	}
	for _, w := range []struct {
		word string
		set  bool
	}{{"router", nd.Router}, {"solicited", nd.Solicited}, {"override", nd.Override}, {"managed", nd.Managed}} {
		if w.set {
			s.WriteString(" " + w.word)
		}
	}
	if f.Type == wire.RouterAdvertisement {
		option(s, "hops", int(nd.Hops), defaultHops)
		option(s, "lifetime", int(nd.Lifetime), defaultLifetime)
		option(s, "mtu", int(nd.MTU), 0)
		nd.writePrefix(s)
	}
	switch {
	case nd.HasLinkLayer && nd.LinkLayer != (wire.MAC{}):
		fmt.Fprintf(s, " lladdr=%s", nd.LinkLayer)
	case nd.HasLinkLayer:
		s.WriteString(" lladdr")
	}
	option(s, "code", int(f.Code), 0)
}

// writePrefix writes the prefix option.
func (nd *ND) writePrefix(s *strings.Builder) {
	if !nd.Prefix.IsValid() {
		return
	}
	fmt.Fprintf(s, " prefix=%s", nd.Prefix)
	if nd.OnLink {
		s.WriteString(" onlink")
	}
	if nd.Auto {
		s.WriteString(" auto")
	}
	option(s, "valid", int(nd.Valid), defaultValid)
	option(s, "preferred", int(nd.Preferred), defaultPreferred)
}

// decodeND reads the ICMPv6 message b as one of neighbor discovery. It returns
// nil if a line of text could not say all that is in it.
func (f *Frame) decodeND(b []byte) *ND {
	nd := &ND{Hops: defaultHops, Lifetime: defaultLifetime, Valid: defaultValid, Preferred: defaultPreferred}
	size := map[uint8]int{133: 8, 134: 16, 135: 24, 136: 24, 137: 40}[b[0]]
	if size == 0 || len(b) < size {
		return nil
	}
	switch b[0] {
	case wire.RouterAdvertisement:
		nd.Hops, nd.Managed, nd.Lifetime = b[4], b[5]&0x80 != 0, binary.BigEndian.Uint16(b[6:])
	case wire.NeighborAdvertisement:
		nd.Router, nd.Solicited, nd.Override = b[4]&0x80 != 0, b[4]&0x40 != 0, b[4]&0x20 != 0
	case wire.Redirect:
		nd.For = netip.AddrFrom16([16]byte(b[24:]))
	}
	if b[0] >= wire.NeighborSolicitation {
		nd.Target = netip.AddrFrom16([16]byte(b[8:]))
	}
	for opts := b[size:]; len(opts) > 0; {
		if len(opts) < 8 || opts[1] == 0 || int(opts[1])*8 > len(opts) {
			return nil
		}
		nd.decodeOption(opts[:int(opts[1])*8], f.SrcMAC)
		opts = opts[int(opts[1])*8:]
	}
	again := nd.message(b[0], b[1], f.SrcMAC)
	copy(again[2:4], b[2:4]) // the checksum
	if !bytes.Equal(again, b) {
		return nil
	}
	return nd
}

// decodeOption reads an option that it knows. mac is the frame's source.
func (nd *ND) decodeOption(b []byte, mac wire.MAC) {
	switch {
	case (b[0] == 1 || b[0] == 2) && len(b) == 8:
		nd.HasLinkLayer = true
		if nd.LinkLayer = wire.MAC(b[2:]); nd.LinkLayer == mac {
			nd.LinkLayer = wire.MAC{}
		}
	case b[0] == 5 && len(b) == 8:
		nd.MTU = binary.BigEndian.Uint32(b[4:])
	case b[0] == 3 && len(b) == 32:
		nd.Prefix = netip.PrefixFrom(netip.AddrFrom16([16]byte(b[16:])), int(b[2]))
		nd.OnLink, nd.Auto = b[3]&0x80 != 0, b[3]&0x40 != 0
		nd.Valid, nd.Preferred = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	}
}
