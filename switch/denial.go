package vswitch

import (
	"strconv"
	"strings"

	"vswitch/internal/policy"
)

// A denial is what the path of a frame notes of a packet that rules denied; the
// Reason tells the gate.
type denial struct {
	to    uint32 // handle of the receiver's interface; 0 if the packet came as far as none
	entry uint16 // number of the network ACL's entry that denied; 0 for the implicit one, and if none was asked
}

// A Denial tells which rules denied a packet.
type Denial struct {
	Object    string           // "sg web", or "sg web, ssh" for an interface with several; "nacl private"
	Direction policy.Direction // as the interface or the subnet sees it
	Rule      string           // number of the network ACL's entry; "*" if none of the rules matches
	Words     string           // the entry in words, "all <- 10.0.1.66/32"; "" if Rule is "*"
	Origin    Origin           // of the entry, or of the first of the groups; the zero Origin if no line decided
}

// String returns the denial in words: "nacl private egress * (implicit deny)", "sg
// web egress: no rule".
func (d *Denial) String() string {
	where := d.Object + " " + d.Direction.String()
	switch {
	case d.Rule != ImplicitDeny:
		return where + " " + d.Rule + " " + d.Words
	case strings.HasPrefix(d.Object, "sg "):
		return where + ": no rule"
	}
	return where + " * (implicit deny)"
}

// denial puts words to what the path of a frame has noted of a packet: the gate of
// the interface with this handle has denied it for a reason. It returns nil for
// another reason than those of security groups and network ACLs.
func (p *plane) denial(r policy.Reason, gate uint32, entry uint16) *Denial {
	d := &Denial{Direction: policy.Ingress, Rule: ImplicitDeny}
	if r == policy.SGEgress || r == policy.NACLEgress {
		d.Direction = policy.Egress
	}
	if int(gate) >= len(p.enis) || p.enis[gate] == nil {
		return nil
	}
	e := p.enis[gate]
	switch r {
	case policy.SGEgress, policy.SGIngress:
		groups := p.config.Instance(e.name).SecurityGroups
		d.Object = "sg " + strings.Join(groups, ", ")
		d.Origin = p.config.SecurityGroup(groups[0]).Origin
	case policy.NACLEgress, policy.NACLIngress:
		d.Object = "nacl " + e.subnet.aclName
		d.name(p.config.NetworkACL(e.subnet.aclName), entry)
	default:
		return nil
	}
	return d
}

// name says which entry of a network ACL it was.
func (d *Denial) name(acl *NetworkACL, number uint16) {
	entries, arrow := acl.Ingress, " <- "
	if d.Direction == policy.Egress {
		entries, arrow = acl.Egress, " -> "
	}
	for i := range entries {
		if e := &entries[i]; e.Number == int(number) {
			d.Rule, d.Words, d.Origin = strconv.Itoa(e.Number), e.Service.String()+arrow+e.CIDR.String(), e.Origin
		}
	}
}
