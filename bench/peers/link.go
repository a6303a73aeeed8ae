package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// linkPatience is how long a link, or the way to the peer, may take to appear.
const linkPatience = 10 * time.Second

// configure brings t.Device and the loopback up, and gives the former t.Address.
func configure(t task) (float64, error) {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return 0, fmt.Errorf("link lo: %w", err)
	}
	link, err := netlink.LinkByName(t.Device)
	if err != nil {
		return 0, fmt.Errorf("link %s: %w", t.Device, err)
	}
	address, err := netlink.ParseAddr(t.Address)
	if err != nil {
		return 0, err
	}
	return 0, errors.Join(
		netlink.LinkSetUp(loopback),
		netlink.AddrAdd(link, address),
		netlink.LinkSetUp(link))
}

// give moves t.Device into the namespace of the process t.PID.
func give(t task) (float64, error) {
	link, err := netlink.LinkByName(t.Device)
	if err != nil {
		return 0, fmt.Errorf("link %s: %w", t.Device, err)
	}
	if err := netlink.LinkSetNsPid(link, t.PID); err != nil {
		return 0, fmt.Errorf("link %s: move: %w", t.Device, err)
	}
	return 0, nil
}

// received returns how many frames t.Device has received.
func received(t task) (float64, error) {
	s, err := statistics(t.Device)
	return float64(s.RxPackets), err
}

// unsent returns how many frames the queue of t.Device has not taken in.
func unsent(t task) (float64, error) {
	s, err := statistics(t.Device)
	return float64(s.TxDropped), err
}

// statistics returns the counters of a device.
func statistics(device string) (netlink.LinkStatistics, error) {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return netlink.LinkStatistics{}, fmt.Errorf("link %s: %w", device, err)
	}
	s := link.Attrs().Statistics
	if s == nil {
		return netlink.LinkStatistics{}, fmt.Errorf("link %s: no statistics", device)
	}
	return *s, nil
}

// awaitLink waits until another process has made t.Device.
func awaitLink(t task) (float64, error) {
	for end := time.Now().Add(linkPatience); ; time.Sleep(10 * time.Millisecond) {
		_, err := netlink.LinkByName(t.Device)
		if err == nil {
			return 0, nil
		}
		if time.Now().After(end) {
			return 0, fmt.Errorf("link %s: %w", t.Device, err)
		}
	}
}

// makeBridge makes a Linux bridge with two veth pairs. The far ends of those are
// linkA and linkB.
func makeBridge(task) (float64, error) {
	bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
	bridge.Name = "vsbr"
	if err := netlink.LinkAdd(bridge); err != nil {
		return 0, fmt.Errorf("link %s: %w", bridge.Name, err)
	}
	for _, far := range []string{linkA, linkB} {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = far + "-sw"
		attrs.MasterIndex = bridge.Index
		near := &netlink.Veth{LinkAttrs: attrs, PeerName: far}
		if err := netlink.LinkAdd(near); err != nil {
			return 0, fmt.Errorf("link %s: %w", attrs.Name, err)
		}
		if err := netlink.LinkSetUp(near); err != nil {
			return 0, fmt.Errorf("link %s: %w", attrs.Name, err)
		}
	}
	return 0, netlink.LinkSetUp(bridge)
}

// trackBridge has what crosses the namespace's bridges pass the hooks of IP, as
// far as rules are there.
func trackBridge(task) (float64, error) {
	const knob = "/proc/sys/net/bridge/bridge-nf-call-iptables"
	if err := os.WriteFile(knob, []byte("1"), 0); err != nil {
		return 0, fmt.Errorf("no br_netfilter in this kernel (try `modprobe br_netfilter`): %w", err)
	}
	return 0, nil
}

// A route is the way of a frame out of a host.
type route struct {
	device      int // index
	source, hop net.HardwareAddr
	from, to    netip.Addr
}

// routeTo returns the way out of the device to the peer, whose next hop must be
// known from an earlier exchange.
func routeTo(device, peer string) (route, error) {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return route{}, fmt.Errorf("link %s: %w", device, err)
	}
	to, err := netip.ParseAddr(peer)
	if err != nil {
		return route{}, err
	}
	found, err := netlink.RouteGet(to.AsSlice())
	if err != nil || len(found) == 0 {
		return route{}, fmt.Errorf("route to %s: %w", to, err)
	}
	next := found[0].Gw
	if next == nil {
		next = to.AsSlice()
	}
	from, ok := netip.AddrFromSlice(found[0].Src)
	if !ok {
		return route{}, fmt.Errorf("route to %s: no source address", to)
	}
	neighbors, err := netlink.NeighList(link.Attrs().Index, unix.AF_INET)
	if err != nil {
		return route{}, fmt.Errorf("link %s: neighbors: %w", device, err)
	}
	for _, n := range neighbors {
		if n.IP.Equal(next) && len(n.HardwareAddr) == 6 {
			return route{
				device: link.Attrs().Index,
				source: link.Attrs().HardwareAddr, hop: n.HardwareAddr,
				from: from.Unmap(), to: to,
			}, nil
		}
	}
	return route{}, fmt.Errorf("link %s: the MAC address of %s is not known", device, next)
}

// listen starts host B's servers.
func listen(task) (float64, error) {
	return 0, errors.Join(
		serve(sinkPort, true, drain),
		serve(echoPort, true, echo),
		serve(greetPort, false, greet),
		discard())
}

// reach waits until the peer's servers answer.
func reach(t task) (float64, error) {
	for end := time.Now().Add(linkPatience); ; {
		err := knock(t.Peer)
		if err == nil {
			return 0, nil
		}
		if time.Now().After(end) {
			return 0, fmt.Errorf("the switch does not forward: %w", err)
		}
	}
}

// knock exchanges one message with the peer, or waits for at most a second.
func knock(peer string) error {
	c, err := net.DialTimeout("tcp4", net.JoinHostPort(peer, fmt.Sprint(echoPort)), time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	b := make([]byte, messageSize)
	if _, err := c.Write(b); err != nil {
		return err
	}
	_, err = c.Read(b)
	return err
}
