package graph_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"vswitch/internal/graph"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// rule returns a security-group rule for a range of TCP ports.
func rule(peer vswitch.Peer, from, to uint16) vswitch.SecurityGroupRule {
	return vswitch.SecurityGroupRule{Service: policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: from, To: to}}, Peer: peer, Origin: vswitch.Origin{Line: 1}}
}

func group(name string) vswitch.Peer {
	return vswitch.Peer{Kind: vswitch.PeerSecurityGroup, Name: name}
}
func block(s string) vswitch.Peer { return vswitch.Peer{Prefix: netip.MustParsePrefix(s)} }

// vpc returns a VPC with n instances in group web in subnet a, one in group app
// in subnet b, and their rules.
func vpc(n int, web, app vswitch.SecurityGroup) vswitch.Config {
	c := vswitch.Config{VPC: vswitch.VPC{Name: "vst-graph", CIDR: netip.MustParsePrefix("10.0.0.0/16")}}
	c.Subnets = []vswitch.Subnet{{Name: "a", CIDR: netip.MustParsePrefix("10.0.0.0/20")}, {Name: "b", CIDR: netip.MustParsePrefix("10.0.16.0/24")}}
	web.Name, app.Name = "web", "app"
	c.SecurityGroups = []vswitch.SecurityGroup{web, app}
	for i := range n {
		c.Instances = append(c.Instances, vswitch.Instance{Name: fmt.Sprintf("web%d", i+1), Subnet: "a", SecurityGroups: []string{"web"}})
	}
	c.Instances = append(c.Instances, vswitch.Instance{Name: "app1", Subnet: "b", SecurityGroups: []string{"app"}})
	return c
}

