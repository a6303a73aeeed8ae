package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

const logsLong = `Print the log of the switch, or what the command of an instance (run = in the
file) has printed. With -F, go on as more comes, until the VPC is taken down.`

func newLogs(c *cli) *cobra.Command {
	follow := false
	cmd := &cobra.Command{
		Use:               "logs [NAME]",
		Short:             "Print the log of the switch, or of an instance's command",
		Long:              logsLong,
		Example:           "  vswitch logs\n  vswitch logs web1 -F",
		GroupID:           groupInspect,
		Args:              upToArgs(1),
		ValidArgsFunction: c.completeInstance,
		RunE: func(_ *cobra.Command, args []string) error {
			name := ""
			if len(args) == 1 {
				name = args[0]
			}
			return c.logs(name, follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "F", false, "go on as the log grows, as tail -F")
	return cmd
}

func (c *cli) logs(name string, follow bool) error {
	s, r, err := c.known()
	if err != nil {
		return err
	}
	path := s.daemonLog()
	missing := fmt.Errorf("VPC %s: no log: a switch in the foreground (vswitch run) logs where it was started", s.vpc)
	if name != "" {
		in, err := r.instance(name)
		if err != nil {
			return err
		}
		path = s.instanceLog(in.Name)
		missing = fmt.Errorf("instance %s: no log: it has no command (run = in the file), or that has not started yet", in.Name)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return missing
	}
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	defer f.Close()
	if follow {
		return followFile(c.out, f)
	}
	_, err = io.Copy(c.out, f)
	return err
}

// followFile copies f to w, waits until f grows, and goes on, until f is removed.
func followFile(w io.Writer, f *os.File) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("inotify: %w", err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	defer events.Close()
	// Removing the last name of a file changes its attributes (its link count):
	// only closing it as well would be IN_DELETE_SELF, and we hold it open.
	if _, err := unix.InotifyAddWatch(fd, f.Name(), unix.IN_MODIFY|unix.IN_ATTRIB|unix.IN_MOVE_SELF); err != nil {
		return fmt.Errorf("inotify %s: %w", f.Name(), err)
	}
	buffer := make([]byte, 64*(unix.SizeofInotifyEvent+unix.NAME_MAX+1))
	for {
		if _, err := io.Copy(w, f); err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			return fmt.Errorf("log %s: %w", f.Name(), err)
		}
		if st.Nlink == 0 {
			return nil
		}
		if _, err := events.Read(buffer); err != nil {
			return fmt.Errorf("inotify: %w", err)
		}
	}
}
