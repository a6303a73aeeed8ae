package capture

import (
	"fmt"
	"net/netip"
	"slices"

	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// Bounds of an expression. They bound what a frame costs.
const (
	maxFilter     = 4096 // bytes
	maxPrimitives = 128
	maxNesting    = 32 // of parentheses and negations
)

// Names are what an expression may call by name.
type Names struct {
	Hosts map[string][]netip.Prefix // instances: their addresses
	Nets  map[string][]netip.Prefix // subnets: their blocks
}

// NamesOf returns the names of a completed configuration.
func NamesOf(c *vswitch.Config) Names {
	n := Names{Hosts: make(map[string][]netip.Prefix), Nets: make(map[string][]netip.Prefix)}
	for i := range c.Instances {
		name := c.Instances[i].Name
		for _, a := range c.Interface(name).Addresses {
			n.Hosts[name] = append(n.Hosts[name], netip.PrefixFrom(a, a.BitLen()))
		}
	}
	for i := range c.Subnets {
		s := &c.Subnets[i]
		n.Nets[s.Name] = append(n.Nets[s.Name], s.CIDR)
		if s.CIDR6.IsValid() {
			n.Nets[s.Name] = append(n.Nets[s.Name], s.CIDR6)
		}
	}
	return n
}

// ParseFilter compiles an expression. The empty one takes everything. The error is
// a *FilterError.
//
// The language is that of pcap-filter(7) as far as it goes: `and` and `or` bind
// equally and from left to right, `not` binds tighter, and a bare value takes the
// qualifiers of the primitive before it. The primitives are
//
//	[ip|ip6|arp|tcp|udp|sctp|icmp|icmp6] [src|dst|src or dst|src and dst] host|net VALUE
//	[tcp|udp|sctp] [src|dst|...] port|portrange VALUE
//	ether [src|dst|...] host MAC
//	[ip|ip6] proto VALUE
//	ip, ip6, arp, tcp, udp, sctp, icmp, icmp6
//	less LENGTH, greater LENGTH
//
// Unlike there, transport protocols are found behind all IPv6 extension headers.
func ParseFilter(text string, names Names) (*Filter, error) {
	p := parser{text: text, words: split(text), names: names, filter: Filter{text: text}}
	if len(text) > maxFilter {
		return nil, &FilterError{Filter: text[:40] + "...", At: 0, Message: fmt.Sprintf("longer than %d bytes", maxFilter)}
	}
	if len(p.words) == 0 {
		return &Filter{}, nil
	}
	if _, err := p.expression(); err != nil {
		return nil, err
	}
	if w, more := p.peek(); more {
		return nil, p.unexpected(w)
	}
	return &p.filter, nil
}

// A parser reads an expression from left to right.
type parser struct {
	text    string
	words   []word
	next    int // index of the word to read
	names   Names
	filter  Filter
	last    qualifiers // of the primitive before; valid iff primed
	primed  bool
	nesting int
	count   int // primitives
}

// peek returns the next word.
func (p *parser) peek() (word, bool) {
	if p.next == len(p.words) {
		return word{at: len(p.text)}, false
	}
	return p.words[p.next], true
}

// accept reads the next word if it is one of texts.
func (p *parser) accept(texts ...string) (word, bool) {
	if w, ok := p.peek(); ok && slices.Contains(texts, w.text) {
		p.next++
		return w, true
	}
	return word{}, false
}

func (p *parser) errorf(w word, format string, args ...any) error {
	return &FilterError{Filter: p.text, At: w.at, Len: len(w.text), Message: fmt.Sprintf(format, args...)}
}

// unexpected says that a word cannot stand where it does.
func (p *parser) unexpected(w word) error {
	switch {
	case w.text == "":
		return p.errorf(w, "something is missing at the end")
	case w.text == ")":
		return p.errorf(w, "no ( before this )")
	case p.next > 0 && !isOperator(p.words[p.next-1].text):
		return p.errorf(w, "want and, or, or the end before %q", w.text)
	}
	return p.errorf(w, "%q makes no sense here", w.text)
}

func isOperator(text string) bool {
	return slices.Contains([]string{"and", "or", "not", "&&", "||", "!", "("}, text)
}

// add appends a node and returns its index.
func (p *parser) add(n node) int {
	p.filter.nodes = append(p.filter.nodes, n)
	return len(p.filter.nodes) - 1
}

// expression reads terms that and and or connect.
func (p *parser) expression() (int, error) {
	left, err := p.term()
	for err == nil {
		op := opAnd
		if _, ok := p.accept("or", "||"); ok {
			op = opOr
		} else if _, ok := p.accept("and", "&&"); !ok {
			return left, nil
		}
		var right int
		if right, err = p.term(); err == nil {
			left = p.add(node{op: op, left: left, right: right})
		}
	}
	return 0, err
}

// term reads a primitive, a negation, or an expression in parentheses.
func (p *parser) term() (int, error) {
	w, _ := p.peek()
	if p.nesting++; p.nesting > maxNesting {
		return 0, p.errorf(w, "more than %d levels of ( and not", maxNesting)
	}
	defer func() { p.nesting-- }()
	if _, ok := p.accept("not", "!"); ok {
		of, err := p.term()
		return p.add(node{op: opNot, left: of}), err
	}
	if open, ok := p.accept("("); ok {
		inner, err := p.expression()
		if err != nil {
			return 0, err
		}
		if _, ok := p.accept(")"); ok {
			return inner, nil
		}
		if w, more := p.peek(); more {
			return 0, p.unexpected(w)
		}
		return 0, p.errorf(open, "this ( is never closed")
	}
	if p.count++; p.count > maxPrimitives {
		return 0, p.errorf(w, "more than %d primitives", maxPrimitives)
	}
	n, err := p.primitive()
	if err != nil {
		return 0, err
	}
	return p.add(n), nil
}

// A protocol is what a qualifier of a protocol stands for.
type protocol struct {
	types []uint16
	ip    []uint8
}

// protocols are the qualifiers of protocols but ether. Over IPv4 icmp6 is nothing,
// and icmp nothing over IPv6.
var protocols = map[string]protocol{
	"ip":    {types: []uint16{etherTypeIPv4}},
	"ip6":   {types: []uint16{etherTypeIPv6}},
	"arp":   {types: []uint16{etherTypeARP}},
	"tcp":   {ip: []uint8{uint8(policy.TCP)}},
	"udp":   {ip: []uint8{uint8(policy.UDP)}},
	"sctp":  {ip: []uint8{sctp}},
	"icmp":  {types: []uint16{etherTypeIPv4}, ip: []uint8{uint8(policy.ICMP)}},
	"icmp6": {types: []uint16{etherTypeIPv6}, ip: []uint8{uint8(policy.ICMPv6)}},
}
