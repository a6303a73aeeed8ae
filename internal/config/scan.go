package config

import (
	"fmt"
	"unicode/utf8"
)

// Bounds of what a file may hold, so that no file costs more than its size
// deserves (reliability row C1). The deepest path of a real file has six
// elements, and a file at the size limit that is full of rules has about
// 900,000 values.
const (
	maxDepth     = 16      // values inside values
	maxValues    = 1 << 20 // keys, elements and tables
	maxKey       = 1024    // bytes of one key
	maxPathBytes = 1 << 28 // bytes of the paths of all keys, which the decoder keeps
)

// A scanner finds the values of a TOML document and their positions, without
// judging more of the syntax than it needs: the decoder does that. It stops at
// the first thing that it cannot follow.
type scanner struct {
	data []byte
	i    int // offset of the next byte

	// The position of offset mark, from which later ones are counted.
	mark         int
	line, column int32

	root      *node
	values    int
	pathBytes int
	slab      []node // nodes to come, allocated together

	limit   string // the bound that the document exceeds, or ""
	limitAt position

	// twiceAt is where the scanner stopped at a key that its table has already; the
	// zero position if it did not. The decoder overlooks some of these keys, and
	// with them a value.
	twiceAt position
}

// scan returns the tree of a document. complete tells that it was followed to its
// end. The tree is valid iff complete is true and the decoder accepts the
// document. Else limit tells the bound that the document exceeds, if it does, and
// i how far the scanner came, in bytes.
func scan(data []byte) (s *scanner, complete bool) {
	s = &scanner{data: data, line: 1, column: 1}
	if len(data) >= 3 && string(data[:3]) == "\xef\xbb\xbf" { // a byte-order mark is not a character
		s.i, s.mark = 3, 3
	}
	s.root = &node{shape: table, keyAt: position{1, 1}, at: position{1, 1}}
	return s, s.document()
}

// position returns the position of an offset. Offsets must not decrease from
// call to call.
func (s *scanner) position(offset int) position {
	for ; s.mark < offset; s.mark++ {
		switch c := s.data[s.mark]; {
		case c == '\n':
			s.line++
			s.column = 1
		case utf8.RuneStart(c):
			s.column++
		}
	}
	return position{s.line, s.column}
}

// twice reports whether the scanner stopped at a key that is defined twice.
func (s *scanner) twice() bool { return s.twiceAt != position{} }

// exceed records that the document exceeds a bound here. It returns false, for
// the scanner stops.
func (s *scanner) exceed(format string, args ...any) bool {
	s.limit = fmt.Sprintf(format, args...)
	s.limitAt = s.position(s.i)
	return false
}

// node returns a new node. It returns nil if there are too many.
func (s *scanner) node(shape shape, key string, keyAt, at position) *node {
	s.values++
	if s.values > maxValues {
		s.exceed("more than %d values", maxValues)
		return nil
	}
	if len(s.slab) == 0 {
		// A value takes some twelve bytes of a file; most files are short.
		s.slab = make([]node, min(16+len(s.data)/16, 512))
	}
	n := &s.slab[0]
	s.slab = s.slab[1:]
	n.shape, n.key, n.keyAt, n.at = shape, key, keyAt, at
	return n
}

// document scans the whole document.
func (s *scanner) document() bool {
	current := s.root
	for {
		s.skipLines()
		if s.i == len(s.data) {
			return true
		}
		ok := false
		if s.data[s.i] == '[' {
			current, ok = s.header()
		} else {
			ok = s.keyValue(current)
		}
		if !ok || !s.endOfLine() {
			return false
		}
	}
}

// header scans "[a.b]" or "[[a.b]]" and returns the table that the following keys
// belong to.
func (s *scanner) header() (*node, bool) {
	at := s.position(s.i)
	s.i++
	many := s.accept('[')
	n, pathBytes := s.root, 0
	for depth := 1; ; depth++ {
		key, keyAt, ok := s.keyPart()
		if !ok || !s.deep(depth) {
			return nil, false
		}
		pathBytes += len(key) + 1
		if s.accept('.') {
			if n = s.inner(n, key, keyAt, at); n == nil {
				return nil, false
			}
			continue
		}
		if !s.accept(']') || many && !s.accept(']') {
			return nil, false
		}
		s.pathBytes += pathBytes
		if many {
			n = s.element(n, key, keyAt, at)
		} else {
			n = s.explicit(n, key, keyAt, at)
		}
		return n, n != nil
	}
}

// inner returns the table that a header or a dotted key goes through: the one
// that key names in n, the last one if they are many, or a new one. It returns
// nil if key names something else.
func (s *scanner) inner(n *node, key string, keyAt, at position) *node {
	c := n.child(key)
	if c == nil {
		if c = s.node(table, key, keyAt, at); c != nil {
			n.add(c)
		}
		return c
	}
	if c.shape == array && len(c.children) > 0 {
		c = c.children[len(c.children)-1]
	}
	if c.shape != table {
		return nil
	}
	return c
}

// explicit returns the table of a header "[...key]".
func (s *scanner) explicit(n *node, key string, keyAt, at position) *node {
	c := n.child(key)
	if c == nil {
		c = s.inner(n, key, keyAt, at)
	} else if c.shape != table || c.header {
		return nil
	}
	if c != nil {
		c.header, c.keyAt, c.at = true, keyAt, at
	}
	return c
}

// element returns the new table of a header "[[...key]]".
func (s *scanner) element(n *node, key string, keyAt, at position) *node {
	c := n.child(key)
	if c == nil {
		if c = s.node(array, key, keyAt, at); c == nil {
			return nil
		}
		c.header = true
		n.add(c)
	}
	if c.shape != array || !c.header {
		return nil
	}
	e := s.node(table, "", keyAt, at)
	if e != nil {
		e.header = true
		c.add(e)
	}
	return e
}

// keyValue scans "a.b = value" into the table n.
func (s *scanner) keyValue(n *node) bool {
	for {
		key, keyAt, ok := s.keyPart()
		if !ok || !s.deep(n.depth()+1) {
			return false
		}
		if s.accept('.') {
			if n = s.inner(n, key, keyAt, keyAt); n == nil {
				return false
			}
			continue
		}
		if !s.accept('=') {
			return false
		}
		if n.child(key) != nil {
			s.twiceAt = keyAt
			return false
		}
		s.skipSpace()
		s.pathBytes += len(key) + 1 + n.pathBytes()
		return s.value(n, key, keyAt)
	}
}

// depth returns how many nodes are above n.
func (n *node) depth() int {
	depth := 0
	for ; n.parent != nil; n = n.parent {
		depth++
	}
	return depth
}

// pathBytes returns the length of the node's path as the decoder keeps it.
func (n *node) pathBytes() int {
	length := 0
	for ; n.parent != nil; n = n.parent {
		length += len(n.key) + 1
	}
	return length
}

// deep reports whether a value may be that deep, and its path that long.
func (s *scanner) deep(depth int) bool {
	if depth > maxDepth {
		return s.exceed("more than %d values inside each other", maxDepth)
	}
	if s.pathBytes > maxPathBytes {
		return s.exceed("the names of all keys together are longer than %d bytes", maxPathBytes)
	}
	return true
}
