package wiretest

import (
	"fmt"
	"net/netip"
	"strings"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// String returns the line of text that Parse reads back as f, without what is
// at its default. The MACs are not in it.
func (f *Frame) String() string {
	switch f.ARP {
	case 0:
	case wire.ARPReply:
		return fmt.Sprintf("arp reply %s is-at %s tell %s", f.Src, f.ARPAt, f.Dst)
	case wire.ARPRequest:
		return fmt.Sprintf("arp who-has %s tell %s", f.Dst, f.Src)
	default:
		return fmt.Sprintf("arp operation %d from %s to %s", f.ARP, f.Src, f.Dst)
	}
	p := policy.Protocol(f.Protocol)
	var s strings.Builder
	if f.ND != nil {
		f.writeND(&s)
		option(&s, "len", f.Len, 0)
		f.writeOptions(&s)
		return s.String()
	}
	if p.HasPorts() && f.Offset == 0 {
		fmt.Fprintf(&s, "%s > %s", netip.AddrPortFrom(f.Src, f.SrcPort), netip.AddrPortFrom(f.Dst, f.DstPort))
	} else {
		fmt.Fprintf(&s, "%s > %s", f.Src, f.Dst)
	}
	switch {
	case p.HasPorts():
		fmt.Fprintf(&s, " %s", p)
	case !p.HasTypes():
		fmt.Fprintf(&s, " proto %d", f.Protocol)
	case f.Offset != 0:
		fmt.Fprintf(&s, " %s", p)
		f.writeFragment(&s)
	case f.Code != 0:
		fmt.Fprintf(&s, " %s %s/%d", p, policy.ICMPTypeName(p, int16(f.Type)), f.Code)
	default:
		fmt.Fprintf(&s, " %s %s", p, policy.ICMPTypeName(p, int16(f.Type)))
	}
	f.writeTransport(&s, p)
	f.writeOptions(&s)
	if f.Quote != nil {
		fmt.Fprintf(&s, " about %s", f.Quote)
	}
	return s.String()
}

// writeTransport writes what belongs to the transport header.
func (f *Frame) writeTransport(s *strings.Builder, p policy.Protocol) {
	if p == policy.TCP && f.Flags != 0 {
		s.WriteByte(' ')
		for i, c := range flagLetters {
			if f.Flags>>i&1 != 0 {
				s.WriteRune(c)
			}
		}
	}
	option(s, "id", int(f.ID), 0)
	option(s, "seq", int(f.Seq), 0)
	option(s, "ack", int(f.Ack), 0)
	option(s, "win", int(f.Window), defaultWindow)
	option(s, "wscale", f.Scale, -1)
	option(s, "quote", f.Quoted, 8)
	option(s, "len", f.Len, 0)
}

// writeOptions writes what belongs to the IP header and to the frame.
func (f *Frame) writeOptions(s *strings.Builder) {
	ttl := defaultTTL
	if f.ND != nil {
		ttl = ndTTL
	}
	option(s, "ttl", int(f.TTL), ttl)
	option(s, "ipid", int(f.Ident), 0)
	if f.DF {
		s.WriteString(" df")
	}
	if f.MF && f.Src.Is4() {
		s.WriteString(" mf")
	}
	if f.Offset == 0 || !policy.Protocol(f.Protocol).HasTypes() { // of ICMP, it stands in the place of the type
		f.writeFragment(s)
	}
	option(s, "gso", f.GSO, 0)
	if f.Checksum != Right && f.GSO == 0 {
		fmt.Fprintf(s, " csum=%s", f.Checksum)
	}
	if f.IPChecksum != Right {
		fmt.Fprintf(s, " ipcsum=%s", f.IPChecksum)
	}
	option(s, "pad", f.Pad, 0)
}

// writeFragment writes the fragment offset, and of IPv6 the extension headers that
// it is one of.
func (f *Frame) writeFragment(s *strings.Builder) {
	if f.Src.Is4() {
		option(s, "frag", f.Offset, 0)
	}
	for _, e := range f.Extensions {
		s.WriteString(" " + e.String())
	}
}

// option writes " key=n" unless n is the default.
func option(s *strings.Builder, key string, n, dflt int) {
	if n != dflt {
		fmt.Fprintf(s, " %s=%d", key, n)
	}
}
