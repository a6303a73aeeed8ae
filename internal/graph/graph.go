// Package graph draws a VPC: its subnets as boxes, the instances in them, and who
// may talk to whom by the security groups and network ACLs.
package graph

import (
	"fmt"
	"slices"
	"strings"

	vswitch "vswitch/switch"
)

// A Graph is a VPC as a drawing has it. Its JSON is what `vswitch graph -o json`
// prints.
type Graph struct {
	VPC     string   `json:"vpc"`
	CIDRs   []string `json:"cidrs"`
	Subnets []Subnet `json:"subnets"` // in file order
	Outside []string `json:"outside"` // peers of rules that lie outside the VPC, such as "internet"; in the order of the rules
	Edges   []Edge   `json:"edges"`   // by the order of From, then of To
}

// A Subnet is a box of nodes.
type Subnet struct {
	Name       string   `json:"name"`
	CIDRs      []string `json:"cidrs"`
	NetworkACL string   `json:"nacl"`
	Nodes      []Node   `json:"nodes"` // in file order
}

// A Node is an instance, or several of one subnet that are in the same groups.
type Node struct {
	Name           string     `json:"name"` // of the instance; of the first one and how many follow: "web1 +11"
	Instances      []Instance `json:"instances"`
	SecurityGroups []string   `json:"security_groups"`
}

// An Instance is one instance of a node.
type Instance struct {
	Name string `json:"name"`
	IP   string `json:"ip"`
}

// A Verdict says what becomes of the requests of an edge.
type Verdict string

// The verdicts.
const (
	Allow   Verdict = "allow"    // requests and their replies pass
	NoReply Verdict = "no_reply" // requests pass, and a network ACL denies the replies
	Denied  Verdict = "denied"   // the security groups allow them, and a network ACL or a route does not
	Outside Verdict = "outside"  // rules allow them to or from outside the VPC, whereto it has no gateway
)

// An Edge says what the security groups at both ends allow from one node to
// another, and what becomes of it. Edges of other services or verdicts between
// the same nodes are apart. A VPC's own services are in no edge: they are never
// filtered.
type Edge struct {
	From     string   `json:"from"` // the name of a node, or an element of Outside
	To       string   `json:"to"`   // likewise
	Services []string `json:"services"`
	Verdict  Verdict  `json:"verdict"`
	By       string   `json:"by,omitempty"`   // what denies the requests or the replies: "nacl.private ingress 90"; absent with another verdict
	Via      string   `json:"via,omitempty"`  // the instance that a route leads through, whose own rules are not looked at
	Some     bool     `json:"some,omitempty"` // holds between some of the nodes' instances only
}

// MaxSingle is how many instances are drawn one by one. In a larger VPC those of
// one subnet and the same groups become one node.
const MaxSingle = 16

// New returns the graph of a completed configuration.
func New(cfg *vswitch.Config) *Graph {
	g := &Graph{VPC: cfg.VPC.Name, CIDRs: []string{cfg.VPC.CIDR.String()}, Subnets: []Subnet{}, Outside: []string{}, Edges: []Edge{}}
	for _, b := range cfg.VPC.CIDRs {
		g.CIDRs = append(g.CIDRs, b.String())
	}
	if cfg.VPC.CIDR6.IsValid() {
		g.CIDRs = append(g.CIDRs, cfg.VPC.CIDR6.String())
	}
	merge := len(cfg.Instances) > MaxSingle
	nodeOf := make(map[string]place, len(cfg.Instances))
	for i := range cfg.Subnets {
		s := Subnet{Name: cfg.Subnets[i].Name, CIDRs: []string{cfg.Subnets[i].CIDR.String()}, NetworkACL: cfg.Subnets[i].NetworkACL, Nodes: []Node{}}
		if cfg.Subnets[i].CIDR6.IsValid() {
			s.CIDRs = append(s.CIDRs, cfg.Subnets[i].CIDR6.String())
		}
		s.addNodes(cfg, merge, i, nodeOf)
		g.Subnets = append(g.Subnets, s)
	}
	g.addEdges(cfg, nodeOf)
	return g
}

// A place is where a node stands: the index of its subnet, and its own in that.
// The nodes outside the VPC stand in subnet -1.
type place struct{ subnet, node int }

// addNodes adds the instances of the i-th subnet, and notes where each is.
func (s *Subnet) addNodes(cfg *vswitch.Config, merge bool, i int, nodeOf map[string]place) {
	byGroups := make(map[string]int)
	for j := range cfg.Instances {
		in := &cfg.Instances[j]
		if in.Subnet != s.Name {
			continue
		}
		drawn := Instance{in.Name, in.IP.String()}
		groups := slices.Sorted(slices.Values(in.SecurityGroups))
		key := strings.Join(groups, "\x00")
		n, known := byGroups[key]
		if !merge || !known {
			n = len(s.Nodes)
			byGroups[key] = n
			s.Nodes = append(s.Nodes, Node{Name: in.Name, SecurityGroups: in.SecurityGroups})
		}
		node := &s.Nodes[n]
		node.Instances = append(node.Instances, drawn)
		if more := len(node.Instances) - 1; more > 0 {
			node.Name = fmt.Sprintf("%s +%d", node.Instances[0].Name, more)
		}
		nodeOf[in.Name] = place{i, n}
	}
}

// name returns the name of what stands at a place.
func (g *Graph) name(p place) string {
	if p.subnet < 0 {
		return g.Outside[p.node]
	}
	return g.Subnets[p.subnet].Nodes[p.node].Name
}

// size returns how many instances a node stands for.
func (g *Graph) size(p place) int { return len(g.Subnets[p.subnet].Nodes[p.node].Instances) }
