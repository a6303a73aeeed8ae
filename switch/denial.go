package vswitch

import (
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

// A Denial tells which rules denied packets.
type Denial struct {
	Object    string           // "sg web", or "sg web, ssh" for an interface with several; "nacl private"
	Direction policy.Direction // as the interface or the subnet sees it
	Rule      string           // number of the network ACL's entry; "*" if none of the rules matches
	Words     string           // the entry in words, "all <- 10.0.1.66/32"; "" if Rule is "*", and if the entry is gone
	Origin    Origin           // of the entry, or of the first of the groups; the zero Origin if no line decided

	lines string // of all groups; "" for a network ACL
}

// Denial returns what denied packets for a reason: the security groups of an
// instance or a rule of a network ACL, which may be gone from c. It returns nil for
// another reason than those of security groups and network ACLs, and for a network
// ACL's if the rule is not known.
func (c *Config) Denial(r policy.Reason, instance string, rule RuleKey) *Denial {
	switch r {
	case policy.SGEgress:
		return c.groupDenial(instance, policy.Egress)
	case policy.SGIngress:
		return c.groupDenial(instance, policy.Ingress)
	case policy.NACLEgress, policy.NACLIngress:
		if rule == (RuleKey{}) {
			return nil
		}
		d := &Denial{Object: "nacl " + strings.TrimPrefix(rule.Object, "nacl:"), Direction: rule.Direction, Rule: rule.ID}
		if r := c.aclRule(rule); r != nil && rule.ID != ImplicitDeny {
			d.Words, d.Origin = r.Words(), r.Origin
		}
		return d
	}
	return nil
}

// groupDenial returns that no rule of an instance's security groups allowed packets.
func (c *Config) groupDenial(instance string, direction policy.Direction) *Denial {
	d := &Denial{Object: "sg", Direction: direction, Rule: ImplicitDeny}
	in := c.Instance(instance)
	if in == nil {
		return d
	}
	lines := make([]string, len(in.SecurityGroups))
	for i, name := range in.SecurityGroups {
		lines[i] = c.SecurityGroup(name).Origin.String()
	}
	d.Object, d.lines = "sg "+strings.Join(in.SecurityGroups, ", "), strings.Join(lines, ", ")
	d.Origin = c.SecurityGroup(in.SecurityGroups[0]).Origin
	return d
}

// Decider names what denied: "nacl private egress *", "sg web egress: no rule".
func (d *Denial) Decider() string {
	name := d.Object + " " + d.Direction.String()
	if strings.HasPrefix(d.Object, "sg") {
		return name + ": no rule"
	}
	return name + " " + d.Rule
}

// Where returns the lines that decided: "vpc.toml:70", "vpc.toml:38, vpc.toml:52"
// for an interface with several groups, and in brackets why there is none.
func (d *Denial) Where() string {
	switch {
	case strings.HasPrefix(d.Object, "nacl") && d.Rule == ImplicitDeny:
		return implicitly
	case d.Object == "sg":
		return "(instance removed)"
	case d.lines != "":
		return d.lines
	case d.Words == "":
		return "(rule removed)"
	}
	return d.Origin.String()
}

// implicitly is where a network ACL denies without a line that says so.
const implicitly = "(implicit deny)"

// String returns the denial in words: "nacl private egress * (implicit deny)", "nacl
// private ingress 90 all <- 10.0.1.66/32", "sg web egress: no rule".
func (d *Denial) String() string {
	switch {
	case d.Words != "":
		return d.Decider() + " " + d.Words
	case d.Where() == implicitly:
		return d.Decider() + " " + implicitly
	}
	return d.Decider()
}

// denial puts words to what passage.denied tells of a packet that was denied for a
// reason. It returns nil where Config.Denial does.
func (p *plane) denial(r policy.Reason, gate uint32, rule ruleNumber) *Denial {
	if int(gate) >= len(p.enis) || p.enis[gate] == nil {
		return nil
	}
	return p.config.Denial(r, p.enis[gate].name, p.numbers.key(rule))
}
