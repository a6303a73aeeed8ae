package capture

import (
	"net/netip"
	"slices"

	"vswitch/internal/wire"
)

// A Filter chooses frames by an expression as tcpdump has them (pcap-filter(7)): a
// part of that language, with the names of instances and subnets as hosts and nets.
// It is immutable. The zero Filter takes everything.
type Filter struct {
	text  string
	nodes []node // the last one is the root; operands stand before their operators
}

// A node is one step of an expression.
type node struct {
	op          operation
	left, right int // operands of and, or, not: indices of nodes

	ends     ends
	types    []uint16 // EtherTypes that the primitive is about; none means all
	protocol []uint8  // IP protocols that it is about; none means all
	prefixes []netip.Prefix
	mac      wire.MAC
	low, top int // ports, or lengths in bytes
}

// An operation is what a node does.
type operation uint8

const (
	opAnd operation = iota
	opOr
	opNot
	opProtocol // types, protocol
	opAddress  // types, protocol, ends, prefixes
	opPort     // types, protocol, ends, low, top
	opMAC      // ends, mac
	opLength   // low, top
)

// ends says which ends of a packet a primitive is about.
type ends uint8

const (
	eitherEnd ends = iota
	source
	destination
	bothEnds
)

// of returns what a test says of the ends that are meant.
func (e ends) of(src, dst bool) bool {
	switch e {
	case source:
		return src
	case destination:
		return dst
	case bothEnds:
		return src && dst
	}
	return src || dst
}

// String returns the expression as it was written.
func (f *Filter) String() string { return f.text }

// Match reports whether the filter takes a frame, of which all headers and the
// length in bytes are given. It allocates nothing, and takes any bytes.
func (f *Filter) Match(frame []byte, length int) bool {
	if len(f.nodes) == 0 {
		return true
	}
	var h header
	h.read(frame)
	return f.eval(len(f.nodes)-1, &h, length)
}

// eval evaluates a node. The depth of an expression is bounded by its length.
func (f *Filter) eval(i int, h *header, length int) bool {
	n := &f.nodes[i]
	switch n.op {
	case opAnd:
		return f.eval(n.left, h, length) && f.eval(n.right, h, length)
	case opOr:
		return f.eval(n.left, h, length) || f.eval(n.right, h, length)
	case opNot:
		return !f.eval(n.left, h, length)
	case opMAC:
		return n.ends.of(h.macs[0] == n.mac, h.macs[1] == n.mac)
	case opLength:
		return n.low <= length && length <= n.top
	}
	if len(n.types) > 0 && !slices.Contains(n.types, h.etherType) {
		return false
	}
	if len(n.protocol) > 0 && !(h.hasProtocol && slices.Contains(n.protocol, h.protocol)) {
		return false
	}
	switch n.op {
	case opAddress:
		return n.ends.of(n.contains(h.addresses[0]), n.contains(h.addresses[1]))
	case opPort:
		return h.hasPorts && n.ends.of(n.spans(h.ports[0]), n.spans(h.ports[1]))
	}
	return true
}

// contains reports whether an address lies in one of the prefixes. The zero Addr
// lies in none.
func (n *node) contains(a netip.Addr) bool {
	for _, p := range n.prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func (n *node) spans(port uint16) bool { return n.low <= int(port) && int(port) <= n.top }
