package graph

import (
	"fmt"
	"strings"
)

// Mermaid returns the graph as a flowchart of Mermaid, which many wikis and
// repository hosts draw where it stands in a ```mermaid block.
func (g *Graph) Mermaid() string {
	var b strings.Builder
	fmt.Fprintf(&b, "flowchart LR\n  %%%% %s\n", mermaidText(g.title()))
	ids := g.ids()
	for i := range g.Outside {
		fmt.Fprintf(&b, "  %s([\"%s\"])\n", ids[g.Outside[i]], mermaidText(g.Outside[i]))
	}
	for i := range g.Subnets {
		s := &g.Subnets[i]
		fmt.Fprintf(&b, "  subgraph s%d[\"%s<br/>nacl %s\"]\n", i, mermaidText(s.title()), mermaidText(s.NetworkACL))
		for j := range s.Nodes {
			lines := s.Nodes[j].lines()
			for k := range lines {
				lines[k] = mermaidText(lines[k])
			}
			fmt.Fprintf(&b, "    %s[\"%s\"]\n", ids[s.Nodes[j].Name], strings.Join(lines, "<br/>"))
		}
		if len(s.Nodes) == 0 {
			fmt.Fprintf(&b, "    e%d[\"%s\"]\n", i, gone)
		}
		b.WriteString("  end\n")
	}
	arrows := map[Verdict]string{Allow: "-->", NoReply: "-.->", Denied: "--x", Outside: "-.->"}
	colours := map[Verdict][]string{}
	for i := range g.Edges {
		e := &g.Edges[i]
		fmt.Fprintf(&b, "  %s %s|\"%s\"| %s\n", ids[e.From], arrows[e.Verdict], mermaidText(e.label()), ids[e.To])
		colours[e.Verdict] = append(colours[e.Verdict], fmt.Sprint(i))
	}
	for _, v := range verdicts {
		if len(colours[v.verdict]) > 0 {
			fmt.Fprintf(&b, "  linkStyle %s stroke:%s\n", strings.Join(colours[v.verdict], ","), v.colour)
		}
	}
	return b.String()
}

// ids returns a name for each node and each peer outside that needs no quotes in
// any language.
func (g *Graph) ids() map[string]string {
	ids := make(map[string]string)
	for i, name := range g.Outside {
		ids[name] = fmt.Sprintf("o%d", i)
	}
	for i := range g.Subnets {
		for j := range g.Subnets[i].Nodes {
			ids[g.Subnets[i].Nodes[j].Name] = fmt.Sprintf("n%d_%d", i, j)
		}
	}
	return ids
}

// mermaidText writes a text for between quotes: what might mean something to
// Mermaid, or to the HTML that it makes, as an entity.
func mermaidText(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune(" .,:/+*_-·", r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "#%d;", r)
		}
	}
	return b.String()
}
