package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"vswitch/internal/api"
)

// A testReport is what test says in JSON; docs/output.md explains it.
type testReport struct {
	VPC    string        `json:"vpc"`
	File   string        `json:"file"`
	Passed int           `json:"passed"`
	Failed int           `json:"failed"` // those that disagree included
	Tests  []testOutcome `json:"tests"`  // in the order of the file
	Live   *liveSummary  `json:"live,omitempty"`
}

// What became of a test.
const (
	testPassed   = "passed"
	testFailed   = "failed"
	testDisagree = "disagree" // packets fare otherwise than the rules say
)

// A testOutcome is what became of one test.
type testOutcome struct {
	Name     string      `json:"name"`
	At       *api.Origin `json:"at,omitempty"`
	Status   string      `json:"status"`
	Want     string      `json:"want"`
	By       string      `json:"by,omitempty"`
	Got      string      `json:"got"`
	Reason   string      `json:"reason"`
	Rule     *api.Origin `json:"rule,omitempty"`
	Flows    int         `json:"flows"`
	Failures []testFlow  `json:"failures"`
	Probes   []liveProbe `json:"probes,omitempty"`
	Seconds  float64     `json:"-"` // of its evaluation, for JUnit
}

// A testFlow is a flow that is not as its test wants it.
type testFlow struct {
	From    string `json:"from"`
	To      string `json:"to"`
	Family  string `json:"family"`
	Service string `json:"service"`
	Got     string `json:"got"`
}

// A liveSummary says what was sent.
type liveSummary struct {
	Probes    int            `json:"probes"`
	Disagreed int            `json:"disagreed"`
	TimeoutMS int64          `json:"timeout_ms"`
	Skipped   map[string]int `json:"skipped"` // flows, by why no packet stands for them
}

// count counts the outcomes.
func (r *testReport) count() {
	r.Passed, r.Failed = 0, 0
	for i := range r.Tests {
		if r.Tests[i].Status == testPassed {
			r.Passed++
		} else {
			r.Failed++
		}
	}
}

// disagreement returns the first probe that the rules do not agree with, or nil.
func (o *testOutcome) disagreement() *liveProbe {
	for i := range o.Probes {
		if o.Probes[i].Disagrees {
			return &o.Probes[i]
		}
	}
	return nil
}

// verdict returns what a failed test wanted and what it got: "want allow, got deny
// (reply)".
func (o *testOutcome) verdict() string {
	want := o.Want
	if o.By != "" && o.Got == "another rule" {
		want += " by " + o.By
	}
	return fmt.Sprintf("want %s, got %s", want, o.Got)
}

// because returns the reason, and where its rule stands.
func (o *testOutcome) because() string {
	if o.Rule == nil {
		return o.Reason
	}
	return fmt.Sprintf("%s (%s)", o.Reason, where(o.Rule))
}

// where returns "vpc.toml:41", and "" for no place.
func where(at *api.Origin) string {
	if at == nil {
		return ""
	}
	return fmt.Sprintf("%s:%d", at.File, at.Line)
}

// writeTable prints the report for people: what passed first, so that what did not
// stands last.
func (r *testReport) writeTable(w io.Writer, _ bool) error {
	var rows, failed [][]string
	for i := range r.Tests {
		o := &r.Tests[i]
		if o.Status == testPassed {
			rows = append(rows, []string{"ok", o.Name, o.Got, o.Reason})
			continue
		}
		if o.Status == testFailed {
			failed = append(failed, []string{"FAIL", o.Name, o.verdict(), o.because(), where(o.At)})
		}
		for j := range o.Probes {
			if p := &o.Probes[j]; p.Disagrees {
				failed = append(failed, []string{"DISAGREE", o.Name, p.disagreement(), p.flow(), where(o.At)})
			}
		}
	}
	if err := writeTable(w, "", append(rows, failed...)); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, r.summary())
	return err
}

// summary returns the last lines.
func (r *testReport) summary() string {
	text := fmt.Sprintf("%d passed, %d failed", r.Passed, r.Failed)
	if r.Live == nil {
		return text
	}
	text += fmt.Sprintf("\nlive: %s, %d otherwise than the rules say; silence is no answer within %d ms", count(r.Live.Probes, "probe"), r.Live.Disagreed, r.Live.TimeoutMS)
	if len(r.Live.Skipped) > 0 {
		var parts []string
		total := 0
		for _, why := range slices.Sorted(maps.Keys(r.Live.Skipped)) {
			total += r.Live.Skipped[why]
			parts = append(parts, fmt.Sprintf("%d %s", r.Live.Skipped[why], why))
		}
		text += fmt.Sprintf("\nlive: %s without a packet: %s", count(total, "flow"), strings.Join(parts, ", "))
	}
	return text
}
