package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"vswitch/internal/api"
)

// reloadPause is the time between two reloads of the works that reload: a
// hundredth of a second.
const reloadPause = 10 * time.Millisecond

// stateRoot is where vswitch, run by root, has the directories of its VPCs.
const stateRoot = "/run/vswitch"

// errUnsuited is the error of a work that is none for the target.
var errUnsuited = errors.New("not a work of this target")

// A control is the running vswitch of a site. It is told to reload by a signal, whose
// sender does nothing that would be taken for the switch's work.
type control struct {
	client   *api.Client
	signal   func(pid int) error // makes a switch reload
	pid      int                 // of the switch; 0 before it was asked
	file     string
	contents [2][]byte // of the file, in turn: they differ in a rule of both hosts' group
	turn     int
}

// newControl returns the control of the VPC that runs from file.
func newControl(file string, contents [2][]byte) *control {
	return &control{
		client:   api.NewClient(filepath.Join(stateRoot, vpcName, "api.sock")),
		signal:   func(pid int) error { return unix.Kill(pid, unix.SIGHUP) },
		file:     file,
		contents: contents,
	}
}

// reload has the switch take the other of the two contents, and does not wait until
// it has: it may still read the file as it was before.
func (c *control) reload(context.Context) error {
	c.turn = 1 - c.turn
	next := c.file + ".next"
	if err := os.WriteFile(next, c.contents[c.turn], 0o600); err != nil {
		return err
	}
	if err := os.Rename(next, c.file); err != nil {
		return err
	}
	if err := c.signal(c.pid); err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	return nil
}

// reloads returns how many reloads the switch has made, and an error if it refused
// one.
func (c *control) reloads(ctx context.Context) (int, error) {
	status, err := c.client.Status(ctx)
	if err != nil {
		return 0, fmt.Errorf("status: %w", err)
	}
	if status.Reloads.Failed > 0 {
		return 0, fmt.Errorf("%d reloads were refused: %s", status.Reloads.Failed, status.Reloads.LastError)
	}
	c.pid = status.PID
	return status.Reloads.Succeeded, nil
}

// pace reloads every reloadPause until done is closed, and makes up for those that
// took longer. It returns an error too if they were fewer than nine in ten of those
// due.
func pace(ctx context.Context, done <-chan struct{}, reload func(context.Context) error) error {
	began, count := time.Now(), 0
	tick := time.NewTicker(reloadPause)
	defer tick.Stop()
	for {
		due := int(time.Since(began) / reloadPause)
		select {
		case <-done:
			if count < due*9/10 {
				return fmt.Errorf("%w: %d reloads, want %d", errShort, count, due)
			}
			return nil
		default:
		}
		if count >= due {
			select {
			case <-tick.C:
			case <-done:
			}
			continue
		}
		if err := reload(ctx); err != nil {
			return err
		}
		count++
	}
}

// amongReloads returns what f does while the switch reloads. It returns an error too
// if the switch made fewer than nine in ten of the reloads that it was asked for.
func (c *control) amongReloads(ctx context.Context, f func() (float64, error)) (float64, error) {
	before, err := c.reloads(ctx)
	if err != nil {
		return 0, err
	}
	sent, done, paced := 0, make(chan struct{}), make(chan error, 1)
	go func() {
		paced <- pace(ctx, done, func(ctx context.Context) error {
			sent++
			return c.reload(ctx)
		})
	}()
	value, err := f()
	close(done)
	if err := errors.Join(<-paced, err); err != nil {
		return value, err
	}
	after, err := c.reloads(ctx)
	if made := after - before; err == nil && made < sent*9/10 {
		err = fmt.Errorf("%w: %d reloads of %d that were asked for", errShort, made, sent)
	}
	return value, err
}

// reloading is a bulk transfer while the switch reloads, to one without.
func reloading(ctx context.Context, s *site, length time.Duration) (float64, error) {
	if s.control == nil {
		return 0, errUnsuited
	}
	transfer := func() (float64, error) { return stream(1)(ctx, s, length) }
	alone, err := transfer()
	if err != nil {
		return 0, err
	}
	among, err := s.control.amongReloads(ctx, transfer)
	return among / alone, err
}

// losing is how many frames a bulk transfer loses while the switch reloads: those
// that the switch drops, and those that its queues do not take in.
func losing(ctx context.Context, s *site, length time.Duration) (float64, error) {
	if s.control == nil {
		return 0, errUnsuited
	}
	before, err := s.lost(ctx)
	if err != nil {
		return 0, err
	}
	if _, err := s.control.amongReloads(ctx, func() (float64, error) { return stream(1)(ctx, s, length) }); err != nil {
		return 0, err
	}
	after, err := s.lost(ctx)
	return after - before, err
}

// lost returns how many frames were lost so far between the hosts of a site with a
// vswitch.
func (s *site) lost(ctx context.Context) (float64, error) {
	status, err := s.control.client.Status(ctx)
	if err != nil {
		return 0, fmt.Errorf("status: %w", err)
	}
	sum := float64(status.Totals.Dropped)
	for _, host := range []struct {
		agent  *agent
		device string
	}{{s.a, s.deviceA}, {s.b, s.deviceB}} {
		n, err := host.agent.call(ctx, task{Op: opUnsent, Device: host.device})
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
