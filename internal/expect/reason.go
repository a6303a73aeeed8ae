package expect

import (
	"fmt"
	"slices"
	"strings"

	"vswitch/internal/explain"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// reason returns in words why a flow fares as it does, and where the rule stands
// that decided: "sg web egress: no rule", "nacl private egress 90", or the rules of
// the groups that allowed it.
func (e *Evaluator) reason(f *Flow) (string, vswitch.Origin, error) {
	x, err := e.explainer.Explain(f.Query())
	if err != nil {
		return "", vswitch.Origin{}, err
	}
	if l := x.Denied(); l != nil {
		s := &l.Steps[len(l.Steps)-1]
		origin := s.Origin
		if s.Rule == "" || s.Rule == "*" {
			origin = vswitch.Origin{} // an object that has no such rule is no rule
		}
		return denial(s), origin, nil
	}
	var rules []string
	var origin vswitch.Origin // of the last: what has let the packet in
	for _, s := range x.Request.Steps {
		if s.Check == vswitch.CheckSecurityGroup && s.Rule != "" && !slices.Contains(rules, s.Rule) {
			rules, origin = append(rules, s.Rule), s.Origin
		}
	}
	if len(rules) == 0 {
		return x.Request.Steps[0].Words, vswitch.Origin{}, nil
	}
	return strings.Join(rules, ", "), origin, nil
}

// denial returns in words which gate has denied.
func denial(s *explain.Step) string {
	switch {
	case s.Check == vswitch.CheckSecurityGroup && (s.Reason == policy.SGEgress || s.Reason == policy.SGIngress):
		return fmt.Sprintf("sg %s %s: no rule", s.Object, s.Direction)
	case s.Check == vswitch.CheckNetworkACL:
		return fmt.Sprintf("nacl %s %s %s", s.Object, s.Direction, s.Rule)
	case s.Check == vswitch.CheckRoute:
		return fmt.Sprintf("route %s: %s", s.Where, s.Words)
	}
	return s.Words
}

// notBy returns the first flow that the rule of an id does not match, or nil. A
// rule matches even if another one stands before it and decides.
func (e *Evaluator) notBy(flows []Flow, id string) (*Flow, error) {
	for i := range flows {
		q := flows[i].Query()
		matches, err := names(e.explainer, q, id)
		if err == nil && !matches {
			var x *explain.Explainer
			if x, err = e.promote(id); err == nil {
				matches, err = names(x, q, id)
			}
		}
		if err != nil || !matches {
			return &flows[i], err
		}
	}
	return nil, nil
}

// names reports whether a rule decides at one of the gates of a flow.
func names(x *explain.Explainer, q explain.Query, id string) (bool, error) {
	e, err := x.Explain(q)
	if err != nil {
		return false, err
	}
	for _, l := range append([]explain.Leg{e.Request}, e.Replies...) {
		if slices.ContainsFunc(l.Steps, func(s explain.Step) bool { return s.Check == vswitch.CheckSecurityGroup && s.Rule == id }) {
			return true, nil
		}
	}
	return false, nil
}

// promote returns an Explainer of the same configuration, but for the order: the
// rule of an id comes first in its group, and the group first at its instances. No
// verdict depends on that, but the rule decides wherever it matches.
func (e *Evaluator) promote(id string) (*explain.Explainer, error) {
	if x := e.promoted[id]; x != nil {
		return x, nil
	}
	c := *e.config
	c.SecurityGroups, c.Instances = slices.Clone(c.SecurityGroups), slices.Clone(c.Instances)
	for i := range c.SecurityGroups {
		g := &c.SecurityGroups[i]
		for _, rules := range []*[]vswitch.SecurityGroupRule{&g.Ingress, &g.Egress} {
			at := slices.IndexFunc(*rules, func(r vswitch.SecurityGroupRule) bool { return r.ID == id })
			if at < 0 {
				continue
			}
			*rules = slices.Concat((*rules)[at:at+1], (*rules)[:at], (*rules)[at+1:])
			for j := range c.Instances {
				groups := &c.Instances[j].SecurityGroups
				if at := slices.Index(*groups, g.Name); at >= 0 {
					*groups = slices.Concat((*groups)[at:at+1], (*groups)[:at], (*groups)[at+1:])
				}
			}
		}
	}
	x, err := explain.New(c)
	if err != nil {
		return nil, err
	}
	e.promoted[id] = x
	return x, nil
}
