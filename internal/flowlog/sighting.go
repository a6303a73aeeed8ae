package flowlog

import (
	"time"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	vswitch "vswitch/switch"
)

// A sighting is an Observation as one of the two interfaces concerned has seen it.
type sighting struct {
	at        *Interface
	peer      *Interface // the other one; nil if the packets came as far as none
	direction policy.Direction
	action    Action
	tuple     wire.FiveTuple // as records have it
	many      bool           // of many flows: the tuple is not known

	packets, bytes uint64
	first, last    time.Time
	flags          uint8
	verdict        policy.Reason
	rules          [2]vswitch.RuleKey
}

// sight appends the sightings of o: none for what flow logs leave out (SEM 6.6).
func (k *Collector) sight(all []sighting, o *vswitch.Observation) []sighting {
	egress, ingress := actions(o)
	if egress == None || o.Frames == 0 {
		return all
	}
	from, to := k.lookup(o.From), k.lookup(o.To)
	if from == nil {
		return all // the observation is older than two reloads
	}
	s := sighting{
		at: from, peer: to, direction: policy.Egress, action: egress,
		tuple: logged(o.Tuple), many: o.Many, packets: o.Packets, bytes: o.Bytes, first: o.First, last: o.Last, flags: o.TCPFlags,
		verdict: o.Reason, rules: deciders(o, egress, vswitch.GateSGEgress, vswitch.GateNACLEgress),
	}
	all = append(all, s)
	if ingress == None || to == nil {
		return all
	}
	s.at, s.peer, s.direction, s.action = to, from, policy.Ingress, ingress
	s.rules = deciders(o, ingress, vswitch.GateNACLIngress, vswitch.GateSGIngress)
	return append(all, s)
}

// deciders returns the rules at an interface's two gates that let the packets of o
// pass, or the one that denied them. Security groups deny by having no rule.
func deciders(o *vswitch.Observation, a Action, first, second vswitch.Gate) [2]vswitch.RuleKey {
	if a == Reject {
		return [2]vswitch.RuleKey{o.Denier()}
	}
	return [2]vswitch.RuleKey{o.Rules[first], o.Rules[second]}
}

// logged returns a tuple as records have it: ICMP has no ports (SEM 6.2).
func logged(t wire.FiveTuple) wire.FiveTuple {
	if !policy.Protocol(t.Protocol).HasPorts() {
		t.SrcPort, t.DstPort = 0, 0
	}
	return t
}

// actions returns what the sender's and the receiver's interface said to the
// packets of o (SEM 6.7). A packet that has left its sender's security groups,
// network ACL and route table is accepted there, whatever became of it.
//
// AWS does not say how it logs what neither security groups nor network ACLs
// refuse (SEM 10.6). Here what routing drops was accepted by its sender; what
// connection tracking refuses, a used-up allowance included, is rejected where it
// was refused; what a receiver's source/dest check drops leaves no record there;
// and what a guest does not take from its interface was accepted. Packets that
// never reached the rules leave none: malformed, spoofed, multicast, for the
// platform, and fragments without their datagram.
func actions(o *vswitch.Observation) (egress, ingress Action) {
	arrived := o.To != ""
	refused := func() (Action, Action) {
		if arrived {
			return Accept, Reject
		}
		return Reject, None
	}
	if !o.Many && o.Tuple == (wire.FiveTuple{}) {
		return None, None
	}
	switch o.Reason {
	case policy.None:
		if !arrived {
			return None, None // answered by the platform
		}
		return Accept, Accept
	case policy.PortDown, policy.PortRefused:
		return Accept, Accept
	case policy.SGEgress, policy.NACLEgress, policy.EgressAllowance:
		return Reject, None
	case policy.NACLIngress, policy.SGIngress, policy.IngressAllowance:
		return Accept, Reject
	case policy.ConntrackClosed, policy.ConntrackWindow, policy.ConntrackState, policy.ConntrackStrict:
		return refused()
	case policy.NoRoute, policy.Blackhole, policy.Unassigned, policy.DestinationCheck:
		return Accept, None
	}
	return None, None
}
