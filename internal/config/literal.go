package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"vswitch/internal/policy"
)

// protocols are the names that a rule may give a protocol.
var protocols = map[string]policy.Protocol{
	"tcp": policy.TCP, "udp": policy.UDP, "icmp": policy.ICMP, "icmpv6": policy.ICMPv6, "all": policy.AllProtocols,
}

// protocolNames are the same names, in the order in which messages list them.
var protocolNames = []string{"tcp", "udp", "icmp", "icmpv6", "all"}

// prefix reads a block. Host bits may be set: AWS clears them (SEM 1.3, 5.1), and
// so does vswitch.Complete.
func (d *decoder) prefix(n *node, s string) netip.Prefix {
	p, err := netip.ParsePrefix(s)
	if err == nil {
		return p
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		d.errorAt(n, fmt.Sprintf("did you mean \"%s/%d\"?", s, a.BitLen()), "%q is an address, not a block", s)
	} else {
		d.errorAt(n, "", "%q is not a block such as 10.0.0.0/16", s)
	}
	return netip.Prefix{}
}

// addr reads an address.
func (d *decoder) addr(n *node, s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err == nil && a.Zone() == "" {
		return a
	}
	hint := ""
	if p, err := netip.ParsePrefix(s); err == nil {
		hint = fmt.Sprintf("did you mean %q?", p.Addr())
	}
	d.errorAt(n, hint, "%q is not an address", s)
	return netip.Addr{}
}

// duration reads a duration longer than zero.
func (d *decoder) duration(n *node, s string) time.Duration {
	t, err := time.ParseDuration(s)
	if err != nil {
		hint := ""
		if _, err := strconv.Atoi(s); err == nil {
			hint = fmt.Sprintf("did you mean %q?", s+"s")
		}
		d.errorAt(n, hint, "%q is not a duration such as 350s", s)
		return 0
	}
	if t <= 0 {
		d.errorAt(n, "", "%s is not longer than zero", t)
		return 0
	}
	return t
}

// verdict reads what a rule or a test wants.
func (d *decoder) verdict(n *node, s string) policy.Verdict {
	switch s {
	case "allow":
		return policy.Allow
	case "deny":
		return policy.Deny
	}
	d.errorAt(n, didYouMean(s, []string{"allow", "deny"}), "%q is neither allow nor deny", s)
	return policy.Deny
}

// protocol reads a protocol: a name, or a number as an integer or a string. -1 is
// AWS's way to say all (SEM 1.3).
func (d *decoder) protocol(n *node, value any) (policy.Protocol, bool) {
	number, isNumber := value.(int64)
	if s, ok := value.(string); ok {
		if p, ok := protocols[s]; ok {
			return p, true
		}
		i, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			d.errorAt(n, didYouMean(s, protocolNames), "no protocol %q: want %s, or a number", s, strings.Join(protocolNames, ", "))
			return 0, false
		}
		number, isNumber = i, true
	}
	switch {
	case !isNumber:
		d.errorAt(n, "", "want a string or an integer, got %s", typeName(value))
	case number != -1 && (number < 1 || number > 255):
		d.errorAt(n, "", "protocol %d is outside 1-255", number)
	default:
		return policy.Protocol(number), true
	}
	return 0, false
}

// ports reads a port or a range of ports: an integer, "443" or "1024-65535".
// Validate finds those that are upside down.
func (d *decoder) ports(n *node, value any) policy.Ports {
	switch v := value.(type) {
	case int64:
		if v < 0 || v > 65535 {
			d.errorAt(n, "", "port %d is outside 0-65535", v)
			return policy.AllPorts
		}
		return policy.Ports{From: uint16(v), To: uint16(v)}
	case string:
		p, err := parsePorts(v)
		if err != nil {
			d.errorAt(n, "", "%s", err)
			return policy.AllPorts
		}
		return p
	}
	d.errorAt(n, "", "want an integer or a string such as \"1024-65535\", got %s", typeName(value))
	return policy.AllPorts
}

// parsePorts reads "443" or "1024-65535".
func parsePorts(s string) (policy.Ports, error) {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	var ends [2]uint16
	for i, end := range []string{first, last} {
		port, err := strconv.ParseUint(end, 10, 64)
		if err != nil {
			return policy.Ports{}, fmt.Errorf("%q is not a port or a range such as 1024-65535", s)
		}
		if port > 65535 {
			return policy.Ports{}, fmt.Errorf("port %d is outside 0-65535", port)
		}
		ends[i] = uint16(port)
	}
	return policy.Ports{From: ends[0], To: ends[1]}, nil
}

// icmpNumber reads an ICMP type or code: an integer from -1, which means any.
func (d *decoder) icmpNumber(n *node, what string, number int64) int16 {
	if number < -1 || number > 255 {
		d.errorAt(n, "", "%s %d is outside 0-255", what, number)
		return 0
	}
	return int16(number)
}

// icmpType reads an ICMP type: a number or a registered name.
func (d *decoder) icmpType(n *node, p policy.Protocol, value any) int16 {
	switch v := value.(type) {
	case int64:
		return d.icmpNumber(n, "type", v)
	case string:
		typ, err := parseICMPType(p, v)
		if err == nil {
			return typ
		}
		names := policy.ICMPTypeNames(p)
		slices.Sort(names)
		d.errorAt(n, didYouMean(v, names), "%s", err)
		return 0
	}
	d.errorAt(n, "", "want a string or an integer, got %s", typeName(value))
	return 0
}

// parseICMPType reads the name of an ICMP type.
func parseICMPType(p policy.Protocol, s string) (int16, error) {
	if typ, ok := policy.ICMPType(p, s); ok {
		return typ, nil
	}
	return 0, fmt.Errorf("no %s type %q", p, s)
}
