package plan_test

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vswitch/internal/plan"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// configuration returns one with an object of every kind, completed.
func configuration(t *testing.T) vswitch.Config {
	t.Helper()
	prefix := netip.MustParsePrefix
	c := vswitch.Config{
		VPC:     vswitch.VPC{Name: "vst-plan", CIDR: prefix("10.9.0.0/16"), CIDR6: prefix("fd00:9::/56")},
		Subnets: []vswitch.Subnet{{Name: "a", CIDR: prefix("10.9.1.0/24"), NetworkACL: "n"}, {Name: "b", CIDR: prefix("10.9.2.0/24")}},
		SecurityGroups: []vswitch.SecurityGroup{{Name: "g", Ingress: []vswitch.SecurityGroupRule{
			{ID: "sgr-1", Service: policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: 22, To: 22}}, Peer: vswitch.Peer{Prefix: prefix("10.9.0.0/16")}},
			{ID: "sgr-2", Service: policy.AllTraffic, Peer: vswitch.Peer{Kind: vswitch.PeerSecurityGroup, Name: "g"}},
		}}},
		NetworkACLs: []vswitch.NetworkACL{{Name: "n", Ingress: []vswitch.NetworkACLEntry{
			{Number: 100, Action: policy.Allow, Service: policy.AllTraffic, CIDR: prefix("0.0.0.0/0")},
			{Number: 110, Service: policy.AllTraffic, CIDR: prefix("10.0.0.0/8")},
		}}},
		PrefixLists: []vswitch.PrefixList{{Name: "p", CIDRs: []netip.Prefix{prefix("192.0.2.0/24")}}},
		RouteTables: []vswitch.RouteTable{{Name: "main", Routes: []vswitch.Route{{Destination: prefix("203.0.113.0/24"), Target: vswitch.Target{Kind: vswitch.TargetBlackhole}}}}},
		Instances:   []vswitch.Instance{{Name: "one", Subnet: "a", SecurityGroups: []string{"g"}}, {Name: "two", Subnet: "b", SecurityGroups: []string{"g"}}},
		FlowLogs:    []vswitch.FlowLog{{Name: "f", File: "/tmp/f.log"}},
		Tests:       []vswitch.Test{{Name: "t", From: []string{"one"}, To: []string{"two"}, Service: policy.AllTraffic}},
	}
	full, err := vswitch.Complete(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return full
}

