package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A target is one way to connect two hosts.
type target struct {
	name  string
	what  string
	needs []string // programs, beyond this one and vswitch
	build func(context.Context, *site) error
}

// String returns the target's name.
func (t *target) String() string { return t.name }

// targets are all that can be compared.
var targets = []*target{
	{"relay", "reads a TAP and writes the other, one thread, no policy", nil, buildRelay},
	{"vswitch", "two subnets, routed, two network ACLs, two security groups", nil, buildRouted},
	{"vswitch-10k", "as vswitch, with 10,000 rules in the security group", nil, buildMany},
	{"vswitch-l2", "one subnet, two security groups", nil, buildSubnet},
	{"bridge", "veth and Linux bridge, no policy", nil, buildBridge},
	{"bridge-ct", "veth and Linux bridge, connection tracking (br_netfilter, nft)", []string{"nft"}, buildTracked},
	{"ovs", "Open vSwitch, userspace datapath, TAPs, connection tracking", []string{"ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-ofctl"}, buildOVS},
	{"vde", "vde_switch, TAPs, no policy", []string{"vde_switch"}, buildVDE},
}

// missing returns the first program that the target needs and that is not there,
// or "".
func (t *target) missing() string {
	for _, program := range t.needs {
		if _, err := exec.LookPath(program); err != nil {
			return program
		}
	}
	return ""
}

func buildRelay(ctx context.Context, s *site) error {
	return s.between(ctx, task{Op: opRelay})
}

func buildBridge(ctx context.Context, s *site) error {
	return s.between(ctx, task{Op: opBridge})
}

// buildTracked adds rules like those of vswitch's security groups.
func buildTracked(ctx context.Context, s *site) error {
	rules := fmt.Sprintf(`table ip vsb {
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		ip saddr %[1]s meta l4proto { tcp, udp } accept
		meta l4proto icmp accept
	}
}
`, addressA.Addr())
	return s.between(ctx,
		task{Op: opBridge},
		task{Op: opTrack},
		task{Op: opRun, Argv: []string{"nft", "-f", "-"}, Input: rules})
}

func buildVDE(ctx context.Context, s *site) error {
	dir, err := s.directory()
	if err != nil {
		return err
	}
	return s.between(ctx,
		task{Op: opStart, Argv: []string{"vde_switch", "-sock", filepath.Join(dir, "ctl"), "-tap", linkA, "-tap", linkB}},
		task{Op: opAwait, Device: linkA},
		task{Op: opAwait, Device: linkB})
}

// buildOVS runs Open vSwitch with a database of its own, apart from one that the
// host may run. OVS_PKGDATADIR says where its schema is, as it does for Open
// vSwitch itself.
func buildOVS(ctx context.Context, s *site) error {
	data := os.Getenv("OVS_PKGDATADIR")
	if data == "" {
		data = "/usr/share/openvswitch"
	}
	schema := filepath.Join(data, "vswitch.ovsschema")
	dir, err := s.directory()
	if err != nil {
		return err
	}
	env := []string{"OVS_RUNDIR=" + dir, "OVS_DBDIR=" + dir, "OVS_LOGDIR=" + dir}
	conf, sock := filepath.Join(dir, "conf.db"), "unix:"+filepath.Join(dir, "db.sock")
	run := func(input string, argv ...string) task {
		return task{Op: opRun, Argv: argv, Env: env, Input: input}
	}
	vsctl := []string{"ovs-vsctl", "--retry", "--timeout=20", "--db=" + sock}
	add := append(vsctl, "add-br", "vsbr", "--", "set", "bridge", "vsbr", "datapath_type=netdev")
	for _, link := range []string{linkA, linkB} {
		add = append(add, "--", "add-port", "vsbr", link, "--", "set", "interface", link, "type=internal")
	}
	flows := strings.Join([]string{
		"table=0,priority=2,arp,actions=NORMAL",
		"table=0,priority=1,ip,actions=ct(table=1)",
		"table=1,priority=2,ip,ct_state=+trk+est,actions=NORMAL",
		fmt.Sprintf("table=1,priority=1,ip,ct_state=+trk+new,nw_src=%s,actions=ct(commit),NORMAL", addressA.Addr()),
	}, "\n") + "\n"
	bridge := "unix:" + filepath.Join(dir, "vsbr.mgmt")
	return s.between(ctx,
		run("", "ovsdb-tool", "create", conf, schema),
		task{Op: opStart, Env: env, Argv: []string{"ovsdb-server", conf, "--remote=p" + sock}},
		run("", append(vsctl[:4:4], "--no-wait", "init")...),
		task{Op: opStart, Env: env, Argv: []string{"ovs-vswitchd", sock}},
		run("", add...),
		task{Op: opAwait, Device: linkA},
		task{Op: opAwait, Device: linkB},
		run("", "ovs-ofctl", "del-flows", bridge),
		run(flows, "ovs-ofctl", "add-flows", bridge, "-"))
}

// between makes two hosts, and a namespace for the switch in which the tasks set
// it up: then linkA and linkB are there, which go to the hosts.
func (s *site) between(ctx context.Context, tasks ...task) error {
	if err := s.hosts(); err != nil {
		return err
	}
	middle, err := s.agent("")
	if err != nil {
		return err
	}
	for _, t := range tasks {
		if _, err := middle.call(ctx, t); err != nil {
			return err
		}
	}
	return s.connect(ctx, middle)
}
