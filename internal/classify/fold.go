package classify

import "slices"

// A lookup need only ask one prefix if that prefix knows the rules of those that
// cover it. Folding gives it them: its segments become the lower rule of its own
// and those of the next shorter prefix, which may hold what is folded into it in
// turn. Where every prefix is folded, one search decides.
//
// That costs memory: 5,000 hosts under a block of 5,000 services would make 25
// million segments of 10,000 rules. So a prefix is folded only if what covers it
// is not too large beside what it and the prefixes inside it have of their own,
// and the meaning of too large is chosen for each table such that folding takes
// at most foldLimit times the memory of the table without it. A host that then
// still has its block to ask makes two searches, one of them short. In general,
// if not every prefix is folded, each one that a lookup goes on from weighs less
// than the one it goes on to, by a factor: searches are few and get shorter
// downwards.

// foldLimit bounds the segments that folding adds, in multiples of the segments
// that the prefixes have of their own. A chain of 33 prefixes of one size, the
// longest that IPv4 has, adds 16 times as many.
const foldLimit = 16

// Weights are compared in parts of this size. With the strictest ratio, 1 part,
// a prefix is given at most 1/8 of the weight under it, and each segment weighs
// on 128 prefixes at most (IPv6): foldLimit is kept, so some ratio always is fit.
const foldParts = 8

// A partition is the segments of several nodes, in their order.
type partition struct {
	segments []segment
	ends     []int // where the part of each node ends
}

// end ends the part of a node. segments are those of the partition with the part
// appended.
func (p *partition) end(segments []segment) {
	p.segments = segments
	p.ends = append(p.ends, len(segments))
}

// part returns the segments of node i.
func (p *partition) part(i int) []segment {
	from, to := 0, p.ends[i]
	if i > 0 {
		from = p.ends[i-1]
	}
	return p.segments[from:to:to]
}

// A folding says which nodes are folded, by index.
type folding struct {
	nodes  []node
	own    []int  // segments of the node's own
	weight []int  // the same of the node and all those inside it
	size   []int  // the most segments that the node can have, with what is folded into it
	folded []bool // whether up, and what is folded into that, is folded into the node
}

// fold returns the segments of all nodes, those of own folded into one another,
// and sets each node's up to the first one that is not folded into it.
func fold(nodes []node, own *partition) partition {
	f := newFolding(nodes, own)
	total := len(own.segments)
	for ratio := foldParts * total; !f.choose(ratio, foldLimit*total); ratio /= 2 {
	}
	most := 0
	for _, size := range f.size {
		most += size
	}
	out := partition{make([]segment, 0, most), make([]int, 0, len(nodes))}
	for i := range nodes {
		n := &nodes[i]
		if !f.folded[i] {
			out.end(append(out.segments, own.part(i)...))
			continue
		}
		out.end(lower(out.segments, own.part(i), out.part(int(n.up))))
		n.up = nodes[n.up].up
	}
	out.segments = slices.Clone(out.segments) // rules that others hide, and folded ones, may leave few
	return out
}

// newFolding weighs the nodes.
func newFolding(nodes []node, own *partition) folding {
	f := folding{nodes, make([]int, len(nodes)), make([]int, len(nodes)), make([]int, len(nodes)), make([]bool, len(nodes))}
	for i := len(nodes) - 1; i >= 0; i-- {
		f.own[i] = len(own.part(i))
		f.weight[i] += f.own[i]
		if up := nodes[i].up; up >= 0 {
			f.weight[up] += f.weight[i]
		}
	}
	return f
}

// choose folds every node under which there is enough weight for what it is
// given: ratio parts of the weight. It reports whether all of them are given no
// more than limit segments.
func (f *folding) choose(ratio, limit int) bool {
	for i := range f.nodes {
		up := f.nodes[i].up
		f.size[i] = f.own[i]
		f.folded[i] = up >= 0 && foldParts*f.size[up] <= ratio*f.weight[i]
		if f.folded[i] {
			given := f.size[up] - 1 // its first segment starts where the node's own does, at key 0
			f.size[i] += given
			limit -= given
		}
		if limit < 0 {
			return false
		}
	}
	return true
}

// lower appends to out, at each key, the lower rule of a and b, which both begin
// at key 0.
func lower(out, a, b []segment) []segment {
	first, at := len(out), segment{}
	ra, rb := none, none
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].from < b[0].from:
			at.from, ra, a = a[0].from, a[0].rule, a[1:]
		case len(a) == 0 || b[0].from < a[0].from:
			at.from, rb, b = b[0].from, b[0].rule, b[1:]
		default:
			at.from, ra, rb, a, b = a[0].from, a[0].rule, b[0].rule, a[1:], b[1:]
		}
		at.rule = min(ra, rb)
		if len(out) == first || out[len(out)-1].rule != at.rule {
			out = append(out, at)
		}
	}
	return out
}
