package config

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	vswitch "vswitch/switch"
)

// A decoder turns the values of one file into a Config and collects the mistakes
// that it meets.
type decoder struct {
	file   string
	errors Errors
	more   int    // mistakes that were met behind the first maxErrors
	rest   string // what Validate says about those that it does not list, or ""

	// bad holds the values with a mistake of their own, and broken the elements of
	// lists with one inside. What Validate says about them is not news.
	bad, broken map[*node]bool
	// absent holds the keys that a table lacks for a reason that is reported.
	absent map[absence]bool

	served  API     // what [api] says
	granted Machine // what [machine] says

	// Names of instances and subnets, which the peers of rules may be.
	instances, subnets map[string]any
}

// An absence is a key that a table should have and has not.
type absence struct {
	table *node
	key   string
}

func newDecoder(file string) *decoder {
	return &decoder{
		file:   file,
		bad:    make(map[*node]bool),
		broken: make(map[*node]bool),
		absent: make(map[absence]bool),
	}
}

// errorAt records a mistake of a value.
func (d *decoder) errorAt(n *node, hint, format string, args ...any) {
	d.report(n.at, n.path(), hint, fmt.Sprintf(format, args...))
	d.bad[n] = true
	for ; n != nil; n = n.parent {
		if n.index != 0 {
			d.broken[n] = true
		}
	}
}

// maxErrors is how many mistakes of a file are told. Nobody reads more, and a
// large file can hold millions (reliability row C1).
const maxErrors = 10_000

// report appends an error.
func (d *decoder) report(at position, path, hint, message string) {
	if len(d.errors) == maxErrors {
		d.more++
		return
	}
	d.errors = append(d.errors, Error{d.file, int(at.line), int(at.column), path, message, hint})
}

// didYouMean returns the hint that names the nearest of the candidates, or "".
func didYouMean(name string, candidates []string) string {
	if near := vswitch.Nearest(name, candidates); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return ""
}

// origin returns where a value is written.
func (d *decoder) origin(n *node) vswitch.Origin {
	return vswitch.Origin{File: d.file, Line: int(n.at.line), Column: int(n.at.column)}
}

// A tableReader reads one table. Every key is asked for once; done then reports
// those that nobody asked for.
type tableReader struct {
	d      *decoder
	at     *node
	values map[string]any
	known  []string
	lacks  []string // keys that it must have and has not
}

// tableAt returns a reader for a value that must be a table.
func (d *decoder) tableAt(n *node, value any) (tableReader, bool) {
	values, ok := value.(map[string]any)
	if !ok {
		d.errorAt(n, "", "want a table, got %s", typeName(value))
	}
	return tableReader{d: d, at: n, values: values}, ok
}

// typeName returns the type of a TOML value in words.
func typeName(value any) string {
	switch value.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a float"
	case bool:
		return "a boolean"
	case time.Time:
		return "a date or time"
	case map[string]any:
		return "a table"
	}
	return "a list"
}

// value returns the value of a key.
func (t *tableReader) value(key string) (any, *node, bool) {
	t.known = append(t.known, key)
	v, ok := t.values[key]
	if !ok {
		return nil, nil, false
	}
	return v, t.at.child(key), true
}

// get returns the value of a key that must be of type T. It reports whether
// there is one.
func get[T any](t *tableReader, key, want string) (value T, n *node, ok bool) {
	v, n, ok := t.value(key)
	if !ok {
		return value, n, false
	}
	value, ok = v.(T)
	if !ok {
		t.d.errorAt(n, "", "want %s, got %s", want, typeName(v))
	}
	return value, n, ok
}

// text returns a string, "" if there is none. An empty one is refused: it would
// mean the same as none.
func (t *tableReader) text(key string) string {
	s, n, ok := get[string](t, key, "a string")
	if ok && s == "" {
		t.d.errorAt(n, "", "empty")
	}
	return s
}

// number returns an integer of at least 1, 0 if there is none. Validate knows how
// large it may be.
func (t *tableReader) number(key string) int {
	i, n, ok := get[int64](t, key, "an integer")
	if ok && i < 1 {
		t.d.errorAt(n, "", "%d is less than 1", i)
		return 0
	}
	return int(min(i, math.MaxInt))
}

// boolean returns a boolean, or otherwise if there is none.
func (t *tableReader) boolean(key string, otherwise bool) bool {
	b, _, ok := get[bool](t, key, "true or false")
	if !ok {
		return otherwise
	}
	return b
}

// list returns what parse makes of the strings of a list: nil if there is none,
// and not nil if it is empty. An element that is wrong is the zero T, so that the
// others keep their numbers.
func list[T any](t *tableReader, key string, parse func(n *node, s string) T) []T {
	values, n, ok := get[[]any](t, key, "a list of strings")
	if !ok {
		return nil
	}
	out := make([]T, len(values))
	for i, v := range values {
		if s, ok := v.(string); ok {
			out[i] = parse(n.children[i], s)
		} else {
			t.d.errorAt(n.children[i], "", "want a string, got %s", typeName(v))
		}
	}
	return out
}

// texts returns a list of strings.
func (t *tableReader) texts(key string) []string {
	return list(t, key, func(_ *node, s string) string { return s })
}

// single returns what parse makes of a string, the zero T if there is none.
func single[T any](t *tableReader, key string, parse func(n *node, s string) T) T {
	var zero T
	s, n, ok := get[string](t, key, "a string")
	if !ok {
		return zero
	}
	return parse(n, s)
}

// prefix returns a block, the zero Prefix if there is none.
func (t *tableReader) prefix(key string) netip.Prefix { return single(t, key, t.d.prefix) }

// prefixes returns a list of blocks.
func (t *tableReader) prefixes(key string) []netip.Prefix { return list(t, key, t.d.prefix) }

// addr returns an address, the zero Addr if there is none.
func (t *tableReader) addr(key string) netip.Addr { return single(t, key, t.d.addr) }

// addrs returns a list of addresses.
func (t *tableReader) addrs(key string) []netip.Addr { return list(t, key, t.d.addr) }

// duration returns a duration, 0 if there is none.
func (t *tableReader) duration(key string) time.Duration { return single(t, key, t.d.duration) }

// require notes that the table must have a key.
func (t *tableReader) require(key string) {
	if _, ok := t.values[key]; !ok && t.values != nil {
		t.lacks = append(t.lacks, key)
	}
}

// reject reports a key, if the table has it, as something that it cannot have.
func (t *tableReader) reject(key, format string, args ...any) {
	if _, n, ok := t.value(key); ok {
		t.d.errorAt(n, "", format, args...)
	}
}

// done reports the keys that nobody asked for, and the required ones that are
// missing, unless one of the others seems to be meant for it.
func (t *tableReader) done() {
	for _, c := range t.at.children {
		if slices.Contains(t.known, c.key) {
			continue
		}
		t.d.report(c.keyAt, c.path(), didYouMean(c.key, t.known), "unknown key")
		t.d.bad[c] = true
		t.d.absent[absence{t.at, vswitch.Nearest(c.key, t.known)}] = true
	}
	for _, key := range t.lacks {
		if !t.d.absent[absence{t.at, key}] {
			t.d.report(t.at.at, join(t.at.path(), quoteKey(key)), "", "required, and missing")
			t.d.absent[absence{t.at, key}] = true
		}
	}
}

// join returns the path of a key inside path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
