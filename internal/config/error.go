package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// An Error is one mistake of a file.
type Error struct {
	File    string // as it was given to Load or Parse
	Line    int    // from 1
	Column  int    // from 1, in characters
	Path    string // of the table or key: "instance.web1.sg"; "" for a mistake of the file itself
	Message string
	Hint    string // what was probably meant, or ""
}

// Error returns the mistake in one line:
//
//	vpc.toml:12:9: instance.web1.sg: no security group "wbe" (did you mean "web"?)
func (e Error) Error() string {
	s := fmt.Sprintf("%s:%d:%d: ", e.File, e.Line, e.Column)
	if e.Path != "" {
		s += e.Path + ": "
	}
	s += e.Message
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Errors are all mistakes of a file, in file order. Load and Parse never return
// empty Errors.
type Errors []Error

// Error returns the mistakes, one a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// sort puts the mistakes in file order. Those at the same place keep the order
// in which they were found.
func (e Errors) sort() {
	slices.SortStableFunc(e, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
