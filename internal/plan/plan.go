// Package plan says what a configuration would change of the one that is in force:
// objects and rules, instances, and the flows that go on.
package plan

import (
	vswitch "vswitch/switch"
)

// Actions of a Change and of a Rule.
const (
	Add    = "add"
	Modify = "change"
	Remove = "remove"
)

// A Plan is what a reload would do.
type Plan struct {
	VPC        string     `json:"vpc"`
	Generation uint32     `json:"generation"` // of what runs; 0 if nothing does
	Changes    []Change   `json:"changes"`
	Counts     Counts     `json:"counts"`
	Instances  []Instance `json:"instances"` // that are touched
	Flows      Flows      `json:"flows"`
}

// Counts say how much changes. An object counts once, whatever changes in it; rules
// are those of security groups, network ACLs and route tables, wherever they are.
type Counts struct {
	Objects Count `json:"objects"`
	Rules   Count `json:"rules"`
}

// A Count is how many things come, go and change.
type Count struct {
	Added   int `json:"added"`
	Changed int `json:"changed"`
	Removed int `json:"removed"`
}

// add counts one action.
func (c *Count) add(action string) {
	switch action {
	case Add:
		c.Added++
	case Remove:
		c.Removed++
	default:
		c.Changed++
	}
}

// A Change is one object that differs.
type Change struct {
	Action string  `json:"action"`
	Object string  `json:"object"`           // its table in the file: security_group, nacl ...
	Name   string  `json:"name"`             // "" for an object of which there is one
	Origin *Origin `json:"origin,omitempty"` // where it is written, or was if it is removed; absent for what nobody wrote
	Fields []Field `json:"fields"`           // those that differ, if the object changes
	Rules  []Rule  `json:"rules"`            // those that come, go and change
}

// A Field is a property that differs, in the words of the file.
type Field struct {
	Name string `json:"field"`
	From string `json:"from"`
	To   string `json:"to"`
}

// A Rule is one rule of a security group or network ACL, or one route.
type Rule struct {
	Action    string  `json:"action"`
	Direction string  `json:"direction,omitempty"` // ingress or egress; absent for a route
	ID        string  `json:"id"`                  // sgr-..., the rule's number, or the route's destination
	Words     string  `json:"rule"`                // "tcp 443 <- 0.0.0.0/0"
	Was       string  `json:"was,omitempty"`       // what it said before; absent unless it changes
	Origin    *Origin `json:"origin,omitempty"`    // as that of a Change
}

// An Origin is a place in a file.
type Origin struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

// originOf returns nil for what nobody wrote.
func originOf(o vswitch.Origin) *Origin {
	if o.Line == 0 {
		return nil
	}
	return &Origin{o.File, o.Line, o.Column}
}

// New returns what to would change of from, without the flows. Both are completed;
// the zero Config stands for nothing at all. Where something is written does not
// count, nor does the order of objects, of entries of a network ACL, and of routes.
func New(from, to *vswitch.Config) *Plan {
	p := &Plan{VPC: to.VPC.Name, Changes: []Change{}, Instances: touched(from, to), Flows: Flows{Causes: []Cause{}, Flows: []Flow{}}}
	p.AddChanges(compareAll(from, to)...)
	return p
}

// AddChanges adds objects that differ, which are none of the configuration's.
func (p *Plan) AddChanges(changes ...Change) {
	for i := range changes {
		c := &changes[i]
		p.Counts.Objects.add(c.Action)
		for j := range c.Rules {
			p.Counts.Rules.add(c.Rules[j].Action)
		}
	}
	p.Changes = append(p.Changes, changes...)
}
