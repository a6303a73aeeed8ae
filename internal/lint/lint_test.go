package lint_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"vswitch/internal/lint"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// A sketch is a small VPC for one test, in the words of a rule list. Subnets a
// (10.0.1.0/24) and b (10.0.2.0/24) have instances a1, a2 and b1, b2; IPv6 is
// fd00::/56 with a and b as its first two /64.
type sketch struct {
	ipv6   bool
	groups map[string][2]string // by name: ingress and egress rules, separated by ";"; "-" is AWS's default
	member map[string]string    // the groups of an instance, by name, separated by spaces; "default" if it has none here
	acls   map[string][2]string // by subnet, or by a name of no subnet
	lists  map[string]string
	tables []string // route tables that no subnet has
}

// config completes the sketch. Every object and rule has a line of its own.
func (s sketch) config(t *testing.T) *vswitch.Config {
	t.Helper()
	line := 0
	at := func() vswitch.Origin { line++; return vswitch.Origin{File: "vpc.toml", Line: line, Column: 1} }
	c := vswitch.Config{VPC: vswitch.VPC{Name: "vst-lint", CIDR: netip.MustParsePrefix("10.0.0.0/16")}}
	c.Quotas = vswitch.Quotas{RulesPerNetworkACL: 1000}
	if s.ipv6 {
		c.VPC.CIDR6 = netip.MustParsePrefix("fd00::/56")
	}
	for i, name := range []string{"a", "b"} {
		subnet := vswitch.Subnet{Name: name, CIDR: netip.MustParsePrefix(fmt.Sprintf("10.0.%d.0/24", i+1)), Origin: at()}
		if s.ipv6 {
			subnet.CIDR6 = netip.MustParsePrefix(fmt.Sprintf("fd00:0:0:%d::/64", i))
		}
		if _, ok := s.acls[name]; ok {
			subnet.NetworkACL = name
		}
		c.Subnets = append(c.Subnets, subnet)
		for n := 1; n <= 2; n++ {
			in := vswitch.Instance{Name: fmt.Sprintf("%s%d", name, n), Subnet: name, IP: netip.MustParseAddr(fmt.Sprintf("10.0.%d.%d", i+1, 9+n)), Origin: at()}
			if s.ipv6 {
				in.IP6 = netip.MustParseAddr(fmt.Sprintf("fd00:0:0:%d::%d", i, 9+n))
			}
			if groups := s.member[in.Name]; groups != "" {
				in.SecurityGroups = strings.Fields(groups)
			}
			c.Instances = append(c.Instances, in)
		}
	}
	for _, name := range sorted(s.lists) {
		list := vswitch.PrefixList{Name: name, Origin: at()}
		for _, block := range strings.Fields(s.lists[name]) {
			list.CIDRs = append(list.CIDRs, netip.MustParsePrefix(block))
		}
		c.PrefixLists = append(c.PrefixLists, list)
	}
	for _, name := range sorted(s.groups) {
		g := vswitch.SecurityGroup{Name: name, Origin: at()}
		g.Ingress, g.Egress = rules(t, s.groups[name][0], at), rules(t, s.groups[name][1], at)
		c.SecurityGroups = append(c.SecurityGroups, g)
	}
	for _, name := range sorted(s.acls) {
		a := vswitch.NetworkACL{Name: name, Origin: at()}
		a.Ingress, a.Egress = entries(t, s.acls[name][0], at), entries(t, s.acls[name][1], at)
		c.NetworkACLs = append(c.NetworkACLs, a)
	}
	for _, name := range s.tables {
		c.RouteTables = append(c.RouteTables, vswitch.RouteTable{Name: name, Origin: at()})
	}
	full, err := vswitch.Complete(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &full
}

func sorted[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// rules parses "ID SERVICE PEER; ...", as in "sgr-1 tcp/80-90 sg:web".
func rules(t *testing.T, text string, at func() vswitch.Origin) []vswitch.SecurityGroupRule {
	if text == "-" {
		return nil
	}
	out := []vswitch.SecurityGroupRule{}
	for _, words := range split(text) {
		out = append(out, vswitch.SecurityGroupRule{ID: words[0], Service: service(t, words[1]), Peer: peer(words[2]), Origin: at()})
	}
	return out
}

// entries parses "NUMBER ACTION SERVICE BLOCK; ...".
func entries(t *testing.T, text string, at func() vswitch.Origin) []vswitch.NetworkACLEntry {
	out := []vswitch.NetworkACLEntry{}
	for _, words := range split(text) {
		e := vswitch.NetworkACLEntry{Service: service(t, words[2]), CIDR: netip.MustParsePrefix(words[3]), Origin: at()}
		if _, err := fmt.Sscan(words[0], &e.Number); err != nil {
			t.Fatal(err)
		}
		if words[1] == "allow" {
			e.Action = policy.Allow
		}
		out = append(out, e)
	}
	return out
}

func split(text string) [][]string {
	var out [][]string
	for part := range strings.SplitSeq(text, ";") {
		if words := strings.Fields(part); len(words) > 0 {
			out = append(out, words)
		}
	}
	return out
}

// service parses "tcp", "tcp/80", "tcp/80-90", "icmp/8", "icmp/3/4", "all", "47".
func service(t *testing.T, text string) policy.Service {
	t.Helper()
	protocol, rest, has := strings.Cut(text, "/")
	names := map[string]policy.Protocol{"tcp": policy.TCP, "udp": policy.UDP, "icmp": policy.ICMP, "icmpv6": policy.ICMPv6, "all": policy.AllProtocols, "47": 47}
	s := policy.Service{Protocol: names[protocol]}
	var err error
	switch {
	case s.Protocol.HasPorts():
		if s.Ports = policy.AllPorts; has {
			if _, err = fmt.Sscanf(rest, "%d-%d", &s.Ports.From, &s.Ports.To); err != nil {
				_, err = fmt.Sscan(rest, &s.Ports.From)
				s.Ports.To = s.Ports.From
			}
		}
	case s.Protocol.HasTypes():
		if s.Type, s.Code = policy.AnyICMP, policy.AnyICMP; has {
			if _, err = fmt.Sscanf(rest, "%d/%d", &s.Type, &s.Code); err != nil {
				_, err = fmt.Sscan(rest, &s.Type)
			}
		}
	}
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return s
}

// peer parses what a rule of the file names, with "@" before an instance or a
// subnet.
func peer(text string) vswitch.Peer {
	switch {
	case strings.HasPrefix(text, "sg:"):
		return vswitch.Peer{Kind: vswitch.PeerSecurityGroup, Name: text[3:]}
	case strings.HasPrefix(text, "pl:"):
		return vswitch.Peer{Kind: vswitch.PeerPrefixList, Name: text[3:]}
	case text == "internet":
		return vswitch.Peer{Kind: vswitch.PeerInternet}
	case text == "@a" || text == "@b":
		return vswitch.Peer{Kind: vswitch.PeerSubnet, Name: text[1:]}
	case strings.HasPrefix(text, "@"):
		return vswitch.Peer{Kind: vswitch.PeerInstance, Name: text[1:]}
	}
	return vswitch.Peer{Prefix: netip.MustParsePrefix(text)}
}

// found returns the findings as "CODE OBJECT", sorted.
func found(findings []lint.Finding) []string {
	var out []string
	for _, f := range findings {
		out = append(out, string(f.Code)+" "+f.Object)
	}
	return out
}

// check compares the findings of a sketch with "CODE OBJECT" lines.
func check(t *testing.T, name string, s sketch, want ...string) {
	t.Helper()
	findings := lint.Run(s.config(t))
	got := found(findings)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: got\n  %s\nwant\n  %s", name, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	for _, f := range findings {
		if f.Message == "" || f.Advice == "" || f.Origin.Line == 0 {
			t.Errorf("%s: %+v lacks a message, an advice or a line", name, f)
		}
	}
}

func TestNothingToFind(t *testing.T) {
	check(t, "an empty VPC", sketch{})
	check(t, "the default group and the default network ACL, written down and closed", sketch{
		groups: map[string][2]string{"default": {"", ""}},
		acls:   map[string][2]string{"default": {"", ""}},
	})
	check(t, "AWS's two tiers", sketch{
		ipv6:   true,
		groups: map[string][2]string{"web": {"sgr-1 tcp/443 internet", "sgr-2 tcp/5432 sg:db"}, "db": {"sgr-3 tcp/5432 sg:web", ""}},
		member: map[string]string{"a1": "web", "b1": "db"},
		acls: map[string][2]string{
			"a": {"100 allow tcp/443 0.0.0.0/0; 101 allow tcp/443 ::/0; 110 allow tcp/1024-65535 10.0.2.0/24", "100 allow tcp/1024-65535 0.0.0.0/0; 101 allow tcp/1024-65535 ::/0; 110 allow tcp/5432 10.0.2.0/24"},
			"b": {"90 deny all 10.0.1.66/32; 100 allow tcp/5432 10.0.1.0/24", "100 allow tcp/32768-65535 10.0.1.0/24; 110 allow tcp/1024-32767 10.0.1.0/24"},
		},
	}, "acl-redundant nacl.a egress 110") // 1024-65535 to everybody contains 5432 to b
}

// SEM 3.3: the lowest number that matches decides; later rules are ignored.
func TestShadowedNetworkACLRules(t *testing.T) {
	both := "100 allow all 0.0.0.0/0"
	for _, c := range []struct {
		name, ingress string
		want          []string
	}{
		{"the same verdict", "100 allow tcp 10.0.0.0/8; 110 allow tcp/80 10.0.2.0/24; 200 allow all 0.0.0.0/0", []string{"acl-redundant nacl.a ingress 110"}},
		{"the opposite verdict", "100 allow all 0.0.0.0/0; 110 deny tcp/22 203.0.113.0/24", []string{"acl-shadowed nacl.a ingress 110"}},
		{"any order in the file", "110 deny tcp/22 203.0.113.0/24; 100 allow all 0.0.0.0/0", []string{"acl-shadowed nacl.a ingress 110"}},
		{"a union of blocks", "100 allow all 0.0.0.0/1; 110 allow all 128.0.0.0/1; 120 deny udp 10.0.0.0/8; 130 deny udp 0.0.0.0/0", []string{"acl-shadowed nacl.a ingress 120", "acl-shadowed nacl.a ingress 130"}},
		{"a union with both verdicts", "100 deny all 0.0.0.0/1; 110 allow all 128.0.0.0/1; 120 allow udp 0.0.0.0/0", []string{"acl-shadowed nacl.a ingress 120"}},
		{"the families apart", "100 allow all 0.0.0.0/0; 110 deny all ::/0", nil},
		{"one port is left", "100 deny tcp/0-21 0.0.0.0/0; 110 deny tcp/23-65535 0.0.0.0/0; 120 allow tcp 0.0.0.0/0", nil},
	} {
		check(t, c.name, sketch{ipv6: true, acls: map[string][2]string{"a": {c.ingress, both}}}, c.want...)
	}
}

// SEM 3.2: a reply needs a rule of its own, for the port that the client chose
// (SEM 3.5).
func TestRepliesThatNoNetworkACLRuleAllows(t *testing.T) {
	in := func(n int) string { return fmt.Sprintf("acl-no-reply nacl.a ingress %d", n) }
	out := func(n int) string { return fmt.Sprintf("acl-no-reply nacl.a egress %d", n) }
	for _, c := range []struct {
		name, ingress, egress string
		want                  []string
	}{
		{"no egress rule", "100 allow tcp/80 10.0.2.0/24", "", []string{in(100)}},
		{"the service's port instead of the client's", "100 allow tcp/8080 10.0.2.0/24", "100 allow tcp/8080 10.0.2.0/24", []string{in(100)}},
		{"both ways, and the replies of one", "100 allow tcp/443 10.0.2.0/24", "100 allow tcp/443 10.0.2.0/24; 110 allow tcp/1024-65535 10.0.2.0/24", []string{out(100)}},
		{"the ephemeral ports", "100 allow tcp/80 10.0.2.0/24", "100 allow tcp/1024-65535 10.0.2.0/24", nil},
		{"everything", "100 allow tcp/80 10.0.2.0/24", "100 allow all 0.0.0.0/0", nil},
		{"Linux clients only", "100 allow tcp/80 10.0.2.0/24", "100 allow tcp/32768-60999 10.0.2.0/24", []string{in(100)}},
		{"in two pieces", "100 allow tcp/80 10.0.2.0/24", "100 allow tcp/1024-32767 10.0.2.0/24; 110 allow tcp/32768-65535 10.0.2.0/24", nil},
		{"the wrong protocol", "100 allow udp/53 10.0.2.0/24", "100 allow tcp/1024-65535 10.0.2.0/24", []string{in(100), out(100)}},
		{"the wrong peer", "100 allow tcp/80 192.0.2.0/24", "100 allow tcp/1024-65535 10.0.2.0/24", []string{in(100), out(100)}},
		{"a part of the peers", "100 allow tcp/80 10.0.2.0/24", "100 allow tcp/1024-65535 10.0.2.0/25", []string{in(100)}},
		{"nobody lives in the other part", "100 allow tcp/80 10.0.0.0/16", "100 allow tcp/1024-65535 10.0.2.0/24", nil},
		{"one host is denied, on purpose", "100 allow tcp/80 10.0.2.0/24", "90 deny all 10.0.2.66/32; 100 allow tcp/1024-65535 10.0.2.0/24", nil},
		{"one port is denied, on purpose", "100 allow tcp/80 10.0.2.0/24", "90 deny tcp/3389 0.0.0.0/0; 100 allow tcp/1024-65535 10.0.2.0/24", nil},
		{"denied in general, by a rule", "100 allow tcp/80 10.0.2.0/24", "100 deny tcp 0.0.0.0/0", []string{in(100)}},
		{"the denied requests need no reply", "90 deny tcp/80 10.0.2.0/25; 100 allow tcp/80 10.0.2.0/24", "100 allow tcp/1024-65535 10.0.2.128/25", nil},
		{"requests that go out", "", "100 allow tcp/443 0.0.0.0/0", []string{out(100)}},
		{"replies to requests that go out", "100 allow tcp/1024-65535 0.0.0.0/0", "100 allow tcp/443 0.0.0.0/0", nil},
		{"everything in, nothing out", "100 allow all 10.0.2.0/24", "", []string{in(100)}},
		{"everything in, for the replies to TLS", "100 allow all 0.0.0.0/0", "100 allow tcp/443 0.0.0.0/0", nil},
		{"ICMP and GRE have no ports", "100 allow icmp 10.0.2.0/24; 110 allow 47 10.0.2.0/24", "", nil},
	} {
		s := sketch{acls: map[string][2]string{"a": {c.ingress, c.egress}}}
		check(t, c.name, s, c.want...)
		s.acls = map[string][2]string{"spare": s.acls["a"]}
		check(t, c.name+", in a network ACL without a subnet", s, "acl-unused nacl.spare")
	}
}

// SEM 3.2: traffic inside a subnet does not meet its network ACL.
func TestNetworkACLRulesForTheirOwnSubnet(t *testing.T) {
	own := sketch{acls: map[string][2]string{"a": {"90 deny all 10.0.1.66/32; 100 allow all 0.0.0.0/0", "100 allow all 0.0.0.0/0"}}}
	check(t, "a host of the subnet", own, "acl-own-subnet nacl.a ingress 90")
	cfg := own.config(t)
	cfg.Instances[0].DisableSourceDestCheck = true
	if got := lint.Run(cfg); len(got) > 0 {
		t.Errorf("an instance forwards, so such packets may cross the edge: got %v", found(got))
	}
	cfg = own.config(t)
	cfg.Subnets[1].NetworkACL = "a"
	if got := lint.Run(cfg); len(got) > 0 {
		t.Errorf("the network ACL serves the other subnet, too: got %v", found(got))
	}
}

// SEM 1.2: a packet passes if any rule matches.
func TestRedundantSecurityGroupRules(t *testing.T) {
	for _, c := range []struct {
		name, ingress, egress string
		want                  []string
	}{
		{"a part of an earlier rule", "sgr-1 tcp/443 10.0.0.0/16; sgr-2 tcp/443 10.0.2.0/24", "", []string{"sg-redundant security_group.g ingress sgr-2"}},
		{"a part of a later rule", "sgr-1 tcp/443 10.0.2.0/24; sgr-2 tcp/443 10.0.0.0/16", "", []string{"sg-redundant security_group.g ingress sgr-1"}},
		{"the same in other words", "sgr-1 tcp/443 10.0.2.0/24; sgr-2 tcp/443 @b", "", []string{"sg-redundant security_group.g ingress sgr-2"}},
		{"a part of two rules", "sgr-1 tcp/400-450 10.0.2.0/24; sgr-2 tcp/451-500 10.0.2.0/24; sgr-3 tcp/440-460 10.0.2.0/24", "", []string{"sg-redundant security_group.g ingress sgr-3"}},
		{"two of three", "sgr-1 tcp/400-450 10.0.2.0/24; sgr-2 tcp/430-500 10.0.2.0/24; sgr-3 tcp/400-500 10.0.2.0/24", "", []string{"sg-redundant security_group.g ingress sgr-3"}},
		{"a group's members are in the VPC", "sgr-1 tcp/443 10.0.0.0/16; sgr-2 tcp/443 sg:default", "", []string{"sg-redundant security_group.g ingress sgr-2"}},
		{"but not all in one subnet", "sgr-1 tcp/443 10.0.2.0/24; sgr-2 tcp/443 sg:default", "", nil},
		{"two ranges for one group", "sgr-1 tcp/443-500 sg:default; sgr-2 tcp/450 sg:default", "", []string{"sg-redundant security_group.g ingress sgr-2"}},
		{"an open rule that leaves flows untracked", "sgr-1 tcp/80-81 pl:any; sgr-2 tcp/80 0.0.0.0/0", "sgr-3 all 0.0.0.0/0", nil},
		{"a narrow rule beside an open one", "sgr-1 tcp/80 10.0.2.0/24; sgr-2 tcp/80 0.0.0.0/0; sgr-3 tcp/81 pl:any", "", []string{"sg-redundant security_group.g ingress sgr-1"}},
		{"the open rule that permits every port", "sgr-3 tcp/81 pl:any", "sgr-1 tcp/0-1000 0.0.0.0/0; sgr-2 tcp/1001-65535 0.0.0.0/0; sgr-4 tcp 0.0.0.0/0", []string{"sg-redundant security_group.g egress sgr-1", "sg-redundant security_group.g egress sgr-2"}},
		{"internet in one family of the two", "sgr-1 tcp/80 0.0.0.0/0; sgr-2 tcp/80 internet; sgr-3 tcp/81 pl:any", "", []string{"sg-redundant security_group.g ingress sgr-1"}},
	} {
		lists := map[string]string{}
		if strings.Contains(c.ingress, "pl:any") {
			lists["any"] = "0.0.0.0/0"
		}
		check(t, c.name, sketch{lists: lists, groups: map[string][2]string{"g": {c.ingress, c.egress}}, member: map[string]string{"a1": "g"}}, c.want...)
	}
}

func TestPeersThatAreNotThere(t *testing.T) {
	check(t, "an empty group", sketch{
		groups: map[string][2]string{"g": {"sgr-1 tcp/80 sg:h", ""}, "h": {"", ""}},
		member: map[string]string{"a1": "g"},
	}, "sg-empty-peer security_group.g ingress sgr-1")
	check(t, "a group of its own, unused", sketch{
		groups: map[string][2]string{"g": {"sgr-1 tcp/80 sg:g", ""}},
	}, "sg-unused security_group.g")
	check(t, "nothing refers to them", sketch{
		lists:  map[string]string{"office": "192.0.2.0/24"},
		acls:   map[string][2]string{"spare": {"", ""}},
		tables: []string{"detour"},
	}, "acl-unused nacl.spare", "prefix-list-unused prefix_list.office", "route-unused route.detour")
}

// SEM 1.2: the groups at both ends must allow the first packet of a flow.
func TestRulesWithoutTheirOtherHalf(t *testing.T) {
	for _, c := range []struct {
		name         string
		web, app     [2]string
		wantIn, want []string
	}{
		{name: "both halves", web: [2]string{"", "sgr-1 tcp/80 sg:app"}, app: [2]string{"sgr-2 tcp/80 sg:web", ""}},
		{name: "the sender may send everything", web: [2]string{"", "-"}, app: [2]string{"sgr-2 tcp/80 sg:web", ""}},
		{name: "the sender may send nothing", web: [2]string{"", ""}, app: [2]string{"sgr-2 tcp/80 sg:web", ""}, want: []string{"app ingress sgr-2"}},
		{name: "other ports", web: [2]string{"", "sgr-1 tcp/81 sg:app"}, app: [2]string{"sgr-2 tcp/80 sg:web", ""}, want: []string{"app ingress sgr-2", "web egress sgr-1"}},
		{name: "other protocols", web: [2]string{"", "sgr-1 udp sg:app"}, app: [2]string{"sgr-2 tcp sg:web", ""}, want: []string{"app ingress sgr-2", "web egress sgr-1"}},
		{name: "an instance's name", web: [2]string{"", "sgr-1 tcp/80 @b1"}, app: [2]string{"sgr-2 tcp/80 @a1", ""}},
		{name: "another instance's name", web: [2]string{"", "sgr-1 tcp/80 @b2"}, app: [2]string{"sgr-2 tcp/80 @a1", ""}, want: []string{"app ingress sgr-2", "web egress sgr-1"}},
		{name: "a block with the receiver in it", web: [2]string{"", "sgr-1 tcp/80 10.0.2.8/30"}, app: [2]string{"sgr-2 tcp/80 sg:web", ""}},
		{name: "a block without it", web: [2]string{"", "sgr-1 tcp/80 10.0.2.0/30"}, app: [2]string{"sgr-2 tcp/80 sg:web", ""}, want: []string{"app ingress sgr-2"}},
		{name: "blocks are not its concern", web: [2]string{"", ""}, app: [2]string{"sgr-2 tcp/80 10.0.1.0/24", ""}},
		{name: "one family each", web: [2]string{"", "sgr-1 tcp/80 ::/0"}, app: [2]string{"sgr-2 icmp/8 sg:web", ""}, want: []string{"app ingress sgr-2"}},
	} {
		var want []string
		for _, w := range c.want {
			want = append(want, "sg-one-sided security_group."+w)
		}
		check(t, c.name, sketch{
			ipv6: true, groups: map[string][2]string{"web": c.web, "app": c.app, "default": {"", ""}},
			member: map[string]string{"a1": "web", "b1": "app"},
		}, want...)
	}
	check(t, "alone in its group", sketch{groups: map[string][2]string{"g": {"sgr-1 tcp/80 sg:g", ""}}, member: map[string]string{"a1": "g"}})
	check(t, "two in a group", sketch{
		groups: map[string][2]string{"g": {"sgr-1 tcp/80 sg:g", ""}}, member: map[string]string{"a1": "g", "a2": "g"},
	}, "sg-one-sided security_group.g ingress sgr-1")
}

func TestOpenDoors(t *testing.T) {
	for _, c := range []struct {
		rule, want string
	}{
		{"tcp/443 0.0.0.0/0", ""},
		{"tcp/22 10.0.0.0/8", ""},
		{"icmp internet", ""},
		{"udp/22 0.0.0.0/0", ""},
		{"tcp/22 0.0.0.0/0", "sg-admin-port"},
		{"tcp/20-25 ::/0", "sg-admin-port"},
		{"tcp/3389 internet", "sg-admin-port"},
		{"tcp/6379 pl:any", "sg-admin-port"},
		{"tcp 0.0.0.0/0", "sg-all-ports"},
		{"all internet", "sg-all-ports"},
		{"all 10.0.0.0/8", ""},
	} {
		s := sketch{ipv6: true, groups: map[string][2]string{"g": {"sgr-1 " + c.rule, ""}}, member: map[string]string{"a1": "g"}}
		if strings.Contains(c.rule, "pl:any") {
			s.lists = map[string]string{"any": "192.0.2.0/24 0.0.0.0/0"}
		}
		var want []string
		if c.want != "" {
			want = []string{c.want + " security_group.g ingress sgr-1"}
		}
		check(t, c.rule, s, want...)
	}
	check(t, "egress is nobody's door", sketch{groups: map[string][2]string{"g": {"", "sgr-1 tcp/22 0.0.0.0/0"}}, member: map[string]string{"a1": "g"}})
}
