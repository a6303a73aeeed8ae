package main

import (
	"errors"
	"io/fs"
	"net/netip"

	"vswitch/internal/api"
)

// known returns the target and the record of it: what exec, ping and logs need
// to know of the instances. It works without the daemon.
func (c *cli) known() (stateDir, record, error) {
	s, err := c.target(toRead)
	if err != nil {
		return stateDir{}, record{}, err
	}
	r, err := readRecord(s)
	if errors.Is(err, fs.ErrNotExist) {
		return stateDir{}, record{}, notRunning(s, api.ErrNotRunning)
	}
	return s, r, err
}

// instance returns the instance of that name, i-... or eni-....
func (r *record) instance(name string) (recordInstance, error) {
	names := make([]string, len(r.Instances))
	for i, in := range r.Instances {
		if in.Name == name || in.ID == name || in.Interface == name {
			return in, nil
		}
		names[i] = in.Name
	}
	return recordInstance{}, usagef("no instance %q in VPC %s%s", name, r.VPC, didYouMean(name, names))
}

// A destination is where a probe goes.
type destination struct {
	name string // as the user wrote it
	ip   netip.Addr
}

// destination returns the address of an instance's name or id, or of an address.
func (r *record) destination(name string) (destination, error) {
	if ip, err := netip.ParseAddr(name); err == nil {
		for _, in := range r.Instances {
			if in.IP == ip.String() {
				return destination{in.Name, ip}, nil
			}
		}
		return destination{name, ip}, nil
	}
	in, err := r.instance(name)
	if err != nil {
		return destination{}, err
	}
	ip, err := netip.ParseAddr(in.IP)
	return destination{in.Name, ip}, err
}
