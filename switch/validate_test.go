package vswitch

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"vswitch/internal/policy"
)

// small returns a correct configuration: a VPC with IPv6, two subnets, a group, a
// network ACL, a prefix list, and two instances.
func small() Config {
	return Config{
		VPC: VPC{Name: "lab", CIDR: netip.MustParsePrefix("10.0.0.0/16"), CIDR6: netip.MustParsePrefix("fd00:10::/56")},
		Subnets: []Subnet{
			{Name: "a", CIDR: netip.MustParsePrefix("10.0.1.0/24"), CIDR6: netip.MustParsePrefix("fd00:10:0:1::/64"), NetworkACL: "edge"},
			{Name: "b", CIDR: netip.MustParsePrefix("10.0.2.0/28")},
		},
		SecurityGroups: []SecurityGroup{{
			Name:    "web",
			Ingress: []SecurityGroupRule{{ID: "sgr-https", Service: tcp(443), Peer: cidr("0.0.0.0/0")}},
		}},
		NetworkACLs: []NetworkACL{{
			Name:    "edge",
			Ingress: []NetworkACLEntry{{Number: 100, Action: policy.Allow, Service: policy.AllTraffic, CIDR: any4}},
		}},
		PrefixLists: []PrefixList{{Name: "office", CIDRs: prefixes("198.51.100.0/24")}},
		Instances: []Instance{
			{Name: "one", Subnet: "a", IP: netip.MustParseAddr("10.0.1.10"), SecurityGroups: []string{"web"}},
			{Name: "two", Subnet: "b"},
		},
		Tests: []Test{{Name: "https", From: []string{"two"}, To: []string{"one"}, Service: tcp(443), Want: policy.Allow, By: "sgr-https"}},
	}
}

func tcp(port uint16) policy.Service {
	return policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: port, To: port}}
}

func cidr(s string) Peer { return Peer{Prefix: netip.MustParsePrefix(s)} }

// rule adds an ingress rule to the group web.
func rule(c *Config, s policy.Service, p Peer) {
	g := c.SecurityGroup("web")
	g.Ingress = append(g.Ingress, SecurityGroupRule{Service: s, Peer: p})
}

