package lab

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// settings6 prepares the kernel's IPv6 for a VPC, in one of
// /proc/sys/net/ipv6/conf: before it is on, so that nothing is done the kernel's
// usual way first.
//
//   - The link-local address is the EUI-64 of the MAC address, the only one that
//     the VPC takes (SEM 5.4), and not a random one.
//   - Addresses and the default route are set once and for all: nothing is taken
//     from a router advertisement, though the VPC answers who asks for one. A route
//     learnt from it would expire, since nobody repeats it.
//   - Nobody looks for a duplicate of an address: the configuration has none, and
//     an address could not be used for the second that the search takes.
func (e *endpoint) settings6(conf string) error {
	if !e.ipv6() {
		return nil
	}
	for _, s := range []struct{ name, value string }{
		{"addr_gen_mode", "0"},
		{"accept_ra", "0"},
		{"accept_dad", "0"},
	} {
		if err := setSysctl("net/ipv6/conf/"+conf+"/"+s.name, s.value); err != nil {
			return err
		}
	}
	return nil
}

// allowIPv6 turns IPv6 on or off for some of /proc/sys/net/ipv6/conf.
func (e *endpoint) allowIPv6(conf ...string) error {
	for _, c := range conf {
		err := setSysctl("net/ipv6/conf/"+c+"/disable_ipv6", onOff(!e.ipv6()))
		if errors.Is(err, os.ErrNotExist) && !e.ipv6() {
			return nil // a kernel without IPv6, or a link too narrow for it, is what we want
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// forwarding6 lets the instance forward IPv6 for others, or not.
//
// A namespace's kernel forwards between all links or none. So does the host's,
// which is not ours to switch, unless it can be told for one link alone (Linux
// 6.17).
func (e *endpoint) forwarding6() error {
	if !e.ipv6() {
		return nil
	}
	if !e.host() {
		return setSysctl("net/ipv6/conf/all/forwarding", onOff(e.forward))
	}
	err := setSysctl("net/ipv6/conf/"+e.device+"/force_forwarding", onOff(e.forward))
	if !errors.Is(err, os.ErrNotExist) || !e.forward {
		return ignoreMissing(err)
	}
	all, err := os.ReadFile("/proc/sys/net/ipv6/conf/all/forwarding")
	if err == nil && strings.TrimSpace(string(all)) == "1" {
		return nil
	}
	return fmt.Errorf("link %s: source_dest_check = false: this kernel forwards IPv6 for all links or for none, and this host for none: sysctl -w net.ipv6.conf.all.forwarding=1, or kind netns", e.device)
}

// ignoreMissing returns nil for a setting that the kernel does not have.
func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