// edges returns the edges as lines.
func edges(t *testing.T, c vswitch.Config) string {
	t.Helper()
	full, err := vswitch.Complete(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range graph.New(&full).Edges {
		line := fmt.Sprintf("%s > %s %s: %s", e.From, e.To, strings.Join(e.Services, ", "), e.Verdict)
		for _, part := range []string{e.By, e.Via} {
			if part != "" {
				line += " " + part
			}
		}
		if e.Some {
			line += " some"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestEdges(t *testing.T) {
	none := []vswitch.SecurityGroupRule{}
	list := func(r ...vswitch.SecurityGroupRule) []vswitch.SecurityGroupRule { return r }
	internet := vswitch.Peer{Kind: vswitch.PeerInternet}
	ping6 := vswitch.SecurityGroupRule{Service: policy.Service{Protocol: policy.ICMPv6, Type: policy.AnyICMP, Code: policy.AnyICMP}, Peer: group("app")}
	pong6 := ping6
	pong6.Peer = group("web")
	for _, c := range []struct {
		name     string
		n        int
		web, app vswitch.SecurityGroup
		change   func(c *vswitch.Config)
		want     string
	}{
		{name: "what both ends allow", n: 1,
			web: vswitch.SecurityGroup{Egress: list(rule(group("app"), 80, 90))}, app: vswitch.SecurityGroup{Ingress: list(rule(group("web"), 85, 95)), Egress: none},
			want: "web1 > app1 tcp 85-90: allow"},
		{name: "what one end allows", n: 1,
			web: vswitch.SecurityGroup{Egress: list(rule(group("app"), 80, 90))}, app: vswitch.SecurityGroup{Egress: none}, want: ""},
		{name: "ICMPv6 is not IPv4's", n: 1,
			web: vswitch.SecurityGroup{Egress: list(ping6)}, app: vswitch.SecurityGroup{Ingress: list(pong6), Egress: none}, want: ""},
		{name: "outside the VPC, all any-address peers as one", n: 1,
			web:  vswitch.SecurityGroup{Ingress: list(rule(internet, 443, 443), rule(block("0.0.0.0/0"), 80, 80), rule(block("10.0.0.0/16"), 22, 22)), Egress: list(rule(block("192.0.2.0/24"), 25, 25))},
			app:  vswitch.SecurityGroup{Egress: none},
			want: "web1 > 192.0.2.0/24 tcp 25: outside\ninternet > web1 tcp 80, tcp 443: outside"},
		{name: "AWS's own egress rule is no edge to the outside", n: 1, web: vswitch.SecurityGroup{}, app: vswitch.SecurityGroup{}, want: ""},
		{name: "many instances are one node", n: 20,
			web: vswitch.SecurityGroup{Egress: list(rule(group("app"), 80, 80))}, app: vswitch.SecurityGroup{Ingress: list(rule(group("web"), 80, 80)), Egress: none},
			want: "web1 +19 > app1 tcp 80: allow"},
		{name: "and some of them", n: 20,
			web:  vswitch.SecurityGroup{Egress: list(rule(group("app"), 80, 80)), Ingress: list(rule(group("web"), 22, 22))},
			app:  vswitch.SecurityGroup{Ingress: list(rule(vswitch.Peer{Kind: vswitch.PeerInstance, Name: "web3"}, 80, 80)), Egress: none},
			want: "web1 +19 > app1 tcp 80: allow some"},
		{name: "among themselves", n: 20,
			web: vswitch.SecurityGroup{Egress: list(rule(group("web"), 22, 22)), Ingress: list(rule(group("web"), 22, 22))}, app: vswitch.SecurityGroup{Egress: none},
			want: "web1 +19 > web1 +19 tcp 22: allow"},
		{name: "through an appliance, where references do not match", n: 2,
			web: vswitch.SecurityGroup{Egress: list(rule(block("10.0.16.0/24"), 80, 81))}, app: vswitch.SecurityGroup{Ingress: list(rule(group("web"), 80, 80), rule(block("10.0.0.0/20"), 81, 81)), Egress: none},
			change: func(c *vswitch.Config) {
				c.RouteTables = []vswitch.RouteTable{{Name: "main", Routes: []vswitch.Route{{Destination: c.Subnets[1].CIDR, Target: vswitch.Target{Kind: vswitch.TargetInstance, Name: "web2"}}}}}
			},
			want: "web1 > app1 tcp 81: allow web2\nweb2 > app1 tcp 81: denied route.main"},
		{name: "a network ACL in the way, and in the way back", n: 1,
			web: vswitch.SecurityGroup{Egress: list(rule(group("app"), 80, 82))}, app: vswitch.SecurityGroup{Ingress: list(rule(group("web"), 80, 82)), Egress: none},
			change: func(c *vswitch.Config) {
				service := policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: 80, To: 80}}
				c.NetworkACLs = []vswitch.NetworkACL{{Name: "b", Ingress: []vswitch.NetworkACLEntry{
					{Number: 20, Action: policy.Allow, Service: policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: 80, To: 81}}, CIDR: netip.MustParsePrefix("0.0.0.0/0")},
					{Number: 10, Action: policy.Deny, Service: service, CIDR: netip.MustParsePrefix("0.0.0.0/0")},
				}}}
				c.Subnets[1].NetworkACL = "b"
			},
			want: "web1 > app1 tcp 82: denied nacl.b ingress *\nweb1 > app1 tcp 80: denied nacl.b ingress 10\nweb1 > app1 tcp 81: no_reply nacl.b egress *"},
	} {
		cfg := vpc(c.n, c.web, c.app)
		if c.change != nil {
			c.change(&cfg)
		}
		if got := edges(t, cfg); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

// A VPC of 1,000 instances is drawn in a moment.
func BenchmarkNew1000(b *testing.B) {
	all := []vswitch.SecurityGroupRule{rule(block("10.0.0.0/16"), 1, 1000), rule(group("app"), 2000, 2001)}
	full, err := vswitch.Complete(vpc(999, vswitch.SecurityGroup{Ingress: all, Egress: all}, vswitch.SecurityGroup{Ingress: all}), nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		graph.New(&full)
	}
}
