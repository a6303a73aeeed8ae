package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vswitch/internal/goldenfile"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// golden compares got with a file beside the input, or rewrites it with -update.
func golden(t *testing.T, input, got string) {
	t.Helper()
	goldenfile.Compare(t, strings.TrimSuffix(input, ".toml")+".golden", got)
}

// inputs returns the files of a directory of testdata; there must be some.
func inputs(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.toml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in testdata/%s: %v", dir, err)
	}
	return files
}

// Every file in testdata/ok means what its golden file says.
func TestAccepted(t *testing.T) {
	for _, file := range inputs(t, "ok") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, err := Load(file)
			if err != nil {
				t.Fatalf("refused:\n%s", err)
			}
			golden(t, file, dump(&c))
		})
	}
}

// Every file in testdata/bad is refused with exactly the mistakes of its golden
// file, in file order.
func TestRefused(t *testing.T) {
	for _, file := range inputs(t, "bad") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(filepath.Base(file), data)
			var mistakes Errors
			if !errors.As(err, &mistakes) {
				t.Fatalf("got %v, want Errors", err)
			}
			golden(t, file, err.Error()+"\n")
		})
	}
}

// A file that is too long, is no file, or cannot be read is refused before it is
// read.
func TestLoadRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo.toml")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(dir, "long.toml")
	if err := os.WriteFile(long, make([]byte, MaxSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, want string }{
		{dir, dir + ": not a regular file"},
		{fifo, fifo + ": not a regular file"},
		{filepath.Join(dir, "none.toml"), "open " + filepath.Join(dir, "none.toml") + ": no such file or directory"},
		{long, long + ":1:1: the file is longer than 16 MiB"},
	} {
		if _, err := Load(c.path); err == nil || err.Error() != c.want {
			t.Errorf("Load(%q): got %v, want %s", c.path, err, c.want)
		}
	}
}

// Every example of the project is correct, and can be completed.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../examples/*/vpc.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, file := range files {
		c, err := Load(file)
		if err != nil {
			t.Errorf("refused:\n%s", err)
			continue
		}
		if _, err := vswitch.Complete(c, nil); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// dump returns a configuration as text, one object or rule a line, each with the
// place where it is written.
func dump(c *vswitch.Config) string {
	var b strings.Builder
	line := func(o vswitch.Origin, format string, args ...any) {
		fmt.Fprintf(&b, "%3d:%-2d ", o.Line, o.Column)
		b.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n")
	}
	line(c.VPC.Origin, "vpc %s %s%s%s%s%s%s", c.VPC.Name, c.VPC.CIDR, field("cidrs", c.VPC.CIDRs), field("cidr6", c.VPC.CIDR6), field("mtu", c.VPC.MTU),
		field("account", c.VPC.Account), field("region", c.VPC.Region))
	for _, s := range c.Subnets {
		line(s.Origin, "subnet %q %s%s%s%s%s", s.Name, s.CIDR, field("cidr6", s.CIDR6), field("nacl", s.NetworkACL), field("route", s.RouteTable), field("az", s.AZ))
	}
	for _, g := range c.SecurityGroups {
		line(g.Origin, "security_group %q %q%s%s", g.Name, g.Description, absent("ingress", g.Ingress), absent("egress", g.Egress))
		for _, rules := range [][]vswitch.SecurityGroupRule{g.Ingress, g.Egress} {
			arrow := "<-"
			if len(rules) > 0 && len(g.Egress) > 0 && &rules[0] == &g.Egress[0] {
				arrow = "->"
			}
			for _, r := range rules {
				line(r.Origin, "  %s %s %s %s", arrow, r.Service, peerText(r.Peer), strings.TrimLeft(field("id", r.ID)+field("description", r.Description), " "))
			}
		}
	}
	for _, a := range c.NetworkACLs {
		line(a.Origin, "nacl %q%s%s", a.Name, absent("ingress", a.Ingress), absent("egress", a.Egress))
		for _, e := range a.Ingress {
			line(e.Origin, "  <- %d %s %s %s", e.Number, e.Action, e.Service, e.CIDR)
		}
		for _, e := range a.Egress {
			line(e.Origin, "  -> %d %s %s %s", e.Number, e.Action, e.Service, e.CIDR)
		}
	}
	for _, l := range c.PrefixLists {
		line(l.Origin, "prefix_list %q %v", l.Name, l.CIDRs)
	}
	for _, t := range c.RouteTables {
		line(t.Origin, "route %q", t.Name)
		for _, r := range t.Routes {
			line(r.Origin, "  %s -> %s", r.Destination, r.Target)
		}
	}
	for _, in := range c.Instances {
		line(in.Origin, "instance %q %s%s%s%s%s%s%s%s%s%s%s", in.Name, in.Subnet, field("ip", in.IP), field("ip6", in.IP6), field("extra_ips", in.ExtraIPs),
			field("sg", in.SecurityGroups), field("kind", in.Kind), field("run", in.Run), field("namespace", in.Namespace), field("ifname", in.Interface),
			field("no check", in.DisableSourceDestCheck), field("conntrack", in.Conntrack))
	}
	line(c.Conntrack.Origin, "conntrack%s%s%s%s", field("profile", c.Conntrack.Profile), field("timeouts", c.Conntrack.Timeouts),
		field("strict", c.Conntrack.Strict), field("max", c.Conntrack.Max))
	q := c.Quotas
	line(q.Origin, "quotas %d %d %d %d", q.RulesPerSecurityGroup, q.SecurityGroupsPerInterface, q.RulesPerInterface, q.RulesPerNetworkACL)
	for _, l := range c.FlowLogs {
		line(l.Origin, "flow_log %q %q%s%s%s%s%s%s%s", l.Name, l.File, field("scope", l.Scope), field("traffic", l.Traffic), field("format", l.Format),
			field("interval", l.Interval), field("header", l.Header), field("rotate_mib", l.RotateSize), field("keep", l.Keep))
	}
	for _, x := range c.Tests {
		line(x.Origin, "test %q %v > %v %s %s%s", x.Name, x.From, x.To, x.Service, x.Want, field("by", x.By))
	}
	return b.String()
}

