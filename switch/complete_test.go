package vswitch

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"vswitch/internal/policy"
)

// complete returns c completed; c must be correct.
func complete(t *testing.T, c Config, running *Config) Config {
	t.Helper()
	full, err := Complete(c, running)
	if err != nil {
		t.Fatal(err)
	}
	return full
}

// texts returns rules as "tcp 443 0.0.0.0/0".
func texts(rules []SecurityGroupRule) string {
	var all []string
	for _, r := range rules {
		all = append(all, fmt.Sprint(r.Service, " ", r.Peer))
	}
	return strings.Join(all, ", ")
}

// aclTexts returns entries as "100 allow all 0.0.0.0/0".
func aclTexts(entries []NetworkACLEntry) string {
	var all []string
	for _, e := range entries {
		all = append(all, fmt.Sprint(e.Number, " ", e.Action, " ", e.Service, " ", e.CIDR))
	}
	return strings.Join(all, ", ")
}

func TestCompleteDefaults(t *testing.T) {
	c := small()
	c.SecurityGroups = append(c.SecurityGroups, SecurityGroup{Name: "silent", Egress: []SecurityGroupRule{}})
	c.Instances = append(c.Instances, Instance{Name: "three", Subnet: "b", Kind: KindHost, Conntrack: Timeouts{UDP: 60 * time.Second}})
	full := complete(t, c, nil)
	for _, x := range []struct{ what, got, want string }{
		{"SEM 5.10: MTU", fmt.Sprint(full.VPC.MTU), "9001"},
		{"SEM 1.1: egress of a new group, with IPv6", texts(full.SecurityGroup("web").Egress), "all 0.0.0.0/0, all ::/0"},
		{"no egress at all", fmt.Sprint(full.SecurityGroup("silent").Egress == nil, len(full.SecurityGroup("silent").Egress)), "false 0"},
		{"no ingress by default", texts(full.SecurityGroup("silent").Ingress), ""},
		{"SEM 1.1: default group, ingress", texts(full.SecurityGroup("default").Ingress), "all sg:default"},
		{"SEM 1.1: default group, egress", texts(full.SecurityGroup("default").Egress), "all 0.0.0.0/0, all ::/0"},
		{"default group is AWS's", full.SecurityGroup("default").Origin.String(), "(default)"},
		{"SEM 3.1: default network ACL, ingress", aclTexts(full.NetworkACL("default").Ingress), "100 allow all 0.0.0.0/0, 101 allow all ::/0"},
		{"SEM 3.1: default network ACL, egress", aclTexts(full.NetworkACL("default").Egress), "100 allow all 0.0.0.0/0, 101 allow all ::/0"},
		{"SEM 3.1: custom network ACL denies everything", aclTexts(full.NetworkACL("edge").Egress), ""},
		{"network ACL of a subnet", full.Subnet("b").NetworkACL, "default"},
		{"route table of a subnet", full.Subnet("b").RouteTable, "main"},
		{"groups of an instance", fmt.Sprint(full.Instance("two").SecurityGroups), "[default]"},
		{"kind", string(full.Instance("two").Kind), "netns"},
		{"namespace", full.Instance("two").Namespace, "lab-two"},
		{"device of kind host", full.Instance("three").Interface, "tap-three"},
		{"no namespace of kind host", full.Instance("three").Namespace, ""},
		{"SEM 2.3: tracking", fmt.Sprint(full.Conntrack.Profile, full.Conntrack.Timeouts, full.Conntrack.Max), "nitro{120h0m0s 30s 3m0s} 1048576"},
		{"SEM 2.3: of an instance", fmt.Sprint(full.Instance("three").Conntrack), "{120h0m0s 1m0s 3m0s}"},
		{"SEM 1.5, 3.4: quotas", fmt.Sprint(full.Quotas.withDefaults() == full.Quotas, full.Quotas.RulesPerSecurityGroup, full.Quotas.SecurityGroupsPerInterface,
			full.Quotas.RulesPerInterface, full.Quotas.RulesPerNetworkACL), "true 60 5 1000 20"},
	} {
		if x.got != x.want {
			t.Errorf("%s: got %q, want %q", x.what, x.got, x.want)
		}
	}
}

func TestCompleteWithoutIPv6(t *testing.T) {
	c := small()
	c.VPC.CIDR6, c.Subnets[0].CIDR6 = netip.Prefix{}, netip.Prefix{}
	c.Conntrack.Profile = "nitrov6"
	full := complete(t, c, nil)
	if got, want := texts(full.SecurityGroup("web").Egress), "all 0.0.0.0/0"; got != want {
		t.Errorf("egress: got %q, want %q", got, want)
	}
	if got, want := aclTexts(full.NetworkACL("default").Ingress), "100 allow all 0.0.0.0/0"; got != want {
		t.Errorf("default network ACL: got %q, want %q", got, want)
	}
	if got, want := full.Conntrack.TCPEstablished, 350*time.Second; got != want {
		t.Errorf("profile nitrov6: got %s, want %s", got, want)
	}
}

