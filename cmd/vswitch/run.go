package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	sdnotify "github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"vswitch/internal/api"
	"vswitch/internal/lab"
)

const runLong = `Start the switch in the foreground and build the lab, as "vswitch up" does in the
background. It is meant for systemd (Type=notify) and for containers.

SIGHUP reads the file again, all or nothing. SIGTERM and SIGINT stop the switch
and remove what it made. After kill -9 the namespaces stay, with what runs in
them; the next up or run takes them over, and down removes them.

The log goes to standard error: text on a terminal, JSON otherwise.`

func newRun(c *cli) *cobra.Command {
	background := false
	cmd := &cobra.Command{
		Use:     "run",
		Short:   "Start the switch in the foreground",
		Long:    runLong,
		Example: "  vswitch run -f examples/two-tier/vpc.toml",
		GroupID: groupLab,
		Args:    noArgs(),
		RunE: func(*cobra.Command, []string) error {
			if !background {
				return c.run(nil)
			}
			up, err := openReadiness(readinessFD)
			if err != nil {
				return err
			}
			return up.end(c.run(up))
		},
	}
	cmd.Flags().BoolVar(&background, "background", false, "for up: report to descriptor 3, log to the state directory")
	cmd.Flags().Lookup("background").Hidden = true
	return cmd
}

// run is the daemon. up is nil in the foreground; otherwise the caller is
// `vswitch up`, which holds the operation and waits for word.
func (c *cli) run(up *readiness) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	if err := lab.Check(); err != nil {
		return err
	}
	cfg, file, err := c.loadFile()
	if err != nil {
		return err
	}
	s, err := c.state(cfg.VPC.VPC.Name)
	if err != nil {
		return err
	}
	if up != nil {
		d, err := startDaemon(s, file, cfg, func() (*slog.Logger, error) {
			err := logToFile(s.daemonLog())
			return c.newLog(os.Stderr), err
		})
		if err != nil {
			return err
		}
		return serve(d, signals, up.tell)
	}
	o, err := s.begin(context.Background(), c.sayWaiting(s))
	if err != nil {
		return err
	}
	defer o.end()
	d, err := startDaemon(s, file, cfg, func() (*slog.Logger, error) { return c.newLog(c.err), nil })
	if err != nil {
		return err
	}
	return serve(d, signals, func(api.Status) { o.end() })
}

// serve speaks for d until it is stopped, and returns when nothing of it is left.
// ready is called once the API answers.
func serve(d *daemon, signals <-chan os.Signal, ready func(api.Status)) error {
	defer d.leave()
	d.tellStarted()
	go d.watch()
	defer func() { <-d.events.ended }() // Stop, on every way out, ends it
	socket, err := api.Listen(d.state.socket())
	if err != nil {
		_, stopErr := d.Stop()
		return errors.Join(err, stopErr)
	}
	server := api.NewServer(d, d.log)
	served := make(chan error, 1)
	go func() { served <- server.Serve(socket) }()

	status, err := d.Status()
	if err == nil {
		d.log.Info("forwarding", "vpc", d.state.vpc, "file", d.file, "instances", len(status.Instances), "generation", status.Generation)
		notify(sdnotify.SdNotifyReady)
		ready(status)
	}
	for {
		select {
		case s := <-signals:
			d.signalled(s)
		case err := <-served:
			_, stopErr := d.Stop()
			return errors.Join(fmt.Errorf("control socket: %w", err), stopErr)
		case <-d.ended:
			ctx, cancel := context.WithTimeout(context.Background(), shutdownDeadline)
			defer cancel()
			err := server.Shutdown(ctx)
			return errors.Join(err, <-served)
		}
	}
}

// shutdownDeadline bounds how long the last answers may take on their way out.
const shutdownDeadline = 5 * time.Second

// signalled does what a signal asks for.
func (d *daemon) signalled(s os.Signal) {
	if s == syscall.SIGHUP {
		notify(sdnotify.SdNotifyReloading + "\n" + sdnotify.SdNotifyMonotonicUsec())
		_, _ = d.Reload(api.ReloadRequest{}) // its outcome is in the log and in status
		notify(sdnotify.SdNotifyReady)
		return
	}
	notify(sdnotify.SdNotifyStopping)
	_, _ = d.Stop() // likewise; a Stop that is under way already is as good
}

// notify tells systemd, if that started us, how we are.
func notify(state string) { _, _ = sdnotify.SdNotify(false, state) }

// leave lets go of the state directory, the last thing that a daemon does, and
// removes the lock beside it unless an operation holds it.
func (d *daemon) leave() {
	if err := d.lab.Close(); err != nil {
		d.log.Warn("state directory", "error", err)
	}
	busy := errors.New("an operation is under way, and will remove its lock itself")
	if o, err := d.state.begin(context.Background(), func() error { return busy }); err == nil {
		o.end()
	}
}

// sayWaiting tells the user what a begin waits for.
func (c *cli) sayWaiting(s stateDir) func() error {
	return func() error {
		c.talk("waiting for another up, reload or down of %s to end ...", s.vpc)
		return nil
	}
}
