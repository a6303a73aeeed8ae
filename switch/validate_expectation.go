package vswitch

import (
	"net/netip"

	"vswitch/internal/policy"
)

// checkTests checks what the tests of the configuration refer to.
func (v *validator) checkTests() {
	var ids []string // of all rules, for hints; made when first needed
	for i := range v.c.Tests {
		t := &v.c.Tests[i]
		at := place{table: "test", name: nth(i)}
		switch {
		case t.Name == "":
			v.required(at.path("name"))
		case len(t.Name) > maxNameLength || hasControl(t.Name):
			v.problem(at.path("name"), "want at most %d printable characters", maxNameLength)
		}
		v.checkEnds(at, "from", t.From)
		v.checkEnds(at, "to", t.To)
		v.checkTestService(at, t.Service)
		if t.Want != policy.Allow && t.Want != policy.Deny {
			v.problem(at.path("want"), "want allow or deny")
		}
		if _, ok := v.ruleIDs[t.By]; !ok && t.By != "" {
			if ids == nil {
				ids = v.givenIDs()
			}
			v.problem(at.path("by"), "no rule has the id %q", t.By)
			v.hintNearest(t.By, ids)
		}
	}
}

// checkTestService checks a test's service, which it writes under one key.
func (v *validator) checkTestService(at place, s policy.Service) {
	before := len(v.problems)
	v.checkService(at, s)
	for i := range v.problems[before:] {
		v.problems[before+i].Path = at.path("port")
	}
}

// checkEnds checks one end of a test: instances, addresses, blocks or "internet".
func (v *validator) checkEnds(at place, key string, ends []string) {
	if len(ends) == 0 {
		v.required(at.path(key))
	}
	for i, end := range ends {
		if end == internetName || v.instances.has(end) {
			continue
		}
		if a, err := netip.ParseAddr(end); err == nil && a.Zone() == "" {
			continue
		}
		if _, err := netip.ParsePrefix(end); err == nil {
			continue
		}
		if s := v.subnets.byName[end]; s != nil {
			v.problem(at.path(key, nth(i)), "%q is a subnet; a test names an instance, an address, a block or internet", end)
			v.hint("did you mean %q?", s.CIDR.Masked())
			continue
		}
		v.problem(at.path(key, nth(i)), "no instance %q", end)
		if !v.hintNearest(end, v.instances.order) {
			v.hintNearest(end, []string{internetName})
		}
	}
}

// givenIDs returns the ids that rules were given, in file order.
func (v *validator) givenIDs() []string {
	var ids []string
	for i := range v.c.SecurityGroups {
		g := &v.c.SecurityGroups[i]
		for _, rules := range [][]SecurityGroupRule{g.Ingress, g.Egress} {
			for j := range rules {
				if rules[j].ID != "" {
					ids = append(ids, rules[j].ID)
				}
			}
		}
	}
	return ids
}

// hasControl reports whether s holds a control character.
func hasControl(s string) bool {
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return true
		}
	}
	return false
}
