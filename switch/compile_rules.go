package vswitch

import (
	"net/netip"
	"slices"

	"vswitch/filter"
	"vswitch/internal/policy"
	"vswitch/nacl"
)

// A compiledGroup is a security group, and the handle by which rules refer to it.
type compiledGroup struct {
	id              filter.GroupID
	ingress, egress []filter.Rule // what group was compiled from
	group           *filter.Group
}

// A compiledACL is a network ACL.
type compiledACL struct {
	ingress, egress []nacl.Entry // what table was compiled from
	table           *nacl.Table
	implicit        [2]ruleNumber // of the denies at the end, by policy.Direction
}

// compileACLs compiles every network ACL, by name. One that prev has compiled from
// the same entries is taken over.
func (p *plane) compileACLs(prev *plane) map[string]*compiledACL {
	c := &p.config
	acls := make(map[string]*compiledACL, len(c.NetworkACLs))
	for i := range c.NetworkACLs {
		a := &c.NetworkACLs[i]
		ingress, egress := p.aclEntries(a, policy.Ingress), p.aclEntries(a, policy.Egress)
		implicit := [2]ruleNumber{
			policy.Ingress: p.numbers.number(aclKey(a.Name, policy.Ingress, nil)),
			policy.Egress:  p.numbers.number(aclKey(a.Name, policy.Egress, nil)),
		}
		if prev != nil {
			if old := prev.acls[a.Name]; old != nil && slices.Equal(old.ingress, ingress) && slices.Equal(old.egress, egress) && old.implicit == implicit {
				acls[a.Name] = old
				continue
			}
		}
		acls[a.Name] = &compiledACL{ingress, egress, nacl.Compile(ingress, egress), implicit}
	}
	return acls
}

// aclEntries returns the entries of one direction, marked with their numbers.
func (p *plane) aclEntries(a *NetworkACL, d policy.Direction) []nacl.Entry {
	entries := a.Entries(d)
	out := make([]nacl.Entry, len(entries))
	for i := range entries {
		e := &entries[i]
		out[i] = nacl.Entry{Number: e.Number, Action: e.Action, Service: e.Service, Prefix: e.CIDR, Mark: uint16(p.numbers.number(aclKey(a.Name, d, e)))}
	}
	return out
}

// compileGroups compiles every security group once; the instances share them. One
// that prev has compiled from the same rules, with the same meaning, is taken
// over. A group keeps its handle from its first plane to its last, and no other
// one ever gets it.
func (p *plane) compileGroups(prev *plane) {
	c := &p.config
	p.groups = make(map[string]*compiledGroup, len(c.SecurityGroups))
	ids := make(map[string]filter.GroupID, len(c.SecurityGroups))
	if prev != nil {
		p.lastGroup = prev.lastGroup
	}
	for i := range c.SecurityGroups {
		name := c.SecurityGroups[i].Name
		if prev != nil && prev.groups[name] != nil {
			ids[name] = prev.groups[name].id
		} else {
			p.lastGroup++
			ids[name] = p.lastGroup
		}
	}
	for i := range c.SecurityGroups {
		g := &c.SecurityGroups[i]
		ingress, egress := p.groupRules(g, policy.Ingress, ids), p.groupRules(g, policy.Egress, ids)
		if prev != nil {
			if old := prev.groups[g.Name]; old != nil && slices.EqualFunc(old.ingress, ingress, sameRule) && slices.EqualFunc(old.egress, egress, sameRule) {
				p.groups[g.Name] = old
				continue
			}
		}
		p.groups[g.Name] = &compiledGroup{ids[g.Name], ingress, egress, filter.CompileGroup(ingress, egress)}
	}
}

// sameRule reports whether two rules are equal in all that filter reads.
func sameRule(a, b filter.Rule) bool {
	return a.ID == b.ID && a.Mark == b.Mark && a.Service == b.Service && a.Group == b.Group && a.Open == b.Open && slices.Equal(a.Prefixes, b.Prefixes)
}

// groupRules resolves the peers of a group's rules to blocks and group handles,
// and marks the rules with their numbers.
func (p *plane) groupRules(g *SecurityGroup, d policy.Direction, ids map[string]filter.GroupID) []filter.Rule {
	c, rules := &p.config, g.Rules(d)
	out := make([]filter.Rule, len(rules))
	for i := range rules {
		r := &rules[i]
		out[i] = filter.Rule{ID: r.ID, Service: r.Service, Mark: uint16(p.numbers.number(RuleKey{"sg:" + g.Name, d, r.ID}))}
		switch r.Peer.Kind {
		case PeerSecurityGroup:
			out[i].Group = ids[r.Peer.Name]
		default:
			out[i].Prefixes = peerPrefixes(c, r.Peer)
			// Only the any-address block itself makes a rule open, not a prefix list
			// that contains it (SEM 2.2 row l).
			out[i].Open = r.Peer.Kind == PeerInternet || r.Peer.Kind == PeerCIDR && r.Peer.Prefix.Bits() == 0
		}
	}
	return out
}

// Any-address blocks.
var (
	any4 = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	any6 = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
)

// peerPrefixes returns the blocks that a peer other than a group stands for.
func peerPrefixes(c *Config, p Peer) []netip.Prefix {
	switch p.Kind {
	case PeerCIDR:
		return []netip.Prefix{p.Prefix}
	case PeerInternet:
		return []netip.Prefix{any4, any6}
	case PeerPrefixList:
		for i := range c.PrefixLists {
			if c.PrefixLists[i].Name == p.Name {
				return c.PrefixLists[i].CIDRs
			}
		}
	case PeerSubnet:
		s := c.Subnet(p.Name)
		if !s.CIDR6.IsValid() {
			return []netip.Prefix{s.CIDR}
		}
		return []netip.Prefix{s.CIDR, s.CIDR6}
	case PeerInstance:
		var hosts []netip.Prefix
		for _, a := range c.Interface(p.Name).Addresses {
			hosts = append(hosts, netip.PrefixFrom(a, a.BitLen()))
		}
		return hosts
	}
	panic("unreachable: Complete refuses a peer that names nothing")
}
