// Package reach says who can reach whom: of all pairs of instances, by the rules
// alone, for every kind of packet.
package reach

import (
	"fmt"
	"slices"

	"vswitch/internal/api"
	"vswitch/internal/cover"
	"vswitch/internal/explain"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// Document answers a request as the control API does: of all pairs of instances, or
// of those that it names. Listed is what passes, and what arrives without an
// answer. The errors are mistakes in the request.
//
// Pairs of instances that no rule and no route tells apart share an answer, so the
// work grows with the variety of the instances rather than with their number.
func Document(x *explain.Explainer, r api.ReachRequest) (api.Reach, error) {
	c := x.Config()
	reply := api.Reach{VPC: c.VPC.Name, Generation: x.Generation(), Instances: []string{}, Flows: []api.ReachFlow{}}
	var err error
	if reply.From, err = chosen(x, r.From); err != nil {
		return reply, err
	}
	if reply.To, err = chosen(x, r.To); err != nil {
		return reply, err
	}
	s := search{x: x, c: c, known: make(map[pairKey][]api.ReachFlow), classes: classes(c)}
	for i := range c.Instances {
		a := &c.Instances[i]
		reply.Instances = append(reply.Instances, a.Name)
		for j := range c.Instances {
			b := &c.Instances[j]
			if i == j || reply.From != "" && a.Name != reply.From || reply.To != "" && b.Name != reply.To {
				continue
			}
			flows, err := s.between(a, b)
			if err != nil {
				return reply, err
			}
			for _, f := range flows {
				f.From, f.To = a.Name, b.Name
				reply.Flows = append(reply.Flows, f)
			}
		}
	}
	return reply, nil
}

// chosen returns the instance that one end of a request names, "" for all.
func chosen(x *explain.Explainer, text string) (string, error) {
	if text == "" {
		return "", nil
	}
	end, err := x.Endpoint(text)
	if err == nil && end.Instance == "" {
		err = fmt.Errorf("%s: no instance has it, and only instances are listed", text)
	}
	return end.Instance, err
}

// A search is one run of Document.
type search struct {
	x       *explain.Explainer
	c       *vswitch.Config
	classes map[string]string // of the instances, by name
	known   map[pairKey][]api.ReachFlow
}

// A pairKey is what the answer for a pair of instances depends on.
type pairKey struct {
	from, to   string // their classes
	sameSubnet bool   // no network ACL is asked (SEM 3.2)
}

// between returns what gets from one instance to another, without their names.
func (s *search) between(a, b *vswitch.Instance) ([]api.ReachFlow, error) {
	key := pairKey{s.classes[a.Name], s.classes[b.Name], a.Subnet == b.Subnet}
	if flows, ok := s.known[key]; ok {
		return flows, nil
	}
	four, err := s.family(a, b, false)
	if err != nil {
		return nil, err
	}
	flows := listed(four, api.FamilyIPv4)
	if a.IP6.IsValid() && b.IP6.IsValid() {
		six, err := s.family(a, b, true)
		if err != nil {
			return nil, err
		}
		flows = append(flows, listed(six, api.FamilyIPv6)...)
	}
	s.known[key] = flows
	return flows, nil
}

// A yield is what arrives of one family, by what comes back.
type yield struct {
	allowed cover.Set // the reply does, or there is none
	partial cover.Set // the reply does not, or not to every port
}

// family returns what arrives between the primary addresses of one family.
func (s *search) family(a, b *vswitch.Instance, six bool) (yield, error) {
	from, to := explain.Endpoint{Instance: a.Name, Address: a.IP}, explain.Endpoint{Instance: b.Name, Address: b.IP}
	if six {
		from.Address, to.Address = a.IP6, b.IP6
	}
	var y yield
	// What no rule of one of the two is about does not get past its groups.
	candidates := s.services(a, egress).Intersect(s.services(b, ingress))
	for _, part := range s.x.Parts(candidates, six, a.Name, b.Name) {
		outcome, err := s.x.Judge(explain.QueryFor(part.First(), from, to))
		switch {
		case err != nil:
			return y, err
		case outcome == explain.Passed:
			y.allowed = append(y.allowed, part...)
		case outcome != explain.Stopped:
			y.partial = append(y.partial, part...)
		}
	}
	// Parts touch each other: Union joins them.
	y.allowed, y.partial = readable(y.allowed.Union(nil), six), readable(y.partial.Union(nil), six)
	return y, nil
}

// readable returns a set of packets of a family with what no packet of it can be
// where that makes it simpler: all that there can be is everything.
func readable(set cover.Set, six bool) cover.Set {
	impossible := cover.All().Minus(explain.Judged(six))
	if set.Union(impossible).Equal(cover.All()) {
		return cover.All()
	}
	other := policy.Service{Protocol: policy.ICMPv6, Type: policy.AnyICMP, Code: policy.AnyICMP}
	if six {
		other.Protocol = policy.ICMP
	}
	return set.Fill(impossible.Minus(cover.Of(other)))
}

// services returns what the rules of an instance's groups are about, in one
// direction, whatever the remote end.
func (s *search) services(in *vswitch.Instance, rules func(*vswitch.SecurityGroup) []vswitch.SecurityGroupRule) cover.Set {
	var set cover.Set
	for _, name := range in.SecurityGroups {
		for _, r := range rules(s.c.SecurityGroup(name)) {
			set = append(set, cover.Of(r.Service)...)
		}
	}
	return set.Union(nil)
}

func egress(g *vswitch.SecurityGroup) []vswitch.SecurityGroupRule  { return g.Egress }
func ingress(g *vswitch.SecurityGroup) []vswitch.SecurityGroupRule { return g.Ingress }

// listed returns the flows of a family.
func listed(y yield, family string) []api.ReachFlow {
	var flows []api.ReachFlow
	for _, f := range []struct {
		set     cover.Set
		verdict string
	}{{y.allowed, api.VerdictAllow}, {y.partial, api.VerdictPartial}} {
		if !f.set.Empty() {
			flows = append(flows, api.ReachFlow{Family: family, Verdict: f.verdict, Services: slices.Clip(f.set.Words())})
		}
	}
	return flows
}
