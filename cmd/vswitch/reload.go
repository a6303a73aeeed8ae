package main

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"vswitch/internal/api"
)

const reloadLong = `Make the running switch read its file again, all or nothing: a file with a mistake
is refused whole, and what runs goes on. Tracked connections of instances that
stay are kept, as on AWS; a network ACL bites on the next packet.

With --dry-run nothing changes: reload prints what "vswitch plan" does.`

func newReload(c *cli) *cobra.Command {
	dry := false
	cmd := &cobra.Command{
		Use:         "reload",
		Aliases:     []string{"apply"},
		Short:       "Read the file again, all or nothing",
		Long:        reloadLong,
		Example:     "  vswitch reload --dry-run\n  vswitch reload",
		GroupID:     groupLab,
		Args:        noArgs(),
		Annotations: map[string]string{formatsKey: formatsPlain},
		RunE: func(*cobra.Command, []string) error {
			if dry {
				return c.plan(0)
			}
			return c.reload()
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what would change, and change nothing")
	return cmd
}

func (c *cli) reload() error {
	s, err := c.target(toChange)
	if err != nil {
		return err
	}
	request := api.ReloadRequest{Status: c.format == formatJSON}
	if c.vpc == "" && c.file != "" {
		_, path, err := c.load()
		if err != nil {
			return err
		}
		request.File = path
	}
	if !s.exists() {
		return notRunning(s, api.ErrNotRunning)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	o, err := s.begin(ctx, c.sayWaiting(s))
	if err != nil {
		return err
	}
	defer o.end()
	reply, err := api.NewClient(s.socket()).Reload(ctx, request)
	if err != nil {
		return notRunning(s, err)
	}
	for _, w := range reply.Warnings {
		c.talk("warning: %s", w)
	}
	if c.format == formatJSON {
		return api.Encode(c.out, reply)
	}
	return writeReload(c.out, s.vpc, &reply)
}

// writeReload prints what a reload changed.
func writeReload(w io.Writer, vpc string, r *api.ReloadReply) error {
	what := count(len(r.Changes), "change")
	if len(r.Changes) == 0 {
		what = "no changes"
	}
	line := fmt.Sprintf("%s: generation %d, %s", vpc, r.Generation, what)
	if _, err := fmt.Fprintln(w, line); err != nil {
		return err
	}
	rows := make([][]string, len(r.Changes))
	for i, change := range r.Changes {
		rows[i] = []string{signs[change.Action] + " " + change.Object, change.Name}
	}
	return writeTable(w, "  ", rows)
}
