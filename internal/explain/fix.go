package explain

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// A Fix says what would take one obstacle away. Where a rule does, the fix holds
// the rule, and the configuration with it has been judged anew; else only words.
type Fix struct {
	Table string // of the file: "nacl.private", "security_group.web"; "" if no rule helps
	Key   string // the list in it: "ingress" or "egress"; valid iff Table is not ""
	Rule  string // the element to add to the list; valid iff Table is not ""
	TOML  string // the key with its whole list, where the file has none; "" where Rule goes into one that is there
	Words string
}

// maxFixes bounds how many obstacles are taken away one after the other: a packet
// has four gates each way between two ends, and as many for each that forwards it.
const maxFixes = 16

// Fixes returns what would have to change for the flow to pass: all of it, in the
// order in which the obstacles are met. The last one is words alone if something
// stands in the way that no rule changes. The error is that of running out of
// memory for another judgement.
func (x *Explainer) Fixes(e *Explanation) ([]Fix, error) {
	var fixes []Fix
	for range maxFixes {
		l := e.Denied()
		if l == nil {
			break
		}
		r := remedy{x: x, e: e, leg: l, step: &l.Steps[len(l.Steps)-1]}
		fix, err := r.find()
		if r.next == nil || err != nil {
			return append(fixes, fix), err
		}
		defer r.next.Close()
		fixes = append(fixes, fix)
		x, e = r.next, r.outcome
	}
	return fixes, nil
}

// A remedy looks for the fix of one denial.
type remedy struct {
	x    *Explainer
	e    *Explanation
	leg  *Leg
	step *Step // that denied

	// next and outcome are what comes of the fix that was found; nil if none was.
	next    *Explainer
	outcome *Explanation
	full    error // why the last change was refused, or nil
}

// find returns the fix.
func (r *remedy) find() (Fix, error) {
	switch r.step.Reason {
	case policy.SGEgress, policy.SGIngress:
		return r.groupRule()
	case policy.NACLEgress, policy.NACLIngress:
		return r.aclEntry()
	}
	return Fix{Words: r.advice()}, nil
}

// try judges the flow by another configuration, and reports whether the denial is
// gone from there. One that vswitch would refuse, for a quota that it exceeds,
// is none.
func (r *remedy) try(c vswitch.Config) (bool, error) {
	next, err := New(c)
	var invalid *vswitch.InvalidError
	if errors.As(err, &invalid) {
		r.full = err
		return false, nil
	}
	if err != nil {
		return false, err
	}
	outcome, err := next.Explain(r.e.Query)
	if err == nil && !r.persists(outcome) {
		r.next, r.outcome = next, outcome
		return true, nil
	}
	return false, errors.Join(err, next.Close())
}

// why says why the last change was refused, "" if none was.
func (r *remedy) why() string {
	if r.full == nil {
		return ""
	}
	return ": " + strings.ReplaceAll(r.full.Error(), "\n", "; ")
}

// persists reports whether the denial is still there.
func (r *remedy) persists(e *Explanation) bool {
	l := e.Denied()
	if l == nil {
		return false
	}
	s := &l.Steps[len(l.Steps)-1]
	return l.Reply == r.leg.Reply && len(l.Steps) == len(r.leg.Steps) && s.Reason == r.step.Reason && s.Where == r.step.Where
}

// groupRule adds a rule to the first of the instance's security groups that has
// room for one. It names the first group of the other end, as AWS advises, or its
// address where groups mean nothing: outside the VPC, and behind somebody who
// forwards (SEM 1.4).
func (r *remedy) groupRule() (Fix, error) {
	d := r.step.Direction
	a := remote(&r.leg.packet, d)
	peers := []vswitch.Peer{{Kind: vswitch.PeerCIDR, Prefix: netip.PrefixFrom(a, a.BitLen())}}
	if far := r.x.config.Instance(r.x.stage.Owner(a)); far != nil {
		peers = []vswitch.Peer{{Kind: vswitch.PeerSecurityGroup, Name: far.SecurityGroups[0]}, peers[0]}
	}
	groups := r.x.config.Instance(r.step.Instance).SecurityGroups
	for _, peer := range peers {
		for _, name := range groups {
			rule := vswitch.SecurityGroupRule{Service: r.leg.service(), Peer: peer}
			fix, config := withGroupRule(r.x.config, name, d, rule)
			if ok, err := r.try(config); ok || err != nil {
				return fix, err
			}
		}
	}
	return Fix{Words: fmt.Sprintf("the security groups of %s take no further %s rule%s", r.step.Instance, d, r.why())}, nil
}

// withGroupRule returns a configuration with another rule in one of its security
// groups, and the fix that says so.
func withGroupRule(c *vswitch.Config, name string, d policy.Direction, rule vswitch.SecurityGroupRule) (Fix, vswitch.Config) {
	out := *c
	out.SecurityGroups = slices.Clone(c.SecurityGroups)
	g := out.SecurityGroup(name)
	list := &g.Ingress
	if d == policy.Egress {
		list = &g.Egress
	}
	at := place{table: "security_group." + name, inFile: g.Line != 0, direction: d, listed: *list != nil && len(*list) == 0}
	for i := range *list {
		at.rules = append(at.rules, groupRuleText(d, &(*list)[i]))
		at.listed = at.listed || (*list)[i].Line != 0
	}
	rule.Origin, g.Origin = pasted, pasted
	*list = append(slices.Clone(*list), rule)
	return at.fix(groupRuleText(d, &rule)), out
}

