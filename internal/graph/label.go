package graph

import (
	"fmt"
	"strings"
)

// someServices is how many services the label of an edge lists.
const someServices = 4

// label returns the words on an edge: "tcp 443, 8080", and what becomes of them.
func (e *Edge) label() string {
	parts := []string{shortServices(e.Services)}
	if e.Some {
		parts[0] = "some: " + parts[0]
	}
	if e.Via != "" {
		parts = append(parts, "via "+e.Via)
	}
	switch e.Verdict {
	case NoReply:
		parts = append(parts, "no reply: "+e.By)
	case Denied:
		parts = append(parts, "denied: "+e.By)
	}
	return strings.Join(parts, " · ")
}

// shortServices joins services, naming a protocol once for neighbours that share
// it, and counts those that are too many.
func shortServices(services []string) string {
	shown := services
	if len(shown) > someServices {
		shown = shown[:someServices-1]
	}
	var out []string
	last := ""
	for _, s := range shown {
		protocol, rest, has := strings.Cut(s, " ")
		if has && protocol == last {
			s = rest
		}
		last = protocol
		out = append(out, s)
	}
	if more := len(services) - len(shown); more > 0 {
		out = append(out, fmt.Sprintf("%d more", more))
	}
	return strings.Join(out, ", ")
}

// title returns the words over the whole drawing.
func (g *Graph) title() string { return g.VPC + "  " + strings.Join(g.CIDRs, "  ") }

// title returns the words over a subnet.
func (s *Subnet) title() string {
	return s.Name + "  " + strings.Join(s.CIDRs, "  ")
}

// lines returns the words in a node, the name first.
func (n *Node) lines() []string {
	first, last := n.Instances[0], n.Instances[len(n.Instances)-1]
	address := first.IP
	if first != last {
		address += " ... " + last.IP
	}
	return []string{n.Name, address, "sg " + strings.Join(n.SecurityGroups, ", ")}
}

// gone is the line in a subnet without instances.
const gone = "no instances"
