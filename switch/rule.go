package vswitch

import (
	"fmt"
	"strconv"
	"strings"

	"vswitch/internal/policy"
)

// Rules returns the group's rules for one direction.
func (g *SecurityGroup) Rules(d policy.Direction) []SecurityGroupRule {
	if d == policy.Egress {
		return g.Egress
	}
	return g.Ingress
}

// Entries returns the network ACL's rules for one direction.
func (a *NetworkACL) Entries(d policy.Direction) []NetworkACLEntry {
	if d == policy.Egress {
		return a.Egress
	}
	return a.Ingress
}

// A Rule is a rule of a completed configuration, whether a security group or a
// network ACL has it, or the implicit deny behind the others of its list.
type Rule struct {
	Key    RuleKey
	Action policy.Verdict
	Origin Origin // the zero Origin for the implicit deny

	service policy.Service
	peer    fmt.Stringer // nil for the implicit deny
}

// Words returns the rule in words: "tcp 8080 -> sg:app".
func (r *Rule) Words() string {
	if r.peer == nil {
		return "no rule matches"
	}
	return r.service.Words(r.Key.Direction, r.peer.String())
}

// directions are both, in the order in which rules are listed.
var directions = [2]policy.Direction{policy.Ingress, policy.Egress}

// AllRules lists the rules of a completed configuration in its order, the implicit
// denies behind the rules of each list.
func AllRules(c *Config) []Rule {
	n := 2 * (len(c.SecurityGroups) + len(c.NetworkACLs)) // the implicit denies
	for i := range c.SecurityGroups {
		n += len(c.SecurityGroups[i].Ingress) + len(c.SecurityGroups[i].Egress)
	}
	for i := range c.NetworkACLs {
		n += len(c.NetworkACLs[i].Ingress) + len(c.NetworkACLs[i].Egress)
	}
	all := make([]Rule, 0, n)
	for i := range c.SecurityGroups {
		for _, d := range directions {
			all = c.SecurityGroups[i].list(all, d)
		}
	}
	for i := range c.NetworkACLs {
		for _, d := range directions {
			all = c.NetworkACLs[i].list(all, d)
		}
	}
	return all
}

// list appends the rules of the group for one direction.
func (g *SecurityGroup) list(all []Rule, d policy.Direction) []Rule {
	key := RuleKey{"sg:" + g.Name, d, ImplicitDeny}
	rules := g.Rules(d)
	for i := range rules {
		r := &rules[i]
		all = append(all, Rule{RuleKey{key.Object, d, r.ID}, policy.Allow, r.Origin, r.Service, &r.Peer})
	}
	return append(all, Rule{Key: key})
}

// list appends the rules of the network ACL for one direction.
func (a *NetworkACL) list(all []Rule, d policy.Direction) []Rule {
	key := RuleKey{"nacl:" + a.Name, d, ImplicitDeny}
	entries := a.Entries(d)
	for i := range entries {
		e := &entries[i]
		all = append(all, Rule{RuleKey{key.Object, d, strconv.Itoa(e.Number)}, e.Action, e.Origin, e.Service, &e.CIDR})
	}
	return append(all, Rule{Key: key})
}

// aclRule returns the rule of a network ACL that has a key, nil if none has it any
// more.
func (c *Config) aclRule(k RuleKey) *Rule {
	acl := c.NetworkACL(strings.TrimPrefix(k.Object, "nacl:"))
	if acl == nil {
		return nil
	}
	all := acl.list(nil, k.Direction)
	for i := range all {
		if all[i].Key == k {
			return &all[i]
		}
	}
	return nil
}