// Editing the defaults replaces what is edited, and only that (SEM 1.1, 3.1).
func TestCompleteEditedDefaults(t *testing.T) {
	c := small()
	c.SecurityGroups = append(c.SecurityGroups, SecurityGroup{Name: "default", Ingress: []SecurityGroupRule{}})
	c.NetworkACLs = append(c.NetworkACLs, NetworkACL{Name: "default", Egress: []NetworkACLEntry{}})
	full := complete(t, c, nil)
	group, acl := full.SecurityGroup("default"), full.NetworkACL("default")
	if len(group.Ingress) != 0 || len(group.Egress) != 2 {
		t.Errorf("default group: got %q and %q, want no ingress and the default egress", texts(group.Ingress), texts(group.Egress))
	}
	if len(acl.Ingress) != 2 || len(acl.Egress) != 0 {
		t.Errorf("default network ACL: got %q and %q, want the default ingress and no egress", aclTexts(acl.Ingress), aclTexts(acl.Egress))
	}
}

// AWS clears host bits wherever it takes a block (SEM 1.3, 3.3, 5.1).
func TestCompleteCanonicalises(t *testing.T) {
	c := small()
	c.VPC.CIDR = netip.MustParsePrefix("10.0.7.7/16")
	c.VPC.CIDRs = prefixes("100.64.1.1/16")
	c.VPC.CIDR6 = netip.MustParsePrefix("fd00:10::5/56")
	c.Subnets[0].CIDR = netip.MustParsePrefix("10.0.1.9/24")
	c.PrefixLists[0].CIDRs = prefixes("198.51.100.7/24")
	c.NetworkACLs[0].Ingress[0].CIDR = netip.MustParsePrefix("100.68.0.18/18")
	rule(&c, tcp(80), cidr("100.68.0.18/18"))
	full := complete(t, c, nil)
	got := fmt.Sprint(full.VPC.CIDR, full.VPC.CIDRs, full.VPC.CIDR6, full.Subnets[0].CIDR, full.PrefixLists[0].CIDRs,
		full.NetworkACLs[0].Ingress[0].CIDR, full.SecurityGroups[0].Ingress[1].Peer)
	want := "10.0.0.0/16 [100.64.0.0/16] fd00:10::/56 10.0.1.0/24 [198.51.100.0/24] 100.68.0.0/18 100.68.0.0/18"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Completing a completed configuration changes nothing, neither alone nor beside
// itself.
func TestCompleteIsIdempotent(t *testing.T) {
	once := complete(t, small(), nil)
	for _, running := range []*Config{nil, &once} {
		if twice := complete(t, once, running); !reflect.DeepEqual(once, twice) {
			t.Errorf("got  %+v\nwant %+v", twice, once)
		}
	}
}

// The result shares no memory with what it was made of.
func TestCompleteIsPure(t *testing.T) {
	c, running := small(), complete(t, small(), nil)
	c.Instances[0].ExtraIPs = []netip.Addr{netip.MustParseAddr("10.0.1.11")}
	before, runningBefore := c.clone(), running.clone()
	full := complete(t, c, &running)
	full.VPC.Name = "x"
	full.Subnets[0].Name = "x"
	full.SecurityGroups[0].Ingress[0].ID = "x"
	full.SecurityGroups[0].Egress[0].ID = "x"
	full.NetworkACLs[0].Ingress[0].Number = 9
	full.PrefixLists[0].CIDRs[0] = any4
	full.Instances[0].ExtraIPs[0] = netip.Addr{}
	full.Instances[0].SecurityGroups[0] = "x"
	full.Tests[0].From[0] = "x"
	if !reflect.DeepEqual(c, before) || !reflect.DeepEqual(running, runningBefore) {
		t.Error("a change of the result changed what it was made of")
	}
}

func TestCompleteRefuses(t *testing.T) {
	c := small()
	c.Instances[1].Subnet = "c"
	c.Subnets[0].NetworkACL = "egde"
	_, err := Complete(c, nil)
	var invalid *InvalidError
	if !errors.As(err, &invalid) || len(invalid.Problems) != 2 {
		t.Fatalf("got %v, want an InvalidError with 2 problems", err)
	}
	want := "subnet.a.nacl: no network ACL \"egde\" (did you mean \"edge\"?)\ninstance.two.subnet: no subnet \"c\""
	if err.Error() != want {
		t.Errorf("got:\n%s\nwant:\n%s", err, want)
	}
}

// A derived id follows from what makes a rule itself, and from nothing else.
func TestRuleID(t *testing.T) {
	id := func(group string, d policy.Direction, s policy.Service, p Peer) string {
		return ruleID("lab", group, d, &SecurityGroupRule{Service: s, Peer: p})
	}
	base := id("web", policy.Ingress, tcp(80), cidr("10.0.0.0/8"))
	if got := id("web", policy.Ingress, tcp(80), cidr("10.1.2.3/8")); got != base {
		t.Errorf("with host bits: got %s, want %s", got, base)
	}
	seen := map[string]string{base: "base"}
	for what, other := range map[string]string{
		"group":     id("app", policy.Ingress, tcp(80), cidr("10.0.0.0/8")),
		"direction": id("web", policy.Egress, tcp(80), cidr("10.0.0.0/8")),
		"ports":     id("web", policy.Ingress, tcp(81), cidr("10.0.0.0/8")),
		"protocol":  id("web", policy.Ingress, policy.AllTraffic, cidr("10.0.0.0/8")),
		"peer":      id("web", policy.Ingress, tcp(80), cidr("10.0.0.0/9")),
		"instance":  id("web", policy.Ingress, tcp(80), Peer{Kind: PeerInstance, Name: "x"}),
		"subnet":    id("web", policy.Ingress, tcp(80), Peer{Kind: PeerSubnet, Name: "x"}),
		"group x":   id("web", policy.Ingress, tcp(80), Peer{Kind: PeerSecurityGroup, Name: "x"}),
		"list x":    id("web", policy.Ingress, tcp(80), Peer{Kind: PeerPrefixList, Name: "x"}),
		"internet":  id("web", policy.Ingress, tcp(80), Peer{Kind: PeerInternet}),
	} {
		if first, ok := seen[other]; ok {
			t.Errorf("another %s has the id of %s", what, first)
		}
		seen[other] = what
	}
}

// Addresses that are left out are allocated: given ones first, then those that
// an instance had, then the lowest free ones in order.
func TestAllocate(t *testing.T) {
	in := func(name, subnet, ip string, extra ...string) Instance {
		i := Instance{Name: name, Subnet: subnet}
		if ip != "" {
			i.IP = netip.MustParseAddr(ip)
		}
		for _, e := range extra {
			i.ExtraIPs = append(i.ExtraIPs, netip.MustParseAddr(e))
		}
		return i
	}
	running := []Instance{in("x", "b", "10.0.2.9"), in("y", "b", "10.0.2.4"), in("z", "a", "10.0.1.4")}
	for _, c := range []struct {
		name      string
		running   []Instance
		instances []Instance
		want      string
	}{
		{"the first free ones are .4, .5", nil, []Instance{in("x", "b", ""), in("y", "b", "")}, "x 10.0.2.4 y 10.0.2.5"},
		{"given ones come first, also later in the file", nil, []Instance{in("x", "b", ""), in("y", "b", "10.0.2.4", "10.0.2.5")}, "x 10.0.2.6 y 10.0.2.4"},
		{"each keeps its own", running, []Instance{in("y", "b", ""), in("x", "b", "")}, "y 10.0.2.4 x 10.0.2.9"},
		{"a new one does not take an old one's", running, []Instance{in("new", "b", ""), in("y", "b", "")}, "new 10.0.2.5 y 10.0.2.4"},
		{"somebody asks for an old one's", running, []Instance{in("new", "b", "10.0.2.4"), in("y", "b", "")}, "new 10.0.2.4 y 10.0.2.5"},
		{"another subnet, another address", running, []Instance{in("x", "a", ""), in("z", "b", "")}, "x 10.0.1.4 z 10.0.2.4"},
		{"a removed one's address is free", running, []Instance{in("new", "b", "")}, "new 10.0.2.4"},
		{"an old address may become given", running, []Instance{in("x", "b", "10.0.2.10")}, "x 10.0.2.10"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, old := small(), small()
			config.Tests, old.Tests = nil, nil
			config.Instances, old.Instances = c.instances, c.running
			full := complete(t, config, &old)
			var got []string
			for _, i := range full.Instances {
				got = append(got, i.Name+" "+i.IP.String())
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %s, want %s", strings.Join(got, " "), c.want)
			}
		})
	}
}

// SEM 5.1: a /28 has room for eleven instances, .4 to .14; the twelfth is refused.
func TestAllocateWholeSubnet(t *testing.T) {
	c := small()
	c.Instances, c.Tests = nil, nil
	for i := range 11 {
		c.Instances = append(c.Instances, Instance{Name: fmt.Sprintf("i%d", i), Subnet: "b"})
	}
	full := complete(t, c, nil)
	if first, last := full.Instances[0].IP.String(), full.Instances[10].IP.String(); first != "10.0.2.4" || last != "10.0.2.14" {
		t.Errorf("got %s to %s, want 10.0.2.4 to 10.0.2.14", first, last)
	}
	c.Instances = append(c.Instances, Instance{Name: "twelfth", Subnet: "b"})
	want := `instance.twelfth.ip: subnet "b", 10.0.2.0/28, has no address left: all 11 are taken`
	if _, err := Complete(c, nil); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
