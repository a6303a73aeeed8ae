package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"vswitch/internal/api"
	"vswitch/internal/goldenfile"
)

// testdata is absolute: tests change their directory.
var testdata = func() string {
	path, err := filepath.Abs("testdata")
	if err != nil {
		panic(err)
	}
	return path
}()

// golden compares what was printed with testdata/NAME.golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	goldenfile.Compare(t, filepath.Join(testdata, name+".golden"), got)
}

// An outcome is that of one invocation of the command.
type outcome struct {
	code     int
	out, err string
}

// invoke runs one command line with its own directory of state directories.
func invoke(t *testing.T, root string, args ...string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	c := &cli{root: root, in: strings.NewReader(""), out: &out, err: &errs}
	command := newRoot(c)
	command.SetArgs(args)
	code := c.report(command.Execute())
	return outcome{code, out.String(), errs.String()}
}

// Every command, the hidden ones excepted, has help with an example.
func TestHelp(t *testing.T) {
	t.Setenv("VSWITCH_FILE", "")
	var visit func(cmd *cobra.Command, path []string)
	visit = func(cmd *cobra.Command, path []string) {
		got := invoke(t, t.TempDir(), append(path, "--help")...)
		if got.code != exitOK || got.err != "" {
			t.Errorf("%v --help: exit code %d, %s", path, got.code, got.err)
		}
		golden(t, filepath.Join("help", strings.Join(append([]string{"vswitch"}, path...), "-")), got.out)
		if cmd.Example == "" || cmd.Long == "" {
			t.Errorf("%v: no example, or no long help", path)
		}
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() && sub.Name() != "help" && sub.Name() != "completion" {
				visit(sub, append(path[:len(path):len(path)], sub.Name()))
			}
		}
	}
	visit(newRoot(&cli{}), nil)
}

// sample returns a status with everything that status can show.
func sample() *api.Status {
	code := 7
	return &api.Status{
		VPC: "two-tier", ID: "vpc-1", CIDR: "10.0.0.0/16", File: "/lab/vpc.toml", PID: 4711, Generation: 3, UptimeSeconds: 192.4,
		Counts: api.Counts{Subnets: 2, Instances: 3, SecurityGroups: 3, SecurityGroupRules: 5, NetworkACLs: 2, NetworkACLRules: 7},
		Instances: []api.Instance{
			{
				Name: "web1", ID: "i-1", Interface: "eni-1", IP: "10.0.1.10", MAC: "02:5e:10:00:00:01", Subnet: "public",
				SecurityGroups: []string{"web", "ssh"}, Kind: "netns", Namespace: "two-tier-web1", Device: "eth0", State: api.StateUp,
				Offloads:    api.Offloads{Checksum: true, TSO4: true, TSO6: true, USO: true},
				Counters:    api.Counters{RxPackets: 1200, TxPackets: 90, Dropped: 12},
				Connections: api.ConnectionCount{Tracked: 4, Max: 1_048_576},
				Process:     &api.Process{State: api.ProcessRunning, PID: 5},
			},
			{
				Name: "app1", ID: "i-2", Interface: "eni-2", IP: "10.0.2.10", MAC: "02:5e:10:00:00:02", Subnet: "private",
				SecurityGroups: []string{"app"}, Kind: "netns", Namespace: "two-tier-app1", Device: "eth0", State: api.StateDown,
				Process: &api.Process{State: api.ProcessExited, ExitCode: &code},
			},
			{
				Name: "db1", ID: "i-3", Interface: "eni-3", IP: "10.0.2.20", MAC: "02:5e:10:00:00:03", Subnet: "private",
				SecurityGroups: []string{"db"}, Kind: "host", Device: "tap-db1", State: api.StateUp,
				Process: &api.Process{State: api.ProcessExited},
			},
		},
		Drops:       map[string]uint64{"SG_EGRESS": 9, "NACL_INGRESS": 2, "UNKNOWN_MAC": 2},
		Connections: api.ConnectionCount{Tracked: 4, Max: 4_194_304, Exceeded: 5},
		FlowCache:   api.FlowCache{Hits: 991, Misses: 9},
		Reloads:     api.Reloads{Failed: 1},
		Memory:      api.Memory{RSS: 22 << 20},
		Descriptors: api.Descriptors{Open: 15, Limit: 1024},
		Panics:      1,
	}
}

func TestTables(t *testing.T) {
	quiet := &api.Status{VPC: "hello", CIDR: "10.1.0.0/16", File: "/lab/vpc.toml", PID: 1, Generation: 1, Instances: sample().Instances[:0], Descriptors: api.Descriptors{Limit: 1}}
	list := []api.Connection{
		{Instance: "web1", Protocol: "tcp", Source: "10.0.1.10", SourcePort: 40000, Destination: "10.0.2.10", DestPort: 8080, State: "established", TimeoutLeft: 431_999.6},
		{Instance: "web1", Protocol: "icmp", Source: "10.0.2.10", Destination: "10.0.1.10", ICMP: &api.ICMP{Type: 8, ID: 4242}, State: "replied", TimeoutLeft: 29},
		{Instance: "app1", Protocol: "47", Source: "10.0.1.10", Destination: "10.0.2.10", State: "new", TimeoutLeft: 0.4},
	}
	changes := []api.Change{
		{Action: api.ActionAdd, Object: "instance", Name: "web2"},
		{Action: api.ActionChange, Object: "security_group", Name: "web"},
		{Action: api.ActionChange, Object: "quotas"},
		{Action: api.ActionRemove, Object: "subnet", Name: "old"},
	}
	for _, c := range []struct {
		name  string
		write func(b *bytes.Buffer) error
	}{
		{"status", func(b *bytes.Buffer) error { return writeStatus(b, sample(), false) }},
		{"status-wide", func(b *bytes.Buffer) error { return writeStatus(b, sample(), true) }},
		{"status-empty", func(b *bytes.Buffer) error { return writeStatus(b, quiet, false) }},
		{"up", func(b *bytes.Buffer) error { return writeUp(b, sample(), 940*time.Millisecond) }},
		{"conntrack", func(b *bytes.Buffer) error { return writeConnections(b, list) }},
		{"conntrack-empty", func(b *bytes.Buffer) error { return writeConnections(b, nil) }},
		{"reload", func(b *bytes.Buffer) error {
			return writeReload(b, "two-tier", &api.ReloadReply{Generation: 4, Changes: changes})
		}},
		{"reload-same", func(b *bytes.Buffer) error { return writeReload(b, "two-tier", &api.ReloadReply{Generation: 4}) }},
		{"version", func(b *bytes.Buffer) error {
			v := version{Version: "v0.1.0", Commit: "0123456789abcdef", Modified: true, Go: "go1.26.8", Platform: "linux/amd64"}
			return v.write(b)
		}},
	} {
		var b bytes.Buffer
		if err := c.write(&b); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		golden(t, filepath.Join("table", c.name), b.String())
		for line := range strings.Lines(b.String()) {
			if strings.TrimRight(line, " \n") != strings.TrimRight(line, "\n") {
				t.Errorf("%s: a line ends in spaces: %q", c.name, line)
			}
		}
	}
}
