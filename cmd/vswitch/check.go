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
Nothing is built, and no rights are needed. The exit code is 2 if there are any.`

func newCheck(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:         "check",
		Aliases:     []string{"validate"},
		Short:       "Read the file and report every mistake in it",
		Long:        checkLong,
		Example:     "  vswitch check\n  vswitch check -f examples/two-tier/vpc.toml -o json",
		GroupID:     groupLab,
		Args:        noArgs(),
		Annotations: map[string]string{formatsKey: formatsPlain},
		RunE:        func(*cobra.Command, []string) error { return c.check() },
	}
}

// A checkResult is what check says in JSON.
type checkResult struct {
	File     string      `json:"file"`
	OK       bool        `json:"ok"`
	VPC      string      `json:"vpc,omitempty"`    // absent unless OK
	CIDR     string      `json:"cidr,omitempty"`   // likewise
	Counts   *api.Counts `json:"counts,omitempty"` // likewise
	Problems []problem   `json:"problems"`         // in file order
}

// A problem is one mistake in the file.
type problem struct {
	Line    int    `json:"line,omitempty"` // from 1; absent for a mistake of no line
	Column  int    `json:"column,omitempty"`
	Path    string `json:"path,omitempty"` // of the key: instance.web1.sg
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func (c *cli) check() error {
	cfg, _, err := c.load()
	var full vswitch.Config
	if err == nil {
		full, err = vswitch.Complete(cfg, nil)
	}
	var usage *usageError
	if errors.As(err, &usage) {
		return err
	}
	if c.format == formatJSON {
		return c.checkJSON(&full, err)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s: OK  %s  %s\n", c.givenFile(), summary(full.VPC.Name, full.VPC.CIDR.String(), counts(&full)), count(len(full.Tests), "test"))
	return err
}

// checkJSON prints the outcome of a check as a document.
func (c *cli) checkJSON(full *vswitch.Config, err error) error {
	result := checkResult{File: c.givenFile(), OK: err == nil, Problems: []problem{}}
	if err == nil {
		n := counts(full)
		result.VPC, result.CIDR, result.Counts = full.VPC.Name, full.VPC.CIDR.String(), &n
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
