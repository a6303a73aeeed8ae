package lint

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"vswitch/internal/cover"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// A Shadow is a rule that can never decide, because of the rules before it in its
// list: lower numbers in a network ACL, earlier lines in a security group.
type Shadow struct {
	Rule vswitch.RuleKey
	By   []vswitch.RuleKey // the rules that decide in its stead, in their order; never empty
}

// Shadowed returns the rules of a completed configuration that can never decide,
// in the order of the configuration. It looks at one list at a time: that all
// instances with two groups never come to a rule of the second one is no shadow.
//
// A rule that is shadowed in a security group may still matter: an any-address
// rule leaves flows untracked whether it decides or not (SEM 2.2).
func Shadowed(cfg *vswitch.Config) []Shadow {
	var out []Shadow
	for i := range cfg.SecurityGroups {
		g := &cfg.SecurityGroups[i]
		for _, d := range directions {
			rules := newGroupRules(cfg, g.Rules(d))
			key := func(i int) vswitch.RuleKey {
				return vswitch.RuleKey{Object: "sg:" + g.Name, Direction: d, ID: rules.written[i].ID}
			}
			for i := range rules.written {
				if by, ok := rules.behind(i, indices(i)); ok {
					out = append(out, Shadow{key(i), keys(by, key)})
				}
			}
		}
	}
	for i := range cfg.NetworkACLs {
		a := &cfg.NetworkACLs[i]
		for _, d := range directions {
			entries := newACLEntries(a.Entries(d))
			key := func(i int) vswitch.RuleKey {
				return vswitch.RuleKey{Object: "nacl:" + a.Name, Direction: d, ID: strconv.Itoa(entries.written[i].Number)}
			}
			for i := range entries.written {
				if by, ok := entries.behind(i); ok {
					out = append(out, Shadow{key(i), keys(by, key)})
				}
			}
		}
	}
	return out
}

// keys returns the keys of rules.
func keys(rules []int, key func(int) vswitch.RuleKey) []vswitch.RuleKey {
	out := make([]vswitch.RuleKey, len(rules))
	for n, i := range rules {
		out[n] = key(i)
	}
	return out
}

// indices returns 0 .. n-1.
func indices(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// entries are the entries of one direction of a network ACL, in the order in
// which they are asked, and what each of them matches.
type entries struct {
	written []vswitch.NetworkACLEntry
	rules   []cover.Rule // by the index in written
}

// newACLEntries orders entries by number.
func newACLEntries(list []vswitch.NetworkACLEntry) *entries {
	e := &entries{written: slices.Clone(list)}
	slices.SortStableFunc(e.written, func(a, b vswitch.NetworkACLEntry) int { return cmp.Compare(a.Number, b.Number) })
	for i := range e.written {
		e.rules = append(e.rules, entryRule(&e.written[i]))
	}
	return e
}

// entryRule returns what an entry matches. One for protocol 58 with an IPv4 block
// matches every type and code (SEM 3.3).
func entryRule(e *vswitch.NetworkACLEntry) cover.Rule {
	s := e.Service
	if s.Protocol == policy.ICMPv6 && e.CIDR.Addr().Is4() {
		s.Type, s.Code = policy.AnyICMP, policy.AnyICMP
	}
	return cover.Rule{Block: e.CIDR.Masked(), Services: cover.Of(s)}
}

// behind returns the entries that leave nothing to the i-th one, if they do.
func (e *entries) behind(i int) (by []int, ok bool) {
	return cover.Behind(e.rules[i], e.rules[:i])
}

// rules are the rules of one direction of a security group, in file order, and
// what each of them matches. The remote end is an address or a member of a group,
// and a group has whatever members the instances say; so references and blocks
// are compared with each other only as far as the members' addresses allow.
type rules struct {
	written []vswitch.SecurityGroupRule
	blocks  [][]cover.Rule // by the index in written; none for a reference

	// members are the blocks in which every member of any group has its addresses.
	members []netip.Prefix
}

// newGroupRules resolves the peers of rules.
func newGroupRules(cfg *vswitch.Config, list []vswitch.SecurityGroupRule) *rules {
	r := &rules{written: list, blocks: make([][]cover.Rule, len(list)), members: memberBlocks(cfg)}
	for i := range list {
		for _, block := range cfg.PeerBlocks(list[i].Peer) {
			if services := servicesIn(block, list[i].Service); !services.Empty() {
				r.blocks[i] = append(r.blocks[i], cover.Rule{Block: block.Masked(), Services: services})
			}
		}
	}
	return r
}

// memberBlocks returns the blocks that hold the addresses of all instances.
func memberBlocks(cfg *vswitch.Config) []netip.Prefix {
	blocks := append([]netip.Prefix{cfg.VPC.CIDR}, cfg.VPC.CIDRs...)
	if cfg.VPC.CIDR6.IsValid() {
		blocks = append(blocks, cfg.VPC.CIDR6, linkLocal)
	}
	return blocks
}

// linkLocal holds the link-local address that every instance of a subnet with
// IPv6 has besides those of the VPC's blocks (RFC 4291, section 2.5.6).
var linkLocal = netip.MustParsePrefix("fe80::/10")

// servicesIn returns what a service matches among the packets to and from a
// block: ICMP is IPv4's, and ICMPv6 is IPv6's (SEM 1.3).
func servicesIn(block netip.Prefix, s policy.Service) cover.Set {
	if is4 := block.Addr().Is4(); is4 && s.Protocol == policy.ICMPv6 || !is4 && s.Protocol == policy.ICMP {
		return nil
	}
	return cover.Of(s)
}

// behind returns those of the others, in their order, that leave nothing to the
// i-th rule, if together they do.
func (r *rules) behind(i int, others []int) (by []int, ok bool) {
	var list []cover.Rule // the blocks of others, rule by rule
	var owner []int       // whose each of them is, as an index into others
	for n, o := range others {
		// A reference to the same group matches whatever its members' addresses are.
		sameGroup := r.written[i].Peer.Kind == vswitch.PeerSecurityGroup && r.written[o].Peer == r.written[i].Peer
		blocks := r.blocks[o]
		if sameGroup {
			blocks = r.reference(o)
		}
		for _, b := range blocks {
			list, owner = append(list, b), append(owner, n)
		}
	}
	targets := r.blocks[i]
	if r.written[i].Peer.Kind == vswitch.PeerSecurityGroup {
		targets = r.reference(i)
	}
	has := make([]bool, len(others))
	for _, target := range targets {
		shares, covered := cover.Behind(target, list)
		if !covered {
			return nil, false
		}
		for _, s := range shares {
			has[owner[s]] = true
		}
	}
	for n, o := range others {
		if has[n] {
			by = append(by, o)
		}
	}
	return by, len(by) > 0
}

// reference returns what a rule that refers to a group can match at most, as
// blocks: its service, from and to all blocks that members may have addresses in.
func (r *rules) reference(i int) []cover.Rule {
	var out []cover.Rule
	for _, block := range r.members {
		if services := servicesIn(block, r.written[i].Service); !services.Empty() {
			out = append(out, cover.Rule{Block: block.Masked(), Services: services})
		}
	}
	return out
}
