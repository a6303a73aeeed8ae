package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"vswitch/internal/api"
)

// headlines are the verdicts as people read them.
var headlines = map[string]string{api.VerdictAllow: "ALLOWED", api.VerdictDeny: "DENIED", api.VerdictPartial: "PARTIAL"}

// explanationText returns an explanation for people. judged says what was asked.
func explanationText(e *api.Explanation, judged string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %-64s (%s)\n", headlines[e.Verdict], e.Words, judged)
	legs := append([]api.ExplainLeg{e.Request}, e.Replies...)
	widths := gateWidths(legs)
	for i := range legs {
		title := " request  " + strings.Join(legs[i].Path, " ── ")
		if i > 0 {
			title = " reply    " + legs[i].Words
		}
		fmt.Fprintln(&b, title)
		for j := range legs[i].Steps {
			fmt.Fprintln(&b, "   "+gateLine(&legs[i].Steps[j], &widths))
		}
	}
	if e.Summary != "" {
		fmt.Fprintln(&b, " "+e.Summary)
	}
	if e.Request.Verdict == api.VerdictAllow {
		b.WriteString(untrackedNote(e.Tracking))
	}
	for _, n := range e.Notes {
		fmt.Fprintln(&b, " note "+n)
	}
	for i := range e.Fixes {
		fmt.Fprintln(&b, " fix  "+e.Fixes[i].Words)
	}
	return b.String()
}

// untrackedNote returns the line that says where a flow is not tracked, and why;
// "" if it is everywhere.
func untrackedNote(all []api.Tracking) string {
	var where []string
	why := ""
	for _, t := range all {
		if !t.Tracked {
			where, why = append(where, t.Instance), t.Why
		}
	}
	if where == nil {
		return ""
	}
	return fmt.Sprintf(" note untracked at %s: %s\n", strings.Join(where, ", "), why)
}

// gateColumns are what a line says about a gate: its name, the object, the
// verdict, the rule, the rule in words. The place in the file follows them.
const gateColumns = 5

// gateWidths returns the widths of the columns, in characters. Words without a
// place behind them do not count: they may be long.
func gateWidths(legs []api.ExplainLeg) [gateColumns]int {
	widths := [gateColumns]int{11, 7, 5, 11, 28} // of a usual VPC, so that explanations look alike
	for i := range legs {
		for j := range legs[i].Steps {
			s := &legs[i].Steps[j]
			if s.Tracked {
				continue
			}
			for k, cell := range gateCells(s) {
				if k < gateColumns-1 || s.Origin != nil {
					widths[k] = max(widths[k], utf8.RuneCountInString(cell))
				}
			}
		}
	}
	return widths
}

// gateLine returns the line of one gate.
func gateLine(s *api.ExplainStep, widths *[gateColumns]int) string {
	if s.Tracked {
		return fmt.Sprintf("%-*s  %s", widths[0], "sg", s.Words)
	}
	var b strings.Builder
	for k, cell := range gateCells(s) {
		fmt.Fprintf(&b, "%-*s  ", widths[k], cell)
	}
	if s.Origin != nil {
		fmt.Fprintf(&b, "%s:%d", s.Origin.File, s.Origin.Line)
	}
	return strings.TrimRight(b.String(), " ")
}

// gateCells returns the cells of one gate.
func gateCells(s *api.ExplainStep) [gateColumns]string {
	gate := s.Check
	switch {
	case s.Check == "sg":
		gate += " " + s.Direction
	case s.Check == "nacl" && s.Direction == "egress":
		gate = "nacl out"
	case s.Check == "nacl":
		gate = "nacl in"
	}
	switch {
	case s.Verdict == api.VerdictDeny:
		return [gateColumns]string{gate, s.Object, "DENY", dash(s.Rule), s.Words}
	case s.Check == "route": // "local 10.0.0.0/16"
		target, block, _ := strings.Cut(s.Words, " ")
		return [gateColumns]string{gate, s.Object, target, block}
	}
	return [gateColumns]string{gate, s.Object, s.Verdict, dash(s.Rule), s.Words}
}
