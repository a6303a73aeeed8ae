package config

import vswitch "vswitch/switch"

// Machine says how much of the machine the switch that runs the VPC may use. It is
// no part of the VPC.
type Machine struct {
	Workers        int // threads that forward frames, 1 to vswitch.MaxWorkers; 0 means as many as suit the machine
	vswitch.Origin     // the zero Origin if the file has no [machine]
}

// machine decodes [machine].
func (d *decoder) machine(n *node, value any) Machine {
	t, ok := d.tableAt(n, value)
	if !ok {
		return Machine{}
	}
	defer t.done()
	m := Machine{Workers: t.number("workers"), Origin: d.origin(n)}
	if m.Workers > vswitch.MaxWorkers {
		d.errorAt(n.child("workers"), "", "%d is outside 1-%d", m.Workers, vswitch.MaxWorkers)
	}
	return m
}
