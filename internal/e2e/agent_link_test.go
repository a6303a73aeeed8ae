package e2e

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// listen remembers the frames that arrive at eth0, not those that leave, until
// the process ends: their first 2,048 bytes, and 4,096 frames at most.
func (a *agent) listen() {
	buffer := make([]byte, 1<<17)
	for {
		n, from, err := unix.Recvfrom(a.packets, buffer, 0)
		if err != nil {
			continue // ENETDOWN: a reload has had the link down
		}
		if link, ok := from.(*unix.SockaddrLinklayer); ok && link.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		a.mu.Lock()
		if len(a.heard) < 4096 {
			a.heard = append(a.heard, hex.EncodeToString(buffer[:min(n, 2048)]))
		}
		a.mu.Unlock()
	}
}

// report answers with the frames that have arrived since the last report.
func (a *agent) report([]string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	frames := strings.Join(a.heard, " ")
	a.heard = nil
	return frames, nil
}

// send FRAME puts a frame on the wire as it is.
func (a *agent) send(args []string) (string, error) {
	frame, err := hex.DecodeString(args[0])
	if err != nil {
		return "", err
	}
	return "sent", unix.Sendto(a.packets, frame, 0, &unix.SockaddrLinklayer{Ifindex: a.eth0, Halen: 6})
}

// ping SOURCE DESTINATION ID LENGTH PATIENCE sends an echo request with that
// identifier and that much data, which must not be fragmented if LENGTH begins
// with "df", and answers with the fate of it.
func (a *agent) ping(args []string) (string, error) {
	source, err := netip.ParseAddr(args[0])
	if err != nil {
		return "", err
	}
	destination, err := netip.ParseAddr(args[1])
	if err != nil {
		return "", err
	}
	id, err := strconv.Atoi(args[2])
	if err != nil {
		return "", err
	}
	length, whole := strings.CutPrefix(args[3], "df")
	size, err := strconv.Atoi(length)
	if err != nil {
		return "", err
	}
	patience, err := time.ParseDuration(args[4])
	if err != nil {
		return "", err
	}
	fd, err := a.pingSocket(source, id, whole)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	request := append([]byte{8, 0, 0, 0, 0, 0, 0, 1}, make([]byte, size)...)
	if destination.Is6() {
		request[0] = 128
	}
	if err := unix.Sendto(fd, request, 0, a.sockaddr(destination, 0)); err != nil {
		return fate(err), nil
	}
	wait := unix.NsecToTimeval(patience.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return "", err
	}
	n, _, err := unix.Recvfrom(fd, make([]byte, 1<<16), 0)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return "timeout", nil
	case err == nil && n != len(request):
		return "", fmt.Errorf("an echo of %d bytes, want %d", n, len(request))
	}
	return fate(err), nil
}

// pingSocket opens a socket for echo requests; the port of one is the identifier.
func (a *agent) pingSocket(source netip.Addr, id int, whole bool) (int, error) {
	domain, protocol, level, discover := unix.AF_INET, unix.IPPROTO_ICMP, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER
	if source.Is6() {
		domain, protocol, level, discover = unix.AF_INET6, unix.IPPROTO_ICMPV6, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return 0, err
	}
	if whole {
		err = unix.SetsockoptInt(fd, level, discover, unix.IP_PMTUDISC_DO)
	}
	err = errors.Join(err, unix.Bind(fd, a.sockaddr(source, id)))
	if err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("ping from %s: %w", source, err)
	}
	return fd, nil
}

// sockaddr returns an address as the kernel takes it. A link-local one is that of
// eth0.
func (a *agent) sockaddr(address netip.Addr, port int) unix.Sockaddr {
	if address.Is4() {
		return &unix.SockaddrInet4{Addr: address.As4(), Port: port}
	}
	s := &unix.SockaddrInet6{Addr: address.As16(), Port: port}
	if address.IsLinkLocalUnicast() {
		s.ZoneId = uint32(a.eth0)
	}
	return s
}

