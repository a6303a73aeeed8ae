package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// documented calls visit for every command that users may call, with its path below
// vswitch. Cobra's own are left out.
func documented(visit func(cmd *cobra.Command, path []string)) {
	var walk func(cmd *cobra.Command, path []string)
	walk = func(cmd *cobra.Command, path []string) {
		visit(cmd, path)
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() && sub.Name() != "help" && sub.Name() != "completion" {
				walk(sub, append(path[:len(path):len(path)], sub.Name()))
			}
		}
	}
	walk(newRoot(&cli{}), nil)
}

// Every command has a manual page, with an example; the same each time.
func TestManual(t *testing.T) {
	dirs := [2]string{filepath.Join(t.TempDir(), "man1"), t.TempDir()}
	for _, dir := range dirs {
		if got := invoke(t, t.TempDir(), "man", dir); got.code != exitOK || got.out != "" {
			t.Fatalf("exit code %d, %s%s", got.code, got.out, got.err)
		}
	}
	pages := 0
	documented(func(_ *cobra.Command, path []string) {
		pages++
		name := strings.Join(append([]string{"vswitch"}, path...), "-") + ".1"
		page, err := os.ReadFile(filepath.Join(dirs[0], name))
		if err != nil {
			t.Error(err)
			return
		}
		for _, section := range []string{".TH ", ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH EXAMPLE"} {
			if !strings.Contains(string(page), section) {
				t.Errorf("%s has no %q", name, section)
			}
		}
		if again, err := os.ReadFile(filepath.Join(dirs[1], name)); err != nil || string(again) != string(page) {
			t.Errorf("%s differs from one time to the next (%v)", name, err)
		}
	})
	if pages < 20 {
		t.Errorf("%d commands have pages", pages)
	}
	if hidden, err := filepath.Glob(filepath.Join(dirs[0], "vswitch-enter*")); err != nil || len(hidden) > 0 {
		t.Errorf("a hidden command has a page: %v %v", hidden, err)
	}
	if got := invoke(t, t.TempDir(), "man", "/proc/nowhere"); got.code != exitFailure {
		t.Errorf("into a directory that cannot be: exit code %d", got.code)
	}
}
