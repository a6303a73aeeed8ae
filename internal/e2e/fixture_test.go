package e2e

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// A fixture is the VPC of SEM 9.0 with what a scenario has changed in it, as the
// text of a vpc.toml: subnets P, A, B and M with a block of each family, and in
// them p1, a1, a2, b1, b2 and m1, each in a group of its own that allows nothing
// in and everything out.
type fixture struct {
	mtu       int
	conntrack []string            // lines of [conntrack]
	groups    map[string]*rules   // security groups, by name
	acls      map[string]*rules   // network ACLs, by subnet; a subnet without has the default one
	routes    map[string][]string // lines of the route table of a subnet
	lists     map[string][]string // prefix lists, by name
	instances map[string]*member
}

// rules are the lists of a group or a network ACL, one line of the file each.
type rules struct {
	in, out []string // nil means that the file has no such list
}

// A member is an instance of the fixture.
type member struct {
	subnet    string
	ip, ip6   netip.Addr
	extra     []string
	groups    []string
	unchecked bool // no source/dest check
}

// subnets are those of the fixture, in the order of their blocks.
var subnets = []string{"P", "A", "B", "M"}

func newFixture() *fixture {
	f := &fixture{
		mtu:       1500,
		groups:    map[string]*rules{},
		acls:      map[string]*rules{},
		routes:    map[string][]string{},
		lists:     map[string][]string{},
		instances: map[string]*member{},
	}
	for _, m := range []struct{ name, subnet, ip, ip6 string }{
		{"p1", "P", "10.0.0.30", "2001:db8:a::30"},
		{"a1", "A", "10.0.1.10", "2001:db8:a:1::10"},
		{"a2", "A", "10.0.1.11", "2001:db8:a:1::11"},
		{"b1", "B", "10.0.2.20", "2001:db8:a:2::20"},
		{"b2", "B", "10.0.2.21", "2001:db8:a:2::21"},
		{"m1", "M", "10.0.3.5", "2001:db8:a:3::5"},
	} {
		f.instances[m.name] = &member{
			subnet: m.subnet,
			ip:     netip.MustParseAddr(m.ip),
			ip6:    netip.MustParseAddr(m.ip6),
			groups: []string{"g-" + m.name},
		}
		f.group("g-" + m.name)
	}
	return f
}

// group returns the group of that name, which it makes if need be. "b1" is the
// group of b1's own.
func (f *fixture) group(name string) *rules {
	if f.instances[name] != nil {
		name = "g-" + name
	}
	if f.groups[name] == nil {
		f.groups[name] = &rules{}
	}
	return f.groups[name]
}

// acl returns the network ACL of a subnet, which from then on is one of its own.
func (f *fixture) acl(subnet string) *rules {
	if f.acls[subnet] == nil {
		f.acls[subnet] = &rules{}
	}
	return f.acls[subnet]
}

// list returns the ingress or the egress rules.
func (r *rules) list(direction string) (*[]string, error) {
	switch direction {
	case "in":
		return &r.in, nil
	case "out":
		return &r.out, nil
	}
	return nil, fmt.Errorf("direction %q is neither in nor out", direction)
}

// service turns "tcp 22", "udp", "icmp 8", "icmpv6 3/4", "all" or "47" at the
// start of words into the keys of a rule. It returns the words that are left,
// which it leaves at least one of.
func service(words []string) (keys string, rest []string) {
	proto, rest := words[0], words[1:]
	keys = fmt.Sprintf("proto = %q", proto)
	if strings.Trim(proto, "0123456789") == "" {
		keys = "proto = " + proto
	}
	if len(rest) < 2 {
		return keys, rest
	}
	what := rest[0]
	switch proto {
	case "tcp", "udp":
		return keys + fmt.Sprintf(", ports = %q", what), rest[1:]
	case "icmp", "icmpv6":
		typ, code, both := strings.Cut(what, "/")
		keys += ", type = " + typ
		if both {
			keys += ", code = " + code
		}
		return keys, rest[1:]
	}
	return keys, rest
}

