package graph

import (
	"cmp"
	"slices"
	"unicode/utf8"
)

// Measures of the drawing, in pixels.
const (
	margin     = 24
	charWidth  = 7  // of the text in boxes, on average in a wide font
	labelWidth = 6  // of a character of a label, likewise
	lineHeight = 17 // of text in boxes
	padding    = 12 // between a box and what is in it
	nodeGap    = 18 // between two nodes of a column
	portGap    = 20 // between two edges at one side of a node; room for a label
	trackGap   = 10 // between two parallel edges
	headRoom   = 44 // over the nodes of a subnet: its title
	titleRoom  = 44 // over everything: the title of the drawing
)

// A point is a place in the drawing.
type point struct{ x, y int }

// A box is a drawn rectangle with lines of text.
type box struct {
	x, y, w, h int
	lines      []string
}

// A route is a drawn edge: a line of corners, and its label, which is right-
// aligned at the label's point if the edge enters from the left.
type route struct {
	edge    *Edge
	corners []point
	label   point
	atEnd   bool // the label ends at its point, rather than begins there
}

// A layout is a drawing of boxes in columns: what is outside the VPC in the
// first, and each subnet in one. Edges run at right angles through the gutters
// between the columns, and through lanes over them if they pass a column; no two
// of them share a stretch.
type layout struct {
	width, height int
	subnets       []box // with the title as lines
	nodes         []box
	outside       int // how many of the nodes stand outside the VPC; they come first
	routes        []route
}

// A side is one side of a node, where edges end.
type side struct {
	node  int
	right bool
}

// An end is where an edge meets a side of a node.
type end struct {
	edge  int
	start bool // the edge begins there
}

// A drawer makes a layout.
type drawer struct {
	layout
	g       *Graph
	column  []int          // of each node
	columns [][]int        // the nodes of each column, from the top
	index   map[string]int // of a node, by name
	ends    map[side][]end // from the top
	gutters []gutter       // gutters[i] is right of column i
	lane    map[int]int    // of an edge that passes columns
}

// A gutter is the space between two columns.
type gutter struct {
	x           int   // where it begins
	left, right int   // room for the labels of the edges that enter the column on that side
	tracks      []int // the edges that run up or down in it, once each, from the left; an edge with a lane has one in two gutters
}

// width returns the width of the gutter.
func (u *gutter) width() int { return u.left + u.right + (len(u.tracks)+1)*trackGap + 2*padding }

// track returns where the line of an edge runs.
func (u *gutter) track(edge int) int {
	return u.x + padding + u.left + (slices.Index(u.tracks, edge)+1)*trackGap
}

// newLayout lays the graph out.
func newLayout(g *Graph) *layout {
	d := &drawer{g: g, index: map[string]int{}, ends: map[side][]end{}, lane: map[int]int{}}
	d.addNodes()
	d.attach()
	d.stack()
	d.run()
	return &d.layout
}

// addNodes makes the boxes of the nodes, column by column.
func (d *drawer) addNodes() {
	add := func(name string, lines []string) {
		last := len(d.columns) - 1
		d.index[name] = len(d.nodes)
		d.columns[last] = append(d.columns[last], len(d.nodes))
		d.column = append(d.column, last)
		d.nodes = append(d.nodes, box{lines: lines})
	}
	if d.outside = len(d.g.Outside); d.outside > 0 {
		d.columns = append(d.columns, nil)
		for _, name := range d.g.Outside {
			add(name, []string{name})
		}
	}
	for i := range d.g.Subnets {
		d.columns = append(d.columns, nil)
		for j := range d.g.Subnets[i].Nodes {
			n := &d.g.Subnets[i].Nodes[j]
			add(n.Name, n.lines())
		}
	}
}

// attach decides at which sides of its nodes each edge ends, which gutters it
// runs in, and in which order. An edge to the right leaves at the right; one
// inside a column does both at the right.
func (d *drawer) attach() {
	d.gutters = make([]gutter, len(d.columns))
	for i := range d.g.Edges {
		e := &d.g.Edges[i]
		from, to := d.index[e.From], d.index[e.To]
		a, b := d.column[from], d.column[to]
		out, in := side{from, a <= b}, side{to, a >= b}
		d.ends[out] = append(d.ends[out], end{i, true})
		d.ends[in] = append(d.ends[in], end{i, false})
		first, last := a, b-1 // the gutters at which it leaves and enters
		if a > b {
			first, last = a-1, b
		}
		if a == b {
			last = a
		}
		d.gutters[first].tracks = append(d.gutters[first].tracks, i)
		if first != last {
			d.lane[i] = len(d.lane)
			d.gutters[last].tracks = append(d.gutters[last].tracks, i)
		}
		room := utf8.RuneCountInString(e.label())*labelWidth + 2*padding
		if u := &d.gutters[last]; in.right {
			u.left = max(u.left, room)
		} else {
			u.right = max(u.right, room)
		}
	}
	for s, ends := range d.ends {
		slices.SortStableFunc(ends, func(a, b end) int { return cmp.Compare(d.other(s, a), d.other(s, b)) })
	}
}

