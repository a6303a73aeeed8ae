package classify

// Segments returns how many segments the table has, in all its nodes.
func (t *Table) Segments() int {
	n := 0
	for i := range t.nodes {
		n += len(t.nodes[i].intervals.segments)
	}
	return n
}

// Searches returns how many nodes a lookup may have to ask.
func (t *Table) Searches() int {
	most := 0
	for i := range t.nodes {
		n := 0
		for at := int32(i); at >= 0; at = t.nodes[at].up {
			n++
		}
		most = max(most, n)
	}
	return most
}

// Ordered reports whether each node's segments start at key 0 and ascend, and no
// two neighbours have the same rule.
func (t *Table) Ordered() bool {
	for i := range t.nodes {
		for j, s := range t.nodes[i].intervals.segments {
			if j == 0 && s.from != 0 {
				return false
			}
			if before := t.nodes[i].intervals.segments[max(j-1, 0)]; j > 0 && (before.from >= s.from || before.rule == s.rule) {
				return false
			}
		}
	}
	return true
}

// LongestRun returns how many segments of a node a search may have to choose
// from.
func (t *Table) LongestRun() int {
	most := 0
	for i := range t.nodes {
		v := &t.nodes[i].intervals
		if len(v.index) == 0 {
			most = max(most, len(v.segments))
		}
		for run := 1; run < len(v.index); run++ {
			most = max(most, int(v.index[run]-v.index[run-1])+1)
		}
	}
	return most
}
