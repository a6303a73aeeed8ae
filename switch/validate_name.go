package vswitch

import (
	"net/netip"
	"regexp"
	"strings"
)

// defaultName is the name of the security group and of the network ACL that
// every VPC has (SEM 1.1, 3.1).
const defaultName = "default"

// mainRouteTable is the name of the route table that every VPC has.
const mainRouteTable = "main"

// internetName stands for any address in rules and tests, so nothing else may
// be called so.
const internetName = "internet"

// The forms of names. Those of the VPC and of instances become parts of names
// of namespaces, of host names and of paths (reliability row C3).
var (
	hostName      = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,29}$`)
	namespaceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	linkName      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	ruleIDForm    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
)

// maxLinkName is the longest name of a network device, in bytes: Linux's
// IFNAMSIZ without the terminating zero.
const maxLinkName = 15

// Lengths and characters of names and descriptions (SEM 1.1, 1.3).
const (
	maxNameLength    = 255
	nameChars        = `._-:/()#,@[]+=&;{}!$* `
	descriptionChars = `._-:/()#,@[]+=;{}!$* `
)

// checkHostName checks the name of the VPC or of an instance.
func (v *validator) checkHostName(path []string, name string) {
	switch {
	case name == "":
		v.required(path)
	case !hostName.MatchString(name):
		v.problem(path, "the name must match %s", hostName)
	case name == internetName:
		v.problem(path, "the name stands for any address in rules; take another one")
	}
}

// checkName checks the name of any other object against what AWS allows.
func (v *validator) checkName(path []string, name string) {
	switch {
	case name == "":
		v.problem(path, "the name is empty")
	case len(name) > maxNameLength:
		v.problem(path, "the name is %d characters long; AWS allows %d", len(name), maxNameLength)
	case !onlyChars(name, nameChars):
		v.problem(path, "the name may hold letters, digits and %s", strings.TrimSpace(nameChars))
	case strings.TrimSpace(name) != name:
		v.problem(path, "the name begins or ends with a space")
	}
}

// checkPeerName checks that the name of a subnet cannot be mistaken for anything
// else that a rule's from and to may hold.
func (v *validator) checkPeerName(path []string, name string) {
	_, addrErr := netip.ParseAddr(name)
	_, prefixErr := netip.ParsePrefix(name)
	if name == internetName || addrErr == nil || prefixErr == nil ||
		strings.HasPrefix(name, "sg:") || strings.HasPrefix(name, "pl:") {
		v.problem(path, "the name would mean something else in a rule; take another one")
	}
}

// checkDescription checks the description of a group or of a rule (SEM 1.1, 1.3).
func (v *validator) checkDescription(path []string, s, chars string) {
	switch {
	case len(s) > maxNameLength:
		v.problem(path, "%d characters long; AWS allows %d", len(s), maxNameLength)
	case !onlyChars(s, chars):
		v.problem(path, "may hold letters, digits, spaces and %s", strings.TrimSpace(chars))
	}
}

// onlyChars reports whether s consists of ASCII letters, digits and the given
// characters.
func onlyChars(s, chars string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		digit := '0' <= c && c <= '9'
		if !letter && !digit && strings.IndexByte(chars, c) < 0 {
			return false
		}
	}
	return true
}

// unique records a problem if the same name was seen before. key is what makes
// two names the same.
func (v *validator) unique(seen map[string]string, path []string, key, name string) {
	if other, ok := seen[key]; ok {
		v.problem(path, "the name is taken by %q", other)
		return
	}
	seen[key] = name
}

// maxNearestLength is the length of the longest name, in bytes, that Nearest
// considers.
const maxNearestLength = 64

// Nearest returns the candidate that somebody who wrote name probably meant: the
// one that the fewest insertions, deletions, replacements and swaps of
// neighbours turn name into, case ignored. It returns "" if none is near. Of
// several, the first wins.
func Nearest(name string, candidates []string) string {
	best, bestDistance := "", nearEnough(name)+1
	for _, c := range candidates {
		if d := len(c) - len(name); d >= bestDistance || -d >= bestDistance || len(c) > maxNearestLength || c == "" {
			continue
		}
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// nearEnough returns how many edits still make a typing error of a name.
func nearEnough(name string) int {
	switch n := len(name); {
	case n > maxNearestLength:
		return -1
	case n <= 1:
		return 0
	case n <= 4:
		return 1
	case n <= 8:
		return 2
	}
	return 3
}

// distance returns the number of edits between a and b, a swap of two
// neighbours counting as one (the optimal string alignment distance).
func distance(a, b string) int {
	before := make([]int, len(b)+1) // the row of a[:i-2]
	last := make([]int, len(b)+1)   // the row of a[:i-1]
	row := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(replace, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// A named is the objects of one kind by name. The zero named is empty.
type named[T any] struct {
	byName map[string]*T
	order  []string // the names in the order in which they were added
}

// add adds an object, unless an earlier one has its name.
func (n *named[T]) add(name string, object *T) {
	if n.byName == nil {
		n.byName = make(map[string]*T)
	}
	if _, ok := n.byName[name]; !ok {
		n.byName[name] = object
		n.order = append(n.order, name)
	}
}

// has reports whether an object of that name exists.
func (n *named[T]) has(name string) bool {
	_, ok := n.byName[name]
	return ok
}

// defined reports whether the configuration itself has an object of that name.
func (n *named[T]) defined(name string) bool { return n.byName[name] != nil }
