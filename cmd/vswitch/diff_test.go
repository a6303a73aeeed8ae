package main

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vswitch/internal/api"
	"vswitch/internal/config"
	vswitch "vswitch/switch"
)

// parsed returns a completed configuration.
func parsed(t *testing.T, text string) vswitch.Config {
	t.Helper()
	c, err := config.Parse("vpc.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	full, err := vswitch.Complete(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return full
}

func TestChanges(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(c *vswitch.Config)
		want []api.Change
	}{
		{"nothing", func(*vswitch.Config) {}, nil},
		{"a line further down", func(c *vswitch.Config) {
			c.Instances[0].Line++
			c.SecurityGroups[0].Ingress[0].Line++
			c.VPC.File = "other.toml"
		}, nil},
		{"another order of objects", func(c *vswitch.Config) {
			c.Instances[0], c.Instances[1] = c.Instances[1], c.Instances[0]
		}, nil},
		{"the VPC's MTU", func(c *vswitch.Config) { c.VPC.MTU = 1500 }, []api.Change{{Action: "change", Object: "vpc", Name: "vst-unit"}}},
		{"a peer of a rule", func(c *vswitch.Config) { c.SecurityGroup("server").Ingress[0].Peer.Name = "bob" }, []api.Change{{Action: "change", Object: "security_group", Name: "server"}}},
		{"an extra address", func(c *vswitch.Config) {
			c.Instances[1].ExtraIPs = []netip.Addr{netip.MustParseAddr("10.9.1.99")}
		}, []api.Change{{Action: "change", Object: "instance", Name: "bob"}}},
		{"an instance for another", func(c *vswitch.Config) { c.Instances[1].Name = "carol" }, []api.Change{
			{Action: "add", Object: "instance", Name: "carol"}, {Action: "remove", Object: "instance", Name: "bob"}}},
		{"an entry of the default network ACL", func(c *vswitch.Config) { c.NetworkACL("default").Ingress[0].Number = 7 }, []api.Change{{Action: "change", Object: "nacl", Name: "default"}}},
		{"a subnet", func(c *vswitch.Config) { c.Subnets = nil }, []api.Change{{Action: "remove", Object: "subnet", Name: "main"}}},
		{"a prefix list", func(c *vswitch.Config) { c.PrefixLists = []vswitch.PrefixList{{Name: "office"}} }, []api.Change{{Action: "add", Object: "prefix_list", Name: "office"}}},
		{"a test", func(c *vswitch.Config) { c.Tests = []vswitch.Test{{Name: "one"}} }, []api.Change{{Action: "add", Object: "test", Name: "one"}}},
		{"limits", func(c *vswitch.Config) { c.Conntrack.Max, c.Quotas.RulesPerInterface = 1, 2 }, []api.Change{
			{Action: "change", Object: "conntrack"}, {Action: "change", Object: "quotas"}}},
	} {
		from, to := parsed(t, twoInstances), parsed(t, twoInstances)
		c.edit(&to)
		if c.want == nil {
			c.want = []api.Change{}
		}
		if diff := cmp.Diff(c.want, changes(&from, &to)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// AWS's defaults are in the completed configuration, and not in the counts.
func TestCountsLeaveOutDefaults(t *testing.T) {
	full := parsed(t, twoInstances)
	if len(full.SecurityGroups) < 2 || len(full.NetworkACLs) < 1 {
		t.Fatalf("no defaults in %+v", full)
	}
	want := api.Counts{Subnets: 1, Instances: 2, SecurityGroups: 1, SecurityGroupRules: 1}
	if diff := cmp.Diff(want, counts(&full)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
