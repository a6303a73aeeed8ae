package graph

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// drawGraph draws a graph of any shape, with edges between any two nodes.
func drawGraph(t *rapid.T) *Graph {
	g := &Graph{VPC: "vst-graph", CIDRs: []string{"10.0.0.0/16"}}
	var inside, all []string
	for i := range rapid.IntRange(0, 2).Draw(t, "outside") {
		g.Outside = append(g.Outside, fmt.Sprintf("198.51.%d.0/24", i))
	}
	for i := range rapid.IntRange(1, 5).Draw(t, "subnets") {
		s := Subnet{Name: fmt.Sprintf("subnet%d", i), CIDRs: []string{"10.0.1.0/24"}, NetworkACL: "default"}
		for j := range rapid.IntRange(0, 4).Draw(t, "nodes") {
			name := fmt.Sprintf("i%d-%d", i, j)
			s.Nodes = append(s.Nodes, Node{Name: name, Instances: []Instance{{name, "10.0.1.1"}}, SecurityGroups: []string{"web", "some-longer-name"}})
			inside = append(inside, name)
		}
		g.Subnets = append(g.Subnets, s)
	}
	all = append(all, inside...)
	all = append(all, g.Outside...)
	if len(inside) == 0 {
		return g
	}
	for range rapid.IntRange(0, 15).Draw(t, "edges") {
		e := Edge{From: rapid.SampledFrom(all).Draw(t, "from"), To: rapid.SampledFrom(inside).Draw(t, "to"), Services: []string{"tcp 80", "tcp 443", "udp 53"}, Verdict: Allow}
		if rapid.Bool().Draw(t, "denied") {
			e.Verdict, e.By = Denied, "nacl.private ingress 100"
		}
		if rapid.Bool().Draw(t, "turned") {
			e.From, e.To = e.To, e.From
		}
		g.Edges = append(g.Edges, e)
	}
	return g
}

// A rect is a region of the drawing.
type rect struct{ x1, y1, x2, y2 int }

func (r rect) overlaps(s rect) bool { return r.x1 < s.x2 && s.x1 < r.x2 && r.y1 < s.y2 && s.y1 < r.y2 }

func (b *box) rect() rect { return rect{b.x, b.y, b.x + b.w, b.y + b.h} }

// words returns where a label is drawn.
func (r *route) words() rect {
	w := utf8.RuneCountInString(r.edge.label()) * labelWidth
	x := r.label.x
	if r.atEnd {
		x -= w
	}
	return rect{x, r.label.y - 9, x + w, r.label.y + 2}
}

// readable checks that a drawing can be read: nothing lies on top of something
// else, and nothing is cut off.
func readable(t *rapid.T) {
	l := newLayout(drawGraph(t))
	page := rect{0, 0, l.width, l.height}
	inside := func(what string, r rect) {
		if r.x1 < page.x1 || r.y1 < page.y1 || r.x2 > page.x2 || r.y2 > page.y2 {
			t.Fatalf("%s %v is cut off by the page %v", what, r, page)
		}
	}
	apart := func(what string, list []rect) {
		for i := range list {
			inside(what, list[i])
			for j := range i {
				if list[i].overlaps(list[j]) {
					t.Fatalf("%s %v and %v overlap", what, list[i], list[j])
				}
			}
		}
	}
	var nodes, frames, labels []rect
	for i := range l.nodes {
		nodes = append(nodes, l.nodes[i].rect())
		if textWidth(l.nodes[i].lines) > l.nodes[i].w || len(l.nodes[i].lines)*lineHeight > l.nodes[i].h {
			t.Fatalf("the words %q do not fit into %+v", l.nodes[i].lines, l.nodes[i])
		}
	}
	for i := range l.subnets {
		frames = append(frames, l.subnets[i].rect())
	}
	type stretch struct {
		rect
		edge int
	}
	var stretches []stretch
	for i := range l.routes {
		r := &l.routes[i]
		labels = append(labels, r.words())
		for k := range r.corners[1:] {
			a, b := r.corners[k], r.corners[k+1]
			if a.x != b.x && a.y != b.y {
				t.Fatalf("edge %d runs aslant from %v to %v", i, a, b)
			}
			s := stretch{rect{min(a.x, b.x), min(a.y, b.y), max(a.x, b.x), max(a.y, b.y)}, i}
			inside("edge", s.rect)
			stretches = append(stretches, s)
			for _, n := range nodes {
				if (rect{s.x1 - 1, s.y1 - 1, s.x2 + 1, s.y2 + 1}).overlaps(rect{n.x1 + 1, n.y1 + 1, n.x2 - 1, n.y2 - 1}) {
					t.Fatalf("edge %d runs through a node: %v, %v", i, s, n)
				}
			}
		}
	}
	apart("node", nodes)
	apart("subnet", frames)
	apart("label", labels)
	for _, s := range stretches {
		for _, o := range stretches {
			parallel := o.x1 == o.x2 && s.x1 == s.x2 || o.y1 == o.y2 && s.y1 == s.y2
			near := rect{o.x1 - 1, o.y1 - 1, o.x2 + 1, o.y2 + 1}
			if parallel && s.edge != o.edge && near.overlaps(rect{s.x1, s.y1, s.x2 + 1, s.y2 + 1}) {
				t.Fatalf("edges %d and %d share a stretch: %v, %v", s.edge, o.edge, s, o)
			}
		}
		for i, w := range labels {
			if s.rect.overlaps(w) || (rect{s.x1, s.y1, s.x2 + 1, s.y2 + 1}).overlaps(w) {
				t.Fatalf("edge %d runs through the label of edge %d: %v, %v", s.edge, i, s, w)
			}
		}
	}
}

