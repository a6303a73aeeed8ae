package main

import (
	"context"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"vswitch/internal/api"
	"vswitch/internal/expect"
	vswitch "vswitch/switch"
)

const testLong = `Check the [[test]] blocks of the file by its rules alone: nothing needs to run, and
nothing is sent. allow holds if the request and its reply both pass, from every
source port from 1024 on; deny, if no answer comes back from any. A range of ports
holds for each of its ports, a list for each pair of its ends, and a block of
addresses for the instances in it. by holds if that rule matches.

With --live, real packets are sent as well, between the instances of the running
VPC: TCP connections, UDP datagrams and ICMP echoes, from inside and with no tool
there. Where nothing listens, a listener takes the port for as long as the test
lasts. Of a range, some ports stand for all. A packet that fares otherwise than the
rules say is a failure of its own: DISAGREE. Nothing came back means: within the
--timeout. The file must be what runs.

The exit code is 3 if a test failed.`

// A testOptions is the flags of test.
type testOptions struct {
	run     string
	junit   string
	live    bool
	timeout time.Duration
}

func newTest(c *cli) *cobra.Command {
	o := testOptions{timeout: 1500 * time.Millisecond}
	cmd := &cobra.Command{
		Use:         "test",
		Short:       "Check the file's [[test]] blocks, by its rules and with packets",
		Long:        testLong,
		Example:     "  vswitch test\n  vswitch test --run '^web' --junit result.xml\n  vswitch test --live",
		GroupID:     groupLab,
		Args:        noArgs(),
		Annotations: map[string]string{formatsKey: formatsStream},
		RunE:        func(*cobra.Command, []string) error { return c.test(o) },
	}
	cmd.Flags().StringVar(&o.run, "run", "", "only the tests whose names match `REGEXP`")
	cmd.Flags().StringVar(&o.junit, "junit", "", "write a JUnit report to `FILE`")
	cmd.Flags().BoolVar(&o.live, "live", false, "send real packets, too")
	cmd.Flags().DurationVar(&o.timeout, "timeout", o.timeout, "with --live, wait so long for an answer")
	return cmd
}

// test checks the tests, and returns an error if one failed.
func (c *cli) test(o testOptions) error {
	wanted, err := regexp.Compile(o.run)
	switch {
	case err != nil:
		return usagef("--run: %w", err)
	case o.timeout < 100*time.Millisecond || o.timeout > time.Minute:
		return usagef("--timeout %v: want 100ms to 1m", o.timeout)
	}
	cfg, path, err := c.load()
	if err != nil {
		return err
	}
	var session *liveSession
	if o.live {
		if session, err = c.liveSession(&cfg, path, o.timeout); err != nil {
			return err
		}
	}
	report, results, e, err := c.evaluate(cfg, wanted)
	if err != nil {
		return err
	}
	defer e.Close()
	if o.live {
		ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer cancel()
		if err := session.check(ctx, e, results, report); err != nil {
			return err
		}
	}
	report.count()
	if o.junit != "" {
		if err := writeJUnit(o.junit, report); err != nil {
			return err
		}
	}
	if err := c.print(output{document: report, items: asItems(report.Tests), table: report.writeTable}); err != nil {
		return err
	}
	if report.Failed > 0 {
		return &exitError{code: exitTest}
	}
	return nil
}

// evaluate evaluates the wanted tests by the rules.
func (c *cli) evaluate(cfg vswitch.Config, wanted *regexp.Regexp) (*testReport, []expect.Result, *expect.Evaluator, error) {
	names := make([]string, 0, len(cfg.Tests))
	for i := range cfg.Tests {
		names = append(names, cfg.Tests[i].Name)
	}
	if len(names) == 0 {
		return nil, nil, nil, usagef("%s: it has no [[test]]", c.givenFile())
	}
	e, err := expect.New(cfg)
	if err != nil {
		return nil, nil, nil, err
	}
	report := &testReport{VPC: cfg.VPC.Name, File: c.givenFile(), Tests: []testOutcome{}}
	var results []expect.Result
	for i := range cfg.Tests {
		t := &cfg.Tests[i]
		if !wanted.MatchString(t.Name) {
			continue
		}
		began := time.Now()
		r, err := e.Evaluate(t)
		if err != nil {
			return nil, nil, nil, err
		}
		results = append(results, r)
		report.Tests = append(report.Tests, c.outcome(&r, time.Since(began)))
	}
	if len(results) == 0 {
		return nil, nil, nil, usagef("--run %q: no test of %s matches%s", wanted, c.givenFile(), didYouMean(wanted.String(), names))
	}
	return report, results, e, nil
}

// outcome returns what the report says of a result of the rules.
func (c *cli) outcome(r *expect.Result, took time.Duration) testOutcome {
	t := r.Test
	o := testOutcome{
		Name: t.Name, Status: testPassed, Want: t.Want.String(), By: t.By, Got: r.Got, Reason: r.Reason,
		Rule: c.place(r.Origin), At: c.place(t.Origin), Flows: len(r.Flows), Failures: []testFlow{}, Seconds: took.Seconds(),
	}
	if !r.Passed {
		o.Status = testFailed
	}
	for i := range r.Failed {
		f := &r.Failed[i]
		words := f.Services.Words()
		o.Failures = append(o.Failures, testFlow{From: f.From.Name(), To: f.To.Name(), Family: family(f.Six), Service: words[0], Got: f.Got()})
	}
	return o
}

func family(six bool) string {
	if six {
		return api.FamilyIPv6
	}
	return api.FamilyIPv4
}

// place returns where something was written, with the file as the user writes it;
// nil if it was not.
func (c *cli) place(o vswitch.Origin) *api.Origin {
	if o.Line == 0 {
		return nil
	}
	file := o.File
	if path, err := filepath.Abs(c.givenFile()); err == nil && path == file {
		file = c.givenFile()
	}
	return &api.Origin{File: strings.TrimPrefix(file, "./"), Line: o.Line, Column: o.Column}
}
