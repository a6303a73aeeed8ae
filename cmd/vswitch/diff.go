package main

import (
	"reflect"

	"vswitch/internal/api"
	vswitch "vswitch/switch"
)

// changes returns the objects that differ between two completed configurations,
// by name. Where an object is written does not count, nor does the order of the
// objects; the order of the rules in one does.
func changes(from, to *vswitch.Config) []api.Change {
	all := []api.Change{}
	if !same(from.VPC, to.VPC) {
		all = append(all, api.Change{Action: api.ActionChange, Object: "vpc", Name: to.VPC.Name})
	}
	all = compare(all, "subnet", from.Subnets, to.Subnets, func(o *vswitch.Subnet) string { return o.Name })
	all = compare(all, "security_group", from.SecurityGroups, to.SecurityGroups, func(o *vswitch.SecurityGroup) string { return o.Name })
	all = compare(all, "nacl", from.NetworkACLs, to.NetworkACLs, func(o *vswitch.NetworkACL) string { return o.Name })
	all = compare(all, "prefix_list", from.PrefixLists, to.PrefixLists, func(o *vswitch.PrefixList) string { return o.Name })
	all = compare(all, "instance", from.Instances, to.Instances, func(o *vswitch.Instance) string { return o.Name })
	if !same(from.Conntrack, to.Conntrack) {
		all = append(all, api.Change{Action: api.ActionChange, Object: "conntrack"})
	}
	if !same(from.Quotas, to.Quotas) {
		all = append(all, api.Change{Action: api.ActionChange, Object: "quotas"})
	}
	all = compare(all, "flow_log", from.FlowLogs, to.FlowLogs, func(o *vswitch.FlowLog) string { return o.Name })
	return compare(all, "test", from.Tests, to.Tests, func(o *vswitch.Test) string { return o.Name })
}

// compare appends the changes of one kind of object: those of to in its order,
// then those of from that are gone.
func compare[T any](all []api.Change, object string, from, to []T, name func(*T) string) []api.Change {
	before := make(map[string]*T, len(from))
	for i := range from {
		before[name(&from[i])] = &from[i]
	}
	kept := make(map[string]bool, len(to))
	for i := range to {
		n := name(&to[i])
		kept[n] = true
		switch old := before[n]; {
		case old == nil:
			all = append(all, api.Change{Action: api.ActionAdd, Object: object, Name: n})
		case !same(*old, to[i]):
			all = append(all, api.Change{Action: api.ActionChange, Object: object, Name: n})
		}
	}
	for i := range from {
		if n := name(&from[i]); !kept[n] {
			all = append(all, api.Change{Action: api.ActionRemove, Object: object, Name: n})
		}
	}
	return all
}

// same reports whether two objects are equal but for their origins. An empty
// list equals none: both are completed, so AWS's defaults are written out.
func same(a, b any) bool { return equal(reflect.ValueOf(a), reflect.ValueOf(b)) }

var originType = reflect.TypeFor[vswitch.Origin]()

func equal(a, b reflect.Value) bool {
	switch {
	case a.Type() == originType:
		return true
	case a.Kind() == reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !equal(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case a.Kind() == reflect.Struct && (!a.Comparable() || hasOrigin(a.Type())):
		return equalFields(a, b)
	}
	return a.Equal(b)
}

func equalFields(a, b reflect.Value) bool {
	for i := range a.NumField() {
		if !equal(a.Field(i), b.Field(i)) {
			return false
		}
	}
	return true
}

// hasOrigin reports whether a struct, or one inside it, says where it was written.
func hasOrigin(t reflect.Type) bool {
	for i := range t.NumField() {
		f := t.Field(i).Type
		if f == originType || f.Kind() == reflect.Struct && hasOrigin(f) {
			return true
		}
	}
	return false
}