// aclEntry adds a rule to a network ACL: behind all others if none matched, or in
// front of the one that denied, and then for the one address alone.
func (r *remedy) aclEntry() (Fix, error) {
	d := r.step.Direction
	acl := r.x.config.NetworkACL(r.step.Where)
	list := acl.Entries(d)
	a := remote(&r.leg.packet, d)
	entry := vswitch.NetworkACLEntry{Action: policy.Allow, Service: r.leg.service(), CIDR: netip.PrefixFrom(a, a.BitLen())}
	if r.leg.Reply && entry.Service.Protocol.HasPorts() {
		entry.Service.Ports = r.e.Request.Ports // all of the client's, though some may pass already
	}
	denied := r.deniedBy()
	number, last := freeNumber(list, denied)
	if number == 0 {
		return Fix{Words: fmt.Sprintf("nacl.%s has no free %s number below that of the rule that denies, %d: give that one a higher number", acl.Name, d, denied)}, nil
	}
	if entry.Number = number; last {
		entry.CIDR = r.x.block(a)
	}
	fix, config := withEntry(r.x.config, acl.Name, d, entry)
	if ok, err := r.try(config); ok || err != nil {
		return fix, err
	}
	return Fix{Words: fmt.Sprintf("nacl.%s takes no further %s rule%s", acl.Name, d, r.why())}, nil
}

// withEntry returns a configuration with another rule in one of its network ACLs,
// and the fix that says so.
func withEntry(c *vswitch.Config, name string, d policy.Direction, entry vswitch.NetworkACLEntry) (Fix, vswitch.Config) {
	out := *c
	out.NetworkACLs = slices.Clone(c.NetworkACLs)
	acl := out.NetworkACL(name)
	list := &acl.Ingress
	if d == policy.Egress {
		list = &acl.Egress
	}
	at := place{table: "nacl." + name, inFile: acl.Line != 0, direction: d, listed: *list != nil && len(*list) == 0}
	for i := range *list {
		at.rules = append(at.rules, entryText(d, &(*list)[i]))
		at.listed = at.listed || (*list)[i].Line != 0
	}
	entry.Origin, acl.Origin = pasted, pasted
	*list = append(slices.Clone(*list), entry)
	return at.fix(entryText(d, &entry)), out
}

// deniedBy returns the lowest number of the rules by which the network ACL denies
// the packet, from whatever source port; 0 if it is the implicit one alone.
func (r *remedy) deniedBy() int {
	lowest := 0
	legs := append([]Leg{r.e.Request}, r.e.Replies...)
	for i := range legs {
		s := &legs[i].Steps[len(legs[i].Steps)-1]
		if s.Reason != r.step.Reason || s.Where != r.step.Where || s.Rule == "*" {
			continue
		}
		var n int
		if _, err := fmt.Sscan(s.Rule, &n); err == nil && (lowest == 0 || n < lowest) {
			lowest = n
		}
	}
	return lowest
}

// Numbers of network ACL rules (SEM 3.3).
const (
	maxNumber   = 32766
	firstNumber = 100 // where AWS's own examples begin
	numberStep  = 10  // and the gap that they leave
)

// freeNumber returns a number for a rule in front of the one numbered before, or
// for 0 behind all others, and whether it is behind all others. It is 0 if none is
// free.
func freeNumber(entries []vswitch.NetworkACLEntry, before int) (number int, last bool) {
	taken := make(map[int]bool, len(entries))
	highest := 0
	for i := range entries {
		taken[entries[i].Number] = true
		highest = max(highest, entries[i].Number)
	}
	if before == 0 {
		if highest == 0 {
			return firstNumber, true
		}
		if n := (highest/numberStep + 1) * numberStep; n <= maxNumber {
			return n, true
		}
		before = maxNumber + 1
	}
	if n := (before - 1) / numberStep * numberStep; n > 0 && !taken[n] {
		return n, n > highest
	}
	for n := before - 1; n > 0; n-- {
		if !taken[n] {
			return n, n > highest
		}
	}
	return 0, false
}

// pasted is the origin of what a fix has brought: for the next one, it is in the
// file.
var pasted = vswitch.Origin{File: "fix", Line: 1}

// A place is where a rule goes: a list of a table of the file.
type place struct {
	table     string // "nacl.private"
	inFile    bool   // the file has the table
	direction policy.Direction
	listed    bool     // the file has the list
	rules     []string // what is in the list
}

// fix returns the fix that adds a rule. A list that the file has not got is
// written whole: with it the defaults that it stands for would go.
func (p *place) fix(rule string) Fix {
	f := Fix{Table: p.table, Key: p.direction.String(), Rule: rule}
	if p.listed {
		f.Words = fmt.Sprintf("add to %s %s:  %s", p.table, f.Key, rule)
		return f
	}
	f.TOML = fmt.Sprintf("%s = [%s]", f.Key, strings.Join(append(p.rules, rule), ", "))
	f.Words = fmt.Sprintf("add to %s:  %s", p.table, f.TOML)
	if !p.inFile {
		f.Words = fmt.Sprintf("add the table %s:  %s", p.table, f.TOML)
	}
	return f
}
