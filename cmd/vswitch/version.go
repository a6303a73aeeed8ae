package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// A version is what is known of this binary.
type version struct {
	Version  string `json:"version"`          // of the module, or "devel"
	Commit   string `json:"commit,omitempty"` // absent in a build outside a git tree
	Modified bool   `json:"modified"`         // there were changes that no commit holds
	Time     string `json:"time,omitempty"`   // of the commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// buildVersion reads the build info that the linker left.
func buildVersion() version {
	v := version{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if m := info.Main.Version; m != "" && m != "(devel)" {
		v.Version = m
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		case "vcs.time":
			v.Time = s.Value
		}
	}
	return v
}

func newVersion(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:         "version",
		Short:       "Show the version of this binary",
		Long:        "Show the version of this binary, the commit it was built from, and by which Go.",
		Example:     "  vswitch version -o json",
		GroupID:     groupOther,
		Args:        noArgs(),
		Annotations: map[string]string{formatsKey: formatsPlain},
		RunE: func(*cobra.Command, []string) error {
			v := buildVersion()
			return c.print(output{document: v, table: func(w io.Writer, _ bool) error { return v.write(w) }})
		},
	}
}

// write prints the version in one line.
func (v version) write(w io.Writer) error {
	parts := []string{"vswitch " + v.Version}
	if v.Commit != "" {
		commit := "commit " + v.Commit[:min(12, len(v.Commit))]
		if v.Modified {
			commit += " with changes"
		}
		parts = append(parts, commit)
	}
	_, err := fmt.Fprintln(w, strings.Join(append(parts, v.Go, v.Platform), "  "))
	return err
}
