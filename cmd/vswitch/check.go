package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"vswitch/internal/api"
	"vswitch/internal/config"
	vswitch "vswitch/switch"
)

const checkLong = `Read the file and say every mistake in it at once, each with file:line:column.
Nothing is built, and no rights are needed. The exit code is 2 if there are any.

With --lint, also say what a file without mistakes probably does not mean: rules
that never decide, replies that no network ACL rule lets back, objects that nobody
uses, administrators' ports that are open to everybody. Each finding has a code,
which docs/lint.md explains, and an advice. Findings are no mistakes: the exit
code stays 0, unless --strict makes them count as such.`

func newCheck(c *cli) *cobra.Command {
	var lint, strict bool
	cmd := &cobra.Command{
		Use:         "check",
		Aliases:     []string{"validate"},
		Short:       "Read the file and report every mistake in it",
		Long:        checkLong,
		Example:     "  vswitch check\n  vswitch check -f examples/two-tier/vpc.toml -o json\n  vswitch check --lint",
		GroupID:     groupLab,
		Args:        noArgs(),
		Annotations: map[string]string{formatsKey: formatsPlain},
		RunE:        func(*cobra.Command, []string) error { return c.check(lint || strict, strict) },
	}
	cmd.Flags().BoolVar(&lint, "lint", false, "also say what is probably not meant")
	cmd.Flags().BoolVar(&strict, "strict", false, "--lint, with exit code 2 if that finds anything")
	return cmd
}

// A checkResult is what check says in JSON.
type checkResult struct {
	File     string      `json:"file"`
	OK       bool        `json:"ok"`
	VPC      string      `json:"vpc,omitempty"`      // absent unless OK
	CIDR     string      `json:"cidr,omitempty"`     // likewise
	Counts   *api.Counts `json:"counts,omitempty"`   // likewise
	Problems []problem   `json:"problems"`           // in file order
	Findings *[]finding  `json:"findings,omitempty"` // in file order; absent unless OK, and without --lint
}

// A problem is one mistake in the file.
type problem struct {
	Line    int    `json:"line,omitempty"` // from 1; absent for a mistake of no line
	Column  int    `json:"column,omitempty"`
	Path    string `json:"path,omitempty"` // of the key: instance.web1.sg
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// check reads the file and says what is wrong with it, and with lint also what is
// odd. strict makes that a failure.
func (c *cli) check(lint, strict bool) error {
	cfg, _, err := c.load()
	var full vswitch.Config
	if err == nil {
		full, err = vswitch.Complete(cfg, nil)
	}
	var usage *usageError
	if errors.As(err, &usage) {
		return err
	}
	var found []finding
	if err == nil && lint {
		found = c.lint(&full)
	}
	if c.format == formatJSON {
		err = c.checkJSON(&full, err, lint, found)
	} else if err == nil {
		err = c.checkTable(&full, lint, found)
	}
	if err == nil && strict && len(found) > 0 {
		err = &exitError{code: exitUsage}
	}
	return err
}

// checkTable prints the outcome for people: the findings, and a line about the
// whole file.
func (c *cli) checkTable(full *vswitch.Config, lint bool, found []finding) error {
	last := fmt.Sprintf("%s: OK  %s  %s", c.givenFile(), summary(full.VPC.Name, full.VPC.CIDR.String(), counts(full)), count(len(full.Tests), "test"))
	if lint {
		if err := writeFindings(c.out, c.givenFile(), found); err != nil {
			return err
		}
		last += "  " + count(len(found), "finding")
	}
	_, err := fmt.Fprintln(c.out, last)
	return err
}

// checkJSON prints the outcome of a check as a document.
func (c *cli) checkJSON(full *vswitch.Config, err error, lint bool, found []finding) error {
	result := checkResult{File: c.givenFile(), OK: err == nil, Problems: []problem{}}
	if err == nil {
		n := counts(full)
		result.VPC, result.CIDR, result.Counts = full.VPC.Name, full.VPC.CIDR.String(), &n
		if lint {
			result.Findings = &found
		}
		return api.Encode(c.out, result)
	}
	var mistakes config.Errors
	if errors.As(err, &mistakes) {
		for _, m := range mistakes {
			result.Problems = append(result.Problems, problem{m.Line, m.Column, m.Path, m.Message, m.Hint})
		}
	} else {
		result.Problems = append(result.Problems, problem{Message: c.shorten(err.Error())})
	}
	if err := api.Encode(c.out, result); err != nil {
		return err
	}
	return &exitError{code: exitUsage}
}
