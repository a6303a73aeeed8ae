package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vswitch/port"
)

// queueLength is how many frames the kernel keeps for the switch before it drops:
// the TAP driver's own default, set in case that one changes. A slot may hold a
// superframe of 64 KB, so 1000 of them are 64 MB and, at 10 Gb/s, 50 ms of delay
// already: more would hide a slow receiver from TCP, fewer would drop its bursts.
const queueLength = 1000

// openLink makes the endpoint's TAP with so many queues, and gives it everything
// but a way into the VPC's other subnets: that is what routes adds. It is called on
// a thread inside the endpoint's namespace.
func (e *endpoint) openLink(count int) (tap, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return tap{}, fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	// A second open of a multi-queue TAP would join it, whoever made it.
	switch _, err := h.LinkByName(e.device); {
	case err == nil && e.host():
		return tap{}, fmt.Errorf("link %s: exists and vswitch did not make it: delete it (ip link del %s), or choose another name with ifname", e.device, e.device)
	case err == nil:
		return tap{}, fmt.Errorf("link %s: exists in namespace %s and vswitch did not make it: delete it (ip -n %s link del %s)", e.device, e.namespace, e.namespace, e.device)
	case !errors.As(err, &netlink.LinkNotFoundError{}):
		return tap{}, fmt.Errorf("link %s: %w", e.device, err)
	}
	if !e.host() {
		if err := e.openNamespaceSettings(h); err != nil {
			return tap{}, err
		}
	}
	queues, err := port.OpenTAP(e.device, count)
	if err != nil {
		return tap{}, err
	}
	if _, err := queues[0].Place(); err != nil { // works will ask for it at every reload
		if errors.Is(err, unix.EINVAL) {
			err = fmt.Errorf("this kernel cannot tell where an interface is: Linux 5.2 or newer is needed: %w", err)
		}
		return tap{}, errors.Join(fmt.Errorf("link %s: %w", e.device, err), closeQueues(queues))
	}
	index, err := e.newLink(h)
	if err != nil {
		return tap{}, errors.Join(err, closeQueues(queues))
	}
	return tap{queues, index}, nil
}

// closeQueues closes all queues of a device.
func closeQueues(queues []*port.TAP) error {
	var errs []error
	for _, q := range queues {
		errs = append(errs, q.Close())
	}
	return errors.Join(errs...)
}

// openNamespaceSettings gives a namespace the settings that hold for all its
// links, before eth0 exists, so that eth0 never has an IPv6 address that nobody
// asked for.
func (e *endpoint) openNamespaceSettings(h *netlink.Handle) error {
	if err := e.settings6("default"); err != nil {
		return err
	}
	if err := e.allowIPv6("all", "default"); err != nil {
		return err
	}
	// Everybody may ping, without a right of their own; this holds for IPv6 as well.
	if err := setSysctl("net/ipv4/ping_group_range", "0 2147483647"); err != nil {
		return err
	}
	lo, err := h.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("link lo: %w", err)
	}
	if err := h.LinkSetUp(lo); err != nil {
		return fmt.Errorf("link lo: up: %w", err)
	}
	return nil
}

// newLink configures the TAP that was just made, and returns its index.
func (e *endpoint) newLink(h *netlink.Handle) (int, error) {
	link, err := h.LinkByName(e.device)
	if err != nil {
		return 0, fmt.Errorf("link %s: %w", e.device, err)
	}
	if err := e.settings(); err != nil {
		return 0, err
	}
	if err := e.identifyLink(h, link); err != nil {
		return 0, err
	}
	if err := h.LinkSetTxQLen(link, queueLength); err != nil {
		return 0, fmt.Errorf("link %s: queue of %d: %w", e.device, queueLength, err)
	}
	for _, a := range e.addresses {
		if err := addAddress(h, link, a); err != nil {
			return 0, err
		}
	}
	if err := h.LinkSetUp(link); err != nil {
		return 0, fmt.Errorf("link %s: up: %w", e.device, err)
	}
	return link.Attrs().Index, e.addRoutes(h, link)
}

// settings are the kernel's switches for the endpoint. In a namespace they are
// set in any case, because a new namespace takes over the host's.
func (e *endpoint) settings() error {
	if err := e.settings6(e.device); err != nil {
		return err
	}
	// The host's other links are not ours to switch: there it is the TAP's own.
	if err := e.allowIPv6(e.device); err != nil {
		return err
	}
	if err := e.forwarding6(); err != nil {
		return err
	}
	if e.host() {
		return setSysctl("net/ipv4/conf/"+e.device+"/forwarding", onOff(e.forward))
	}
	if err := setSysctl("net/ipv4/ip_forward", onOff(e.forward)); err != nil {
		return err
	}
	// An appliance sends packets out of the link they came by, and would tell their
	// senders of a shorter way (RFC 792, redirect) that the VPC does not have.
	for _, c := range []string{"all", e.device} {
		if err := setSysctl("net/ipv4/conf/"+c+"/send_redirects", onOff(!e.forward)); err != nil {
			return err
		}
	}
	return nil
}

// onOff returns a switch of /proc/sys.
func onOff(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

// identifyLink sets the MAC address and the MTU.
func (e *endpoint) identifyLink(h *netlink.Handle, link netlink.Link) error {
	if err := h.LinkSetHardwareAddr(link, net.HardwareAddr(e.mac[:])); err != nil {
		return fmt.Errorf("link %s: mac %s: %w", e.device, net.HardwareAddr(e.mac[:]), err)
	}
	// A TAP takes both while it is up, without losing its carrier.
	if err := h.LinkSetMTU(link, e.mtu); err != nil {
		return fmt.Errorf("link %s: mtu %d: %w", e.device, e.mtu, err)
	}
	return nil
}

// changeLink makes the link of old, which has the same place, that of e. It is
// called on a thread inside the namespace.
func (e *endpoint) changeLink(old *endpoint) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByName(e.device)
	if err != nil {
		return fmt.Errorf("link %s: %w", e.device, err)
	}
	// First the MTU: a link with less than 1280 bytes has no settings of IPv6.
	if err := e.identifyLink(h, link); err != nil {
		return err
	}
	// In a namespace, eth0's settings are right before "all" turns IPv6 on.
	if err := e.settings(); err != nil {
		return err
	}
	if !e.host() {
		if err := e.settings6("default"); err != nil {
			return err
		}
		if err := e.allowIPv6("all", "default"); err != nil {
			return err
		}
	}
	if err := e.changeAddresses(h, link, old); err != nil {
		return err
	}
	return e.changeRoutes(h, link, old)
}

// deleteLink removes a link of the host's namespace, if it is still the one with
// that index.
func deleteLink(name string, index int) (found bool, err error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return false, fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("link %s: %w", name, err)
	}
	if link.Attrs().Index != index {
		return true, errForeign
	}
	// ENODEV: the last descriptor was closed meanwhile.
	if err := h.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return true, fmt.Errorf("link %s: delete: %w", name, err)
	}
	return true, nil
}

// setSysctl writes one of /proc/sys; for what is below net, that of the calling
// thread's namespace.
func setSysctl(name, value string) error {
	f, err := os.OpenFile("/proc/sys/"+name, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("setting %s: %w", name, err)
	}
	_, err = f.WriteString(value)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("setting %s = %s: %w", name, value, err)
	}
	return nil
}

// ipNet returns p as netlink has it: the address itself with the mask.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
