package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"vswitch/internal/api"
	"vswitch/internal/lab"
)

const downLong = `Stop the switch and remove exactly what it made: namespaces, links, hosts files,
commands, the state directory. It works also after the switch was killed. What
somebody else put in the place of what vswitch made is left alone, and named.`

func newDown(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "down",
		Aliases: []string{"destroy"},
		Short:   "Remove everything that up made",
		Long:    downLong,
		Example: "  vswitch down\n  vswitch down --vpc two-tier",
		GroupID: groupLab,
		Args:    noArgs(),
		RunE:    func(*cobra.Command, []string) error { return c.down() },
	}
}

func (c *cli) down() error {
	s, err := c.target(toChange)
	if errors.Is(err, api.ErrNotRunning) {
		c.talk("nothing was there: no VPC runs here")
		return nil
	}
	if err != nil {
		return err
	}
	if !s.exists() {
		c.talk("nothing was there: the VPC %s does not run", s.vpc)
		return nil
	}
	if err := c.owns(s); err != nil {
		return err
	}
	if err := lab.Check(); err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	o, err := s.begin(ctx, c.sayWaiting(s))
	if err != nil {
		return err
	}
	defer o.end()
	reply, err := takeDown(ctx, s)
	if err != nil {
		return err
	}
	for _, w := range reply.Warnings {
		c.talk("left alone: %s", w)
	}
	c.talk("%s: down", s.vpc)
	return nil
}

// owns returns an error if this invocation names a file, and the VPC was built
// from another one.
func (c *cli) owns(s stateDir) error {
	if c.vpc != "" {
		return nil
	}
	r, err := readRecord(s)
	if err != nil {
		return nil // an operation in between; the daemon or the lab decide
	}
	cfg, path, err := c.load()
	if err != nil || cfg.VPC.Name != s.vpc || samePath(r.File, path) {
		return nil
	}
	return anotherFile(s, r.File)
}

// isEnding reports whether a call to a daemon that holds its lock failed because
// the daemon is on its way out, in good order or not.
func isEnding(err error) bool {
	var refused *api.Error
	return errors.Is(err, api.ErrNotRunning) || errors.Is(err, api.ErrGone) ||
		errors.As(err, &refused) && refused.Kind == api.KindStopping
}

// takeDown stops the daemon, or does its work if it is dead.
func takeDown(ctx context.Context, s stateDir) (api.StopReply, error) {
	running, err := s.runner()
	if err != nil {
		return api.StopReply{}, err
	}
	if running != nil {
		reply, err := api.NewClient(s.socket()).Stop(ctx)
		if err != nil && !isEnding(err) {
			running.release()
			return api.StopReply{}, running.stuck(err)
		}
		if err := running.await(stopDeadline); err != nil {
			return api.StopReply{}, err
		}
		if !s.exists() {
			return reply, nil
		}
	}
	if !s.exists() { // the operation that we waited for was a down
		return api.StopReply{}, nil
	}
	l, err := lab.Open(s.path())
	if err != nil {
		return api.StopReply{}, err
	}
	report, err := l.Down()
	err = errors.Join(err, s.clear(), l.Close())
	if err != nil {
		return api.StopReply{}, fmt.Errorf("VPC %s: not everything could be removed; the next down tries again: %w", s.vpc, err)
	}
	return api.StopReply{Removed: report.Removed, Warnings: report.Left}, nil
}
