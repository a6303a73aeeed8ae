package filter_test

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"vswitch/filter"
	"vswitch/internal/classify/classifytest"
	"vswitch/internal/policy"
)

// The groups that a test may refer to, as in "sg:app".
const (
	app filter.GroupID = iota + 1
	db
	ops
)

var groupIDs = map[string]filter.GroupID{"app": app, "db": db, "ops": ops}

// rule reads a rule: a service and a peer, which is a block, "internet" for
// both any-address blocks, "pl:" and a block for a prefix list that holds it,
// or "sg:" and a group. Its ID is its text.
func rule(t testing.TB, text string) filter.Rule {
	t.Helper()
	service, peer := classifytest.CutLast(t, text)
	r := filter.Rule{ID: text, Service: classifytest.Service(t, service)}
	kind, name, _ := strings.Cut(peer, ":")
	switch {
	case peer == "internet":
		r.Prefixes = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
		r.Open = true
	case kind == "sg":
		if r.Group = groupIDs[name]; r.Group == 0 {
			t.Fatalf("rule %q: no group %q", text, name)
		}
	case kind == "pl":
		r.Prefixes = []netip.Prefix{netip.MustParsePrefix(name)}
	default:
		r.Prefixes = []netip.Prefix{netip.MustParsePrefix(peer)}
		r.Open = r.Prefixes[0].Bits() == 0
	}
	return r
}

// group reads rules that begin with "in" or "out".
func group(t testing.TB, texts ...string) *filter.Group {
	t.Helper()
	var ingress, egress []filter.Rule
	for _, text := range texts {
		if in, ok := strings.CutPrefix(text, "in "); ok {
			ingress = append(ingress, rule(t, in))
		} else if out, ok := strings.CutPrefix(text, "out "); ok {
			egress = append(egress, rule(t, out))
		} else {
			t.Fatalf("rule %q: want in or out", text)
		}
	}
	return filter.CompileGroup(ingress, egress)
}

// query reads "in 10.0.1.10 tcp 22", which may end in "of app,db": the groups
// of the remote end.
func query(t testing.TB, text string) (policy.Direction, *filter.Query) {
	t.Helper()
	direction, rest, _ := strings.Cut(text, " ")
	d := policy.Ingress
	if direction == "out" {
		d = policy.Egress
	}
	packet, members, found := strings.Cut(rest, " of ")
	q := &filter.Query{Packet: classifytest.Packet(t, packet)}
	if found {
		for _, name := range strings.Split(members, ",") {
			q.RemoteGroups = append(q.RemoteGroups, groupIDs[name])
		}
	}
	return d, q
}

// none is what decided returns for a packet that no rule admits.
const none = ""

// decided returns the ID of the deciding rule.
func decided(d filter.Decision) string {
	if d.Rule == nil {
		return none
	}
	return d.Rule.ID
}

