package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"vswitch/internal/account"
	"vswitch/internal/api"
	"vswitch/internal/lint"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
	vswitch "vswitch/switch"
)

// Drops returns what was dropped lately, for the API.
func (d *daemon) Drops(r api.DropsRequest) (api.Drops, error) {
	from, err := d.observed(r.From)
	if err != nil {
		return api.Drops{}, err
	}
	to, err := d.observed(r.To)
	if err != nil {
		return api.Drops{}, err
	}
	now, cfg := time.Now(), d.sw.Config()
	names := newNameBook(&cfg)
	reply := api.Drops{Drops: []api.Drop{}}
	for _, drop := range d.book.Drops() {
		if r.Since > 0 && now.Sub(drop.Last) > r.Since || !concerns(&drop, from, to, names) {
			continue
		}
		reply.Drops = append(reply.Drops, dropDocument(&drop, &cfg, names))
	}
	return reply, nil
}

// concerns reports whether a drop is of packets from one instance to another; of
// either end if only one is given, and of all if none is.
func concerns(d *account.Drop, from, to string, names nameBook) bool {
	target := names[d.Tuple.Dst.Netip().String()]
	if d.To != "" {
		target = d.To
	}
	switch {
	case from == "":
		return true
	case to == "":
		return d.From == from || target == from
	}
	return d.From == from && target == to
}

// dropDocument returns the document of one drop.
func dropDocument(d *account.Drop, cfg *vswitch.Config, names nameBook) api.Drop {
	a := api.Drop{
		From: d.From, To: d.To, Many: d.Many, Packets: d.Packets, First: d.First.UTC().Truncate(time.Millisecond), Last: d.Last.UTC().Truncate(time.Millisecond),
		Reason: d.Reason.String(), Guest: d.Reason == policy.Broadcast || d.Reason == policy.Multicast || d.Reason == policy.MulticastMembership,
	}
	a.By, a.Rule, a.Where = denier(d, cfg)
	if d.Tuple == (wire.FiveTuple{}) {
		return a
	}
	p := policy.Protocol(d.Tuple.Protocol)
	a.Protocol, a.Source, a.Destination = p.String(), d.Tuple.Src.String(), d.Tuple.Dst.String()
	if a.To == "" {
		a.To = names[a.Destination]
	}
	switch {
	case p.HasPorts():
		a.SourcePort, a.DestPort = d.Tuple.SrcPort, d.Tuple.DstPort
	case p.HasTypes():
		a.ICMP = &api.ICMP{Type: d.ICMPType, Code: d.ICMPCode, ID: d.Tuple.SrcPort}
	}
	if p == policy.TCP {
		a.TCPFlags = tcpFlags(d.TCPFlags)
	}
	return a
}

// denier returns what dropped packets, in words, with the rule and its line.
func denier(d *account.Drop, cfg *vswitch.Config) (by, rule, where string) {
	switch d.Reason {
	case policy.NACLEgress, policy.NACLIngress:
		if d.Rule == (vswitch.RuleKey{}) {
			return d.Reason.Sentence(), "", "" // its rule and the one after it were removed
		}
		name := strings.TrimPrefix(d.Rule.Object, "nacl:")
		rule = fmt.Sprintf("%s %s %s", d.Rule.Object, d.Rule.Direction, d.Rule.ID)
		by = fmt.Sprintf("nacl %s %s %s", name, d.Rule.Direction, d.Rule.ID)
		if d.Rule.ID == vswitch.ImplicitDeny {
			return by, rule, "(implicit deny)"
		}
		for _, r := range aclRules(cfg, name) {
			if r.key == d.Rule {
				return by, rule, r.origin.String()
			}
		}
		return by, rule, "(rule removed)"
	case policy.SGEgress:
		return groupDenier(cfg, d.From, policy.Egress)
	case policy.SGIngress:
		return groupDenier(cfg, d.To, policy.Ingress)
	}
	return d.Reason.Sentence(), "", ""
}

