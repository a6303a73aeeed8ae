package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"vswitch/internal/api"
)

// A mood says how a line of top is shown where there is colour.
type mood uint8

const (
	plain   mood = iota
	heading      // the title, and the head of a table
	faint        // what is only there to be looked up
	alarm        // a port that is down
	warning      // frames are being dropped
)

// A topLine is one line of top's screen, without colour.
type topLine struct {
	text string
	mood mood
}

// A topScreen is the room that top has, and how the user wants it filled.
type topScreen struct {
	width, height int // in characters; 0 means any
	order         topOrder
	first         int // how many ports are scrolled away
	paused        bool
	keys          bool // there is a keyboard: the last line names the keys
}

// nameWidth bounds the name of a port where there is not room for everything.
const nameWidth = 12

// lines returns what fits on the screen, most important things first, and how many
// ports could still be scrolled away. No line is wider than the screen.
func (v *topView) lines(s topScreen) (all []topLine, scroll int) {
	for _, text := range v.title() {
		all = append(all, topLine{text, heading})
	}
	all = append(all, topLine{})
	sections := v.sections()
	room := divide(s, len(all), len(v.ports), sections)

	ports := v.sorted(s.order)
	scroll = max(0, len(ports)-room)
	first := min(s.first, scroll)
	head, rows := v.portRows(s.width, ports)
	all = append(all, topLine{head, heading})
	for i, row := range rows[first:min(first+room, len(rows))] {
		all = append(all, topLine{row, ports[first+i].mood()})
	}
	for _, section := range sections {
		if section.shown > 0 {
			all = append(all, topLine{})
			all = append(all, section.lines()...)
		}
	}
	if s.keys {
		for len(all) < s.height-1 {
			all = append(all, topLine{})
		}
		all = append(all, topLine{v.footer(s, first, room), faint})
	}
	if s.height > 0 {
		all = all[:min(len(all), s.height)]
	}
	for i := range all {
		all[i].text = clip(all[i].text, s.width)
	}
	return all, scroll
}

// mood returns how the line of a port is shown.
func (p *topPort) mood() mood {
	switch {
	case p.State != api.StateUp:
		return alarm
	case p.lost.packets > 0:
		return warning
	}
	return plain
}

// portRows returns the head and the rows of the table of ports, with those columns
// that the width has room for.
func (v *topView) portRows(width int, ports []topPort) (head string, rows []string) {
	name := len("NAME")
	for i := range ports {
		name = max(name, len(ports[i].Name))
	}
	widths := make([]int, len(topColumns)) // 0 for a column that is left out
	for i, c := range topColumns {
		widths[i] = len(c.title)
		for j := range ports {
			widths[i] = max(widths[i], len(c.cell(&ports[j])))
		}
	}
	if width > 0 {
		name = fit(width, name, widths)
	}
	line := func(first string, cell func(c *topColumn) string) string {
		var b strings.Builder
		b.WriteString(pad(clip(first, name), name, true))
		for i := range topColumns {
			if widths[i] > 0 {
				b.WriteString("  " + pad(cell(&topColumns[i]), widths[i], topColumns[i].left))
			}
		}
		return strings.TrimRight(b.String(), " ")
	}
	head = line("NAME", func(c *topColumn) string { return c.title })
	for i := range ports {
		rows = append(rows, line(ports[i].Name, func(c *topColumn) string { return c.cell(&ports[i]) }))
	}
	return head, rows
}

// fit leaves out the columns that the width has no room for, by setting theirs to
// 0, and returns the width of the names.
func fit(width, name int, widths []int) int {
	left := width - min(name, nameWidth)
	byRank := make([]int, len(topColumns))
	for i := range byRank {
		byRank[i] = i
	}
	slices.SortFunc(byRank, func(a, b int) int { return topColumns[a].rank - topColumns[b].rank })
	full := false
	for _, i := range byRank {
		if full = full || left < 2+widths[i]; full {
			widths[i] = 0
			continue
		}
		left -= 2 + widths[i]
	}
	return min(name, nameWidth+max(0, left))
}

// footer returns the last line of a screen with a keyboard.
func (v *topView) footer(s topScreen, first, room int) string {
	text := "q quit  s sort: " + s.order.String() + "  p pause"
	if s.paused {
		text = "PAUSED  q quit  s sort: " + s.order.String() + "  p go on"
	}
	if room < len(v.ports) {
		text += fmt.Sprintf("  ↑↓ %d-%d of %d", min(first+1, len(v.ports)), first+room, len(v.ports))
	}
	return text
}

// pad fills a cell with spaces.
func pad(s string, width int, left bool) string {
	space := strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
	if left {
		return s + space
	}
	return space + s
}

// clip shortens a text to a width, if that is not 0. What is cut is told by an
// ellipsis.
func clip(s string, width int) string {
	if width <= 0 || utf8.RuneCountInString(s) <= width {
		return s
	}
	return strings.TrimRight(string([]rune(s)[:width-1]), " ") + "…"
}
