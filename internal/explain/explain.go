// Package explain answers what would become of a flow: gate by gate, for the
// request and for its reply, with what would have to change. It judges real
// frames by the switch's own path (vswitch.Rehearsal); only the words are made
// here.
package explain

import (
	"fmt"
	"slices"

	"vswitch/internal/cover"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// An Explainer answers questions about one configuration. It may be asked any
// number of times, and is quick: a few microseconds an exchange. It is not safe
// for concurrent use.
type Explainer struct {
	stage     *vswitch.Rehearsal
	config    *vswitch.Config
	running   bool
	instances map[string]string      // names of instances, by all that names them
	groups    map[string]string      // names of security groups, by the ids of their rules
	relays    []string               // instances that routes lead to
	edges     map[string]cover.Edges // of the rules of an instance, by name, as far as they were asked for
	judged    int
}

// Running returns an Explainer of what a switch runs now. A later reload does not
// change its answers.
func Running(sw *vswitch.Switch) (*Explainer, error) {
	stage, err := sw.Rehearse()
	if err != nil {
		return nil, err
	}
	x := newExplainer(stage)
	x.running = true
	return x, nil
}

// New returns an Explainer of a configuration that nobody need run. The error is
// *vswitch.InvalidError for one with mistakes.
func New(c vswitch.Config) (*Explainer, error) {
	stage, err := vswitch.NewRehearsal(c)
	if err != nil {
		return nil, err
	}
	return newExplainer(stage), nil
}

func newExplainer(stage *vswitch.Rehearsal) *Explainer {
	c := stage.Config()
	x := &Explainer{stage: stage, config: c, instances: make(map[string]string, 3*len(c.Instances)), groups: make(map[string]string), edges: make(map[string]cover.Edges)}
	for i := range c.Instances {
		face, _ := stage.Interface(c.Instances[i].Name)
		x.instances[face.InstanceID], x.instances[face.ID] = face.Instance, face.Instance
	}
	for i := range c.Instances { // a name goes before an id
		x.instances[c.Instances[i].Name] = c.Instances[i].Name
	}
	for i := range c.SecurityGroups {
		g := &c.SecurityGroups[i]
		for _, rules := range [][]vswitch.SecurityGroupRule{g.Ingress, g.Egress} {
			for j := range rules {
				x.groups[rules[j].ID] = g.Name
			}
		}
	}
	for i := range c.RouteTables {
		for _, r := range c.RouteTables[i].Routes {
			if r.Target.Kind == vswitch.TargetInstance && !slices.Contains(x.relays, r.Target.Name) {
				x.relays = append(x.relays, r.Target.Name)
			}
		}
	}
	return x
}

// Close gives back what x holds.
func (x *Explainer) Close() error { return x.stage.Close() }

// Judged returns how many flows Judge has judged so far.
func (x *Explainer) Judged() int { return x.judged }

// Config returns the configuration that x judges by, completed. It must not be
// changed.
func (x *Explainer) Config() *vswitch.Config { return x.config }

// Generation returns the number of what runs, and 0 if x is of a configuration
// alone.
func (x *Explainer) Generation() uint32 {
	if !x.running {
		return 0
	}
	return x.stage.Generation()
}

// An Explanation is the answer to a Query.
type Explanation struct {
	Query Query // with both addresses

	// Verdict is Allow iff the request passes, and its reply for every source port.
	Verdict policy.Verdict
	// Partial says that the reply passes for some source ports of the client. Valid
	// iff Verdict is Deny.
	Partial bool

	Request Leg
	// Replies are the ways of the reply, one for each range of the client's ports
	// that fares differently, ascending. There is none if the request is denied,
	// and to what nobody answers.
	Replies []Leg

	Tracking []Tracking // where the request passes security groups
	Summary  string     // what the client sees; "" if nothing hinders it
	Notes    []string   // what the verdict rests on besides
}

// Denied returns the first leg that was denied, or nil.
func (e *Explanation) Denied() *Leg {
	if e.Request.Verdict == policy.Deny {
		return &e.Request
	}
	for i := range e.Replies {
		if e.Replies[i].Verdict == policy.Deny {
			return &e.Replies[i]
		}
	}
	return nil
}

// Explain says what would become of a new flow, whatever flows there are. The
// error is a mistake in the query: addresses that do not go together.
func (x *Explainer) Explain(q Query) (*Explanation, error) {
	q, err := x.resolve(q)
	if err != nil {
		return nil, err
	}
	e := &Explanation{Query: q}
	switch {
	case q.From.Instance == "":
		x.sentByNobody(e)
	case q.From.Instance == q.To.Instance:
		x.keptInside(e)
	case q.Protocol.HasPorts():
		err = x.tryPorts(e)
	default:
		var ex exchange
		ex, err = x.exchange(&e.Query, 0)
		e.add(ex, policy.Ports{})
	}
	if err != nil {
		return nil, err
	}
	x.conclude(e)
	return e, nil
}

// conclude draws the verdict from the legs, and puts it in words.
func (x *Explainer) conclude(e *Explanation) {
	e.Verdict = e.Request.Verdict
	passed := 0
	for i := range e.Replies {
		if e.Replies[i].Verdict == policy.Allow {
			passed++
		}
	}
	if passed < len(e.Replies) {
		e.Verdict, e.Partial = policy.Deny, passed > 0
	}
	x.finish(e)
}

// tryPorts judges the flow from every source port that it may have: from one of
// each range in which no rule tells two ports apart.
func (x *Explainer) tryPorts(e *Explanation) error {
	q, all := &e.Query, clientPorts
	if q.SourcePort != 0 {
		all = policy.Ports{From: q.SourcePort, To: q.SourcePort}
	}
	ex, err := x.exchange(q, all.From)
	if err != nil || ex.request.Verdict == policy.Deny || all.From == all.To {
		e.add(ex, all)
		return err
	}
	// Groups read the port of a reply only where they have not kept the flow, as
	// those of an instance have not that forwards the reply alone, and that of a
	// datagram to tell whether it is a reply itself.
	groups := q.Protocol == policy.UDP || len(x.relays) > 0 || slices.ContainsFunc(ex.request.Steps, func(s Step) bool { return s.Untracked })
	for i, ports := range x.ranges(q.Protocol, all, groups, q.From.Instance, q.To.Instance) {
		if i > 0 {
			if ex, err = x.exchange(q, ports.From); err != nil {
				return err
			}
		}
		e.add(ex, ports)
	}
	return nil
}

// Ranges cuts a range of ports where a rule that may judge packets between two
// ends begins or ends: within each part, all destination ports are treated alike.
func (x *Explainer) Ranges(p policy.Protocol, within policy.Ports, a, b Endpoint) []policy.Ports {
	return x.ranges(p, within, true, a.Instance, b.Instance)
}

func (x *Explainer) ranges(p policy.Protocol, within policy.Ports, groups bool, ends ...string) []policy.Ports {
	cuts := []int{int(within.From), int(within.To) + 1}
	add := func(s policy.Service) {
		for _, at := range [2]int{int(s.Ports.From), int(s.Ports.To) + 1} {
			if s.Protocol == p && int(within.From) < at && at <= int(within.To) {
				cuts = append(cuts, at)
			}
		}
	}
	for _, name := range append(ends, x.relays...) {
		in := x.config.Instance(name)
		if in == nil {
			continue
		}
		acl := x.config.NetworkACL(x.config.Subnet(in.Subnet).NetworkACL)
		for _, entries := range [][]vswitch.NetworkACLEntry{acl.Ingress, acl.Egress} {
			for i := range entries {
				add(entries[i].Service)
			}
		}
		if !groups {
			continue
		}
		for _, g := range in.SecurityGroups {
			group := x.config.SecurityGroup(g)
			for _, rules := range [][]vswitch.SecurityGroupRule{group.Ingress, group.Egress} {
				for i := range rules {
					add(rules[i].Service)
				}
			}
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	parts := make([]policy.Ports, 0, len(cuts)-1)
	for i := range cuts[1:] {
		parts = append(parts, policy.Ports{From: uint16(cuts[i]), To: uint16(cuts[i+1] - 1)})
	}
	return parts
}

// sentByNobody is the answer where no instance has the source address.
func (x *Explainer) sentByNobody(e *Explanation) {
	s := Step{Step: vswitch.Step{Check: CheckSource}, Code: "NO_SOURCE_OR_DESTINATION"}
	s.Words = fmt.Sprintf("no instance has %s, and only instances send", e.Query.From.Address)
	if !x.inVPC(e.Query.From.Address) {
		s.Code = "NO_PATH"
		s.Words = fmt.Sprintf("nothing comes in from %s: this VPC has no gateway", e.Query.From.Name())
	}
	e.Request = Leg{From: e.Query.From, To: e.Query.To, Steps: []Step{s}, Path: []string{e.Query.From.Name()}}
}

// keptInside is the answer where an instance talks to itself.
func (x *Explainer) keptInside(e *Explanation) {
	s := Step{Step: vswitch.Step{Check: CheckLoopback, Where: e.Query.From.Instance, Verdict: policy.Allow}, Instance: e.Query.From.Instance}
	s.Object, s.Words = s.Where, "an instance reaches its own addresses inside itself: the VPC never sees the packet"
	e.Request = Leg{From: e.Query.From, To: e.Query.To, Steps: []Step{s}, Path: []string{s.Where}, Verdict: policy.Allow}
}