// groupDenier says that no rule of an instance's security groups allowed packets.
func groupDenier(cfg *vswitch.Config, instance string, d policy.Direction) (by, rule, where string) {
	in := cfg.Instance(instance)
	if in == nil {
		return "sg " + d.String() + ": no rule", "", "(instance removed)"
	}
	var origins []string
	for _, name := range in.SecurityGroups {
		origins = append(origins, cfg.SecurityGroup(name).Origin.String())
	}
	return fmt.Sprintf("sg %s %s: no rule", strings.Join(in.SecurityGroups, ", "), d), "", strings.Join(origins, ", ")
}

// tcpFlagLetters are those of tcpdump, by bit.
const tcpFlagLetters = "FSRPAUEW"

// tcpFlags returns the flags of a segment, SYN first.
func tcpFlags(flags uint8) string {
	var b strings.Builder
	for _, bit := range []int{1, 0, 2, 3, 4, 5, 6, 7} {
		if flags>>bit&1 != 0 {
			b.WriteByte(tcpFlagLetters[bit])
		}
	}
	return b.String()
}

// A nameBook has the instances by their addresses.
type nameBook map[string]string

func newNameBook(cfg *vswitch.Config) nameBook {
	book := make(nameBook)
	for i := range cfg.Instances {
		at := cfg.Interface(cfg.Instances[i].Name)
		for _, a := range at.Addresses {
			book[a.String()] = at.Instance
		}
	}
	return book
}

// A listedRule is a rule as the configuration has it.
type listedRule struct {
	key    vswitch.RuleKey
	action policy.Verdict
	words  string
	origin vswitch.Origin
}

// aclRules returns the rules of a network ACL, the implicit denies included.
func aclRules(cfg *vswitch.Config, name string) (all []listedRule) {
	acl := cfg.NetworkACL(name)
	if acl == nil {
		return nil
	}
	for _, d := range []policy.Direction{policy.Ingress, policy.Egress} {
		entries, arrow := acl.Ingress, " <- "
		if d == policy.Egress {
			entries, arrow = acl.Egress, " -> "
		}
		for _, e := range entries {
			key := vswitch.RuleKey{Object: "nacl:" + name, Direction: d, ID: fmt.Sprint(e.Number)}
			all = append(all, listedRule{key, e.Action, e.Service.String() + arrow + e.CIDR.String(), e.Origin})
		}
		all = append(all, listedRule{vswitch.RuleKey{Object: "nacl:" + name, Direction: d, ID: vswitch.ImplicitDeny}, policy.Deny, "no rule matches", vswitch.Origin{}})
	}
	return all
}

// groupRules returns the rules of a security group, the implicit denies included.
func groupRules(cfg *vswitch.Config, name string) (all []listedRule) {
	group := cfg.SecurityGroup(name)
	if group == nil {
		return nil
	}
	for _, d := range []policy.Direction{policy.Ingress, policy.Egress} {
		rules, arrow := group.Ingress, " <- "
		if d == policy.Egress {
			rules, arrow = group.Egress, " -> "
		}
		for _, r := range rules {
			all = append(all, listedRule{vswitch.RuleKey{Object: "sg:" + name, Direction: d, ID: r.ID}, policy.Allow, r.Service.String() + arrow + r.Peer.String(), r.Origin})
		}
		all = append(all, listedRule{vswitch.RuleKey{Object: "sg:" + name, Direction: d, ID: vswitch.ImplicitDeny}, policy.Deny, "no rule matches", vswitch.Origin{}})
	}
	return all
}

// ruleObject returns the name of an object that has rules, sg:NAME or nacl:NAME, by
// that or by its id, sg-... or acl-....
func ruleObject(cfg *vswitch.Config, object string) (string, error) {
	ids := cfg.IDs()
	var known []string
	for i := range cfg.SecurityGroups {
		name := cfg.SecurityGroups[i].Name
		known = append(known, "sg:"+name)
		if object == "sg:"+name || object == ids["security_group."+name] {
			return "sg:" + name, nil
		}
	}
	for i := range cfg.NetworkACLs {
		name := cfg.NetworkACLs[i].Name
		known = append(known, "nacl:"+name)
		if object == "nacl:"+name || object == ids["nacl."+name] {
			return "nacl:" + name, nil
		}
	}
	return "", fmt.Errorf("no security group or network ACL %q in VPC %s%s: want sg:NAME, nacl:NAME, or the id of one", object, cfg.VPC.Name, didYouMean(object, known))
}

