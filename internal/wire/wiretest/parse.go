package wiretest

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// flagLetters are the TCP flags, from the lowest bit.
const flagLetters = "FSRPAUEW"

// defaultWindow and defaultTTL are what Linux sends.
const (
	defaultWindow = 64240
	defaultTTL    = 64
)

// Parse reads a line of text, in the form that the package comment describes.
func Parse(text string) (*Frame, error) {
	f, err := parse(strings.Fields(text))
	if err != nil {
		return nil, fmt.Errorf("frame %q: %w", text, err)
	}
	return f, nil
}

func parse(words []string) (*Frame, error) {
	f := &Frame{TTL: defaultTTL, Window: defaultWindow, Scale: -1, Quoted: 8}
	if len(words) == 0 {
		return nil, fmt.Errorf("no words")
	}
	switch words[0] {
	case "arp":
		return f, f.parseARP(words[1:])
	case "nd":
		return f, f.parseND(words[1:])
	}
	if len(words) < 4 || words[1] != ">" {
		return nil, fmt.Errorf("not of the form SOURCE > DESTINATION PROTOCOL")
	}
	var err error
	if f.Src, f.SrcPort, err = parseEnd(words[0]); err != nil {
		return nil, err
	}
	if f.Dst, f.DstPort, err = parseEnd(words[2]); err != nil {
		return nil, err
	}
	if f.Src.Is4() != f.Dst.Is4() {
		return nil, fmt.Errorf("addresses of two families")
	}
	rest, err := f.parseProtocol(words[3], words[4:])
	if err != nil {
		return nil, err
	}
	return f, f.parseOptions(rest)
}

// parseEnd reads an address, with or without a port.
func parseEnd(s string) (netip.Addr, uint16, error) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr(), ap.Port(), nil
	}
	a, err := netip.ParseAddr(s)
	return a, 0, err
}

// parseProtocol reads the protocol and the words that belong to it, and returns
// those that are left.
func (f *Frame) parseProtocol(name string, words []string) ([]string, error) {
	first := ""
	if len(words) > 0 {
		first = words[0]
	}
	switch name {
	case "udp":
		f.Protocol = uint8(policy.UDP)
		return words, nil
	case "tcp":
		f.Protocol = uint8(policy.TCP)
		if first == "" || strings.Trim(first, flagLetters) != "" {
			return words, nil // a segment without flags, or a later fragment
		}
		for _, c := range first {
			f.Flags |= 1 << strings.IndexRune(flagLetters, c)
		}
		return words[1:], nil
	case "icmp", "icmpv6":
		p := policy.ICMP
		if name == "icmpv6" {
			p = policy.ICMPv6
		}
		f.Protocol = uint8(p)
		return f.parseICMPType(p, first, words)
	case "proto":
		n, err := strconv.ParseUint(first, 10, 8)
		if err != nil {
			return nil, fmt.Errorf("proto: %w", err)
		}
		f.Protocol = uint8(n)
		return words[1:], nil
	}
	return nil, fmt.Errorf("protocol %q is not tcp, udp, icmp, icmpv6 or proto", name)
}

// parseICMPType reads "echo-request", "3", or "3/4". A later fragment has none:
// there, an extension header comes first.
func (f *Frame) parseICMPType(p policy.Protocol, first string, words []string) ([]string, error) {
	key, value, _ := strings.Cut(first, "=")
	if _, ok, _ := parseExtension(key, value); ok {
		return words, nil
	}
	typ, code, both := strings.Cut(first, "/")
	if t, ok := policy.ICMPType(p, typ); ok {
		f.Type = uint8(t)
	} else if n, err := strconv.ParseUint(typ, 10, 8); err == nil {
		f.Type = uint8(n)
	} else {
		return nil, fmt.Errorf("%q is no type of %s", typ, p)
	}
	if both {
		n, err := strconv.ParseUint(code, 10, 8)
		if err != nil {
			return nil, fmt.Errorf("code: %w", err)
		}
		f.Code = uint8(n)
	}
	return words[1:], nil
}

// parseOptions reads the options, and the quoted packet if there is one.
func (f *Frame) parseOptions(words []string) error {
	for i, w := range words {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "about":
			var err error
			f.Quote, err = parse(words[i+1:])
			return err
		case "df", "mf":
			if f.Src.Is6() {
				return fmt.Errorf("%s: not of IPv6", w)
			}
			f.DF, f.MF = f.DF || key == "df", f.MF || key == "mf"
			continue
		case "csum":
			f.Checksum = Checksum(value)
			if f.Checksum != Partial && f.Checksum != Bad {
				return fmt.Errorf("%s: neither partial nor bad", w)
			}
			continue
		case "ipcsum":
			f.IPChecksum = Checksum(value)
			if f.IPChecksum != Bad {
				return fmt.Errorf("%s: not bad", w)
			}
			continue
		}
		if f.Src.Is6() {
			e, ok, err := parseExtension(key, value)
			if ok && err == nil {
				err = f.addExtension(e)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", w, err)
			}
			if ok {
				continue
			}
		}
		if err := f.parseNumber(key, value); err != nil {
			return fmt.Errorf("%s: %w", w, err)
		}
	}
	return nil
}

// parseNumber reads an option that has a number.
func (f *Frame) parseNumber(key, value string) error {
	limit := map[string]int{"ttl": 8, "wscale": 8, "win": 16, "id": 16, "ipid": 16, "seq": 32, "ack": 32,
		"len": 16, "quote": 16, "frag": 16, "gso": 16, "pad": 16}
	if f.Src.Is6() {
		limit["ipid"] = 32
	}
	if f.ND != nil {
		limit["code"] = 8
	}
	bits, ok := limit[key]
	if !ok {
		return fmt.Errorf("no such option")
	}
	n, err := strconv.ParseUint(value, 10, bits)
	if err != nil {
		return err
	}
	switch key {
	case "ttl":
		f.TTL = uint8(n)
	case "code":
		f.Code = uint8(n)
	case "wscale":
		f.Scale = int(n)
	case "win":
		f.Window = uint16(n)
	case "id":
		f.ID = uint16(n)
	case "ipid":
		f.Ident = uint32(n)
	case "seq":
		f.Seq = uint32(n)
	case "ack":
		f.Ack = uint32(n)
	case "len":
		f.Len = int(n)
	case "quote":
		f.Quoted = int(n)
	case "frag":
		f.Offset = int(n)
		if n%8 != 0 {
			return fmt.Errorf("not a multiple of 8")
		}
	case "gso":
		f.GSO = int(n)
		f.Checksum = Partial
	case "pad":
		f.Pad = int(n)
	}
	return nil
}

// parseARP reads what follows "arp".
func (f *Frame) parseARP(words []string) (err error) {
	switch {
	case len(words) == 4 && words[0] == "who-has" && words[2] == "tell":
		f.ARP = wire.ARPRequest
		if f.Dst, err = netip.ParseAddr(words[1]); err != nil {
			return err
		}
		f.Src, err = netip.ParseAddr(words[3])
		return err
	case len(words) == 6 && words[0] == "reply" && words[2] == "is-at" && words[4] == "tell":
		f.ARP = wire.ARPReply
		if f.Src, err = netip.ParseAddr(words[1]); err != nil {
			return err
		}
		if f.ARPAt, err = parseMAC(words[3]); err != nil {
			return err
		}
		f.Dst, err = netip.ParseAddr(words[5])
		return err
	}
	return fmt.Errorf("neither arp who-has A tell B nor arp reply A is-at MAC tell B")
}