// links answers with the MAC address of eth0 and the IPv6 gateway, which is
// "none" without IPv6.
func (a *agent) links([]string) (string, error) {
	link, err := netlink.LinkByIndex(a.eth0)
	if err != nil {
		return "", err
	}
	routes, err := netlink.RouteList(link, netlink.FAMILY_V6)
	if err != nil {
		return "", err
	}
	gateway := "none"
	for _, r := range routes {
		if r.Gw != nil {
			gateway = r.Gw.String()
		}
	}
	return link.Attrs().HardwareAddr.String() + " " + gateway, nil
}

// find ADDRESS PATIENCE has the kernel look for a neighbour, and answers with the
// neighbour's MAC address, or "nobody".
func (a *agent) find(args []string) (string, error) {
	address, err := netip.ParseAddr(args[0])
	if err != nil {
		return "", err
	}
	patience, err := time.ParseDuration(args[1])
	if err != nil {
		return "", err
	}
	entry := &netlink.Neigh{LinkIndex: a.eth0, IP: address.AsSlice(), Family: netlink.FAMILY_V4}
	if address.Is6() {
		entry.Family = netlink.FAMILY_V6
	}
	forget := func() error {
		if err := netlink.NeighDel(entry); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("forget %s: %w", address, err)
		}
		return nil
	}
	if err := forget(); err != nil {
		return "", err
	}
	// NTF_USE: the kernel resolves the address as if it had a packet for it.
	wanted := *entry
	wanted.Flags, wanted.State = netlink.NTF_USE, netlink.NUD_NONE
	if err := netlink.NeighSet(&wanted); err != nil {
		return "", fmt.Errorf("look for %s: %w", address, err)
	}
	found := ""
	err = poll(patience, func() (bool, error) {
		list, err := netlink.NeighList(a.eth0, entry.Family)
		for _, n := range list {
			if n.IP.Equal(entry.IP) && n.State&(netlink.NUD_REACHABLE|netlink.NUD_STALE|netlink.NUD_DELAY|netlink.NUD_PROBE) != 0 {
				found = n.HardwareAddr.String()
			}
		}
		return found != "", err
	})
	if err != nil || found != "" {
		return found, err
	}
	return "nobody", forget() // or the kernel would ask again
}

// claim ADDRESS has the kernel give up an IPv6 address of eth0 and take it anew,
// this time asking first whether somebody else has it (RFC 4862, section 5.4). It
// answers "unique" or "duplicate".
func (a *agent) claim(args []string) (string, error) {
	address, err := netip.ParseAddr(args[0])
	if err != nil {
		return "", err
	}
	link, err := netlink.LinkByIndex(a.eth0)
	if err != nil {
		return "", err
	}
	const setting = "/proc/sys/net/ipv6/conf/eth0/accept_dad"
	if err := os.WriteFile(setting, []byte("1"), 0); err != nil {
		return "", err
	}
	defer os.WriteFile(setting, []byte("0"), 0)
	wanted := &netlink.Addr{IPNet: &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(64, 128)}}
	if err := netlink.AddrDel(link, wanted); err != nil {
		return "", err
	}
	if err := netlink.AddrAdd(link, wanted); err != nil {
		return "", err
	}
	var flags int
	err = poll(5*time.Second, func() (bool, error) {
		list, err := netlink.AddrList(link, netlink.FAMILY_V6)
		for _, l := range list {
			if l.IP.Equal(wanted.IP) {
				flags = l.Flags
			}
		}
		return flags&unix.IFA_F_TENTATIVE == 0 || flags&unix.IFA_F_DADFAILED != 0, err
	})
	switch {
	case err != nil:
		return "", err
	case flags&unix.IFA_F_DADFAILED != 0:
		return "duplicate", nil
	case flags&unix.IFA_F_TENTATIVE != 0:
		return "", fmt.Errorf("%s is still tentative", address)
	}
	return "unique", nil
}

// poll calls done until it reports true or an error, or patience runs out.
func poll(patience time.Duration, done func() (bool, error)) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		if ok, err := done(); ok || err != nil {
			return err
		}
	}
	return nil
}