// The scenarios of SEM 9.1 that one evaluation of the rules can show. Every
// packet is judged by the same instance; want is the rule that decides.
func TestScenarios(t *testing.T) {
	type packets map[string]string // packet to deciding rule
	for _, test := range []struct {
		name   string
		groups [][]string
		want   packets
	}{
		{"SG-01 a new group admits nothing", [][]string{{"out all 0.0.0.0/0"}}, packets{
			"in 10.0.1.10 tcp 22": none,
		}},
		{"SG-04 without outbound rules nothing may leave", [][]string{{"in all 0.0.0.0/0"}}, packets{
			"out 10.0.2.20 tcp 22": none,
		}},
		{"SG-05 the default group admits its members", [][]string{{"in all sg:app", "out all 0.0.0.0/0"}}, packets{
			"in 10.0.1.10 icmp 8/0 of app": "all sg:app",
			"in 10.0.1.10 icmp 8/0":        none,
		}},
		{"SG-06 shared membership grants nothing", [][]string{{"out all 0.0.0.0/0"}}, packets{
			"in 10.0.1.10 icmp 8/0 of app": none,
		}},
		{"SG-07 a port range includes both its ends", [][]string{{"in tcp 8000-8010 10.0.1.0/24"}}, packets{
			"in 10.0.1.10 tcp 7999": none,
			"in 10.0.1.10 tcp 8000": "tcp 8000-8010 10.0.1.0/24",
			"in 10.0.1.10 tcp 8010": "tcp 8000-8010 10.0.1.0/24",
			"in 10.0.1.10 tcp 8011": none,
		}},
		// The source port 443 of the scenario is not even part of a query.
		{"SG-08 the source port is never matched", [][]string{{"in tcp 443 10.0.1.0/24"}}, packets{
			"in 10.0.1.10 tcp 9999": none,
		}},
		{"SG-10 a protocol number matches that protocol", [][]string{{"in 47 10.0.1.0/24"}}, packets{
			"in 10.0.1.10 47":     "47 10.0.1.0/24",
			"in 10.0.1.10 tcp 47": none,
		}},
		{"SG-11 an ICMP type with any code", [][]string{{"in icmp 8/-1 10.0.1.0/24"}}, packets{
			"in 10.0.1.10 icmp 8/0":  "icmp 8/-1 10.0.1.0/24",
			"in 10.0.1.10 icmp 8/7":  "icmp 8/-1 10.0.1.0/24",
			"in 10.0.1.10 icmp 13/0": none,
		}},
		{"SG-12 an ICMP type and code", [][]string{{"in icmp 3/4 10.0.1.0/24"}}, packets{
			"in 10.0.1.10 icmp 3/4": "icmp 3/4 10.0.1.0/24",
			"in 10.0.1.10 icmp 3/3": none,
		}},
		{"SG-13 ICMPv6 without types means all", [][]string{{"in icmpv6 ::/0"}}, packets{
			"in 2001:db8:a:1::10 icmpv6 128/0": "icmpv6 ::/0",
		}},
		{"SG-14 an IPv4 rule does not cover IPv6", [][]string{{"in tcp 22 0.0.0.0/0"}}, packets{
			"in 2001:db8:a:1::10 tcp 22": none,
		}},
		{"SG-15 several groups are a union", [][]string{{"in tcp 22 10.0.1.0/24"}, {"in tcp 80 10.0.1.0/24"}}, packets{
			"in 10.0.1.10 tcp 22": "tcp 22 10.0.1.0/24",
			"in 10.0.1.10 tcp 80": "tcp 80 10.0.1.0/24",
			"in 10.0.1.10 tcp 81": none,
		}},
		{"SG-16 a reference admits the members of the group", [][]string{{"in tcp 5432 sg:app"}}, packets{
			"in 10.0.1.10 tcp 5432 of app":        "tcp 5432 sg:app",
			"in 10.0.1.10 tcp 5432 of ops,db,app": "tcp 5432 sg:app",
			"in 10.0.1.10 tcp 5433 of app":        none,
			"in 10.0.1.11 tcp 5432 of db":         none,
		}},
		{"SG-16 the other way: a reference as a destination", [][]string{{"out tcp 5432 sg:db"}}, packets{
			"out 10.0.2.20 tcp 5432 of db":  "tcp 5432 sg:db",
			"out 10.0.2.20 tcp 5432 of app": none,
			"in 10.0.2.20 tcp 5432 of db":   none,
		}},
		{"SG-20 a reference does not see through a middlebox", [][]string{{"in tcp 80 sg:app"}}, packets{
			"in 10.0.1.10 tcp 80": none,
		}},
		{"SG-21 a prefix list matches by any of its blocks", [][]string{{"in tcp 80 pl:10.0.1.10/32"}}, packets{
			"in 10.0.1.10 tcp 80": "tcp 80 pl:10.0.1.10/32",
			"in 10.0.1.11 tcp 80": none,
		}},
		{"SG-26 outbound rules do not admit inbound", [][]string{{"out all 0.0.0.0/0"}}, packets{
			"in 10.0.1.10 tcp 80":  none,
			"out 10.0.1.10 tcp 80": "all 0.0.0.0/0",
		}},
		{"SEM 1.3 protocol 58 over IPv4 and 1 over IPv6 never match", [][]string{{"in icmpv6 internet", "in icmp internet", "in icmpv6 sg:app", "in icmp sg:app"}}, packets{
			"in 10.0.1.10 icmpv6 128/0 of app":        none,
			"in 2001:db8:a:1::10 icmp 8/0 of app":     none,
			"in 10.0.1.10 icmp 8/0 of app":            "icmp internet",
			"in 2001:db8:a:1::10 icmpv6 128/0 of app": "icmpv6 internet",
		}},
		{"the first rule of the file decides", [][]string{{"in tcp 22 sg:app", "in tcp 22 10.0.1.10/32", "in all 0.0.0.0/0", "in all sg:db"}}, packets{
			"in 10.0.1.10 tcp 22 of db,app": "tcp 22 sg:app",
			"in 10.0.1.10 tcp 22 of db":     "tcp 22 10.0.1.10/32",
			"in 10.0.1.11 tcp 22 of db":     "all 0.0.0.0/0",
			"in 2001:db8::1 tcp 22 of db":   "all sg:db",
		}},
		{"the first group of the instance decides", [][]string{{"in all 10.0.0.0/8"}, {"in tcp 22 10.0.1.10/32"}}, packets{
			"in 10.0.1.10 tcp 22": "all 10.0.0.0/8",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var groups []*filter.Group
			for _, rules := range test.groups {
				groups = append(groups, group(t, rules...))
			}
			p := filter.NewPolicy(groups...)
			for packet, want := range test.want {
				d, q := query(t, packet)
				if got := decided(p.Judge(d, q)); got != want {
					t.Errorf("%s: decided by %q, want %q", packet, got, want)
				}
			}
		})
	}
}

