package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

const manLong = `Write the manual pages of all commands into a directory, which is made if it is not
there: vswitch.1, vswitch-explain.1 and so on. "make install" does so.`

func newMan() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write the manual pages",
		Long:    manLong,
		Example: "  vswitch man /usr/local/share/man/man1",
		Hidden:  true,
		Args:    rangeArgs(1, 1),
		RunE:    func(cmd *cobra.Command, args []string) error { return writeManual(cmd.Root(), args[0]) },
	}
}

// manualDate is on every page: it must be the same for the same commands, so it is
// not the day of the build.
var manualDate = time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)

// writeManual writes the pages of a command and of those below it.
func writeManual(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root.DisableAutoGenTag = true // it has the day of the build
	header := doc.GenManHeader{Title: "VSWITCH", Section: "1", Source: "vswitch", Manual: "vswitch manual", Date: &manualDate}
	return doc.GenManTree(root, &header, dir)
}
