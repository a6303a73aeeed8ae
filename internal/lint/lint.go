// Package lint finds what a valid configuration probably does not mean: rules
// that never decide, replies that nothing lets back, objects that nobody uses,
// and doors that stand wide open.
//
// It looks at a completed configuration and at nothing else. Every finding is
// certain in what it says; whether it is a mistake, the author must judge.
package lint

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// A Code names a kind of finding. It is stable.
type Code string

// The kinds of findings; docs/lint.md explains them.
const (
	ACLShadowed  Code = "acl-shadowed"
	ACLRedundant Code = "acl-redundant"
	ACLNoReply   Code = "acl-no-reply"
	ACLOwnSubnet Code = "acl-own-subnet"
	ACLUnused    Code = "acl-unused"
	SGRedundant  Code = "sg-redundant"
	SGEmptyPeer  Code = "sg-empty-peer"
	SGOneSided   Code = "sg-one-sided"
	SGAdminPort  Code = "sg-admin-port"
	SGAllPorts   Code = "sg-all-ports"
	SGUnused     Code = "sg-unused"
	ListUnused   Code = "prefix-list-unused"
	RouteUnused  Code = "route-unused"
)

// Codes lists all kinds of findings, in the order of docs/lint.md.
var Codes = []Code{
	ACLShadowed, ACLRedundant, ACLNoReply, ACLOwnSubnet, ACLUnused,
	SGRedundant, SGEmptyPeer, SGOneSided, SGAdminPort, SGAllPorts, SGUnused,
	ListUnused, RouteUnused,
}

// A Finding is one thing that is probably not meant.
type Finding struct {
	Code    Code
	Object  string         // "nacl.private egress 100", "security_group.web ingress sgr-web-https"
	Origin  vswitch.Origin // where Object was written
	Message string         // what is so; lower case, no full stop
	Advice  string         // what to do about it

	// Others are where the other rules were written that Message speaks of, in the
	// order in which it names them.
	Others []vswitch.Origin
}

// Run returns the findings of a completed configuration, sorted by position.
func Run(cfg *vswitch.Config) []Finding {
	l := linter{c: cfg}
	l.networkACLs()
	l.securityGroups()
	l.unused()
	slices.SortStableFunc(l.findings, func(a, b Finding) int {
		return cmp.Or(
			strings.Compare(a.Origin.File, b.Origin.File),
			cmp.Compare(a.Origin.Line, b.Origin.Line),
			cmp.Compare(a.Origin.Column, b.Origin.Column),
			strings.Compare(a.Object, b.Object),
			strings.Compare(string(a.Code), string(b.Code)),
		)
	})
	return l.findings
}

// A linter is one run of Run.
type linter struct {
	c        *vswitch.Config
	findings []Finding
}

// add records a finding.
func (l *linter) add(f Finding) { l.findings = append(l.findings, f) }

// directions are those of every list of rules.
var directions = [2]policy.Direction{policy.Ingress, policy.Egress}

// arrow returns the sign between a rule's service and its peer.
func arrow(d policy.Direction) string {
	if d == policy.Egress {
		return "->"
	}
	return "<-"
}

// toward returns the word between a service and its peer: "from" or "to".
func toward(d policy.Direction) string {
	if d == policy.Egress {
		return "to"
	}
	return "from"
}

// series joins words: "a", "a and b", "a, b and c"; of more than max, the first
// ones and how many there are besides.
func series(words []string, max int) string {
	if len(words) > max {
		rest := len(words) - max
		words = append(slices.Clone(words[:max]), fmt.Sprintf("%d more", rest))
	}
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// someNames is how many names one message lists.
const someNames = 5

// plural returns one for a single thing, and many otherwise.
func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
