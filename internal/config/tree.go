package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A position is a place in a file; line and column count from 1, columns in
// characters.
type position struct{ line, column int32 }

// A shape is what a node stands for.
type shape uint8

const (
	scalar shape = iota // a string, number, boolean or date
	table               // a table, however it is written
	array               // a list of values, or of [[tables]]
)

// A node is one value of a file, with its place and the values inside it in file
// order. The tree of nodes has the same shape as the values that the TOML
// decoder returns; it adds what the decoder does not tell: where, and in which
// order.
type node struct {
	parent *node  // nil for the root
	key    string // the parent's name for it. Valid iff index is 0
	index  int32  // its number in the parent, an array; from 1. 0 for the value of a key
	shape  shape

	// header reports that the table was named by a [header] of its own. Tables
	// that were not may still get one further down.
	header bool

	keyAt position // where its key begins; for an element, where it begins itself
	at    position // where the value begins: for a table with a header, its bracket

	children []*node
	byKey    map[string]*node // of a table with many children; else nil
}

// manyChildren is the number of children from which a table has a map.
const manyChildren = 8

// child returns the value of a key of a table, or nil.
func (n *node) child(key string) *node {
	if n.byKey != nil {
		return n.byKey[key]
	}
	for _, c := range n.children {
		if c.key == key {
			return c
		}
	}
	return nil
}

// add appends a child. A table must not have its key yet.
func (n *node) add(c *node) {
	c.parent = n
	n.children = append(n.children, c)
	if n.shape == array {
		c.index = int32(len(n.children))
		return
	}
	switch {
	case n.byKey != nil:
		n.byKey[c.key] = c
	case len(n.children) > manyChildren:
		n.byKey = make(map[string]*node, 2*manyChildren)
		for _, c := range n.children {
			n.byKey[c.key] = c
		}
	}
}

// path returns the names that lead to the node. The last index of a list of
// scalars is left out: the position tells which element it is.
func (n *node) path() string {
	var names []string
	if n.index != 0 && n.shape == scalar {
		n = n.parent
	}
	for ; n.parent != nil; n = n.parent {
		if n.index != 0 {
			names = append(names, strconv.Itoa(int(n.index)))
		} else {
			names = append(names, quoteKey(n.key))
		}
	}
	slices.Reverse(names)
	return strings.Join(names, ".")
}

// locate follows a path of keys and of numbers of elements as far as the tree
// goes, and returns the last node and the rest of the path.
func (n *node) locate(path []string) (*node, []string) {
	for i, name := range path {
		var next *node
		switch n.shape {
		case table:
			next = n.child(name)
		case array:
			if k, err := strconv.Atoi(name); err == nil && 1 <= k && k <= len(n.children) {
				next = n.children[k-1]
			}
		case scalar: // a single value stands for a list of one
			return n, nil
		}
		if next == nil {
			return n, path[i:]
		}
		n = next
	}
	return n, nil
}

// matches returns nil if the tree has the shape of a decoded value: the same keys
// and as many elements everywhere. Anything else is a mistake of the scanner.
func (n *node) matches(value any) error {
	switch v := value.(type) {
	case map[string]any:
		if n.shape != table || len(n.children) != len(v) {
			return fmt.Errorf("%s: the scanner found %d keys, the decoder %d", n.path(), len(n.children), len(v))
		}
		for _, c := range n.children {
			inner, ok := v[c.key]
			if !ok {
				return fmt.Errorf("%s: only the scanner found it", c.path())
			}
			if err := c.matches(inner); err != nil {
				return err
			}
		}
	case []any:
		return matchElements(n, v)
	case []map[string]any:
		return matchElements(n, v)
	default:
		if n.shape != scalar {
			return fmt.Errorf("%s: a single value only to the decoder", n.path())
		}
	}
	return nil
}

// matchElements is matches for the elements of an array.
func matchElements[T any](n *node, values []T) error {
	if n.shape != array || len(n.children) != len(values) {
		return fmt.Errorf("%s: the scanner found %d elements, the decoder %d", n.path(), len(n.children), len(values))
	}
	for i, c := range n.children {
		if err := c.matches(any(values[i])); err != nil {
			return err
		}
	}
	return nil
}

// quoteKey returns a key as TOML writes it: quoted unless it is a bare one. It
// keeps line breaks and other controls of a file out of messages (reliability
// row C4).
func quoteKey(key string) string {
	for i := range len(key) {
		if !isBareKey(key[i]) {
			return strconv.Quote(key)
		}
	}
	if key == "" {
		return `""`
	}
	return key
}
