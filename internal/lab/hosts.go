package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	vswitch "vswitch/switch"
)

// etcDir is where `ip netns exec` looks for files to lay over those of /etc.
const etcDir = "/etc/netns"

// A hostsDirectory is /etc/netns/NAMESPACE: how names resolve in one instance.
// There is no resolver in a VPC without a DNS service, so nothing may wait for
// one: names come from the hosts file alone, and the list of resolvers is empty.
type hostsDirectory struct {
	vpc       string
	instance  string
	namespace string
}

func (d hostsDirectory) path() string { return filepath.Join(etcDir, d.namespace) }

// mark is the first line of the hosts file. It says whose the directory is when
// the journal of it is lost: /etc outlives a restart of the machine.
func (d hostsDirectory) mark() string {
	return fmt.Sprintf("# Made by vswitch for VPC %s, namespace %s. `vswitch down` removes it.\n", d.vpc, d.namespace)
}

// marked reports whether the directory exists and bears the mark.
func (d hostsDirectory) marked() bool {
	data, err := os.ReadFile(filepath.Join(d.path(), "hosts"))
	return err == nil && strings.HasPrefix(string(data), d.mark())
}

// exists reports whether something is at the directory's path.
func (d hostsDirectory) exists() (bool, error) {
	_, err := os.Lstat(d.path())
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// hostsFile returns the names of the VPC's instances, as /etc/hosts has them. A
// name means the first address of each family; an instance without IPv6 is not
// told of addresses that it cannot reach.
func hostsFile(c *vswitch.Config, endpoints map[string]endpoint, ipv6 bool) string {
	var b strings.Builder
	b.WriteString("127.0.0.1\tlocalhost\n")
	if ipv6 {
		b.WriteString("::1\tlocalhost ip6-localhost ip6-loopback\n")
	}
	for i := range c.Instances {
		name := c.Instances[i].Name
		var seen4, seen6 bool
		for _, p := range endpoints[name].addresses {
			a, seen := p.Addr(), &seen4
			if a.Is6() {
				seen = &seen6
			}
			if *seen || a.Is6() && !ipv6 {
				continue
			}
			*seen = true
			fmt.Fprintf(&b, "%s\t%s %s.%s.internal\n", a, name, name, c.VPC.Name)
		}
	}
	return b.String()
}

// A naming is how the names of a VPC resolve: what the files in the instances'
// directories say.
type naming struct {
	hosts  map[bool]string   // the lines of the hosts file, of instances with IPv6 and without
	others map[string]string // the other files; one whose counterpart in /etc the host lacks is left out, for it could not be laid over anything
}

// newNaming returns the naming of a VPC on this host. Only instances in namespaces
// of their own need one.
func newNaming(c *vswitch.Config, endpoints map[string]endpoint, services *serviceList) (naming, error) {
	n := naming{hosts: map[bool]string{}, others: map[string]string{}}
	for _, e := range endpoints {
		if ipv6 := e.ipv6(); !e.host() && n.hosts[ipv6] == "" {
			n.hosts[ipv6] = hostsFile(c, endpoints, ipv6)
		}
	}
	if len(n.hosts) == 0 {
		return n, nil
	}
	if _, err := os.Stat("/etc/hosts"); err != nil {
		return naming{}, fmt.Errorf("/etc/hosts must exist, for the names of the VPC are laid over it: %w", err)
	}
	if _, err := os.Stat("/etc/resolv.conf"); err == nil {
		n.others["resolv.conf"] = "# This VPC has no DNS service: names come from /etc/hosts.\n"
	}
	text, err := services.read()
	if err != nil {
		return naming{}, err
	}
	if text != "" {
		n.others["nsswitch.conf"] = text
	}
	return n, nil
}

// A serviceList is what the instances' nsswitch.conf says, made of the host's. The
// zero serviceList has not looked there yet.
type serviceList struct {
	of   imprint // of the host's
	text string
}

// nsswitch is the host's list of services that know names.
const nsswitch = "/etc/nsswitch.conf"

// read returns what the instances' list says; "" if the host has none. The host's own
// may name services that answer for the host, over a socket of its own, or that wait
// for the network.
func (s *serviceList) read() (string, error) {
	now, ok := imprintOf(nsswitch, "")
	if ok && now == s.of {
		return s.text, nil
	}
	host, err := os.ReadFile(nsswitch)
	if errors.Is(err, os.ErrNotExist) {
		*s = serviceList{}
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("hosts: %w", err)
	}
	var b strings.Builder
	b.WriteString("hosts: files\n")
	for line := range strings.Lines(string(host)) {
		if !strings.HasPrefix(line, "hosts:") {
			b.WriteString(line)
		}
	}
	*s = serviceList{now, b.String()}
	return s.text, nil
}

// write makes the directory if need be, and writes those of its files that are not
// known to be right. They are written in place, because running commands have them
// mounted over their /etc and would keep a file that was replaced.
func (d hostsDirectory) write(n naming, ipv6 bool, known settled) error {
	if err := d.writeFile("hosts", d.mark()+n.hosts[ipv6], known); err != nil {
		return err
	}
	for name, content := range n.others {
		if err := d.writeFile(name, content, known); err != nil {
			return err
		}
	}
	return nil
}

func (d hostsDirectory) writeFile(name, content string, known settled) error {
	path := filepath.Join(d.path(), name)
	if known.hold(path, content) {
		return nil
	}
	err := os.MkdirAll(d.path(), 0o755)
	if err == nil {
		err = writeInPlace(path, content)
	}
	if err != nil {
		return fmt.Errorf("hosts of %s: %w", d.instance, err)
	}
	known.remember(path, content)
	return nil
}

// writeInPlace makes content the content of the file at path, which keeps its
// inode, and is left alone if it has that content.
func writeInPlace(path, content string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	old, err := io.ReadAll(f)
	if err == nil && string(old) != content {
		// Longer first, then cut: a reader in between sees whole lines of either.
		_, err = f.WriteAt([]byte(content), 0)
		err = errors.Join(err, f.Truncate(int64(len(content))))
	}
	return errors.Join(err, f.Close())
}

// remove removes the directory with the files that write wrote. What somebody
// else laid there stays, with the directory, and left says so.
func (d hostsDirectory) remove() (removed bool, left string, err error) {
	if _, err := os.Lstat(filepath.Join(d.path(), "hosts")); err == nil && !d.marked() {
		return false, fmt.Sprintf("directory %s: %v", d.path(), errForeign), nil
	}
	for _, name := range []string{"hosts", "resolv.conf", "nsswitch.conf"} {
		err := os.Remove(filepath.Join(d.path(), name))
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
			return false, "", fmt.Errorf("hosts of %s: %w", d.instance, err)
		}
	}
	err = os.Remove(d.path())
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, "", nil
	case errors.Is(err, unix.ENOTEMPTY):
		return true, fmt.Sprintf("directory %s: holds files that vswitch did not make", d.path()), nil
	case err != nil:
		return false, "", fmt.Errorf("hosts of %s: %w", d.instance, err)
	}
	return true, "", nil
}
