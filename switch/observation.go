package vswitch

import (
	"time"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// An Observation is what the switch saw of one flow, in one direction and with
// one outcome, since it was last asked: the common source of flow logs, of rule
// counters and of the list of drops. So they add up with each other, and with the
// ports' counters.
type Observation struct {
	From, To string // instances: the sender, and the receiver if the packets came as far as one; else ""

	// Tuple is zero for frames that could not be parsed, for ARP, and for an
	// observation that stands for many flows because there were too many of them.
	Tuple wire.FiveTuple
	Many  bool // stands for many flows; only From, To, Reason, Rules and the sums are valid

	// Reason says why the packets were dropped; None means that they were
	// delivered.
	Reason policy.Reason

	// Rules are the rules that decided, by Gate. The zero RuleKey stands at a gate
	// that was not asked, or let the packets pass without a rule. A tracked flow
	// names the security-group rules that once allowed it.
	Rules [Gates]RuleKey

	Frames  uint64 // as they were received; a superframe is one
	Packets uint64 // as they are on the wire; a superframe is as many as its segments
	Bytes   uint64 // of the packets, from their IP headers on; of the frame behind its Ethernet header if it has none
	Opened  uint64 // flows that these packets began: a connection at either end, or untracked and new to the flow cache

	First, Last time.Time // when the first and the last of them came in

	TCPFlags  uint8 // as flow logs sum them up (SEM 6.4)
	LastFlags uint8 // the flags of the last segment, as they were sent
	ICMPType  uint8 // of the last packet, if the tuple is that of ICMP
	ICMPCode  uint8
}

// A Gate is one of the four places where rules judge a packet, in their order.
type Gate uint8

// The gates of SEM 4.1, steps 2, 3, 5 and 7.
const (
	GateSGEgress    Gate = iota // the sender's security groups
	GateNACLEgress              // the network ACL of the sender's subnet
	GateNACLIngress             // the network ACL of the receiver's subnet
	GateSGIngress               // the receiver's security groups

	Gates = 4 // how many there are
)

// A RuleKey names a rule for as long as it exists, over reloads.
type RuleKey struct {
	Object    string // "sg:web", "nacl:public"; "" in the zero RuleKey
	Direction policy.Direction
	ID        string // sgr-..., or a network ACL's rule number; "*" is the implicit deny at its end
}

// The gates of the two kinds of rules, by policy.Direction.
var (
	sgGates   = [2]Gate{policy.Egress: GateSGEgress, policy.Ingress: GateSGIngress}
	naclGates = [2]Gate{policy.Egress: GateNACLEgress, policy.Ingress: GateNACLIngress}
)

// Direction returns the direction of the rules that judge at the gate.
func (g Gate) Direction() policy.Direction {
	if g == GateSGEgress || g == GateNACLEgress {
		return policy.Egress
	}
	return policy.Ingress
}

// Denier returns the rule that denied the packets: that of a network ACL, for
// security groups deny by having no rule. It returns the zero RuleKey for packets
// that were delivered, or dropped for another reason.
func (o *Observation) Denier() RuleKey {
	switch o.Reason {
	case policy.NACLEgress:
		return o.Rules[GateNACLEgress]
	case policy.NACLIngress:
		return o.Rules[GateNACLIngress]
	}
	return RuleKey{}
}
