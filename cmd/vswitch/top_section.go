package main

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"vswitch/internal/api"
	"vswitch/internal/flowlog"
	"vswitch/internal/policy"
)

// A topSection is a table below that of the ports.
type topSection struct {
	head  []string
	left  []bool // by column: its cells begin at the left
	rows  [][]string
	moods []mood // of the rows
	shown int    // how many lines of it there is room for: an empty one, the head, rows
}

// add adds a row.
func (s *topSection) add(m mood, cells ...string) {
	s.rows, s.moods = append(s.rows, cells), append(s.moods, m)
}

// height returns how many lines the section would fill, the empty one above it
// included.
func (s *topSection) height() int {
	if len(s.rows) == 0 {
		return 0
	}
	return 2 + len(s.rows)
}

// lines returns the head and those rows that there is room for.
func (s *topSection) lines() []topLine {
	rows := s.rows[:s.shown-2]
	widths := make([]int, len(s.head))
	for _, row := range append([][]string{s.head}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	line := func(cells []string, m mood) topLine {
		var b strings.Builder
		for i, cell := range cells {
			if i > 0 {
				b.WriteString("  ")
			}
			b.WriteString(pad(cell, widths[i], s.left[i]))
		}
		return topLine{strings.TrimRight(b.String(), " "), m}
	}
	all := []topLine{line(s.head, heading)}
	for i, row := range rows {
		all = append(all, line(row, s.moods[i]))
	}
	return all
}

// Sections on a screen without end show no more rows than this.
const sectionRows = 10

// divide returns how many ports there is room for, and sets how many lines of each
// section are shown. Ports that are many take half of the screen, and what the
// sections leave; these take turns, the first one first.
func divide(s topScreen, above, ports int, sections []*topSection) (room int) {
	if s.height == 0 {
		for _, section := range sections {
			section.shown = min(section.height(), 2+sectionRows)
		}
		return ports
	}
	free := s.height - above - 1 // the head of the table
	if s.keys {
		free--
	}
	free = max(0, free)
	left := max(free/2, free-ports)
	const least = 3 // the empty line, the head, one row
	for _, section := range sections {
		if section.height() > 0 && left >= least {
			section.shown, left = least, left-least
		}
	}
	for more := true; more && left > 0; {
		more = false
		for _, section := range sections {
			if section.shown > 0 && section.shown < section.height() && left > 0 {
				section.shown, left, more = section.shown+1, left-1, true
			}
		}
	}
	for _, section := range sections {
		free -= section.shown
	}
	return min(ports, free)
}

// sections returns the tables below that of the ports, the most important first.
func (v *topView) sections() []*topSection {
	return []*topSection{v.dropSection(), v.flowSection(), v.ruleSection()}
}

// dropSection returns the table of drops.
func (v *topView) dropSection() *topSection {
	sentences := map[string]string{}
	for _, r := range policy.Reasons() {
		sentences[r.String()] = r.Sentence()
	}
	s := &topSection{head: []string{"DROPPED", "/s", "FRAMES", "BECAUSE"}, left: []bool{true, false, false, true}}
	for _, d := range v.drops {
		m := plain
		if d.rate.packets > 0 {
			m = warning
		}
		s.add(m, d.reason, d.rate.perSecond(d.rate.packets), strconv.FormatUint(d.frames, 10), sentences[d.reason])
	}
	return s
}

// flowSection returns the table of the busiest flows.
func (v *topView) flowSection() *topSection {
	s := &topSection{head: []string{"FLOW", "pkt/s", "bit/s", "FATE"}, left: []bool{true, false, false, true}}
	b := &v.look.busiest
	for i := range b.Flows {
		f := &b.Flows[i]
		m, fate := warning, f.Verdict
		if fate == flowlog.VerdictName(policy.None) {
			m, fate = plain, strings.ToLower(fate)
		}
		s.add(m, busyFlowText(f), short(float64(f.Packets)/b.Seconds), short(8*float64(f.Bytes)/b.Seconds), fate)
	}
	if b.Unnamed > 0 {
		s.add(warning, "flows too many to be named", short(float64(b.Unnamed)/b.Seconds), "-", "")
	}
	return s
}

// busyFlowText returns "web1:40000 > app1:8080 tcp".
func busyFlowText(f *api.BusyFlow) string {
	from, to := f.From, f.To
	if f.Verdict == policy.SourceAddress.String() {
		from += "(" + f.Source + ")"
	}
	if to == "" {
		to = f.Destination
	}
	return flowEnd(from, f.SourcePort) + " > " + flowEnd(to, f.DestPort) + " " + f.Protocol
}

// ruleSection returns the table of the rules that decide, those that deny first.
func (v *topView) ruleSection() *topSection {
	s := &topSection{head: []string{"RULE", "hits/s", "flows/s", "ACTION", "WORDS"}, left: []bool{true, false, false, true, true}}
	b := &v.look.busiest
	for i := range b.Rules {
		r := &b.Rules[i]
		m, flows := plain, short(float64(r.Flows)/b.Seconds)
		if r.Action == policy.Deny.String() {
			m, flows = warning, "-"
		}
		s.add(m, r.Object+" "+r.Direction+" "+r.ID, short(float64(r.Packets)/b.Seconds), flows, r.Action, r.Words)
	}
	return s
}