// SG-09: AWS ignores the ports of a rule for all protocols or for one without
// ports; the text form of the other tests cannot even say them.
func TestPortsOfOtherProtocolsAreIgnored(t *testing.T) {
	for _, proto := range []policy.Protocol{policy.AllProtocols, 47} {
		r := rule(t, "all 10.0.1.0/24")
		r.Service = policy.Service{Protocol: proto, Ports: policy.Ports{From: 80, To: 80}}
		p := filter.NewPolicy(filter.CompileGroup([]filter.Rule{r}, nil))
		for packet, protos := range map[string][]policy.Protocol{
			"in 10.0.1.10 udp 5000": {policy.AllProtocols},
			"in 10.0.1.10 47":       {policy.AllProtocols, 47},
		} {
			d, q := query(t, packet)
			if got, want := p.Judge(d, q).Rule != nil, slices.Contains(protos, proto); got != want {
				t.Errorf("%s against protocol %s with ports 80-80: admitted %v, want %v", packet, proto, got, want)
			}
		}
	}
}

// The table of SEM 2.2, by its rows, and what follows from its rule.
func TestTracked(t *testing.T) {
	for _, test := range []struct {
		name   string
		groups []string // rules separated by commas, one string a group
		packet string
		want   bool
	}{
		{"a: a narrow source", []string{"in tcp 22 203.0.113.1/32, out all 0.0.0.0/0"}, "in 203.0.113.1 tcp 22", true},
		{"b: open both ways", []string{"in tcp 80 0.0.0.0/0, out all 0.0.0.0/0"}, "in 203.0.113.1 tcp 80", false},
		{"c: ICMP always", []string{"in icmp 0.0.0.0/0, out all 0.0.0.0/0"}, "in 203.0.113.1 icmp 8/0", true},
		{"d: no outbound rule for IPv4", []string{"in tcp 80 0.0.0.0/0, out all ::/0"}, "in 203.0.113.1 tcp 80", true},
		{"e: the families are separate", []string{"in tcp 80 ::/0, out all 0.0.0.0/0"}, "in 2001:db8::1 tcp 80", true},
		{"f: the reverse allows one port", []string{"in tcp 80 0.0.0.0/0, out tcp 443 0.0.0.0/0"}, "in 203.0.113.1 tcp 80", true},
		{"g: the reverse allows all ports by range", []string{"in tcp 80 0.0.0.0/0, out tcp 0-65535 0.0.0.0/0"}, "in 203.0.113.1 tcp 80", false},
		{"h: the inbound rule allows one port", []string{"in tcp 80 0.0.0.0/0, out all 0.0.0.0/0"}, "out 203.0.113.1 tcp 443", true},
		{"i: everything, tcp in", []string{"in all 0.0.0.0/0, out all 0.0.0.0/0"}, "in 203.0.113.1 tcp 9", false},
		{"i: everything, udp in", []string{"in all 0.0.0.0/0, out all 0.0.0.0/0"}, "in 203.0.113.1 udp 9", false},
		{"i: everything, tcp out", []string{"in all 0.0.0.0/0, out all 0.0.0.0/0"}, "out 203.0.113.1 tcp 9", false},
		{"j: a group as the source", []string{"in tcp 22 sg:app, out all 0.0.0.0/0"}, "in 10.0.1.10 tcp 22 of app", true},
		{"k: neither TCP nor UDP", []string{"in all 0.0.0.0/0, out all 0.0.0.0/0"}, "in 203.0.113.1 47", true},
		{"l: a prefix list that holds the any-address block", []string{"in tcp 80 pl:0.0.0.0/0, out all 0.0.0.0/0"}, "in 203.0.113.1 tcp 80", true},
		{"l: the same the other way", []string{"in tcp 80 0.0.0.0/0, out all pl:0.0.0.0/0"}, "in 203.0.113.1 tcp 80", true},

		{"IPv6 open both ways", []string{"in tcp 80 ::/0, out all ::/0"}, "in 2001:db8::1 tcp 80", false},
		{"one rule for both families", []string{"in tcp 80 internet, out all internet"}, "in 2001:db8::1 tcp 80", false},
		{"udp by tcp's reverse rule", []string{"in udp 53 0.0.0.0/0, out tcp 0.0.0.0/0"}, "in 203.0.113.1 udp 53", true},
		{"udp by its own reverse rule", []string{"in udp 53 0.0.0.0/0, out udp 0.0.0.0/0"}, "in 203.0.113.1 udp 53", false},
		{"all ports but port 0", []string{"in tcp 80 0.0.0.0/0, out tcp 1-65535 0.0.0.0/0"}, "in 203.0.113.1 tcp 80", true},
		{"all ports, by two rules together", []string{"in tcp 80 0.0.0.0/0, out tcp 0-1023 0.0.0.0/0, out tcp 1024-65535 0.0.0.0/0"}, "in 203.0.113.1 tcp 80", true},
		{"the reverse is open by half only", []string{"in tcp 80 0.0.0.0/0, out all 0.0.0.0/1, out all 128.0.0.0/1"}, "in 203.0.113.1 tcp 80", true},
		{"an open rule after a narrow one", []string{"in tcp 22 203.0.113.1/32, in tcp 22 0.0.0.0/0, out all 0.0.0.0/0"}, "in 203.0.113.1 tcp 22", false},
		{"an open rule for another port", []string{"in tcp 22 203.0.113.1/32, in tcp 80 0.0.0.0/0, out all 0.0.0.0/0"}, "in 203.0.113.1 tcp 22", true},
		{"an open rule after a group reference", []string{"in tcp 22 sg:app, in tcp 22 0.0.0.0/0, out all 0.0.0.0/0"}, "in 10.0.1.10 tcp 22 of app", false},
		{"an open rule in another group", []string{"in tcp 22 203.0.113.1/32", "in tcp 22 0.0.0.0/0, out all 0.0.0.0/0"}, "in 203.0.113.1 tcp 22", false},
		{"the reverse rule in another group", []string{"in tcp 22 0.0.0.0/0", "out all 0.0.0.0/0"}, "in 203.0.113.1 tcp 22", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var groups []*filter.Group
			for _, rules := range test.groups {
				groups = append(groups, group(t, strings.Split(rules, ", ")...))
			}
			d, q := query(t, test.packet)
			got := filter.NewPolicy(groups...).Judge(d, q)
			if got.Rule == nil {
				t.Fatalf("%s is denied", test.packet)
			}
			if got.Tracked != test.want {
				t.Errorf("%s: tracked %v, want %v (admitted by %q)", test.packet, got.Tracked, test.want, got.Rule.ID)
			}
		})
	}
}

