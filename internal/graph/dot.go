package graph

import (
	"fmt"
	"strings"
)

// Dot returns the graph in the DOT language of Graphviz.
func (g *Graph) Dot() string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %s {\n", dotText(g.VPC))
	fmt.Fprintf(&b, "  label=%s\n  labelloc=t\n  rankdir=LR\n  fontname=\"sans-serif\"\n", dotText(g.title()))
	b.WriteString("  node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=\"sans-serif\"]\n  edge [fontname=\"sans-serif\", fontsize=10]\n")
	ids := g.ids()
	for _, name := range g.Outside {
		fmt.Fprintf(&b, "  %s [label=%s, shape=ellipse]\n", ids[name], dotText(name))
	}
	for i := range g.Subnets {
		s := &g.Subnets[i]
		fmt.Fprintf(&b, "  subgraph cluster_%d {\n    label=%s\n    style=filled\n    fillcolor=\"#f1f5f9\"\n", i, dotText(s.title(), "nacl "+s.NetworkACL))
		for j := range s.Nodes {
			fmt.Fprintf(&b, "    %s [label=%s]\n", ids[s.Nodes[j].Name], dotText(s.Nodes[j].lines()...))
		}
		if len(s.Nodes) == 0 {
			fmt.Fprintf(&b, "    e%d [label=%s, shape=plaintext]\n", i, dotText(gone))
		}
		b.WriteString("  }\n")
	}
	for i := range g.Edges {
		e := &g.Edges[i]
		for _, v := range verdicts {
			if v.verdict != e.Verdict {
				continue
			}
			style := "solid"
			if v.dashes != "" {
				style = "dashed"
			}
			fmt.Fprintf(&b, "  %s -> %s [label=%s, color=%q, fontcolor=%q, style=%s]\n", ids[e.From], ids[e.To], dotText(e.label()), v.colour, v.colour, style)
		}
	}
	b.WriteString("}\n")
	return b.String()
}

// dotText writes lines as a quoted string. In a label a backslash begins an
// escape, so one that is meant is doubled.
func dotText(lines ...string) string {
	for i, s := range lines {
		lines[i] = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)
	}
	return `"` + strings.Join(lines, `\n`) + `"`
}
