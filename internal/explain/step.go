package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	vswitch "vswitch/switch"
)

// step puts one step of a trace into words. from has sent p.
func (x *Explainer) step(p *wire.Packet, from string, trace *vswitch.Trace, i int) Step {
	s := Step{Step: trace.Steps[i], Object: trace.Steps[i].Where}
	switch s.Check {
	case vswitch.CheckSecurityGroup:
		x.groupStep(&s, p)
	case vswitch.CheckNetworkACL: // unmatched adds the words that it lacks
	case vswitch.CheckRoute:
		s.Object = x.config.Instance(from).Subnet
		if s.Verdict == policy.Deny {
			s.Words = x.noWay(&s, p)
		}
	case vswitch.CheckIdentity:
		s.Instance = from
		if isPlatform(s.Reason) {
			s.Check = vswitch.CheckPlatform
		}
		s.Words = s.Reason.Sentence()
	case vswitch.CheckPlatform:
		s.Object, s.Instance = "router", from
		s.Words = "answered by the router itself: security groups and network ACLs never filter it"
	default:
		s.Instance = s.Where
		if s.Words == "" {
			s.Words = s.Reason.Sentence()
		}
	}
	if s.Verdict == policy.Deny {
		s.Code = x.code(&s, p)
	}
	return s
}

// groupStep fills in the step of an instance's security groups.
func (x *Explainer) groupStep(s *Step, p *wire.Packet) {
	s.Instance = s.Where
	in := x.config.Instance(s.Where)
	s.Object = strings.Join(in.SecurityGroups, ",")
	far := x.stage.Owner(remote(p, s.Direction))
	switch {
	case s.Rule != "":
		s.Object = x.groups[s.Rule]
		if r := x.rule(s.Rule); r != nil && r.Peer.Kind == vswitch.PeerSecurityGroup && s.Direction == policy.Ingress && far != "" {
			s.Words += " (" + far + ")"
		}
	case s.Verdict == policy.Allow:
		s.Tracked = true
	case s.Reason == policy.SGEgress, s.Reason == policy.SGIngress:
		s.Origin = x.config.SecurityGroup(in.SecurityGroups[0]).Origin
	default:
		s.Words = s.Reason.Sentence()
	}
}

// unmatched adds the words of a denial that no rule stands for: what a rule would
// have to be about.
func (x *Explainer) unmatched(l *Leg) {
	for i := range l.Steps {
		s := &l.Steps[i]
		peer := remote(&l.packet, s.Direction)
		switch {
		case s.Verdict == policy.Allow:
		case s.Check == vswitch.CheckNetworkACL && s.Rule == "*":
			s.Words = "no rule for " + l.service().Words(s.Direction, x.block(peer).String())
		case s.Reason != policy.SGEgress && s.Reason != policy.SGIngress:
		case s.Code == referencesLost:
			s.Words = "no rule for " + l.service().Words(s.Direction, peer.String()) + "; a group does not match what others forward"
		case x.stage.Owner(peer) != "":
			s.Words = "no rule for " + l.service().Words(s.Direction, x.stage.Owner(peer))
		default:
			s.Words = "no rule for " + l.service().Words(s.Direction, peer.String())
		}
	}
}

// rule returns the security-group rule of an id.
func (x *Explainer) rule(id string) *vswitch.SecurityGroupRule {
	g := x.config.SecurityGroup(x.groups[id])
	if g == nil {
		return nil
	}
	for _, rules := range [][]vswitch.SecurityGroupRule{g.Ingress, g.Egress} {
		for i := range rules {
			if rules[i].ID == id {
				return &rules[i]
			}
		}
	}
	return nil
}

