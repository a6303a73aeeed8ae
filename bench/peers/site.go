package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
)

// Addresses of the two hosts. With a switch that routes, B is in another subnet.
var (
	addressA      = netip.MustParsePrefix("10.99.1.10/24")
	addressB      = netip.MustParsePrefix("10.99.1.11/24")
	addressRouted = netip.MustParsePrefix("10.99.2.11/24")
)

// Names of the two links, in the switch's namespace and in the hosts'.
const (
	linkA = "vsba"
	linkB = "vsbb"
)

// A site is a target that has been set up: two hosts, and a switch between them.
type site struct {
	plan    *plan
	a, b    *agent
	deviceA string
	deviceB string
	peer    netip.Addr // B's address
	control *control   // nil for a target that is no vswitch
	undo    []func() error
}

// later has f run when the site is closed, the last one first.
func (s *site) later(f func() error) { s.undo = append(s.undo, f) }

// close takes everything down that was set up, also half of a site.
func (s *site) close() error {
	var errs []error
	for _, f := range slices.Backward(s.undo) {
		errs = append(errs, f())
	}
	s.undo = nil
	return errors.Join(errs...)
}

// agent starts an agent in the namespace of that name, or in a new one without a
// name if it is "".
func (s *site) agent(namespace string) (*agent, error) {
	a, err := startAgent(namespace)
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	s.later(a.stop)
	return a, nil
}

// hosts makes the two hosts of a target that brings no namespaces of its own.
func (s *site) hosts() (err error) {
	if s.a, err = s.agent(""); err != nil {
		return err
	}
	if s.b, err = s.agent(""); err != nil {
		return err
	}
	s.deviceA, s.deviceB, s.peer = linkA, linkB, addressB.Addr()
	return nil
}

// connect hands the links of the switch to the hosts, and gives them addresses.
func (s *site) connect(ctx context.Context, from *agent) error {
	for _, end := range []struct {
		host    *agent
		link    string
		address netip.Prefix
	}{{s.a, linkA, addressA}, {s.b, linkB, addressB}} {
		if _, err := from.call(ctx, task{Op: opGive, Device: end.link, PID: end.host.pid()}); err != nil {
			return err
		}
		if _, err := end.host.call(ctx, task{Op: opConfigure, Device: end.link, Address: end.address.String()}); err != nil {
			return err
		}
	}
	return nil
}

// memoryRoot is where files never wait for a disk.
const memoryRoot = "/dev/shm"

// directory makes a directory for the files of a switch, in memory if that can be:
// what it costs to write them is not what is measured.
func (s *site) directory() (string, error) {
	root := memoryRoot
	if _, err := os.Stat(root); err != nil {
		root = "" // the usual one
	}
	dir, err := os.MkdirTemp(root, "vsb-")
	if err != nil {
		return "", err
	}
	s.later(func() error { return os.RemoveAll(dir) })
	return dir, nil
}

// prepare starts B's servers and waits until A reaches them.
func (s *site) prepare(ctx context.Context) error {
	if _, err := s.b.call(ctx, task{Op: opListen}); err != nil {
		return err
	}
	_, err := s.a.call(ctx, task{Op: opReach, Peer: s.peer.String()})
	return err
}
