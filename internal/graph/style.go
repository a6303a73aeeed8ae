package graph

// A style is how the edges of a verdict are drawn.
type style struct {
	verdict Verdict
	colour  string // as CSS has it
	dashes  string // as SVG has them; "" for a solid line
	meaning string // for the legend
}

// verdicts are the styles, in the order of the legend.
var verdicts = []style{
	{Allow, "#15803d", "", "passes, and so do the replies"},
	{NoReply, "#b45309", "6 4", "passes, but the replies do not"},
	{Denied, "#b91c1c", "6 4", "allowed by the security groups, denied on the way"},
	{Outside, "#64748b", "2 4", "rules for outside the VPC, which has no gateway"},
}

// dashArray returns the dashes as an attribute of SVG.
func (v *style) dashArray() string {
	if v.dashes == "" {
		return ""
	}
	return ` stroke-dasharray="` + v.dashes + `"`
}
