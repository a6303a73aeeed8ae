package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// newLog returns a log for people if w is a terminal, and for machines
// otherwise. Names from outside are attributes, so that none can forge a line
// (reliability row C4).
func (c *cli) newLog(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{}
	if c.verbose {
		options.Level = slog.LevelDebug
	}
	if isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// isTerminal reports whether w is a terminal.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// logToFile makes path the standard error of this process for good, and standard
// output as well: whoever started it shall not wait for its pipes to close.
// Everything that the Go runtime has to say at its end lands there, too.
func logToFile(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	defer f.Close()
	for _, fd := range []int{1, 2} {
		if err := unix.Dup3(int(f.Fd()), fd, 0); err != nil {
			return fmt.Errorf("log %s: %w", path, err)
		}
	}
	return nil
}