// peerKeys are the keys of a rule's remote end.
var peerKeys = map[string]string{"in": "from", "out": "to"}

// groupRule returns the line of a rule of a group: "tcp 22 10.0.1.0/24", where
// the peer may be a group, "app", or a prefix list, "pl-office".
func (f *fixture) groupRule(direction string, words []string) string {
	keys, rest := service(words)
	peer := strings.Join(rest, " ")
	if name, ok := strings.CutPrefix(peer, "pl-"); ok {
		peer = "pl:" + name
	} else if !strings.Contains(peer, "/") {
		f.group(peer)
		peer = "sg:" + peer
	}
	return fmt.Sprintf("{ %s, %s = %q }", keys, peerKeys[direction], peer)
}

// aclRule returns the line of a numbered rule: "100 allow tcp 22 10.0.1.0/24".
func aclRule(direction string, words []string) string {
	keys, rest := service(words[2:])
	return fmt.Sprintf("{ rule = %s, action = %q, %s, %s = %q }", words[0], words[1], keys, peerKeys[direction], strings.Join(rest, " "))
}

// text returns the file of a VPC of that name. The objects stand in a fixed order,
// so that one state of the fixture has one text.
func (f *fixture) text(name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[vpc]\nname = %q\ncidr = \"10.0.0.0/16\"\ncidr6 = \"2001:db8:a::/56\"\nmtu = %d\n", name, f.mtu)
	fmt.Fprintf(&b, "\n[conntrack]\n%s\n", strings.Join(f.conntrack, "\n"))
	for i, name := range subnets {
		fmt.Fprintf(&b, "\n[subnet.%s]\ncidr = \"10.0.%d.0/24\"\ncidr6 = \"2001:db8:a:%d::/64\"\n", name, i, i)
		if f.acls[name] != nil {
			fmt.Fprintf(&b, "nacl = %q\n", "acl-"+name)
		}
		if f.routes[name] != nil {
			fmt.Fprintf(&b, "route = %q\n", "rtb-"+name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.groups)) {
		f.groups[name].write(&b, "security_group."+name)
	}
	for _, name := range slices.Sorted(maps.Keys(f.acls)) {
		f.acls[name].write(&b, "nacl.acl-"+name)
	}
	for _, name := range slices.Sorted(maps.Keys(f.routes)) {
		fmt.Fprintf(&b, "\n[route.rtb-%s]\n%s\n", name, strings.Join(f.routes[name], "\n"))
	}
	for _, name := range slices.Sorted(maps.Keys(f.lists)) {
		fmt.Fprintf(&b, "\n[prefix_list.%s]\ncidrs = %s\n", name, quoted(f.lists[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(f.instances)) {
		f.instances[name].write(&b, name)
	}
	return b.String()
}

// write writes the section of a group or a network ACL. A network ACL without
// lists has none; a group without has AWS's.
func (r *rules) write(b *strings.Builder, section string) {
	fmt.Fprintf(b, "\n[%s]\n", section)
	for _, list := range []struct {
		key   string
		lines []string
	}{{"ingress", r.in}, {"egress", r.out}} {
		if list.lines != nil {
			fmt.Fprintf(b, "%s = [%s]\n", list.key, strings.Join(list.lines, ", "))
		}
	}
}

// write writes the section of an instance.
func (m *member) write(b *strings.Builder, name string) {
	fmt.Fprintf(b, "\n[instance.%s]\nsubnet = %q\nip = %q\nip6 = %q\nextra_ips = %s\nsg = %s\nsource_dest_check = %v\n",
		name, m.subnet, m.ip, m.ip6, quoted(m.extra), quoted(m.groups), !m.unchecked)
}

// quoted returns a list of texts as TOML has it.
func quoted(texts []string) string {
	quotes := make([]string, len(texts))
	for i, s := range texts {
		quotes[i] = fmt.Sprintf("%q", s)
	}
	return "[" + strings.Join(quotes, ", ") + "]"
}