func TestChanges(t *testing.T) {
	change := func(object, name string) plan.Change {
		return plan.Change{Action: plan.Modify, Object: object, Name: name, Fields: []plan.Field{}, Rules: []plan.Rule{}}
	}
	with := func(c plan.Change, rules ...plan.Rule) plan.Change { c.Rules = rules; return c }
	differing := func(c plan.Change, fields ...plan.Field) plan.Change { c.Fields = fields; return c }
	at := vswitch.Origin{File: "vpc.toml", Line: 7, Column: 3}
	for _, c := range []struct {
		name string
		edit func(c *vswitch.Config)
		want []plan.Change
	}{
		{"nothing", func(*vswitch.Config) {}, nil},
		{"a line further down", func(c *vswitch.Config) { c.Instances[0].Origin, c.SecurityGroups[0].Ingress[0].Origin = at, at }, nil},
		{"another order of objects", func(c *vswitch.Config) { c.Instances[0], c.Instances[1] = c.Instances[1], c.Instances[0] }, nil},
		{"another order of entries", func(c *vswitch.Config) {
			e := c.NetworkACL("n").Ingress
			e[0], e[1] = e[1], e[0]
		}, nil},
		{"another order of rules", func(c *vswitch.Config) {
			r := c.SecurityGroup("g").Ingress
			r[0], r[1] = r[1], r[0]
		}, []plan.Change{differing(change("security_group", "g"), plan.Field{Name: "order of ingress", From: "sgr-1, sgr-2", To: "sgr-2, sgr-1"})}},
		{"a rule for another", func(c *vswitch.Config) {
			g := c.SecurityGroup("g")
			g.Ingress[0].ID, g.Ingress[0].Origin = "sgr-3", at
		}, []plan.Change{with(change("security_group", "g"),
			plan.Rule{Action: plan.Add, Direction: "ingress", ID: "sgr-3", Words: "tcp 22 <- 10.9.0.0/16", Origin: &plan.Origin{File: "vpc.toml", Line: 7, Column: 3}},
			plan.Rule{Action: plan.Remove, Direction: "ingress", ID: "sgr-1", Words: "tcp 22 <- 10.9.0.0/16"})}},
		{"a rule with another peer", func(c *vswitch.Config) {
			c.SecurityGroup("g").Ingress[1].Peer = vswitch.Peer{Kind: vswitch.PeerInstance, Name: "two"}
		}, []plan.Change{with(change("security_group", "g"), plan.Rule{Action: plan.Modify, Direction: "ingress", ID: "sgr-2", Words: "all <- two", Was: "all <- sg:g"})}},
		{"an entry's action", func(c *vswitch.Config) { c.NetworkACL("n").Ingress[1].Action = policy.Allow },
			[]plan.Change{with(change("nacl", "n"), plan.Rule{Action: plan.Modify, Direction: "ingress", ID: "110", Words: "allow all <- 10.0.0.0/8", Was: "deny all <- 10.0.0.0/8"})}},
		{"a route's target", func(c *vswitch.Config) {
			c.RouteTables[0].Routes[0].Target = vswitch.Target{Kind: vswitch.TargetInstance, Name: "two"}
		}, []plan.Change{with(change("route", "main"), plan.Rule{Action: plan.Modify, ID: "203.0.113.0/24", Words: "-> two", Was: "-> blackhole"})}},
		{"an object for another", func(c *vswitch.Config) { c.PrefixLists[0].Name, c.PrefixLists[0].Origin = "q", at }, []plan.Change{
			{Action: plan.Add, Object: "prefix_list", Name: "q", Origin: &plan.Origin{File: "vpc.toml", Line: 7, Column: 3}, Fields: []plan.Field{}, Rules: []plan.Rule{}},
			{Action: plan.Remove, Object: "prefix_list", Name: "p", Fields: []plan.Field{}, Rules: []plan.Rule{}}}},
		{"a network ACL less", func(c *vswitch.Config) { c.NetworkACLs = c.NetworkACLs[1:] }, []plan.Change{{Action: plan.Remove, Object: "nacl", Name: "n", Fields: []plan.Field{}, Rules: []plan.Rule{
			{Action: plan.Remove, Direction: "ingress", ID: "100", Words: "allow all <- 0.0.0.0/0"}, {Action: plan.Remove, Direction: "ingress", ID: "110", Words: "deny all <- 10.0.0.0/8"}}}}},
		{"fields", func(c *vswitch.Config) { c.Instances[1].Run, c.Conntrack.Max = "true", 5 }, []plan.Change{
			differing(change("instance", "two"), plan.Field{Name: "run", To: "true"}),
			differing(change("conntrack", ""), plan.Field{Name: "max", From: "1048576", To: "5"})}},
	} {
		from, to := configuration(t), configuration(t)
		c.edit(&to)
		got := plan.New(&from, &to)
		want := append([]plan.Change{}, c.want...)
		if diff := cmp.Diff(want, got.Changes); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// Whatever differs in a configuration is in the plan: each field of each object but
// the names, by which objects are told apart.
func TestEveryFieldCounts(t *testing.T) {
	fields := 0
	var walk func(path string, at func(c *vswitch.Config) reflect.Value)
	walk = func(path string, at func(c *vswitch.Config) reflect.Value) {
		from, to := configuration(t), configuration(t)
		v := at(&to)
		switch kind := v.Kind(); {
		case v.Type() == reflect.TypeFor[vswitch.Origin](), strings.HasSuffix(path, "].Name"):
			return
		case slices.Contains(wholes, v.Type()):
		case kind == reflect.Struct && v.NumField() > 0 && v.Type().Field(0).IsExported():
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, func(c *vswitch.Config) reflect.Value { return at(c).Field(i) })
			}
			return
		case kind == reflect.Slice && v.Len() > 0 && v.Type().Elem().Kind() == reflect.Struct && v.Type().Elem() != reflect.TypeFor[netip.Prefix]():
			walk(path+"[0]", func(c *vswitch.Config) reflect.Value { return at(c).Index(0) })
			return
		}
		fields++
		disturb(t, path, v)
		if p := plan.New(&from, &to); len(p.Changes) == 0 {
			t.Errorf("a plan does not see a change of %s", path)
		}
	}
	walk("", func(c *vswitch.Config) reflect.Value { return reflect.ValueOf(c).Elem() })
	if fields < 65 {
		t.Errorf("%d fields were changed, want all of them", fields)
	}
}

