package explain

import (
	"fmt"

	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// advice says what to do where no rule helps.
func (r *remedy) advice() string {
	s, dst := r.step, r.leg.packet.Dst.Netip()
	switch s.Reason {
	case policy.NoRoute:
		if r.x.inVPC(dst) {
			return fmt.Sprintf("route.%s has no route to %s", s.Where, dst)
		}
		return fmt.Sprintf("%s is outside the VPC: without a gateway only a route to an instance that forwards could lead there (source_dest_check = false)", dst)
	case policy.Blackhole:
		return fmt.Sprintf("take the blackhole out of route.%s, or let the route lead to an instance that forwards", s.Where)
	case policy.Unassigned:
		return fmt.Sprintf("give %s to an instance (ip, ip6 or extra_ips)", dst)
	case policy.DestinationCheck:
		return fmt.Sprintf("set source_dest_check = false on instance.%s if it is to forward packets, or let the route lead elsewhere", s.Instance)
	case policy.SourceAddress:
		return fmt.Sprintf("set source_dest_check = false on instance.%s if it is to forward packets", s.Instance)
	case policy.Hairpin, policy.IPTTL:
		if s.Check == vswitch.CheckRoute {
			return fmt.Sprintf("route.%s leads the packet back to who has sent it", s.Where)
		}
	case policy.PlatformService, policy.RouterService, policy.DHCPSpoofed:
		return "no rule concerns the VPC's own services: they are never filtered, and this version runs none there"
	case policy.Multicast, policy.MulticastMembership, policy.Broadcast:
		return "a VPC carries neither multicast nor broadcast: send to each instance"
	case policy.None:
		return "only an instance can send; name one as the source"
	}
	return "no rule helps: " + s.Reason.Sentence()
}
