package plan

import (
	"slices"
	"strings"

	vswitch "vswitch/switch"
)

// An object is what a plan compares of one object of a configuration.
type object struct {
	name   string
	origin vswitch.Origin
	fields []property
	lists  []list
}

// A property is a field in the words of the file.
type property struct{ name, text string }

// A list is one list of rules.
type list struct {
	direction string // "" for routes
	ordered   bool   // the order of the rules means something
	rules     []rule
}

// A rule is one rule of a list.
type rule struct {
	id, words string
	origin    vswitch.Origin
}

// compareAll returns the objects that differ, in the order in which a file has them.
func compareAll(from, to *vswitch.Config) []Change {
	all := []Change{}
	one := func(name string, describe func(*vswitch.Config) object) {
		var before, after []object
		if from.VPC.Name != "" {
			before = []object{describe(from)}
		}
		after = []object{describe(to)}
		all = append(all, compare(name, before, after)...)
	}
	one("vpc", vpc)
	all = append(all, compare("subnet", objects(from.Subnets, subnet), objects(to.Subnets, subnet))...)
	all = append(all, compare("security_group", objects(from.SecurityGroups, group), objects(to.SecurityGroups, group))...)
	all = append(all, compare("nacl", objects(from.NetworkACLs, acl), objects(to.NetworkACLs, acl))...)
	all = append(all, compare("prefix_list", objects(from.PrefixLists, prefixList), objects(to.PrefixLists, prefixList))...)
	all = append(all, compare("route", objects(from.RouteTables, routeTable), objects(to.RouteTables, routeTable))...)
	all = append(all, compare("instance", objects(from.Instances, instance), objects(to.Instances, instance))...)
	one("conntrack", func(c *vswitch.Config) object { return conntrack(&c.Conntrack) })
	one("quotas", func(c *vswitch.Config) object { return quotas(&c.Quotas) })
	all = append(all, compare("flow_log", objects(from.FlowLogs, flowLog), objects(to.FlowLogs, flowLog))...)
	return append(all, compare("test", objects(from.Tests, test), objects(to.Tests, test))...)
}

// objects describes the objects of one kind.
func objects[T any](all []T, describe func(*T) object) []object {
	out := make([]object, len(all))
	for i := range all {
		out[i] = describe(&all[i])
	}
	return out
}

// compare returns the objects of one kind that differ: those of after in its order,
// then those of before that are gone.
func compare(kind string, before, after []object) []Change {
	var all []Change
	old := make(map[string]*object, len(before))
	for i := range before {
		old[before[i].name] = &before[i]
	}
	kept := make(map[string]bool, len(after))
	for i := range after {
		o := &after[i]
		kept[o.name] = true
		c := Change{Action: Modify, Object: kind, Name: o.name, Origin: originOf(o.origin), Fields: []Field{}}
		if was := old[o.name]; was != nil {
			c.Fields = fields(was, o)
			c.Rules = rules(was.lists, o.lists)
			if len(c.Fields)+len(c.Rules) == 0 {
				continue
			}
		} else {
			c.Action, c.Rules = Add, rules(nil, o.lists)
		}
		all = append(all, c)
	}
	for i := range before {
		if o := &before[i]; !kept[o.name] {
			all = append(all, Change{Action: Remove, Object: kind, Name: o.name, Origin: originOf(o.origin), Fields: []Field{}, Rules: rules(o.lists, nil)})
		}
	}
	return all
}

// fields returns the properties that differ, the order of ordered rules among them.
func fields(before, after *object) []Field {
	all := []Field{}
	for i, p := range after.fields {
		if was := before.fields[i].text; was != p.text {
			all = append(all, Field{p.name, was, p.text})
		}
	}
	for i, l := range after.lists {
		was, is := common(before.lists[i], l), common(l, before.lists[i])
		if l.ordered && !slices.Equal(was, is) {
			all = append(all, Field{"order of " + l.direction, strings.Join(was, ", "), strings.Join(is, ", ")})
		}
	}
	return all
}

// common returns the ids of the rules of l that other has as well, in the order of l.
func common(l, other list) []string {
	var ids []string
	for _, r := range l.rules {
		if slices.ContainsFunc(other.rules, func(o rule) bool { return o.id == r.id }) {
			ids = append(ids, r.id)
		}
	}
	return ids
}

// rules returns the rules that differ: of each list those of after in its order,
// then those of before that are gone. One of the two may have no lists.
func rules(before, after []list) []Rule {
	all := []Rule{}
	for i := range max(len(before), len(after)) {
		var was, is list
		if i < len(before) {
			was = before[i]
		}
		if i < len(after) {
			is = after[i]
		}
		all = append(all, was.changes(&is)...)
	}
	return all
}

func (l *list) changes(after *list) []Rule {
	var all []Rule
	direction := after.direction
	if direction == "" {
		direction = l.direction
	}
	old, kept := make(map[string]*rule, len(l.rules)), map[string]bool{}
	for i := range l.rules {
		old[l.rules[i].id] = &l.rules[i]
	}
	for i := range after.rules {
		r := &after.rules[i]
		kept[r.id] = true
		change := Rule{Action: Add, Direction: direction, ID: r.id, Words: r.words, Origin: originOf(r.origin)}
		if was := old[r.id]; was != nil {
			if was.words == r.words {
				continue
			}
			change.Action, change.Was = Modify, was.words
		}
		all = append(all, change)
	}
	for i := range l.rules {
		if r := &l.rules[i]; !kept[r.id] {
			all = append(all, Rule{Action: Remove, Direction: direction, ID: r.id, Words: r.words, Origin: originOf(r.origin)})
		}
	}
	return all
}
