package plan

import (
	"fmt"
	"strconv"
	"strings"

	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// What a plan compares of each kind of object, under the names that the file has
// for it. TestEveryFieldCounts finds one that is missing.

func vpc(c *vswitch.Config) object {
	v := &c.VPC
	return object{name: v.Name, origin: v.Origin, fields: []property{
		{"cidr", text(v.CIDR)}, {"cidrs", joined(v.CIDRs)}, {"cidr6", text(v.CIDR6)}, {"mtu", strconv.Itoa(v.MTU)}, {"account", v.Account}, {"region", v.Region},
	}}
}

func subnet(s *vswitch.Subnet) object {
	return object{name: s.Name, origin: s.Origin, fields: []property{
		{"cidr", text(s.CIDR)}, {"cidr6", text(s.CIDR6)}, {"nacl", s.NetworkACL}, {"route", s.RouteTable}, {"az", s.AZ},
	}}
}

func group(g *vswitch.SecurityGroup) object {
	return object{name: g.Name, origin: g.Origin, fields: []property{{"description", g.Description}}, lists: []list{
		groupRules(g, policy.Ingress), groupRules(g, policy.Egress),
	}}
}

func groupRules(g *vswitch.SecurityGroup, d policy.Direction) list {
	l := list{direction: d.String(), ordered: true}
	for _, r := range g.Rules(d) {
		words := r.Service.Words(d, r.Peer.String())
		if r.Description != "" {
			words += fmt.Sprintf(" (%s)", r.Description)
		}
		l.rules = append(l.rules, rule{r.ID, words, r.Origin})
	}
	return l
}

func acl(a *vswitch.NetworkACL) object {
	return object{name: a.Name, origin: a.Origin, lists: []list{entries(a, policy.Ingress), entries(a, policy.Egress)}}
}

func entries(a *vswitch.NetworkACL, d policy.Direction) list {
	l := list{direction: d.String()}
	for _, e := range a.Entries(d) {
		l.rules = append(l.rules, rule{strconv.Itoa(e.Number), e.Action.String() + " " + e.Service.Words(d, e.CIDR.String()), e.Origin})
	}
	return l
}

func prefixList(p *vswitch.PrefixList) object {
	return object{name: p.Name, origin: p.Origin, fields: []property{{"cidrs", joined(p.CIDRs)}}}
}

func routeTable(t *vswitch.RouteTable) object {
	var l list
	for i := range t.Routes {
		r := &t.Routes[i]
		l.rules = append(l.rules, rule{r.Destination.String(), "-> " + r.Target.String(), r.Origin})
	}
	return object{name: t.Name, origin: t.Origin, lists: []list{l}}
}

func instance(in *vswitch.Instance) object {
	fields := []property{
		{"subnet", in.Subnet}, {"ip", text(in.IP)}, {"ip6", text(in.IP6)}, {"extra_ips", joined(in.ExtraIPs)}, {"sg", strings.Join(in.SecurityGroups, ", ")},
		{"kind", string(in.Kind)}, {"run", in.Run}, {"namespace", in.Namespace}, {"ifname", in.Interface},
		{"source_dest_check", strconv.FormatBool(!in.DisableSourceDestCheck)},
	}
	for _, p := range timeouts(&in.Conntrack) {
		fields = append(fields, property{"conntrack." + p.name, p.text})
	}
	return object{name: in.Name, origin: in.Origin, fields: fields}
}

func timeouts(t *vswitch.Timeouts) []property {
	return []property{{"tcp_established", t.TCPEstablished.String()}, {"udp", t.UDP.String()}, {"udp_stream", t.UDPStream.String()}}
}

func conntrack(c *vswitch.Conntrack) object {
	tcp := "loose"
	if c.Strict {
		tcp = "strict"
	}
	return object{origin: c.Origin, fields: append(timeouts(&c.Timeouts), property{"profile", c.Profile}, property{"tcp", tcp}, property{"max", strconv.Itoa(c.Max)})}
}

func quotas(q *vswitch.Quotas) object {
	return object{origin: q.Origin, fields: []property{
		{"rules_per_security_group", strconv.Itoa(q.RulesPerSecurityGroup)}, {"security_groups_per_interface", strconv.Itoa(q.SecurityGroupsPerInterface)},
		{"rules_per_interface", strconv.Itoa(q.RulesPerInterface)}, {"rules_per_network_acl", strconv.Itoa(q.RulesPerNetworkACL)},
	}}
}

func flowLog(f *vswitch.FlowLog) object {
	return object{name: f.Name, origin: f.Origin, fields: []property{
		{"scope", strings.Join(f.Scope, ", ")}, {"traffic", string(f.Traffic)}, {"format", strings.Join(f.Format, " ")}, {"file", f.File}, {"interval", f.Interval.String()},
		{"header", strconv.FormatBool(f.Header)}, {"rotate_size", strconv.Itoa(f.RotateSize)}, {"keep", strconv.Itoa(f.Keep)},
	}}
}

func test(t *vswitch.Test) object {
	want := "deny"
	if t.Want == policy.Allow {
		want = "allow"
	}
	return object{name: t.Name, origin: t.Origin, fields: []property{
		{"from", strings.Join(t.From, ", ")}, {"to", strings.Join(t.To, ", ")}, {"port", t.Service.String()}, {"want", want}, {"by", t.By},
	}}
}

// text returns an address or a block, "" for none.
func text[T interface {
	IsValid() bool
	String() string
}](v T) string {
	if !v.IsValid() {
		return ""
	}
	return v.String()
}

// joined returns addresses or blocks.
func joined[T fmt.Stringer](all []T) string {
	words := make([]string, len(all))
	for i := range all {
		words[i] = all[i].String()
	}
	return strings.Join(words, ", ")
}
