package vswitch_test

import (
	"net/netip"
	"testing"

	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// TestDenial: what denied packets, and where that stands, also when the rule or the
// instance has gone since.
func TestDenial(t *testing.T) {
	at := func(line int) vswitch.Origin { return vswitch.Origin{File: "vpc.toml", Line: line} }
	c := vswitch.Config{
		SecurityGroups: []vswitch.SecurityGroup{{Name: "web", Origin: at(3)}, {Name: "ssh", Origin: at(9)}},
		Instances:      []vswitch.Instance{{Name: "one", SecurityGroups: []string{"web"}}, {Name: "two", SecurityGroups: []string{"web", "ssh"}}},
		NetworkACLs: []vswitch.NetworkACL{{Name: "p", Ingress: []vswitch.NetworkACLEntry{
			{Number: 90, Service: policy.AllTraffic, CIDR: netip.MustParsePrefix("10.0.1.66/32"), Origin: at(20)},
		}}},
	}
	entry := func(acl, id string, d policy.Direction) vswitch.RuleKey {
		return vswitch.RuleKey{Object: "nacl:" + acl, Direction: d, ID: id}
	}
	for _, want := range []struct {
		reason                  policy.Reason
		instance                string
		rule                    vswitch.RuleKey
		decider, where, inWords string
	}{
		{policy.SGEgress, "one", vswitch.RuleKey{}, "sg web egress: no rule", "vpc.toml:3", "sg web egress: no rule"},
		{policy.SGIngress, "two", vswitch.RuleKey{}, "sg web, ssh ingress: no rule", "vpc.toml:3, vpc.toml:9", "sg web, ssh ingress: no rule"},
		{policy.SGIngress, "gone", vswitch.RuleKey{}, "sg ingress: no rule", "(instance removed)", "sg ingress: no rule"},
		{policy.NACLIngress, "one", entry("p", "90", policy.Ingress), "nacl p ingress 90", "vpc.toml:20", "nacl p ingress 90 all <- 10.0.1.66/32"},
		{policy.NACLIngress, "one", entry("p", "*", policy.Ingress), "nacl p ingress *", "(implicit deny)", "nacl p ingress * (implicit deny)"},
		{policy.NACLEgress, "one", entry("p", "90", policy.Egress), "nacl p egress 90", "(rule removed)", "nacl p egress 90"},
		{policy.NACLEgress, "one", entry("gone", "7", policy.Egress), "nacl gone egress 7", "(rule removed)", "nacl gone egress 7"},
		{policy.NACLEgress, "one", entry("gone", "*", policy.Egress), "nacl gone egress *", "(implicit deny)", "nacl gone egress * (implicit deny)"},
	} {
		d := c.Denial(want.reason, want.instance, want.rule)
		if d == nil || d.Decider() != want.decider || d.Where() != want.where || d.String() != want.inWords {
			t.Errorf("%v at %s by %v: %+v, want %q at %s, %q", want.reason, want.instance, want.rule, d, want.decider, want.where, want.inWords)
		}
	}
	for _, r := range []policy.Reason{policy.NACLIngress, policy.NoRoute} {
		if d := c.Denial(r, "one", vswitch.RuleKey{}); d != nil {
			t.Errorf("%v by no rule: %+v", r, d)
		}
	}
}
