package graph

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// SVG returns the graph as a picture that needs no other program, nor a font of
// its own.
func (g *Graph) SVG() string {
	l := newLayout(g)
	var used []int // of verdicts
	for i, v := range verdicts {
		for _, r := range l.routes {
			if r.edge.Verdict == v.verdict {
				used = append(used, i)
				break
			}
		}
	}
	height := l.height + (len(used)+1)*lineHeight // the legend
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="system-ui, sans-serif" font-size="12">`+"\n", l.width, height)
	fmt.Fprintf(&b, "<title>%s</title>\n<defs>\n", svgText(g.title()))
	for _, i := range used {
		fmt.Fprintf(&b, `<marker id="%s" viewBox="0 0 10 10" refX="10" refY="5" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L10 5L0 10z" fill="%s"/></marker>`+"\n", verdicts[i].verdict, verdicts[i].colour)
	}
	b.WriteString("</defs>\n")
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", l.width, height)
	fmt.Fprintf(&b, `<text x="%d" y="%d" font-size="16" font-weight="bold" fill="#0f172a">%s</text>`+"\n", margin, margin+8, svgText(g.title()))
	for i := range l.subnets {
		s := &l.subnets[i]
		s.draw(&b, "#f1f5f9", "#94a3b8", "start")
		if len(g.Subnets[i].Nodes) == 0 {
			fmt.Fprintf(&b, `<text x="%d" y="%d" fill="#64748b">%s</text>`+"\n", s.x+padding, s.y+headRoom+lineHeight-4, gone)
		}
	}
	for i := range l.nodes {
		stroke := "#475569"
		if i < l.outside {
			stroke = "#94a3b8"
		}
		l.nodes[i].draw(&b, "#ffffff", stroke, "middle")
	}
	for i := range l.routes {
		l.routes[i].draw(&b)
	}
	for n, i := range used {
		y := l.height + n*lineHeight
		v := &verdicts[i]
		fmt.Fprintf(&b, `<path d="M%d %dh36" stroke="%s" stroke-width="1.5"%s fill="none" marker-end="url(#%s)"/>`+"\n", margin, y-4, v.colour, v.dashArray(), v.verdict)
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="#334155">%s</text>`+"\n", margin+48, y, v.meaning)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// draw draws a box with its lines, the first one bold.
func (b *box) draw(w *strings.Builder, fill, stroke, anchor string) {
	fmt.Fprintf(w, `<rect x="%d" y="%d" width="%d" height="%d" rx="6" fill="%s" stroke="%s"/>`+"\n", b.x, b.y, b.w, b.h, fill, stroke)
	at := point{b.x + padding, b.y + padding + 8}
	if anchor == "middle" {
		at = point{b.x + b.w/2, b.y + (b.h-len(b.lines)*lineHeight)/2 + lineHeight - 4}
	}
	for i, line := range b.lines {
		weight, colour := "normal", "#475569"
		if i == 0 {
			weight, colour = "bold", "#0f172a"
		}
		fmt.Fprintf(w, `<text x="%d" y="%d" text-anchor="%s" font-weight="%s" fill="%s">%s</text>`+"\n", at.x, at.y+i*lineHeight, anchor, weight, colour, svgText(line))
	}
}

// draw draws an edge and its label.
func (r *route) draw(b *strings.Builder) {
	var path strings.Builder
	for i, p := range r.corners {
		verb := "L"
		if i == 0 {
			verb = "M"
		}
		fmt.Fprintf(&path, "%s%d %d", verb, p.x, p.y)
	}
	anchor := "start"
	if r.atEnd {
		anchor = "end"
	}
	for i := range verdicts {
		v := &verdicts[i]
		if v.verdict != r.edge.Verdict {
			continue
		}
		fmt.Fprintf(b, `<path d="%s" stroke="%s" stroke-width="1.5"%s fill="none" stroke-linejoin="round" marker-end="url(#%s)"/>`+"\n", path.String(), v.colour, v.dashArray(), v.verdict)
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="%s" font-size="11" fill="%s">%s</text>`+"\n", r.label.x, r.label.y, anchor, v.colour, svgText(r.edge.label()))
	}
}

// svgText escapes a text for XML.
func svgText(s string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		panic("unreachable: a strings.Builder takes everything: " + err.Error())
	}
	return b.String()
}
