package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"vswitch/internal/api"
	"vswitch/internal/graph"
	vswitch "vswitch/switch"
)

// Formats of graph, the default first.
const (
	formatMermaid = "mermaid"
	formatDot     = "dot"
	formatSVG     = "svg"

	formatsGraph = formatMermaid + " " + formatDot + " " + formatSVG + " " + formatJSON
)

const graphLong = `Draw the VPC: subnets as boxes, the instances in them with their groups, and who may
talk to whom. An edge says which services the security groups at both ends allow,
and what becomes of them: they pass; they pass, and a network ACL denies their
replies; or a network ACL or a route stops them. Of more than 16 instances, those of
one subnet and the same groups are drawn as one.

-o says how: mermaid (the default) for a wiki, dot for Graphviz, svg for a picture,
json for a program. If the VPC runs, what runs is drawn; if it does not, the file.`

func newGraph(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:         "graph",
		Short:       "Draw the VPC, and who may talk to whom",
		Long:        graphLong,
		Example:     "  vswitch graph -o svg > vpc.svg\n  vswitch graph -o dot | dot -Tpdf > vpc.pdf\n  vswitch graph --vpc two-tier",
		GroupID:     groupInspect,
		Args:        noArgs(),
		Annotations: map[string]string{formatsKey: formatsGraph},
		RunE:        func(*cobra.Command, []string) error { return c.graph() },
	}
}

func (c *cli) graph() error {
	g, err := c.drawn()
	if err != nil {
		return err
	}
	text := ""
	switch c.format {
	case formatJSON:
		return api.Encode(c.out, g)
	case formatDot:
		text = g.Dot()
	case formatSVG:
		text = g.SVG()
	default:
		text = g.Mermaid()
	}
	_, err = io.WriteString(c.out, text)
	return err
}

// drawn returns the graph of the running VPC or, if it does not run, of the file.
func (c *cli) drawn() (*graph.Graph, error) {
	ask := func(client *api.Client) (*graph.Graph, error) { return client.Graph(context.Background()) }
	return runningOrFile(c, ask, func(cfg vswitch.Config) (*graph.Graph, error) {
		full, err := vswitch.Complete(cfg, nil)
		if err != nil {
			return nil, err
		}
		return graph.New(&full), nil
	})
}
