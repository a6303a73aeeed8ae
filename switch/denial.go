package vswitch

import (
	"strconv"
	"strings"

	"vswitch/internal/policy"
)

// denied returns the interface at whose gate a packet that in sent was denied for a
// reason, by its handle, and the rule of the network ACL that denied it; 0 where
// security groups did, which deny by having no rule.
func (w *passage) denied(in *eni, r policy.Reason) (gate uint32, rule ruleNumber) {
	switch r {
	case policy.NACLEgress:
		return in.handle, w.rules[GateNACLEgress]
	case policy.NACLIngress:
		return w.out, w.rules[GateNACLIngress]
	case policy.SGIngress:
		return w.out, 0
	}
	return in.handle, 0
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

// denial puts words to what passage.denied tells of a packet that was denied for a
// reason. It returns nil for another reason than those of security groups and
// network ACLs, and for a rule that has no number.
func (p *plane) denial(r policy.Reason, gate uint32, rule ruleNumber) *Denial {
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
		key := p.numbers.key(rule)
		if key == (RuleKey{}) {
			return nil
		}
		d.Object, d.Rule = "nacl "+e.subnet.aclName, key.ID
		d.describe(p.config.NetworkACL(e.subnet.aclName))
	default:
		return nil
	}
	return d
}

// describe adds the words of the entry, unless it is the implicit one.
func (d *Denial) describe(acl *NetworkACL) {
	entries, arrow := acl.Ingress, " <- "
	if d.Direction == policy.Egress {
		entries, arrow = acl.Egress, " -> "
	}
	for i := range entries {
		if e := &entries[i]; strconv.Itoa(e.Number) == d.Rule {
			d.Words, d.Origin = e.Service.String()+arrow+e.CIDR.String(), e.Origin
		}
	}
}
