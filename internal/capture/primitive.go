package capture

import (
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	vswitch "vswitch/switch"
)

// qualifiers are what stands before the value of a primitive.
type qualifiers struct {
	protocol string // "" for none
	ends     ends
	kind     string // host, net, port, portrange or proto; "" for host, if a value follows
}

// vocabulary is every word that is no value.
var vocabulary = []string{
	"ether", "ip", "ip6", "arp", "tcp", "udp", "sctp", "icmp", "icmp6", "src", "dst", "host", "net", "port", "portrange", "proto",
	"less", "greater", "and", "or", "not",
}

// primitive reads one primitive.
func (p *parser) primitive() (node, error) {
	if _, ok := p.accept("less"); ok {
		n, err := p.number("a length", math.MaxInt32)
		return node{op: opLength, top: n}, err
	}
	if _, ok := p.accept("greater"); ok {
		n, err := p.number("a length", math.MaxInt32)
		return node{op: opLength, low: n, top: math.MaxInt}, err
	}
	from := p.next
	q, err := p.qualifiers()
	if err != nil {
		return node{}, err
	}
	w, more := p.peek()
	if p.next == from {
		// A bare value: it is what the value before it was.
		if !more || isOperator(w.text) || w.text == ")" {
			return node{}, p.unexpected(w)
		}
		if q = p.last; !p.primed {
			if _, host := p.names.Hosts[w.text]; !host && !isAddress(w.text) {
				return node{}, p.errorf(w, "no word %q%s", w.text, didYouMean(w.text, vocabulary, p.names.Hosts))
			}
		}
		return p.value(q, w)
	}
	bare := !more || isOperator(w.text) || w.text == ")"
	if bare && q.kind == "" && q.ends == eitherEnd && q.protocol != "ether" {
		t := protocols[q.protocol]
		return node{op: opProtocol, types: t.types, protocol: t.ip}, nil
	}
	if bare && w.text != "" {
		return node{}, p.errorf(w, "want a value before %q", w.text)
	}
	if !more {
		return node{}, p.errorf(w, "a value is missing at the end")
	}
	if q.kind == "" && slices.Contains(vocabulary, w.text) {
		return node{}, p.unexpected(w)
	}
	return p.value(q, w)
}

// qualifiers reads what stands before a value.
func (p *parser) qualifiers() (q qualifiers, err error) {
	w, _ := p.peek()
	if _, known := protocols[w.text]; known || w.text == "ether" {
		q.protocol = w.text
		p.next++
	}
	q.ends = p.readEnds()
	if w, ok := p.accept("host", "net", "port", "portrange", "proto"); ok {
		q.kind = w.text
		return q, p.check(q, w)
	}
	return q, nil
}

// readEnds reads src, dst, src or dst, src and dst.
func (p *parser) readEnds() ends {
	w, ok := p.accept("src", "dst")
	if !ok {
		return eitherEnd
	}
	if p.next+1 < len(p.words) {
		between, second := p.words[p.next].text, p.words[p.next+1].text
		if (second == "src" || second == "dst") && second != w.text {
			// "src host a and dst host b" has a value in between, so this is one
			// qualifier.
			switch between {
			case "or", "||":
				p.next += 2
				return eitherEnd
			case "and", "&&":
				p.next += 2
				return bothEnds
			}
		}
	}
	if w.text == "src" {
		return source
	}
	return destination
}

// check says whether the qualifiers fit each other. w is the last of them.
func (p *parser) check(q qualifiers, w word) error {
	ok := true
	switch q.kind {
	case "port", "portrange":
		ok = slices.Contains([]string{"", "tcp", "udp", "sctp"}, q.protocol)
	case "proto":
		if ok = slices.Contains([]string{"", "ip", "ip6"}, q.protocol); q.ends != eitherEnd {
			return p.errorf(w, "a proto has no src and dst")
		}
	case "net":
		ok = q.protocol != "ether"
	}
	if !ok {
		return p.errorf(w, "%s cannot be said of a %s", q.protocol, q.kind)
	}
	return nil
}

