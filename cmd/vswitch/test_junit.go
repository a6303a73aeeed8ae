package main

import (
	"encoding/xml"
	"fmt"
	"os"
	"strings"
)

// A junitSuite is the root of a JUnit report, in the form that CI systems read.
type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"` // seconds
	Cases    []junitCase `xml:"testcase"`
}

// A junitCase is one test.
type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	File    string        `xml:"file,attr,omitempty"`
	Line    int           `xml:"line,attr,omitempty"`
	Time    string        `xml:"time,attr"` // seconds
	Failure *junitFailure `xml:"failure"`
}

// A junitFailure says why a test failed.
type junitFailure struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// junit returns the report as JUnit has it.
func (r *testReport) junit() ([]byte, error) {
	suite := junitSuite{Name: r.VPC, Tests: len(r.Tests), Failures: r.Failed}
	total := 0.0
	for i := range r.Tests {
		o := &r.Tests[i]
		total += o.Seconds
		c := junitCase{Name: o.Name, Class: r.VPC, Time: fmt.Sprintf("%.6f", o.Seconds)}
		if o.At != nil {
			c.File, c.Line = o.At.File, o.At.Line
		}
		if o.Status != testPassed {
			c.Failure = o.junitFailure()
		}
		suite.Cases = append(suite.Cases, c)
	}
	suite.Time = fmt.Sprintf("%.6f", total)
	text, err := xml.MarshalIndent(suite, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(append([]byte(xml.Header), text...), '\n'), nil
}

// junitFailure returns the failure of a test that failed.
func (o *testOutcome) junitFailure() *junitFailure {
	var b strings.Builder
	f := &junitFailure{Message: o.verdict(), Type: o.Status}
	if o.Status == testFailed {
		fmt.Fprintf(&b, "%s: %s\n", f.Message, o.because())
	} else if p := o.disagreement(); p != nil {
		f.Message = p.disagreement()
	}
	for i := range o.Failures {
		x := &o.Failures[i]
		fmt.Fprintf(&b, "%s -> %s %s (%s): %s\n", x.From, x.To, x.Service, x.Family, x.Got)
	}
	for i := range o.Probes {
		if p := &o.Probes[i]; p.Disagrees {
			fmt.Fprintf(&b, "%s: %s\n", p.flow(), p.disagreement())
		}
	}
	if o.At != nil {
		fmt.Fprintf(&b, "%s\n", where(o.At))
	}
	f.Text = b.String()
	return f
}

// writeJUnit writes the report to a file.
func writeJUnit(path string, r *testReport) error {
	text, err := r.junit()
	if err != nil {
		return fmt.Errorf("--junit %s: %w", path, err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return fmt.Errorf("--junit: %w", err)
	}
	return nil
}
