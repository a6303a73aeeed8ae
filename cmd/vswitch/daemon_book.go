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
		Reason: d.Reason.String(), By: d.Reason.Sentence(), Guest: d.Reason == policy.Broadcast || d.Reason == policy.Multicast || d.Reason == policy.MulticastMembership,
	}
	gate := d.From
	if d.Reason == policy.SGIngress {
		gate = d.To
	}
	if denial := cfg.Denial(d.Reason, gate, d.Rule); denial != nil {
		a.By, a.Where = denial.Decider(), denial.Where()
	}
	if d.Rule != (vswitch.RuleKey{}) {
		a.Rule = fmt.Sprintf("%s %s %s", d.Rule.Object, d.Rule.Direction, d.Rule.ID)
	}
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
	meant := object
	for _, kind := range []string{"sg:", "nacl:"} { // nobody else's name is as near
		if slices.Contains(known, kind+object) {
			meant = kind + object
			break
		}
	}
	return "", fmt.Errorf("no security group or network ACL %q in VPC %s%s: want sg:NAME, nacl:NAME, or the id of one", object, cfg.VPC.Name, didYouMean(meant, known))
}

// listRules returns the rules of one object, "" for all, as a configuration has
// them: counters are for the caller to add.
func listRules(cfg *vswitch.Config, object string) ([]vswitch.Rule, error) {
	all := vswitch.AllRules(cfg)
	if object == "" {
		return all, nil
	}
	name, err := ruleObject(cfg, object)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(r vswitch.Rule) bool { return r.Key.Object != name }), nil
}

// ruleDocuments returns the documents of listed rules. hits tells what a rule has
// decided; nil for a file that nobody runs.
func ruleDocuments(cfg *vswitch.Config, all []vswitch.Rule, hits func(vswitch.RuleKey) account.Hits) []api.Rule {
	shadows := make(map[vswitch.RuleKey][]vswitch.RuleKey)
	for _, s := range lint.Shadowed(cfg) {
		shadows[s.Rule] = s.By
	}
	out := make([]api.Rule, 0, len(all))
	for _, r := range all {
		a := api.Rule{Object: r.Key.Object, ID: r.Key.ID, Direction: r.Key.Direction.String(), Action: r.Action.String(), Words: r.Words()}
		if o := r.Origin; o.Line != 0 {
			a.Origin = &api.Origin{File: o.File, Line: o.Line, Column: o.Column}
		}
		var notes []string
		if hits != nil {
			h := hits(r.Key)
			a.Packets, a.Flows = h.Packets, h.Flows
			if !h.Last.IsZero() {
				last := h.Last.UTC().Truncate(time.Millisecond)
				a.Last = &last
			}
			if h.Packets == 0 && r.Key.ID != vswitch.ImplicitDeny {
				notes = append(notes, "unused")
			}
		}
		for _, by := range shadows[r.Key] {
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
		return slices.ContainsFunc(all, func(r vswitch.Rule) bool { return r.Key == k })
	})
	return api.RulesResetReply{Rules: n}, nil
}
