package main

import (
	"fmt"
	"io"

	"vswitch/internal/lint"
	vswitch "vswitch/switch"
)

// A finding is one thing in the file that is probably not meant.
type finding struct {
	Code    string  `json:"code"`
	Object  string  `json:"object"` // nacl.private egress 100
	Line    int     `json:"line"`   // from 1
	Column  int     `json:"column"`
	Message string  `json:"message"`
	Advice  string  `json:"advice"`
	Others  []place `json:"others,omitempty"` // of the rules and objects that the message speaks of
}

// A place is a position in the file.
type place struct {
	Line   int `json:"line"` // from 1
	Column int `json:"column"`
}

// lint returns the findings of a completed configuration, in file order.
func (c *cli) lint(full *vswitch.Config) []finding {
	found := []finding{}
	for _, f := range lint.Run(full) {
		out := finding{
			Code: string(f.Code), Object: f.Object, Line: f.Origin.Line, Column: f.Origin.Column,
			Message: f.Message, Advice: f.Advice,
		}
		for _, o := range f.Others {
			if o.Line != 0 { // not a default of AWS's, which stands nowhere
				out.Others = append(out.Others, place{o.Line, o.Column})
			}
		}
		found = append(found, out)
	}
	return found
}

// writeFindings prints findings for people: the line that an editor can jump to,
// the lines that it speaks of, and the advice.
func writeFindings(w io.Writer, file string, found []finding) error {
	for _, f := range found {
		text := fmt.Sprintf("%s:%d:%d: %s %s: %s\n", file, f.Line, f.Column, f.Code, f.Object, f.Message)
		for _, o := range f.Others {
			text += fmt.Sprintf("    see %s:%d\n", file, o.Line)
		}
		if _, err := fmt.Fprintf(w, "%s    %s\n", text, f.Advice); err != nil {
			return err
		}
	}
	return nil
}