// noWay returns why the router did not send a packet on.
func (x *Explainer) noWay(s *Step, p *wire.Packet) string {
	dst := p.Dst.Netip()
	switch s.Reason {
	case policy.NoRoute:
		if !x.inVPC(dst) {
			return fmt.Sprintf("no route to %s, and this VPC has no gateway", dst)
		}
		return fmt.Sprintf("no route to %s", dst)
	case policy.Unassigned:
		return fmt.Sprintf("no network interface has %s", dst)
	case policy.Hairpin:
		return s.Words + ": back to its sender"
	}
	return s.Words
}

// isPlatform reports whether a reason is about the VPC's own services and
// addresses, which no rule judges (SEM 1.6).
func isPlatform(r policy.Reason) bool {
	switch r {
	case policy.RouterService, policy.PlatformService, policy.DHCPSpoofed:
		return true
	}
	return false
}

// remote returns the far end of a packet, as a rule in that direction sees it.
func remote(p *wire.Packet, d policy.Direction) netip.Addr {
	if d == policy.Egress {
		return p.Dst.Netip()
	}
	return p.Src.Netip()
}

// block returns the block that a rule of a network ACL would name for an address:
// that of its subnet, or the address alone.
func (x *Explainer) block(a netip.Addr) netip.Prefix {
	if in := x.config.Instance(x.stage.Owner(a)); in != nil {
		s := x.config.Subnet(in.Subnet)
		for _, block := range []netip.Prefix{s.CIDR, s.CIDR6} {
			if block.Contains(a) {
				return block
			}
		}
	}
	return netip.PrefixFrom(a, a.BitLen())
}

// service returns what a rule would have to name for the packets of a leg: of a
// reply, all ports that the client may have.
func (l *Leg) service() policy.Service {
	p := &l.packet
	s := policy.Service{Protocol: policy.Protocol(p.Protocol)}
	switch {
	case s.Protocol.HasPorts():
		s.Ports = policy.Ports{From: p.DstPort, To: p.DstPort}
		if l.Reply {
			s.Ports = l.Ports
		}
	case s.Protocol.HasTypes():
		s.Type, s.Code = int16(p.Type), policy.AnyICMP
		if p.Code != 0 {
			s.Code = int16(p.Code)
		}
	}
	return s
}

// code returns the explanation code of a step that denied.
func (x *Explainer) code(s *Step, p *wire.Packet) string {
	switch s.Reason {
	case policy.SGEgress, policy.SGIngress:
		return x.groupCode(s, p)
	case policy.NACLEgress, policy.NACLIngress:
		return "SUBNET_ACL_RESTRICTION"
	case policy.NoRoute:
		return "NO_ROUTE_TO_DESTINATION"
	case policy.Blackhole:
		return "BAD_STATE_ROUTE"
	case policy.Unassigned:
		return "NO_POSSIBLE_DESTINATION"
	case policy.DestinationCheck:
		return "ENI_SOURCE_DEST_CHECK_RESTRICTION"
	case policy.SourceAddress:
		return "ENI_ADDRESS_RESTRICTION"
	}
	return ""
}

// referencesLost is the code where a rule would match by its group, but for who has
// forwarded the packet (SEM 1.4).
const referencesLost = "SG_REFERENCES_NOT_PRESERVED"

// groupCode tells apart the ways in which security groups do not admit a packet.
func (x *Explainer) groupCode(s *Step, p *wire.Packet) string {
	code := "SG_HAS_NO_RULES"
	far := x.config.Instance(x.stage.Owner(remote(p, s.Direction)))
	for _, name := range x.config.Instance(s.Where).SecurityGroups {
		g := x.config.SecurityGroup(name)
		rules := g.Rules(s.Direction)
		for i := range rules {
			r := &rules[i]
			named := far != nil && r.Peer.Kind == vswitch.PeerSecurityGroup && slices.Contains(far.SecurityGroups, r.Peer.Name)
			if named && r.Service.Contains(p.Protocol, p.DstPort, p.Type, p.Code) {
				return referencesLost
			}
			code = "ENI_SG_RULES_MISMATCH"
		}
	}
	return code
}