// wholes are the structs of which not every field means something.
var wholes = []reflect.Type{reflect.TypeFor[policy.Service](), reflect.TypeFor[vswitch.Peer](), reflect.TypeFor[vswitch.Target]()}

// disturb gives a field another value.
func disturb(t *testing.T, path string, v reflect.Value) {
	t.Helper()
	switch other := v.Addr().Interface().(type) {
	case *policy.Service:
		*other = policy.Service{Protocol: 47}
	case *vswitch.Peer:
		*other = vswitch.Peer{Kind: vswitch.PeerInternet}
	case *vswitch.Target:
		*other = vswitch.Target{}
	case *netip.Prefix:
		*other = netip.MustParsePrefix("198.51.100.0/24")
	case *netip.Addr:
		*other = netip.MustParseAddr("198.51.100.1")
	case *[]netip.Prefix:
		*other = append([]netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, *other...)
	case *[]netip.Addr:
		*other = append([]netip.Addr{netip.MustParseAddr("198.51.100.1")}, *other...)
	case *[]string:
		*other = append([]string{"other"}, *other...)
	case *time.Duration:
		*other += time.Second
	case *bool:
		*other = !*other
	default:
		switch v.Kind() {
		case reflect.String:
			if v.SetString(v.String() + "x"); strings.HasSuffix(path, "Instances[0].Subnet") {
				v.SetString("b") // it must exist
			}
		case reflect.Int, reflect.Int16:
			v.SetInt(v.Int() + 1)
		case reflect.Slice:
			v.Set(reflect.Append(v, reflect.New(v.Type().Elem()).Elem()))
		case reflect.Uint8, reflect.Uint16:
			v.SetUint(v.Uint() ^ 1)
		default:
			t.Fatalf("%s: no other value of %s", path, v.Type())
		}
	}
}

func TestInstances(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(c *vswitch.Config)
		want []plan.Instance
	}{
		{"rules", func(c *vswitch.Config) { c.SecurityGroup("g").Ingress = nil }, nil},
		{"one for another", func(c *vswitch.Config) { c.Instances[0].Name = "three" }, []plan.Instance{{"three", plan.Create, "new in the file"}, {"one", plan.Delete, "no longer in the file"}}},
		{"namespace", func(c *vswitch.Config) { c.Instances[0].Namespace, c.Instances[0].Run = "else", "true" }, []plan.Instance{{"one", plan.Rebuild, "namespace"}}},
		{"command", func(c *vswitch.Config) { c.Instances[0].Run = "true" }, []plan.Instance{{"one", plan.Restart, "run"}}},
		{"address", func(c *vswitch.Config) {
			c.Instances[1].IP, c.Instances[1].Run = netip.MustParseAddr("10.9.2.77"), "true"
		}, []plan.Instance{{"two", plan.Reconfigure, "addresses, run"}}},
		{"MTU", func(c *vswitch.Config) { c.VPC.MTU = 1500 }, []plan.Instance{{"one", plan.Reconfigure, "mtu"}, {"two", plan.Reconfigure, "mtu"}}},
		{"forwarding", func(c *vswitch.Config) { c.Instances[0].DisableSourceDestCheck = true }, []plan.Instance{{"one", plan.Reconfigure, "source_dest_check"}}},
	} {
		from, to := configuration(t), configuration(t)
		c.edit(&to)
		if diff := cmp.Diff(append([]plan.Instance{}, c.want...), plan.New(&from, &to).Instances); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}
