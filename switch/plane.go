package vswitch

import (
	"vswitch/filter"
	"vswitch/internal/wire"
)

// A plane is a compiled configuration: immutable, complete, and all that a frame
// is judged by. Publishing a new plane changes the rules for the next burst, as
// a whole; connections and counters live outside it, in the worker, so that a
// security-group edit leaves tracked flows alone by structure (SEM 2.4).
type plane struct {
	// generation counts the published planes, from 1. A flow-cache entry is good
	// for the plane that judged it, and for later ones as long as neither of its
	// interfaces was changed since (eni.since).
	generation uint32
	config     Config // completed

	enis      []*eni // by handle; nil where there is none
	byName    map[string]*eni
	byAddress map[wire.Addr]*eni
	subnets   map[string]*subnet
	routers   map[wire.Addr]bool // the router's address in every subnet
	services  map[wire.Addr]bool // addresses of platform services inside the VPC's blocks
	rules     map[string]*Rule   // security-group rules by id, for traces

	numbers   *ruleNumbers              // of all rules
	former    formerNames               // for what was seen before this plane was published
	groups    map[string]*compiledGroup // security groups by name
	lastGroup filter.GroupID            // the highest that was ever given out
	acls      map[string]*compiledACL   // network ACLs by name
}

// eni returns the interface of the named instance, or nil. The nil plane has
// none.
func (p *plane) eni(name string) *eni {
	if p == nil {
		return nil
	}
	return p.byName[name]
}
