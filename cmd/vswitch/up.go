package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"vswitch/internal/api"
	"vswitch/internal/lab"
)

const upLong = `Start the switch in the background and build the lab: a network namespace for each
instance, its commands, the rules. It returns when the switch forwards.

If the VPC runs already, up makes it read its file again, as reload does. After a
crash up takes over what is still there: what runs in the namespaces goes on.`

func newUp(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:         "up",
		Aliases:     []string{"deploy"},
		Short:       "Build the lab and start the switch",
		Long:        upLong,
		Example:     "  vswitch up\n  vswitch up -f examples/two-tier/vpc.toml",
		GroupID:     groupLab,
		Args:        noArgs(),
		Annotations: map[string]string{formatsKey: formatsPlain},
		RunE:        func(*cobra.Command, []string) error { return c.up() },
	}
}

// stopDeadline bounds the wait for a daemon that is about to end.
const stopDeadline = 30 * time.Second

func (c *cli) up() error {
	began := time.Now()
	if err := lab.Check(); err != nil {
		return err
	}
	cfg, file, err := c.load()
	if err != nil {
		return err
	}
	s, err := c.state(cfg.VPC.Name)
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	o, err := s.begin(ctx, c.sayWaiting(s))
	if err != nil {
		return err
	}
	defer o.end()
	status, warnings, err := c.reloadOrStart(ctx, s, file)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		c.talk("warning: %s", w)
	}
	if c.format == formatJSON {
		return api.Encode(c.out, status)
	}
	if err := writeUp(c.out, &status, time.Since(began)); err != nil {
		return err
	}
	c.talk("%s", next(&cfg, &status))
	return nil
}

// reloadOrStart makes a VPC that runs read its file again, and starts one that
// does not. A daemon that is about to end is waited for.
func (c *cli) reloadOrStart(ctx context.Context, s stateDir, file string) (api.Status, []string, error) {
	running, err := s.runner()
	if err != nil {
		return api.Status{}, nil, err
	}
	if running == nil {
		status, err := c.start(ctx, file)
		return status, nil, err
	}
	reply, err := api.NewClient(s.socket()).Reload(ctx, api.ReloadRequest{File: file, Status: true})
	if isEnding(err) {
		if err := running.await(stopDeadline); err != nil {
			return api.Status{}, nil, err
		}
		status, err := c.start(ctx, file)
		return status, nil, err
	}
	running.release()
	if err != nil {
		return api.Status{}, nil, running.stuck(err)
	}
	return *reply.Status, reply.Warnings, nil
}

// start starts a daemon in a session of its own and waits until it forwards.
func (c *cli) start(ctx context.Context, file string) (api.Status, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return api.Status{}, err
	}
	defer reader.Close()
	args := []string{"run", "-f", file, "--background"}
	if c.verbose {
		args = append(args, "-v")
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = "vswitch"
	cmd.Dir = "/"
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "NOTIFY_SOCKET=") // up is not the service that systemd waits for
	})
	cmd.Stderr = c.err // until it has its log
	cmd.ExtraFiles = []*os.File{writer}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	writer.Close()
	if err != nil {
		return api.Status{}, fmt.Errorf("the switch: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	slow := time.AfterFunc(time.Second, func() { c.talk("building the lab ...") })
	status, err := await(reader)
	slow.Stop()
	if err != nil {
		return api.Status{}, errors.Join(err, ended(cmd))
	}
	if ctx.Err() != nil {
		return api.Status{}, errors.Join(errors.New("interrupted: the lab was taken down again"), ended(cmd))
	}
	return status, cmd.Process.Release()
}

// ended waits for a daemon that failed. It returns an error only if the way it
// ended says something.
func ended(cmd *exec.Cmd) error {
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return nil // its report said why
	}
	return err
}

// writeUp prints what runs after an up: the first block of the product's output.
func writeUp(w io.Writer, s *api.Status, took time.Duration) error {
	if _, err := fmt.Fprintf(w, "%s   %.1f s\n", summary(s.VPC, s.CIDR, s.Counts), took.Seconds()); err != nil {
		return err
	}
	rows := make([][]string, len(s.Instances))
	for i := range s.Instances {
		in := &s.Instances[i]
		rows[i] = []string{in.Name, in.IP, in.Subnet, in.Kind, in.State}
	}
	return writeTable(w, "  ", rows)
}
