package plan

import (
	"slices"

	vswitch "vswitch/switch"
)

// What a reload does to an instance.
const (
	Create      = "create"
	Delete      = "delete"
	Rebuild     = "rebuild"     // it gets another namespace or device: what runs inside ends
	Reconfigure = "reconfigure" // its link changes, and what runs inside goes on
	Restart     = "restart"     // its command ends and starts anew, and nothing else does
)

// An Instance is one that a reload touches. What only changes how its packets are
// judged does not.
type Instance struct {
	Name   string `json:"name"`
	Action string `json:"action"`
	Why    string `json:"why"` // "addresses", "run"
}

// touched returns the instances that a reload touches: those of to in its order,
// then those of from that are gone.
func touched(from, to *vswitch.Config) []Instance {
	all := []Instance{}
	for i := range to.Instances {
		name := to.Instances[i].Name
		old := from.Instance(name)
		if old == nil {
			all = append(all, Instance{name, Create, "new in the file"})
			continue
		}
		if action, why := treatment(from, to, name); action != "" {
			all = append(all, Instance{name, action, why})
		}
	}
	for i := range from.Instances {
		if name := from.Instances[i].Name; to.Instance(name) == nil {
			all = append(all, Instance{name, Delete, "no longer in the file"})
		}
	}
	return all
}

// treatment returns what a reload does to an instance that stays, "" for nothing.
func treatment(from, to *vswitch.Config, name string) (action, why string) {
	was, is := from.Interface(name), to.Interface(name)
	old, now := from.Instance(name), to.Instance(name)
	switch {
	case was.Namespace != is.Namespace:
		return Rebuild, "namespace"
	case was.Device != is.Device:
		return Rebuild, "device"
	case old.Run != now.Run:
		action, why = Restart, "run"
	}
	switch {
	case !slices.Equal(was.Addresses, is.Addresses), was.Prefix != is.Prefix, was.Prefix6 != is.Prefix6:
		return Reconfigure, joinWhy("addresses", why)
	case was.Router != is.Router, was.Router6 != is.Router6, was.RouterMAC != is.RouterMAC:
		return Reconfigure, joinWhy("router", why)
	case was.MAC != is.MAC:
		return Reconfigure, joinWhy("mac", why)
	case was.MTU != is.MTU:
		return Reconfigure, joinWhy("mtu", why)
	case old.DisableSourceDestCheck != now.DisableSourceDestCheck:
		return Reconfigure, joinWhy("source_dest_check", why)
	}
	return action, why
}

// joinWhy adds that the command starts anew as well.
func joinWhy(link, run string) string {
	if run == "" {
		return link
	}
	return link + ", " + run
}