// What a program may get wrong, but a file cannot say: the mistakes that a file
// can hold are in the golden files of internal/config.
func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(c *Config)
		want string // all problems, one a line
	}{
		{"nothing is wrong", func(*Config) {}, ""},
		{"nothing is there", func(c *Config) { *c = Config{} },
			"vpc.name: required, and missing\nvpc.cidr: required, and missing"},
		{"two subnets of one name", func(c *Config) {
			c.Subnets = append(c.Subnets, Subnet{Name: "a", CIDR: netip.MustParsePrefix("10.0.3.0/24")})
		},
			`subnet.a: the name is taken by "a"`},
		{"two instances of one name", func(c *Config) { c.Instances = append(c.Instances, Instance{Name: "one", Subnet: "a"}) },
			`instance.one: the name is taken by "one"`},
		{"two groups that differ in case", func(c *Config) { c.SecurityGroups = append(c.SecurityGroups, SecurityGroup{Name: "Web"}) },
			`security_group.Web: the name is taken by "web"`},
		{"a group that differs in case from the default one, which is not written", func(c *Config) { c.SecurityGroups = append(c.SecurityGroups, SecurityGroup{Name: "deFault"}) },
			`security_group.deFault: the name is taken by "default"`},
		{"a group that differs in case from the default one, which comes later", func(c *Config) {
			c.SecurityGroups = append(c.SecurityGroups, SecurityGroup{Name: "deFault"}, SecurityGroup{Name: "default"})
		}, `security_group.default: the name is taken by "deFault"`},
		{"the default group is there without being written", func(c *Config) { rule(c, tcp(1), Peer{Kind: PeerSecurityGroup, Name: "default"}) }, ""},
		{"empty name", func(c *Config) { c.PrefixLists[0].Name = "" },
			"prefix_list: the name is empty"},
		{"long name", func(c *Config) { c.PrefixLists[0].Name = strings.Repeat("x", 256) },
			"prefix_list." + strings.Repeat("x", 256) + ": the name is 256 characters long; AWS allows 255"},
		{"rule without a peer", func(c *Config) { rule(c, tcp(1), Peer{}) },
			"security_group.web.ingress.2.from: required, and missing"},
		{"peer of no kind", func(c *Config) { rule(c, tcp(1), Peer{Kind: 99, Name: "x"}) },
			`security_group.web.ingress.2.from: no instance and no subnet "x"`},
		{"zero service", func(c *Config) { rule(c, policy.Service{}, cidr("10.0.0.0/8")) },
			"security_group.web.ingress.2.proto: protocol 0: want tcp, udp, icmp, icmpv6, all, or a number from 1 to 255"},
		{"ports of icmp", func(c *Config) {
			rule(c, policy.Service{Protocol: policy.ICMP, Ports: policy.Ports{From: 8, To: 8}}, cidr("10.0.0.0/8"))
		}, "security_group.web.ingress.2.ports: ports go with tcp and udp, not with icmp"},
		{"type of tcp", func(c *Config) { rule(c, policy.Service{Protocol: policy.TCP, Type: 8}, cidr("10.0.0.0/8")) },
			"security_group.web.ingress.2.type: type and code go with icmp and icmpv6, not with tcp"},
		{"type and code out of range", func(c *Config) {
			rule(c, policy.Service{Protocol: policy.ICMP, Type: 256}, cidr("10.0.0.0/8"))
			rule(c, policy.Service{Protocol: policy.ICMP, Code: -2}, cidr("10.0.0.0/8"))
		}, "security_group.web.ingress.2.type: type 256 is outside 0-255\nsecurity_group.web.ingress.3.code: code -2 is outside 0-255"},
		{"SEM 1.3: the same rule but for its description and host bits", func(c *Config) {
			rule(c, tcp(22), cidr("10.9.9.9/8"))
			rule(c, tcp(22), cidr("10.0.0.0/8"))
			c.SecurityGroups[0].Ingress[2].Description = "other"
		}, "security_group.web.ingress.3: the same rule as number 2 of the list: tcp 22, 10.0.0.0/8"},
		{"SEM 1.3: the same rule in the other direction is another one", func(c *Config) {
			c.SecurityGroups[0].Egress = []SecurityGroupRule{{Service: tcp(443), Peer: cidr("0.0.0.0/0")}}
		}, ""},
		{"id given to one rule and derived for another", func(c *Config) {
			rule(c, tcp(22), cidr("10.0.0.0/8"))
			r := &c.SecurityGroups[0].Ingress[1]
			c.SecurityGroups = append(c.SecurityGroups, SecurityGroup{Name: "thief", Ingress: []SecurityGroupRule{
				{ID: ruleID("lab", "web", policy.Ingress, r), Service: tcp(1), Peer: cidr("10.0.0.0/8")},
			}})
		}, `security_group.thief.ingress.1.id: the id "sgr-20686c9fd99fead42" is taken by rule 2 of security_group.web.ingress`},
		{"a test may name a derived id", func(c *Config) {
			rule(c, tcp(22), cidr("10.0.0.0/8"))
			c.Tests[0].By = ruleID("lab", "web", policy.Ingress, &c.SecurityGroups[0].Ingress[1])
		}, ""},
		{"verdicts that are none", func(c *Config) { c.NetworkACLs[0].Ingress[0].Action, c.Tests[0].Want = 7, 7 },
			"nacl.edge.ingress.1.action: want allow or deny\ntest.1.want: want allow or deny"},
		{"service of a test", func(c *Config) { c.Tests[0].Service.Ports = policy.Ports{From: 9, To: 8} },
			`test.1.port: the range 9-8 is upside down (did you mean "8-9"?)`},
		{"the zero addresses in lists", func(c *Config) {
			c.Instances[0].ExtraIPs = make([]netip.Addr, 1)
			c.VPC.CIDRs = make([]netip.Prefix, 1)
			c.PrefixLists[0].CIDRs = make([]netip.Prefix, 1)
		}, "vpc.cidrs.1: required, and missing\nprefix_list.office.cidrs.1: required, and missing\ninstance.one.extra_ips.1: required, and missing"},
		{"address with a zone", func(c *Config) { c.Instances[0].IP6 = netip.MustParseAddr("fd00:10:0:1::10%eth0") },
			"instance.one.ip6: fd00:10:0:1::10%eth0: want a plain address"},
		{"SEM 5.1: the first four and the last IPv6 address", func(c *Config) {
			for _, a := range []string{"fd00:10:0:1::", "fd00:10:0:1::3", "fd00:10:0:1:ffff:ffff:ffff:ffff", "fd00:10:0:1::4"} {
				c.Instances[0].ExtraIPs = append(c.Instances[0].ExtraIPs, netip.MustParseAddr(a))
			}
		}, `instance.one.extra_ips.1: fd00:10:0:1:: is one of the five addresses of subnet "a" that AWS keeps
instance.one.extra_ips.2: fd00:10:0:1::3 is one of the five addresses of subnet "a" that AWS keeps
instance.one.extra_ips.3: fd00:10:0:1:ffff:ffff:ffff:ffff is one of the five addresses of subnet "a" that AWS keeps`},
		{"negative limits", func(c *Config) { c.Conntrack.Max, c.Quotas.RulesPerInterface, c.Conntrack.UDP = -1, -1, -time.Second },
			"conntrack.max: -1 is outside 1-16777216\n" +
				"conntrack.udp: -1s is outside AWS's 30s to 60s\n" +
				"quotas.rules_per_interface: -1 is negative"},
		{"SEM 1.5: a group counts towards both families", func(c *Config) {
			c.Quotas.RulesPerSecurityGroup = 1
			c.SecurityGroups[0].Ingress, c.Tests = nil, nil
			rule(c, tcp(1), cidr("::/0"))
			rule(c, tcp(1), cidr("10.0.0.0/8"))
		}, ""},
		{"SEM 1.5: 60 rules, the 61st of each family", func(c *Config) {
			for port := range uint16(60) {
				rule(c, tcp(port), Peer{Kind: PeerSecurityGroup, Name: "web"})
			}
		}, "security_group.web.ingress: 61 IPv4 rules exceed the quota rules_per_security_group = 60 (raise it in [quotas])"},
		{"SEM 3.4: 19 numbered rules and the implicit one", func(c *Config) {
			for n := range 19 {
				c.NetworkACLs[0].Ingress = append(c.NetworkACLs[0].Ingress, NetworkACLEntry{Number: n + 1, Service: policy.AllTraffic, CIDR: any4})
			}
		}, "nacl.edge.ingress: 21 IPv4 rules, the implicit one included, exceed the quota rules_per_network_acl = 20 (raise it in [quotas])"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := small()
			c.edit(&config)
			before := config.clone()
			var got []string
			for _, p := range config.Validate() {
				got = append(got, p.String())
			}
			if strings.Join(got, "\n") != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), c.want)
			}
			if !reflect.DeepEqual(config, before) {
				t.Error("Validate changed the configuration")
			}
		})
	}
}

