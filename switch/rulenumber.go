package vswitch

import (
	"slices"
	"strconv"

	"vswitch/internal/policy"
)

// A ruleNumber stands for a RuleKey on the path of a frame. 0 stands for none.
type ruleNumber uint16

// ruleNumbers are the numbers of all rules of a plane, the implicit denies
// included. A rule keeps its number over reloads for as long
// as it exists. That of a removed rule is given to another one as late as
// possible, since connections remember the rule that allowed them. It is
// immutable once its plane is published; the nil ruleNumbers has none.
type ruleNumbers struct {
	keys  []RuleKey // in the order of the configuration
	byKey map[RuleKey]ruleNumber
	byNum map[ruleNumber]RuleKey
	last  ruleNumber // the one given out last
}

// maxRules is how many rules can have numbers. Those of a larger configuration
// that come last have none, and are not counted.
const maxRules = 1<<16 - 1

// numberRules numbers the rules of a completed configuration, of which prev, which
// may be nil, had some already.
func numberRules(c *Config, prev *plane) *ruleNumbers {
	keys := RuleKeys(c)
	n := &ruleNumbers{keys: keys, byKey: make(map[RuleKey]ruleNumber, len(keys)), byNum: make(map[ruleNumber]RuleKey, len(keys))}
	if prev != nil {
		if slices.Equal(prev.numbers.keys, keys) {
			return prev.numbers
		}
		n.last = prev.numbers.last
		for _, k := range keys {
			if number, ok := prev.numbers.byKey[k]; ok {
				n.set(k, number)
			}
		}
	}
	for _, k := range keys {
		if _, ok := n.byKey[k]; !ok && len(n.byNum) < maxRules {
			for n.last++; n.last == 0 || n.taken(n.last); n.last++ {
			}
			n.set(k, n.last)
		}
	}
	return n
}

func (n *ruleNumbers) set(k RuleKey, number ruleNumber) {
	n.byKey[k], n.byNum[number] = number, k
}

func (n *ruleNumbers) taken(number ruleNumber) bool {
	_, ok := n.byNum[number]
	return ok
}

// number returns the number of a rule, or 0 if it has none.
func (n *ruleNumbers) number(k RuleKey) ruleNumber {
	if n == nil {
		return 0
	}
	return n.byKey[k]
}

// key returns the rule of a number, or the zero RuleKey.
func (n *ruleNumbers) key(number ruleNumber) RuleKey {
	if n == nil {
		return RuleKey{}
	}
	return n.byNum[number]
}

// ImplicitDeny is the ID of the rule at the end of every list: the "*" of a network
// ACL, and what refuses a packet that no rule of a security group allows.
const ImplicitDeny = "*"

// RuleKeys lists the keys of AllRules.
func RuleKeys(c *Config) []RuleKey {
	all := AllRules(c)
	keys := make([]RuleKey, len(all))
	for i := range all {
		keys[i] = all[i].Key
	}
	return keys
}

// aclKey names a network ACL's rule; nil stands for the implicit deny.
func aclKey(acl string, d policy.Direction, e *NetworkACLEntry) RuleKey {
	k := RuleKey{"nacl:" + acl, d, ImplicitDeny}
	if e != nil {
		k.ID = strconv.Itoa(int(e.Number))
	}
	return k
}