// Open speaks of a zero-length block of the packet's own family; on a rule
// with any other block it says nothing.
func TestOpenNeedsTheAnyAddressBlock(t *testing.T) {
	r := rule(t, "all 10.0.0.0/8")
	r.Open = true
	p := filter.NewPolicy(filter.CompileGroup([]filter.Rule{r}, []filter.Rule{rule(t, "all 0.0.0.0/0")}))
	d, q := query(t, "in 10.0.1.10 tcp 22")
	if got := p.Judge(d, q); got.Rule == nil || !got.Tracked {
		t.Errorf("got %+v, want admitted and tracked", got)
	}
}

func TestZeroValuesDeny(t *testing.T) {
	d, q := query(t, "in 10.0.1.10 tcp 22 of app")
	var zero filter.Policy
	for name, p := range map[string]*filter.Policy{
		"the zero Policy":           &zero,
		"no groups":                 filter.NewPolicy(),
		"the zero Group":            filter.NewPolicy(&filter.Group{}),
		"a group without rules":     filter.NewPolicy(filter.CompileGroup(nil, nil)),
		"a rule without peer":       filter.NewPolicy(filter.CompileGroup([]filter.Rule{{Service: policy.AllTraffic}}, nil)),
		"a member of no such group": filter.NewPolicy(group(t, "in all sg:db", "in all sg:ops")),
	} {
		if got := p.Judge(d, q); got != (filter.Decision{}) {
			t.Errorf("%s: got %+v, want the zero Decision", name, got)
		}
	}
	// The zero GroupID is no group, even if both sides say it.
	q.RemoteGroups = []filter.GroupID{0}
	if got := filter.NewPolicy(filter.CompileGroup([]filter.Rule{{Service: policy.AllTraffic}}, nil)).Judge(d, q); got.Rule != nil {
		t.Errorf("group 0: got %+v, want the zero Decision", got)
	}
}