// value reads the value w of a primitive.
func (p *parser) value(q qualifiers, w word) (n node, err error) {
	p.last, p.primed = q, true
	p.next++
	t := protocols[q.protocol]
	n = node{ends: q.ends, types: t.types, protocol: t.ip}
	switch {
	case q.protocol == "ether":
		n.op = opMAC
		mac, parsed := net.ParseMAC(w.text)
		if parsed != nil || len(mac) != len(n.mac) {
			return n, p.errorf(w, "%q is no MAC address", w.text)
		}
		n.mac = wire.MAC(mac)
	case q.kind == "net":
		n.op = opAddress
		n.prefixes, err = p.net(w)
	case q.kind == "port":
		n.op = opPort
		n.low, err = p.port(w, w.text, q.protocol)
		n.top = n.low
	case q.kind == "portrange":
		n.op = opPort
		low, top, ok := strings.Cut(w.text, "-")
		if !ok {
			return n, p.errorf(w, "%q is no range of ports: want 1024-65535", w.text)
		}
		if n.low, err = p.port(w, low, q.protocol); err == nil {
			n.top, err = p.port(w, top, q.protocol)
		}
		if err == nil && n.low > n.top {
			n.low, n.top = n.top, n.low // as pcap-filter has it
		}
	case q.kind == "proto":
		n.op = opProtocol
		n.protocol, err = p.protocolNumber(w)
	default:
		n.op = opAddress
		n.prefixes, err = p.host(w)
	}
	return n, err
}

// host reads an address or the name of an instance.
func (p *parser) host(w word) ([]netip.Prefix, error) {
	if a, err := netip.ParseAddr(w.text); err == nil && a.Zone() == "" {
		return []netip.Prefix{netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())}, nil
	}
	if prefixes, ok := p.names.Hosts[w.text]; ok {
		return prefixes, nil
	}
	if strings.Contains(w.text, "/") {
		return nil, p.errorf(w, "%q is a block, not a host: write net %s", w.text, w.text)
	}
	return nil, p.errorf(w, "no address and no instance %q%s", w.text, didYouMean(w.text, vocabulary, p.names.Hosts))
}

// net reads a block, the first bytes of one of IPv4, or the name of a subnet.
func (p *parser) net(w word) ([]netip.Prefix, error) {
	if prefixes, ok := p.names.Nets[w.text]; ok {
		return prefixes, nil
	}
	text := w.text
	if bytes := strings.Count(text, ".") + 1; bytes < 4 && !strings.Contains(text, "/") && !strings.Contains(text, ":") {
		text += strings.Repeat(".0", 4-bytes) + "/" + strconv.Itoa(8*bytes) // "10.1" is 10.1.0.0/16
	}
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return []netip.Prefix{netip.PrefixFrom(a, a.BitLen())}, nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return nil, p.errorf(w, "no block and no subnet %q%s", w.text, didYouMean(w.text, nil, p.names.Nets))
	}
	if prefix.Masked() != prefix {
		return nil, p.errorf(w, "%s has bits behind its mask: %s is the block", w.text, prefix.Masked())
	}
	return []netip.Prefix{prefix}, nil
}

// port reads a port, by number or by the name that /etc/services has for it.
func (p *parser) port(w word, text, protocol string) (int, error) {
	if n, err := strconv.ParseUint(text, 10, 16); err == nil {
		return int(n), nil
	}
	if protocol == "" || protocol == "sctp" {
		protocol = "tcp"
	}
	if _, err := strconv.Atoi(text); err != nil && text != "" {
		if n, err := net.LookupPort(protocol, text); err == nil {
			return n, nil
		}
	}
	return 0, p.errorf(w, "%q is no port", text)
}

// protocolNumber reads an IP protocol.
func (p *parser) protocolNumber(w word) ([]uint8, error) {
	switch w.text {
	case "icmp":
		return []uint8{uint8(policy.ICMP)}, nil
	case "icmp6":
		return []uint8{uint8(policy.ICMPv6)}, nil
	}
	if t, ok := protocols[w.text]; ok && t.types == nil {
		return t.ip, nil
	}
	n, err := strconv.ParseUint(w.text, 10, 8)
	if err != nil {
		return nil, p.errorf(w, "%q is no IP protocol: want its number", w.text)
	}
	return []uint8{uint8(n)}, nil
}

// number reads a number up to top.
func (p *parser) number(what string, top int) (int, error) {
	w, more := p.peek()
	if !more {
		return 0, p.errorf(w, "%s is missing at the end", what)
	}
	p.next++
	n, err := strconv.Atoi(w.text)
	if err != nil || n < 0 || n > top {
		return 0, p.errorf(w, "%q is not %s", w.text, what)
	}
	return n, nil
}

// isAddress reports whether text is meant to be an address or a block.
func isAddress(text string) bool {
	return strings.ContainsAny(text, ".:/") || text != "" && text[0] >= '0' && text[0] <= '9'
}

// didYouMean returns " (did you mean \"port\"?)", or "" if nothing is near.
func didYouMean(name string, words []string, names map[string][]netip.Prefix) string {
	candidates := slices.Clone(words)
	for n := range names {
		candidates = append(candidates, n)
	}
	slices.Sort(candidates)
	if near := vswitch.Nearest(name, candidates); near != "" {
		return " (did you mean " + strconv.Quote(near) + "?)"
	}
	return ""
}
