package explain

import (
	"fmt"
	"strings"

	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// groupRuleText returns a security-group rule as the file writes it.
func groupRuleText(d policy.Direction, r *vswitch.SecurityGroupRule) string {
	return fmt.Sprintf("{ %s, %s = %q }", serviceKeys(r.Service), peerKey(d), r.Peer)
}

// entryText returns a rule of a network ACL as the file writes it.
func entryText(d policy.Direction, e *vswitch.NetworkACLEntry) string {
	return fmt.Sprintf("{ rule = %d, action = %q, %s, %s = %q }", e.Number, e.Action, serviceKeys(e.Service), peerKey(d), e.CIDR)
}

// peerKey is the key of a rule's remote end.
func peerKey(d policy.Direction) string {
	if d == policy.Egress {
		return "to"
	}
	return "from"
}

// serviceKeys returns the keys of a rule that say what it is about.
func serviceKeys(s policy.Service) string {
	keys := []string{fmt.Sprintf("proto = %q", s.Protocol)}
	switch {
	case s.Protocol.HasPorts() && s.Ports.From == s.Ports.To:
		keys = append(keys, fmt.Sprintf("ports = %d", s.Ports.From))
	case s.Protocol.HasPorts() && s.Ports != policy.AllPorts:
		keys = append(keys, fmt.Sprintf("ports = %q", s.Ports))
	case s.Protocol.HasTypes() && s.Type != policy.AnyICMP:
		name := policy.ICMPTypeName(s.Protocol, s.Type)
		if _, named := policy.ICMPType(s.Protocol, name); named {
			keys = append(keys, fmt.Sprintf("type = %q", name))
		} else {
			keys = append(keys, "type = "+name)
		}
		if s.Code != policy.AnyICMP {
			keys = append(keys, fmt.Sprintf("code = %d", s.Code))
		}
	}
	return strings.Join(keys, ", ")
}