// field returns " name=value", or nothing for a zero value.
func field(name string, value any) string {
	s := fmt.Sprint(value)
	switch value := value.(type) {
	case []netip.Prefix:
		if value == nil {
			return ""
		}
	case []netip.Addr:
		if value == nil {
			return ""
		}
	case []string:
		if value == nil {
			return ""
		}
	case netip.Prefix:
		if !value.IsValid() {
			return ""
		}
	case netip.Addr:
		if !value.IsValid() {
			return ""
		}
	case string:
		if value == "" {
			return ""
		}
		s = fmt.Sprintf("%q", value)
	default:
		if s == "" || s == "0" || s == "0s" || s == "false" || s == "{0s 0s 0s}" {
			return ""
		}
	}
	return " " + name + "=" + s
}

// absent tells a list that is missing from one that is empty: to a group and to a
// network ACL they mean different things.
func absent[T any](name string, list []T) string {
	if list == nil {
		return " (no " + name + ")"
	}
	return ""
}

// peerText returns a peer with its kind, which String leaves out for some.
func peerText(p vswitch.Peer) string {
	switch p.Kind {
	case vswitch.PeerInstance:
		return "instance " + p.Name
	case vswitch.PeerSubnet:
		return "subnet " + p.Name
	}
	return p.String()
}

// The two-tier example is read into exactly this configuration: the values that
// golden files show as text, as a program sees them.
func TestTwoTier(t *testing.T) {
	c, err := Load("testdata/ok/two-tier.toml")
	if err != nil {
		t.Fatal(err)
	}
	web := c.SecurityGroup("web")
	if web == nil || len(web.Ingress) != 2 || len(web.Egress) != 1 {
		t.Fatalf("group web: %+v", web)
	}
	ping := web.Ingress[1]
	if want := (policy.Service{Protocol: policy.ICMP, Type: 8, Code: policy.AnyICMP}); ping.Service != want {
		t.Errorf("ping rule: got %+v, want %+v", ping.Service, want)
	}
	if want := (vswitch.Peer{Kind: vswitch.PeerSecurityGroup, Name: "app"}); web.Egress[0].Peer != want {
		t.Errorf("egress rule: got %+v, want %+v", web.Egress[0].Peer, want)
	}
	if db := c.SecurityGroup("db"); db.Egress == nil || len(db.Egress) != 0 {
		t.Errorf("egress = [] of group db: got %#v, want an empty list that is not nil", db.Egress)
	}
	if got := c.NetworkACL("private").Ingress[0]; got.Number != 90 || got.Action != policy.Deny || got.Service != policy.AllTraffic {
		t.Errorf("first rule of nacl.private: got %+v", got)
	}
	if got, want := c.Tests[1].From, []string{"web1", "10.0.1.0/24"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("from of the second test: got %v, want %v", got, want)
	}
}