// Of very many problems, the rest is counted.
func TestValidateListsSoManyProblems(t *testing.T) {
	c := small()
	for i := range maxProblems + 5 {
		c.Instances = append(c.Instances, Instance{Name: fmt.Sprintf("i%d", i), Subnet: "nowhere"})
	}
	problems := c.Validate()
	if len(problems) != maxProblems+1 {
		t.Fatalf("got %d problems, want %d", len(problems), maxProblems+1)
	}
	if got, want := problems[maxProblems].String(), "5 more problems are not listed"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A handle has 16 bits, and a reload holds twice as many as there are instances.
func TestInstancesAreBounded(t *testing.T) {
	c := small()
	c.Instances = nil
	for i := range maxInstances + 1 {
		c.Instances = append(c.Instances, Instance{Name: fmt.Sprintf("i%d", i), Subnet: c.Subnets[0].Name})
	}
	if got, want := c.Validate()[0].String(), "instance: 32768 instances, of at most 32767"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"web", "web1", "database", "app", "internet"}
	for _, c := range []struct{ name, want string }{
		{"wbe", "web"},          // two neighbours swapped
		{"we", "web"},           // one left out
		{"webb", "web"},         // one too many
		{"WEB", "web"},          // case does not count
		{"web2", "web"},         // as near as web1: the first wins
		{"databse", "database"}, // one left out
		{"dattabasse", "database"},
		{"intranet", "internet"}, // two replaced
		{"db", ""},
		{"x", ""}, // a single letter is nobody's typing error
		{"application", ""},
		{"", ""},
		{strings.Repeat("x", 65), ""},
	} {
		if got := Nearest(c.name, names); got != c.want {
			t.Errorf("Nearest(%q): got %q, want %q", c.name, got, c.want)
		}
	}
}
