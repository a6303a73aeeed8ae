package vswitch

import (
	"fmt"
	"strconv"
	"strings"
)

// A Problem is one mistake of a configuration.
type Problem struct {
	// Path leads to the culprit by the names that vpc.toml gives things:
	// {"security_group", "web", "ingress", "2", "ports"}. The elements of a list
	// are counted from 1. The last elements may be a key that is missing.
	Path    []string
	Message string // lower case, without the path and without a full stop
	Hint    string // what was probably meant, as in `did you mean "web"?`; "" for no idea
}

// String returns the problem in one line: "instance.web1.sg.1: no security
// group "wbe" (did you mean "web"?)".
func (p Problem) String() string {
	s := p.Message
	if len(p.Path) > 0 {
		s = strings.Join(p.Path, ".") + ": " + s
	}
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}

// An InvalidError is a configuration that was refused, with all its mistakes.
type InvalidError struct{ Problems []Problem }

// Error returns the problems, one a line.
func (e *InvalidError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Validate returns every mistake of c, in the order of its fields: names that
// dangle or collide, blocks and addresses that AWS would refuse, rules that AWS
// would refuse or that no packet could match, and quotas exceeded. It does not
// change c. The result is empty for a configuration that Complete accepts.
//
// The cost grows with the size of c, not with its square (reliability row C1).
// Of more than 10,000 problems, the rest is one Problem without a path that tells
// how many they are.
func (c *Config) Validate() []Problem {
	v := newValidator(c)
	v.checkVPC()
	v.checkSubnets()
	v.checkPrefixLists()
	v.checkRouteTables()
	v.checkSecurityGroups()
	v.checkNetworkACLs()
	v.checkInstances()
	v.checkConntrack()
	v.checkQuotas()
	v.checkFlowLogs()
	v.checkTests()
	if v.more > 0 {
		v.problems = append(v.problems, Problem{Message: fmt.Sprintf("%d more problems are not listed", v.more)})
	}
	return v.problems
}

// maxProblems is how many problems are told one by one.
const maxProblems = 10_000

// A validator is one run of Validate.
type validator struct {
	c        *Config
	problems []Problem
	more     int    // problems found behind the first maxProblems
	quotas   Quotas // with AWS's defaults filled in

	// What names refer to. The default group and network ACL are always there, as
	// nil if the configuration does not mention them.
	subnets   named[Subnet]
	groups    named[SecurityGroup]
	acls      named[NetworkACL]
	lists     named[PrefixList]
	tables    named[RouteTable]
	instances named[Instance]

	// weights is what each group counts towards the quota of an interface.
	weights map[string]groupWeight

	// peers is what the peers met so far count towards quotas.
	peers map[Peer]weight

	// ruleIDs holds the place of every rule by its id, given or derived.
	ruleIDs map[string]place

	// hintsLeft bounds the work that goes into hints, in names compared, so that a
	// file full of wrong names costs no more than its size deserves.
	hintsLeft int
}

// maxHintWork is how many pairs of names one Validate compares in search of what
// was meant: at a microsecond each, half a second.
const maxHintWork = 500_000

// newValidator indexes the names of c.
func newValidator(c *Config) *validator {
	v := &validator{
		c:         c,
		quotas:    c.Quotas.withDefaults(),
		weights:   make(map[string]groupWeight, len(c.SecurityGroups)+1),
		peers:     make(map[Peer]weight),
		ruleIDs:   make(map[string]place),
		hintsLeft: maxHintWork,
	}
	for i := range c.Subnets {
		v.subnets.add(c.Subnets[i].Name, &c.Subnets[i])
	}
	for i := range c.SecurityGroups {
		v.groups.add(c.SecurityGroups[i].Name, &c.SecurityGroups[i])
	}
	for i := range c.NetworkACLs {
		v.acls.add(c.NetworkACLs[i].Name, &c.NetworkACLs[i])
	}
	for i := range c.PrefixLists {
		v.lists.add(c.PrefixLists[i].Name, &c.PrefixLists[i])
	}
	for i := range c.RouteTables {
		v.tables.add(c.RouteTables[i].Name, &c.RouteTables[i])
	}
	for i := range c.Instances {
		v.instances.add(c.Instances[i].Name, &c.Instances[i])
	}
	v.groups.add(defaultName, nil)
	v.acls.add(defaultName, nil)
	v.tables.add(mainRouteTable, nil)
	return v
}

// A place is where in a configuration a check stands. It is turned into a path
// only when there is a problem to report.
type place struct {
	table string // "security_group"
	name  string // "web"; "" in tables without names, such as vpc
	list  string // "ingress"; "" outside lists of rules
	index int    // of the rule in its list, from 1; valid iff list is not ""
}

// path returns the path of the place, and of a key inside it.
func (p place) path(keys ...string) []string {
	path := make([]string, 0, 4+len(keys))
	path = append(path, p.table)
	if p.name != "" {
		path = append(path, p.name)
	}
	if p.list != "" {
		path = append(path, p.list, strconv.Itoa(p.index))
	}
	return append(path, keys...)
}

// nth returns the path element of the i-th element of a list, i from 0.
func nth(i int) string { return strconv.Itoa(i + 1) }

// problem records a mistake.
func (v *validator) problem(path []string, format string, args ...any) {
	if len(v.problems) == maxProblems {
		v.more++
		return
	}
	v.problems = append(v.problems, Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

// hint adds a hint to the problem recorded last.
func (v *validator) hint(format string, args ...any) {
	if v.more > 0 {
		return // the problem was not recorded
	}
	v.problems[len(v.problems)-1].Hint = fmt.Sprintf(format, args...)
}

// hintNearest adds the nearest of the candidates as a hint to the problem
// recorded last, if one is near enough, and reports whether it did.
func (v *validator) hintNearest(name string, candidates []string) bool {
	v.hintsLeft -= len(candidates)
	if v.hintsLeft < 0 || v.more > 0 {
		return false
	}
	near := Nearest(name, candidates)
	if near == "" {
		return false
	}
	v.hint("did you mean %q?", near)
	return true
}

// required records that a key is missing.
func (v *validator) required(path []string) {
	v.problem(path, "required, and missing")
}
