package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// vpcName is the VPC's name; its namespaces are vsb-bench-a and vsb-bench-b.
const vpcName = "vsb-bench"

// Numbers of rules in the security group. Those beyond the least match nothing
// that is sent here.
const (
	leastRules = 3
	manyRules  = 10_000 // of the target vswitch-10k, whatever the plan says
	mostRules  = 20_000
)

func buildRouted(_ context.Context, s *site) error { return buildVPC(s, addressRouted, s.plan.rules) }
func buildSubnet(_ context.Context, s *site) error { return buildVPC(s, addressB, s.plan.rules) }
func buildMany(_ context.Context, s *site) error   { return buildVPC(s, addressRouted, manyRules) }

// buildVPC brings vswitch up, with host B at the given address.
func buildVPC(s *site, b netip.Prefix, rules int) error {
	dir, err := s.directory()
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "vpc.toml")
	contents := [2][]byte{vpcFile(b, rules), vpcFile(b, rules+1)}
	if err := os.WriteFile(file, contents[0], 0o600); err != nil {
		return err
	}
	if err := vswitch(s.plan.vswitch, "up", "-f", file); err != nil {
		return fmt.Errorf("%w\n(a VPC that an earlier run left behind: vswitch down --vpc %s)", err, vpcName)
	}
	s.later(func() error { return vswitch(s.plan.vswitch, "down", "-f", file) })
	if s.a, err = s.agent(vpcName + "-a"); err != nil {
		return err
	}
	if s.b, err = s.agent(vpcName + "-b"); err != nil {
		return err
	}
	s.deviceA, s.deviceB, s.peer = "eth0", "eth0", b.Addr()
	s.control = newControl(file, contents)
	return nil
}

// vswitch runs a command of the binary to its end, also when this program is
// being interrupted: half a command is harder to clean up.
func vswitch(binary string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the terminal's Ctrl-C is not for it
	cmd.WaitDelay = time.Second                           // the switch that `up` leaves behind may hold the output open
	out, err := cmd.CombinedOutput()
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("%s %s: %w: %s", binary, args[0], err, bytes.TrimSpace(out))
	}
	return nil
}

// vpcFile returns a VPC with host A in subnet s and host B, at the given address,
// in s or t: each with a security group and each subnet with a network ACL.
func vpcFile(b netip.Prefix, rules int) []byte {
	var f bytes.Buffer
	subnetB := "s"
	if b.Masked() != addressA.Masked() {
		subnetB = "t"
	}
	fmt.Fprintf(&f, `[vpc]
name = %q
cidr = "10.99.0.0/16"
mtu = 1500
[quotas]
rules_per_security_group = %d
rules_per_interface = %d
[subnet.s]
cidr = %q
nacl = "n"
[subnet.t]
cidr = %q
nacl = "n"
`, vpcName, mostRules+1, mostRules+1, addressA.Masked(), addressRouted.Masked())
	fmt.Fprintln(&f, "[nacl.n]")
	for _, way := range []struct{ direction, remote string }{{"ingress", "from"}, {"egress", "to"}} {
		fmt.Fprintf(&f, `%s = [
  { rule = 90, action = "deny", proto = "tcp", ports = 23, %[2]s = "0.0.0.0/0" },
  { rule = 100, action = "allow", proto = "all", %[2]s = "10.99.0.0/16" },
]
`, way.direction, way.remote)
	}
	fmt.Fprintln(&f, "[security_group.g]\ningress = [")
	for _, proto := range []string{"tcp", "udp", "icmp"} {
		fmt.Fprintf(&f, "  { proto = %q, from = \"%s/32\" },\n", proto, addressA.Addr())
	}
	for i := range rules - leastRules {
		fmt.Fprintf(&f, "  { proto = \"tcp\", ports = %d, from = \"172.%d.%d.0/24\" },\n", 1+i%60_000, 16+i/256%16, i%256)
	}
	fmt.Fprintln(&f, "]")
	fmt.Fprintf(&f, "[instance.a]\nsubnet = \"s\"\nip = %q\nsg = [\"g\"]\n", addressA.Addr())
	fmt.Fprintf(&f, "[instance.b]\nsubnet = %q\nip = %q\nsg = [\"g\"]\n", subnetB, b.Addr())
	return f.Bytes()
}