// A group is compiled once and shared; what it was compiled from may change.
func TestGroupsAreSharedAndImmutable(t *testing.T) {
	rules := []filter.Rule{rule(t, "tcp 22 10.0.1.0/24")}
	shared := filter.CompileGroup(rules, nil)
	rules[0] = rule(t, "tcp 80 10.0.1.0/24")
	groups := []*filter.Group{shared}
	one := filter.NewPolicy(groups...)
	groups[0] = &filter.Group{}
	two := filter.NewPolicy(&filter.Group{}, shared)
	d, q := query(t, "in 10.0.1.10 tcp 22")
	a, b := one.Judge(d, q), two.Judge(d, q)
	if a.Rule == nil || a.Rule != b.Rule {
		t.Errorf("decided by %q and %q, want the same rule", decided(a), decided(b))
	}
}

func TestRules(t *testing.T) {
	p := filter.NewPolicy(group(t, "in tcp 22 sg:app", "out all 0.0.0.0/0", "in tcp 80 internet"), group(t, "in udp 53 10.0.0.0/8"))
	for d, want := range map[policy.Direction][]string{
		policy.Ingress: {"tcp 22 sg:app", "tcp 80 internet", "udp 53 10.0.0.0/8"},
		policy.Egress:  {"all 0.0.0.0/0"},
	} {
		var got []string
		for r := range p.Rules(d) {
			got = append(got, r.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: rules %q, want %q", d, got, want)
		}
	}
	for r := range p.Rules(policy.Ingress) {
		if r.ID != "tcp 22 sg:app" {
			t.Fatal("the sequence goes on after the loop was left")
		}
		break
	}
}

func TestJudgeDoesNotAllocate(t *testing.T) {
	rules := []string{"out all 0.0.0.0/0", "in tcp 80 0.0.0.0/0", "in all sg:ops"}
	for i := range 32 {
		rules = append(rules, "in tcp "+strconv.Itoa(i)+" 10.0.1.0/24", "in udp "+strconv.Itoa(i)+" sg:db")
	}
	p := filter.NewPolicy(group(t, rules...), group(t, "in tcp 443 internet"))
	for _, packet := range []string{
		"in 10.0.1.10 tcp 31", "in 10.0.1.10 tcp 80", "in 2001:db8::1 tcp 443", "in 10.0.1.10 udp 31 of app,db,ops", "in 10.0.1.10 47",
	} {
		d, q := query(t, packet)
		if n := testing.AllocsPerRun(100, func() { p.Judge(d, q) }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", packet, n)
		}
	}
}
