package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"

	"vswitch/internal/lab"
)

const execLong = `Run a command inside an instance: in its network namespace, with its hosts file.
The command takes the place of vswitch, so its input, its terminal, its signals
and its exit code are those of vswitch exec. VSWITCH_VPC and VSWITCH_INSTANCE say
where it is. Flags of vswitch go before NAME.

The exit code is 127 if there is no such command, and 126 if it may not be run.`

func newExec(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "exec NAME -- CMD [ARG...]",
		Short:             "Run a command inside an instance",
		Long:              execLong,
		Example:           "  vswitch exec web1 -- ip addr\n  vswitch exec web1 -- sh",
		GroupID:           groupInside,
		Args:              minArgs(1),
		ValidArgsFunction: c.completeInstance,
		RunE: func(cmd *cobra.Command, args []string) error {
			argv := args[1:]
			if len(argv) > 0 && argv[0] == "--" {
				argv = argv[1:]
			}
			if len(argv) == 0 {
				return usagef("no command\nusage: %s", cmd.UseLine())
			}
			return c.exec(args[0], argv)
		},
	}
	cmd.DisableFlagsInUseLine = true
	cmd.Flags().SetInterspersed(false) // what follows NAME is the command's
	return cmd
}

func (c *cli) exec(name string, argv []string) error {
	s, r, err := c.known()
	if err != nil {
		return err
	}
	in, err := r.instance(name)
	if err != nil {
		return err
	}
	return enter(s, in, argv)
}

// enter becomes the command argv inside an instance. It returns only if that
// fails.
func enter(s stateDir, in recordInstance, argv []string) error {
	if err := lab.Check(); err != nil {
		return err
	}
	own, err := os.Executable()
	if err != nil {
		return fmt.Errorf("own path: %w", err)
	}
	for name, value := range map[string]string{
		"VSWITCH_VPC":      s.vpc,
		"VSWITCH_INSTANCE": in.Name,
		"PATH":             os.Getenv("PATH") + ":" + filepath.Dir(own), // so that vswitch itself is always found
	} {
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("environment: %w", err)
		}
	}
	err = fmt.Errorf("instance %s: %w", in.Name, lab.Exec(in.Namespace, argv))
	var path *fs.PathError
	var lookup *exec.Error
	if errors.As(err, &path) && path.Op == "exec" || errors.As(err, &lookup) {
		code := exitCannotRun
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			code = exitNotFound
		}
		return &exitError{code, err}
	}
	return err
}

// newEnter returns the command by which package lab starts the commands of the
// instances; nobody else needs it.
func newEnter(*cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:    "enter NAMESPACE -- CMD [ARG...]",
		Short:  "Become a command inside a namespace",
		Hidden: true,
		Args:   minArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			argv := args[1:]
			if argv[0] == "--" {
				argv = argv[1:]
			}
			return lab.Exec(args[0], argv)
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}
