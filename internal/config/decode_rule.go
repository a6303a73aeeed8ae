package config

import (
	"math"
	"net/netip"
	"strings"

	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// securityGroup decodes one [security_group.NAME].
func (d *decoder) securityGroup(name string, t *tableReader) vswitch.SecurityGroup {
	return vswitch.SecurityGroup{
		Name:        name,
		Description: t.text("description"),
		Ingress: elements(t, "ingress", func(t *tableReader) vswitch.SecurityGroupRule {
			return d.securityGroupRule(t, policy.Ingress)
		}),
		Egress: elements(t, "egress", func(t *tableReader) vswitch.SecurityGroupRule {
			return d.securityGroupRule(t, policy.Egress)
		}),
		Origin: d.origin(t.at),
	}
}

// securityGroupRule decodes one rule of a security group.
func (d *decoder) securityGroupRule(t *tableReader, direction policy.Direction) vswitch.SecurityGroupRule {
	return vswitch.SecurityGroupRule{
		ID:          t.text("id"),
		Service:     d.service(t),
		Peer:        single(t, peerKey(t, direction), d.peer),
		Description: t.text("description"),
		Origin:      d.origin(t.at),
	}
}

// networkACL decodes one [nacl.NAME].
func (d *decoder) networkACL(name string, t *tableReader) vswitch.NetworkACL {
	return vswitch.NetworkACL{
		Name: name,
		Ingress: elements(t, "ingress", func(t *tableReader) vswitch.NetworkACLEntry {
			return d.networkACLEntry(t, policy.Ingress)
		}),
		Egress: elements(t, "egress", func(t *tableReader) vswitch.NetworkACLEntry {
			return d.networkACLEntry(t, policy.Egress)
		}),
		Origin: d.origin(t.at),
	}
}

// networkACLEntry decodes one numbered rule of a network ACL.
func (d *decoder) networkACLEntry(t *tableReader, direction policy.Direction) vswitch.NetworkACLEntry {
	e := vswitch.NetworkACLEntry{
		Service: d.service(t),
		CIDR:    single(t, peerKey(t, direction), d.aclBlock),
		Origin:  d.origin(t.at),
	}
	t.require("rule")
	t.require("action")
	number, _, _ := get[int64](t, "rule", "an integer")
	e.Number = int(max(min(number, math.MaxInt), math.MinInt)) // Validate knows the range
	e.Action = single(t, "action", d.verdict)
	return e
}

// peerKey returns the key by which a rule names its remote end, and refuses the
// one that goes with the other direction.
func peerKey(t *tableReader, direction policy.Direction) string {
	key, other := "from", "to"
	if direction == policy.Egress {
		key, other = other, key
	}
	if t.values[other] != nil {
		t.reject(other, "an %s rule has %q instead", direction, key)
		t.d.absent[absence{t.at, key}] = true
	} else {
		t.known = append(t.known, other)
	}
	return key
}

// peer reads the remote end of a security-group rule. Validate finds the names
// that dangle.
func (d *decoder) peer(n *node, s string) vswitch.Peer {
	if name, ok := strings.CutPrefix(s, "sg:"); ok {
		return vswitch.Peer{Kind: vswitch.PeerSecurityGroup, Name: name}
	}
	if name, ok := strings.CutPrefix(s, "pl:"); ok {
		return vswitch.Peer{Kind: vswitch.PeerPrefixList, Name: name}
	}
	if s == "internet" {
		return vswitch.Peer{Kind: vswitch.PeerInternet}
	}
	_, isInstance := d.instances[s]
	_, isSubnet := d.subnets[s]
	switch {
	case isInstance && isSubnet:
		d.errorAt(n, "", "%q is both an instance and a subnet: give one of them another name, or write its block", s)
		return vswitch.Peer{}
	case isSubnet:
		return vswitch.Peer{Kind: vswitch.PeerSubnet, Name: s}
	case isInstance || !looksLikeBlock(s):
		return vswitch.Peer{Kind: vswitch.PeerInstance, Name: s}
	}
	return vswitch.Peer{Kind: vswitch.PeerCIDR, Prefix: d.prefix(n, s)}
}

// looksLikeBlock reports whether s is meant to be a block or an address rather
// than a name: no name of an instance holds any of these characters.
func looksLikeBlock(s string) bool { return s == "" || strings.ContainsAny(s, "./:") }

// aclBlock reads the remote end of a network ACL's rule, which is always a block.
func (d *decoder) aclBlock(n *node, s string) netip.Prefix {
	if s == "internet" || !looksLikeBlock(s) || strings.HasPrefix(s, "sg:") || strings.HasPrefix(s, "pl:") {
		d.errorAt(n, "", "%q is not a block; a network ACL knows nothing else", s)
		return netip.Prefix{}
	}
	return d.prefix(n, s)
}

// service decodes the protocol of a rule and its ports or type and code.
func (d *decoder) service(t *tableReader) policy.Service {
	value, n, ok := t.value("proto")
	var s policy.Service
	t.require("proto")
	if ok {
		s.Protocol, ok = d.protocol(n, value)
	}
	if s.Protocol.HasPorts() {
		s.Ports = policy.AllPorts
	}
	if s.Protocol.HasTypes() {
		s.Type, s.Code = policy.AnyICMP, policy.AnyICMP
	}
	if value, n, has := t.value("ports"); has {
		// Without a protocol the literal can still be judged, but not its use.
		if ports := d.ports(n, value); s.Protocol.HasPorts() {
			s.Ports = ports
		} else if ok {
			d.errorAt(n, "", "ports go with tcp and udp, not with %s", s.Protocol)
		}
	}
	value, n, has := t.value("type")
	if has && s.Protocol.HasTypes() {
		s.Type = d.icmpType(n, s.Protocol, value)
	} else if has && ok {
		d.errorAt(n, "", "a type goes with icmp and icmpv6, not with %s", s.Protocol)
	}
	code, n, has := get[int64](t, "code", "an integer")
	if has && s.Protocol.HasTypes() {
		s.Code = d.icmpNumber(n, "code", code)
	} else if has && ok {
		d.errorAt(n, "", "a code goes with icmp and icmpv6, not with %s", s.Protocol)
	}
	return s
}