// other orders the ends at one side by where their edges come from or lead: those
// that pass columns, over all others, first.
func (d *drawer) other(s side, e end) int {
	if _, long := d.lane[e.edge]; long {
		return -1
	}
	edge := &d.g.Edges[e.edge]
	if e.start {
		return d.index[edge.To]
	}
	return d.index[edge.From]
}

// stack gives all boxes their place and size.
func (d *drawer) stack() {
	top := margin + titleRoom + len(d.lane)*trackGap
	x, bottom := margin, top
	for c, nodes := range d.columns {
		inSubnet := c - len(d.columns) + len(d.g.Subnets)
		y, w := top, 0
		var frame *box
		if inSubnet >= 0 {
			s := &d.g.Subnets[inSubnet]
			d.subnets = append(d.subnets, box{x: x, y: top, lines: []string{s.title(), "nacl " + s.NetworkACL}})
			frame = &d.subnets[len(d.subnets)-1]
			w, y = textWidth(frame.lines), top+headRoom
		}
		for _, n := range nodes {
			w = max(w, textWidth(d.nodes[n].lines)+2*padding)
		}
		left := x
		if frame != nil {
			left += padding
		}
		for _, n := range nodes {
			b := &d.nodes[n]
			ports := max(len(d.ends[side{n, false}]), len(d.ends[side{n, true}]))
			b.x, b.y, b.w, b.h = left, y, w, max(len(b.lines)*lineHeight+padding, (ports+1)*portGap)
			y += b.h + nodeGap
		}
		if frame != nil {
			if len(nodes) == 0 {
				y += lineHeight + nodeGap
			}
			frame.w, frame.h = w+2*padding, y-top-nodeGap+padding
			x, y = frame.x+frame.w, frame.y+frame.h
		} else {
			x += w
		}
		bottom = max(bottom, y)
		d.gutters[c].x = x
		x += d.gutters[c].width()
	}
	d.width, d.height = max(x, 2*margin+charWidth*60), bottom+margin
}

// textWidth returns the room that lines need.
func textWidth(lines []string) int {
	w := 0
	for _, s := range lines {
		w = max(w, utf8.RuneCountInString(s)*charWidth)
	}
	return w
}

// run draws the edges.
func (d *drawer) run() {
	for i := range d.g.Edges {
		e := &d.g.Edges[i]
		a, b := d.column[d.index[e.From]], d.column[d.index[e.To]]
		start, finish := d.port(e.From, a <= b, i, true), d.port(e.To, a >= b, i, false)
		r := route{edge: e, atEnd: a < b}
		first, last := a, b-1
		if a > b {
			first, last = a-1, b
		}
		if a == b {
			last = a
		}
		x := d.gutters[first].track(i)
		r.corners = []point{start, {x, start.y}}
		if lane, long := d.lane[i]; long {
			y := margin + titleRoom + lane*trackGap - trackGap/2
			r.corners = append(r.corners, point{x, y})
			x = d.gutters[last].track(i)
			r.corners = append(r.corners, point{x, y})
		}
		r.corners = append(r.corners, point{x, finish.y}, finish)
		r.label = point{finish.x + 2*padding, finish.y - 4}
		if r.atEnd {
			r.label.x = finish.x - 2*padding
		}
		d.routes = append(d.routes, r)
	}
}

// grid keeps the edges that end at the left of nodes apart from those that end at
// the right of others: the former end at odd halves of it, the latter at even ones.
const grid = portGap / 2

// port returns where an edge meets a node.
func (d *drawer) port(name string, right bool, edge int, start bool) point {
	n := d.index[name]
	b := &d.nodes[n]
	ends := d.ends[side{n, right}]
	k := slices.Index(ends, end{edge, start})
	y := (b.y + (k+1)*b.h/(len(ends)+1)) / grid * grid
	if right {
		return point{b.x + b.w, y}
	}
	return point{b.x, y + grid/2}
}
