package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// takesNames matches the usage of a command whose first argument is an instance or
// an object with rules; takesTwo that of one whose second argument is another
// instance.
var (
	takesNames = regexp.MustCompile(`^\S+ \[?(INSTANCE|NAME|SRC|sg:NAME)\b`)
	takesTwo   = regexp.MustCompile(`SRC \[?DST\b|INSTANCE\.\.\.`)
	takesRules = regexp.MustCompile(`sg:NAME\|nacl:NAME`)
)

// Every command that takes names completes them: those of what runs and, if nothing
// does, those of the file.
func TestEveryNameIsCompleted(t *testing.T) {
	write(t, "vpc.toml", twoInstances)
	running, empty := t.TempDir(), t.TempDir()
	fill(t, running, "vst-one", "/lab/one.toml")
	seen := 0
	documented(func(cmd *cobra.Command, path []string) {
		if !takesNames.MatchString(cmd.Use) {
			if cmd.ValidArgsFunction != nil {
				t.Errorf("%s completes arguments, and this test does not know which", cmd.UseLine())
			}
			return
		}
		seen++
		if takesRules.MatchString(cmd.Use) {
			expectCompleted(t, empty, append(path, ""), "sg:server", "nacl:default")
			return
		}
		expectCompleted(t, running, append(path, ""), "web1", "app1")
		expectCompleted(t, empty, append(path, ""), "alice", "bob")
		if takesTwo.MatchString(cmd.Use) {
			expectCompleted(t, running, append(path, "web1", ""), "app1")
			expectCompleted(t, empty, append(path, "alice", ""), "bob")
		}
	})
	if seen < 9 {
		t.Errorf("%d commands take names, want all of them", seen)
	}
}

// expectCompleted checks what is offered for the last of the words.
func expectCompleted(t *testing.T, root string, words []string, want ...string) {
	t.Helper()
	got := invoke(t, root, append([]string{"__complete"}, words...)...)
	var offered []string
	for line := range strings.Lines(got.out) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
		offered = append(offered, name)
	}
	for _, name := range want {
		if !slices.Contains(offered, name) {
			t.Errorf("%q: offered %q, without %q\n%s", strings.Join(words, " "), offered, name, got.err)
		}
	}
}