func TestDrawingsAreReadable(t *testing.T) { rapid.Check(t, readable) }

func FuzzDrawingsAreReadable(f *testing.F) { f.Fuzz(rapid.MakeFuzz(readable)) }

// Names as AWS allows them break no language.
func TestNamesAreEscaped(t *testing.T) {
	const nasty = `a"b<c>&d\e;#f[g](h){i}|j--> %%k` + "`l`"
	g := &Graph{
		VPC: nasty, CIDRs: []string{"10.0.0.0/16"}, Outside: []string{nasty + "o"},
		Subnets: []Subnet{{Name: nasty, CIDRs: []string{"10.0.1.0/24"}, NetworkACL: nasty, Nodes: []Node{{Name: "i", Instances: []Instance{{"i", "10.0.1.4"}}, SecurityGroups: []string{nasty}}}}},
		Edges:   []Edge{{From: nasty + "o", To: "i", Services: []string{nasty}, Verdict: Denied, By: nasty}},
	}
	d := xml.NewDecoder(strings.NewReader(g.SVG()))
	text := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("SVG: %v", err)
		}
		if chars, ok := token.(xml.CharData); ok && strings.Contains(string(chars), nasty) {
			text++
		}
	}
	if text != 7 { // title twice, subnet, nacl, group, label, outside
		t.Errorf("SVG: the name is in %d texts, want 7", text)
	}
	for line := range strings.Lines(g.Mermaid()) {
		quoted := strings.Split(line, `"`)
		for i := 1; i < len(quoted); i += 2 {
			if strings.ContainsAny(strings.ReplaceAll(quoted[i], "<br/>", ""), "<>[](){}|`\\&") {
				t.Errorf("Mermaid: a special character in %q", line)
			}
		}
		if len(quoted)%2 == 0 {
			t.Errorf("Mermaid: an open quote in %q", line)
		}
	}
	if err := dotError(g.Dot()); err != nil {
		t.Errorf("DOT: %v\n%s", err, g.Dot())
	}
}

// dotError parses what Dot writes by the grammar of the DOT language, as far as
// that uses it: statements of names and quoted strings, attributes in brackets,
// subgraphs in braces.
func dotError(text string) error {
	var tokens []string
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == ' ' || c == '\n':
			i++
		case c == '"':
			j := i + 1
			for ; j < len(text) && text[j] != '"'; j++ {
				if text[j] == '\\' {
					j++
				}
			}
			if j >= len(text) {
				return fmt.Errorf("an open string at %q", text[i:])
			}
			tokens, i = append(tokens, "name"), j+1
		case strings.HasPrefix(text[i:], "->"):
			tokens, i = append(tokens, "->"), i+2
		case strings.IndexByte("{}[],=", c) >= 0:
			tokens, i = append(tokens, string(c)), i+1
		default:
			j := i
			for j < len(text) && (text[j] == '_' || text[j] >= '0' && text[j] <= '9' || text[j] >= 'a' && text[j] <= 'z' || text[j] >= 'A' && text[j] <= 'Z') {
				j++
			}
			if i == j {
				return fmt.Errorf("an odd character at %q", text[i:])
			}
			word := "name"
			if w := text[i:j]; w == "digraph" || w == "subgraph" {
				word = w
			}
			tokens, i = append(tokens, word), j
		}
	}
	p := dotParser{tokens}
	if !p.take("digraph", "name", "{") || !p.statements() || !p.take("}") || len(p.rest) > 0 {
		return fmt.Errorf("not a graph from token %v", p.rest[:min(8, len(p.rest))])
	}
	return nil
}

type dotParser struct{ rest []string }

// take consumes the tokens if they come next.
func (p *dotParser) take(want ...string) bool {
	for i, w := range want {
		if i >= len(p.rest) || p.rest[i] != w {
			return false
		}
	}
	p.rest = p.rest[len(want):]
	return true
}

func (p *dotParser) statements() bool {
	for {
		switch {
		case p.take("subgraph", "name", "{"):
			if !p.statements() || !p.take("}") {
				return false
			}
		case p.take("name", "=", "name"):
		case p.take("name", "->", "name"), p.take("name"):
			if !p.take("[") {
				return false
			}
			for p.take("name", "=", "name") {
				p.take(",")
			}
			if !p.take("]") {
				return false
			}
		default:
			return true
		}
	}
}

func TestShortServices(t *testing.T) {
	for _, c := range []struct{ services, want string }{
		{"all", "all"},
		{"tcp 80;tcp 443", "tcp 80, 443"},
		{"tcp;udp 53;icmp echo-request", "tcp, udp 53, icmp echo-request"},
		{"tcp 1;tcp 2;tcp 3;tcp 4", "tcp 1, 2, 3, 4"},
		{"tcp 1;tcp 2;tcp 3;tcp 4;tcp 5", "tcp 1, 2, 3, 2 more"},
	} {
		if got := shortServices(strings.Split(c.services, ";")); got != c.want {
			t.Errorf("%s: got %q, want %q", c.services, got, c.want)
		}
	}
}
