package vswitch

import (
	"slices"

	"vswitch/conntrack"
	"vswitch/internal/policy"
)

// Kinds of instance that the file format knows and this version does not.
var laterKinds = []Kind{"qemu", "container", "stack"}

// maxInstances bounds the instances of a VPC: while it is changed, those that go
// and those that come have handles, of 16 bits, side by side.
const maxInstances = conntrack.MaxInterface / 2

// checkInstances checks every instance, and that no two collide.
func (v *validator) checkInstances() {
	seen := make(map[string]string, len(v.c.Instances))
	namespaces := make(map[string]string, len(v.c.Instances))
	links := make(map[string]string)
	addresses := newAddressBook(v)
	if n := len(v.c.Instances); n > maxInstances {
		v.problem(place{table: "instance"}.path(), "%d instances, of at most %d", n, maxInstances)
	}
	for i := range v.c.Instances {
		in := &v.c.Instances[i]
		at := place{table: "instance", name: in.Name}
		v.checkHostName(at.path(), in.Name)
		v.unique(seen, at.path(), in.Name, in.Name)
		switch {
		case in.Subnet == "":
			v.required(at.path("subnet"))
		case !v.subnets.has(in.Subnet):
			v.problem(at.path("subnet"), "no subnet %q", in.Subnet)
			v.hintNearest(in.Subnet, v.subnets.order)
		}
		v.checkAttachment(at, in, namespaces, links)
		v.checkInstanceGroups(at, in)
		v.checkTimeouts(at, in.Conntrack, "conntrack")
		addresses.take(at, in)
	}
	addresses.checkRoom()
}

// checkAttachment checks how an instance meets the host: kind, namespace and
// network device. namespaces and links hold the names taken so far.
func (v *validator) checkAttachment(at place, in *Instance, namespaces, links map[string]string) {
	switch in.Kind {
	case "", KindNetns:
		if in.Interface != "" {
			v.problem(at.path("ifname"), "goes with kind = %q; the device of a namespace is eth0", KindHost)
		}
		name := in.namespace(v.c.VPC.Name)
		if !namespaceName.MatchString(name) {
			if in.Namespace != "" { // a derived one is wrong only with the names it is made of
				v.problem(at.path("namespace"), "the name must match %s", namespaceName)
			}
			return
		}
		if other, ok := namespaces[name]; ok && other != in.Name {
			v.problem(at.path("namespace"), "the namespace %q is that of instance %q", name, other)
		}
		namespaces[name] = in.Name
	case KindHost:
		if in.Namespace != "" {
			v.problem(at.path("namespace"), "goes with kind = %q; a %q instance has no namespace", KindNetns, KindHost)
		}
		if in.Run != "" {
			v.problem(at.path("run"), "goes with kind = %q; there is no namespace to run it in", KindNetns)
		}
		v.checkLink(at, in, links)
	default:
		v.checkKind(at, in.Kind)
	}
	for i := range len(in.Run) {
		if in.Run[i] == 0 {
			v.problem(at.path("run"), "holds a zero byte, which no command line can")
			break
		}
	}
}

// checkKind reports a kind that is neither netns nor host.
func (v *validator) checkKind(at place, kind Kind) {
	if slices.Contains(laterKinds, kind) {
		v.problem(at.path("kind"), "kind %q is not supported by this version; use %q or %q", kind, KindNetns, KindHost)
		return
	}
	v.problem(at.path("kind"), "no kind %q: want %q or %q", kind, KindNetns, KindHost)
	v.hintNearest(string(kind), []string{string(KindNetns), string(KindHost)})
}

// checkLink checks the name of the TAP that stays in the host's namespace.
func (v *validator) checkLink(at place, in *Instance, links map[string]string) {
	name := in.link()
	switch {
	case len(name) > maxLinkName && in.Interface == "":
		v.problem(at.path("ifname"), "the name made for the device, %q, is longer than the %d characters Linux allows", name, maxLinkName)
		v.hint("give a shorter one with ifname")
		return
	case len(name) > maxLinkName:
		v.problem(at.path("ifname"), "%q is longer than the %d characters Linux allows", name, maxLinkName)
		return
	case !linkName.MatchString(name):
		if in.Interface != "" {
			v.problem(at.path("ifname"), "the name must match %s", linkName)
		}
		return
	case name == "lo" || name == "all" || name == "default":
		v.problem(at.path("ifname"), "%q is a name that Linux keeps for itself", name)
		return
	}
	if other, ok := links[name]; ok && other != in.Name {
		v.problem(at.path("ifname"), "the device %q is that of instance %q", name, other)
	}
	links[name] = in.Name
}

// checkInstanceGroups checks the security groups of an instance and, through
// them, the quotas of a network interface (SEM 1.5).
func (v *validator) checkInstanceGroups(at place, in *Instance) {
	if in.SecurityGroups != nil && len(in.SecurityGroups) == 0 {
		v.problem(at.path("sg"), "an instance has at least one security group")
		v.hint("leave sg out for the group %q", defaultName)
	}
	groups := in.SecurityGroups
	if groups == nil {
		groups = []string{defaultName}
	}
	var sum groupWeight
	seen := make(map[string]bool, len(groups))
	for i, name := range groups {
		switch {
		case !v.groups.has(name):
			v.problem(at.path("sg", nth(i)), "no security group %q", name)
			v.hintNearest(name, v.groups.order)
		case seen[name]:
			v.problem(at.path("sg", nth(i)), "the security group %q is in the list already", name)
		}
		if !seen[name] {
			w := v.weights[name]
			sum[policy.Ingress] = sum[policy.Ingress].add(w[policy.Ingress])
			sum[policy.Egress] = sum[policy.Egress].add(w[policy.Egress])
		}
		seen[name] = true
	}
	if n, most := len(seen), v.quotas.SecurityGroupsPerInterface; n > most && most >= 0 {
		v.problem(at.path("sg"), "%d security groups exceed the quota security_groups_per_interface = %d", n, most)
		v.hint("raise it in [quotas]")
	}
	// On AWS the product of the two other quotas may not exceed this one, which
	// makes it a bound on the rules of an interface. Here the rules themselves are
	// counted, so that raising one quota does not mean raising all three.
	for direction, w := range sum {
		if family, count, over := w.over(v.quotas.RulesPerInterface); over {
			v.problem(at.path("sg"), "%d %s %s rules exceed the quota rules_per_interface = %d",
				count, family, policy.Direction(direction), v.quotas.RulesPerInterface)
			v.hint("raise it in [quotas]")
		}
	}
}
