package vswitch

import (
	"vswitch/internal/policy"
)

// maxACLRule is the highest rule number that can be given; AWS keeps those above
// it, of which 32767 and 32768 are the implicit deny (SEM 3.1, 3.3).
const maxACLRule = 32766

// checkNetworkACLs checks every network ACL and its entries.
func (v *validator) checkNetworkACLs() {
	seen := make(map[string]string, len(v.c.NetworkACLs))
	for i := range v.c.NetworkACLs {
		a := &v.c.NetworkACLs[i]
		at := place{table: "nacl", name: a.Name}
		v.checkName(at.path(), a.Name)
		v.unique(seen, at.path(), a.Name, a.Name)
		v.checkACLEntries(a.Name, policy.Ingress, a.Ingress)
		v.checkACLEntries(a.Name, policy.Egress, a.Egress)
	}
}

// checkACLEntries checks the entries of one direction.
func (v *validator) checkACLEntries(acl string, direction policy.Direction, entries []NetworkACLEntry) {
	sum := weight{1, 1} // the implicit deny counts too (SEM 3.4)
	taken := make(map[int]int, len(entries))
	for i := range entries {
		e := &entries[i]
		at := place{table: "nacl", name: acl, list: direction.String(), index: i + 1}
		if e.Number < 1 || e.Number > maxACLRule {
			v.problem(at.path("rule"), "rule number %d is outside 1-%d", e.Number, maxACLRule)
		} else if first, ok := taken[e.Number]; ok {
			v.problem(at.path("rule"), "number %d is taken by rule %s of the list", e.Number, nth(first))
		} else {
			taken[e.Number] = i
		}
		if e.Action != policy.Allow && e.Action != policy.Deny {
			v.problem(at.path("action"), "want allow or deny")
		}
		ok := v.checkService(at, e.Service)
		families, blockOK := v.checkPeerBlock(at, peerKey(direction), e.CIDR)
		sum = sum.add(families)
		if ok && blockOK {
			v.checkFamily(at, e.Service.Protocol, families, Peer{Prefix: e.CIDR.Masked()})
		}
	}
	if family, count, over := sum.over(v.quotas.RulesPerNetworkACL); over {
		v.problem(place{table: "nacl", name: acl}.path(direction.String()),
			"%d %s rules, the implicit one included, exceed the quota rules_per_network_acl = %d", count, family, v.quotas.RulesPerNetworkACL)
		v.hint("raise it in [quotas]")
	}
}