// listRules returns the rules of one object, "" for all, as a configuration has
// them: counters are for the caller to add.
func listRules(cfg *vswitch.Config, object string) ([]listedRule, error) {
	if object != "" {
		name, err := ruleObject(cfg, object)
		if err != nil {
			return nil, err
		}
		object = name
	}
	var all []listedRule
	for i := range cfg.SecurityGroups {
		if name := cfg.SecurityGroups[i].Name; object == "" || object == "sg:"+name {
			all = append(all, groupRules(cfg, name)...)
		}
	}
	for i := range cfg.NetworkACLs {
		if name := cfg.NetworkACLs[i].Name; object == "" || object == "nacl:"+name {
			all = append(all, aclRules(cfg, name)...)
		}
	}
	return all, nil
}

// ruleDocuments returns the documents of listed rules. hits tells what a rule has
// decided; nil for a file that nobody runs.
func ruleDocuments(cfg *vswitch.Config, all []listedRule, hits func(vswitch.RuleKey) account.Hits) []api.Rule {
	shadows := make(map[vswitch.RuleKey][]vswitch.RuleKey)
	for _, s := range lint.Shadowed(cfg) {
		shadows[s.Rule] = s.By
	}
	out := make([]api.Rule, 0, len(all))
	for _, r := range all {
		a := api.Rule{Object: r.key.Object, ID: r.key.ID, Direction: r.key.Direction.String(), Action: r.action.String(), Words: r.words}
		if r.origin.Line != 0 {
			a.Origin = &api.Origin{File: r.origin.File, Line: r.origin.Line, Column: r.origin.Column}
		}
		var notes []string
		if hits != nil {
			h := hits(r.key)
			a.Packets, a.Flows = h.Packets, h.Flows
			if !h.Last.IsZero() {
				last := h.Last.UTC().Truncate(time.Millisecond)
				a.Last = &last
			}
			if h.Packets == 0 && r.key.ID != vswitch.ImplicitDeny {
				notes = append(notes, "unused")
			}
		}
		for _, by := range shadows[r.key] {
			a.Shadowed = append(a.Shadowed, by.ID)
		}
		if len(a.Shadowed) > 0 {
			notes = append(notes, "shadowed by "+strings.Join(a.Shadowed, ", "))
		}
		a.Note = strings.Join(notes, ", ")
		out = append(out, a)
	}
	return out
}

// Rules returns the rules of an object with what they have decided, for the API.
func (d *daemon) Rules(object string) (api.Rules, error) {
	if _, err := d.observed(""); err != nil {
		return api.Rules{}, err
	}
	cfg := d.sw.Config()
	all, err := listRules(&cfg, object)
	if err != nil {
		return api.Rules{}, &api.Error{Kind: api.KindNotFound, Message: err.Error()}
	}
	hits := d.book.Hits()
	return api.Rules{Rules: ruleDocuments(&cfg, all, func(k vswitch.RuleKey) account.Hits { return hits[k] })}, nil
}

// ResetRules forgets what the rules of an object have decided, for the API.
func (d *daemon) ResetRules(r api.RulesReset) (api.RulesResetReply, error) {
	if _, err := d.observed(""); err != nil {
		return api.RulesResetReply{}, err
	}
	cfg := d.sw.Config()
	all, err := listRules(&cfg, r.Object)
	if err != nil {
		return api.RulesResetReply{}, &api.Error{Kind: api.KindNotFound, Message: err.Error()}
	}
	n := d.book.Reset(func(k vswitch.RuleKey) bool {
		return slices.ContainsFunc(all, func(r listedRule) bool { return r.key == k })
	})
	return api.RulesResetReply{Rules: n}, nil
}
