package vswitch

import (
	"net/netip"
	"slices"
	"time"

	"vswitch/internal/policy"
)

// AWS's defaults (SEM 1.5, 2.2, 2.3, 3.4, 5.10).
const (
	defaultMTU          = 9001           // bytes, without the Ethernet header
	defaultAccount      = "000000000000" // ours; no account of AWS has it
	defaultTracked      = 1 << 20        // connections per network interface
	defaultUDP          = 30 * time.Second
	defaultUDPStream    = 180 * time.Second
	establishedNitro    = 432000 * time.Second
	establishedNitroV6  = 350 * time.Second
	defaultRulesPerSG   = 60
	defaultSGsPerENI    = 5
	defaultRulesPerENI  = 1000
	defaultRulesPerNACL = 20
)

// Numbers of the rules of the default network ACL (SEM 3.1).
const (
	defaultRule4 = 100
	defaultRule6 = 101
)

// Complete returns c with everything filled in that AWS fills in by itself:
// blocks without host bits, the default security group and network ACL, the
// default egress rules, ids of rules, limits, names, and addresses. It returns
// an *InvalidError if Validate finds a problem.
//
// running is the completed configuration that is in force, or nil. An instance
// that it has in the same subnet keeps the address it was given, if nobody asks
// for that address now; so a reload does not move anybody who need not move.
//
// Complete is pure: it changes neither c nor running, and the result shares no
// memory with them. Completing a completed configuration changes nothing.
func Complete(c Config, running *Config) (Config, error) {
	if problems := c.Validate(); len(problems) > 0 {
		return Config{}, &InvalidError{problems}
	}
	c = c.clone()
	c.Conntrack = c.Conntrack.withDefaults()
	c.Quotas = c.Quotas.withDefaults()
	c.completeBlocks()
	c.completeGroups()
	c.completeACLs()
	c.completeInstances()
	c.completeFlowLogs()
	c.allocate(running)
	return c, nil
}

// clone returns a copy of c that shares no memory with it. It keeps the
// difference between a nil and an empty list, which means something in groups
// and network ACLs.
func (c *Config) clone() Config {
	out := *c
	out.VPC.CIDRs = slices.Clone(c.VPC.CIDRs)
	out.Subnets = slices.Clone(c.Subnets)
	out.SecurityGroups = slices.Clone(c.SecurityGroups)
	for i := range out.SecurityGroups {
		g := &out.SecurityGroups[i]
		g.Ingress, g.Egress = slices.Clone(g.Ingress), slices.Clone(g.Egress)
	}
	out.NetworkACLs = slices.Clone(c.NetworkACLs)
	for i := range out.NetworkACLs {
		a := &out.NetworkACLs[i]
		a.Ingress, a.Egress = slices.Clone(a.Ingress), slices.Clone(a.Egress)
	}
	out.PrefixLists = slices.Clone(c.PrefixLists)
	for i := range out.PrefixLists {
		out.PrefixLists[i].CIDRs = slices.Clone(c.PrefixLists[i].CIDRs)
	}
	out.RouteTables = slices.Clone(c.RouteTables)
	for i := range out.RouteTables {
		out.RouteTables[i].Routes = slices.Clone(c.RouteTables[i].Routes)
	}
	out.Instances = slices.Clone(c.Instances)
	for i := range out.Instances {
		in := &out.Instances[i]
		in.ExtraIPs, in.SecurityGroups = slices.Clone(in.ExtraIPs), slices.Clone(in.SecurityGroups)
	}
	out.FlowLogs = slices.Clone(c.FlowLogs)
	for i := range out.FlowLogs {
		l := &out.FlowLogs[i]
		l.Scope, l.Format = slices.Clone(l.Scope), slices.Clone(l.Format)
	}
	out.Tests = slices.Clone(c.Tests)
	for i := range out.Tests {
		t := &out.Tests[i]
		t.From, t.To = slices.Clone(t.From), slices.Clone(t.To)
	}
	return out
}

// withDefaults returns q with AWS's defaults for its zero fields.
func (q Quotas) withDefaults() Quotas {
	fill(&q.RulesPerSecurityGroup, defaultRulesPerSG)
	fill(&q.SecurityGroupsPerInterface, defaultSGsPerENI)
	fill(&q.RulesPerInterface, defaultRulesPerENI)
	fill(&q.RulesPerNetworkACL, defaultRulesPerNACL)
	return q
}

// withDefaults returns ct with the values of its profile for its zero fields.
func (ct Conntrack) withDefaults() Conntrack {
	fill(&ct.Profile, profileNitro)
	established := establishedNitro
	if ct.Profile == profileNitroV6 {
		established = establishedNitroV6
	}
	ct.Timeouts = ct.Timeouts.withDefaults(Timeouts{established, defaultUDP, defaultUDPStream})
	fill(&ct.Max, defaultTracked)
	return ct
}

// withDefaults returns t with those of d for its zero fields.
func (t Timeouts) withDefaults(d Timeouts) Timeouts {
	fill(&t.TCPEstablished, d.TCPEstablished)
	fill(&t.UDP, d.UDP)
	fill(&t.UDPStream, d.UDPStream)
	return t
}

// fill sets a field that is zero.
func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// completeBlocks clears the host bits of every block, as AWS does on creation
// (SEM 1.3, 3.3, 5.1), and fills in the VPC's and the subnets' defaults.
func (c *Config) completeBlocks() {
	fill(&c.VPC.MTU, defaultMTU)
	fill(&c.VPC.Account, defaultAccount)
	mask(&c.VPC.CIDR)
	mask(&c.VPC.CIDR6)
	maskAll(c.VPC.CIDRs)
	for i := range c.Subnets {
		s := &c.Subnets[i]
		mask(&s.CIDR)
		mask(&s.CIDR6)
		fill(&s.NetworkACL, defaultName)
		fill(&s.RouteTable, mainRouteTable)
	}
	for i := range c.PrefixLists {
		maskAll(c.PrefixLists[i].CIDRs)
	}
	if !slices.ContainsFunc(c.RouteTables, func(t RouteTable) bool { return t.Name == mainRouteTable }) {
		c.RouteTables = append(c.RouteTables, RouteTable{Name: mainRouteTable})
	}
	for i := range c.RouteTables {
		for j := range c.RouteTables[i].Routes {
			mask(&c.RouteTables[i].Routes[j].Destination)
		}
	}
}

// mask clears the host bits of a block; the zero Prefix stays zero.
func mask(p *netip.Prefix) {
	if p.IsValid() {
		*p = p.Masked()
	}
}

func maskAll(blocks []netip.Prefix) {
	for i := range blocks {
		mask(&blocks[i])
	}
}

// completeGroups adds the default group and the default rules (SEM 1.1), and the
// ids of all rules.
func (c *Config) completeGroups() {
	if c.SecurityGroup(defaultName) == nil {
		c.SecurityGroups = append(c.SecurityGroups, SecurityGroup{Name: defaultName, Description: "default VPC security group"})
	}
	for i := range c.SecurityGroups {
		g := &c.SecurityGroups[i]
		g.Ingress, g.Egress = c.ingressOf(g), c.egressOf(g)
		c.completeRules(g.Name, policy.Ingress, g.Ingress)
		c.completeRules(g.Name, policy.Egress, g.Egress)
	}
}

// ingressOf returns the ingress rules of a group: for the default group without a
// list, AWS's, which admits its own members (SEM 1.1).
func (c *Config) ingressOf(g *SecurityGroup) []SecurityGroupRule {
	if g.Ingress != nil || g.Name != defaultName {
		return g.Ingress
	}
	return []SecurityGroupRule{{Service: policy.AllTraffic, Peer: Peer{Kind: PeerSecurityGroup, Name: defaultName}}}
}

// egressOf returns the egress rules of a group: without a list, those that AWS
// gives a new group, everything in each family that the VPC has (SEM 1.1).
func (c *Config) egressOf(g *SecurityGroup) []SecurityGroupRule {
	if g.Egress != nil {
		return g.Egress
	}
	rules := []SecurityGroupRule{{Service: policy.AllTraffic, Peer: Peer{Prefix: any4}}}
	if c.VPC.CIDR6.IsValid() {
		rules = append(rules, SecurityGroupRule{Service: policy.AllTraffic, Peer: Peer{Prefix: any6}})
	}
	return rules
}

// completeRules canonicalises rules and derives the ids that they lack.
func (c *Config) completeRules(group string, direction policy.Direction, rules []SecurityGroupRule) {
	for i := range rules {
		r := &rules[i]
		r.Peer = r.Peer.canonical()
		if r.ID == "" {
			r.ID = ruleID(c.VPC.Name, group, direction, r)
		}
	}
}

// ruleID derives the id of a rule from what makes it itself: group, direction,
// protocol, ports or type and code, and peer (SEM 1.3). So a rule keeps its id,
// and with it its counters, when the file around it changes.
func ruleID(vpc, group string, direction policy.Direction, r *SecurityGroupRule) string {
	kind := ""
	switch r.Peer.Kind { // an instance and a subnet may have the same name
	case PeerInstance:
		kind = "instance"
	case PeerSubnet:
		kind = "subnet"
	}
	return ID("sgr", vpc, group, direction.String(), r.Service.String(), kind, r.Peer.canonical().String())
}

// completeACLs adds the default network ACL and its rules (SEM 3.1), and
// canonicalises all entries.
func (c *Config) completeACLs() {
	if c.NetworkACL(defaultName) == nil {
		c.NetworkACLs = append(c.NetworkACLs, NetworkACL{Name: defaultName})
	}
	for i := range c.NetworkACLs {
		a := &c.NetworkACLs[i]
		for _, entries := range []*[]NetworkACLEntry{&a.Ingress, &a.Egress} {
			if *entries == nil && a.Name == defaultName {
				*entries = c.defaultEntries()
			}
			for j := range *entries {
				mask(&(*entries)[j].CIDR)
			}
		}
	}
}

// defaultEntries returns the rules of an unedited default network ACL:
// everything, in each family that the VPC has (SEM 3.1).
func (c *Config) defaultEntries() []NetworkACLEntry {
	entries := []NetworkACLEntry{{Number: defaultRule4, Action: policy.Allow, Service: policy.AllTraffic, CIDR: any4}}
	if c.VPC.CIDR6.IsValid() {
		entries = append(entries, NetworkACLEntry{Number: defaultRule6, Action: policy.Allow, Service: policy.AllTraffic, CIDR: any6})
	}
	return entries
}

// completeInstances fills in all of the instances but their addresses.
func (c *Config) completeInstances() {
	for i := range c.Instances {
		in := &c.Instances[i]
		fill(&in.Kind, KindNetns)
		if in.SecurityGroups == nil {
			in.SecurityGroups = []string{defaultName}
		}
		if in.Kind == KindHost {
			in.Interface = in.link()
		} else {
			in.Namespace = in.namespace(c.VPC.Name)
		}
		in.Conntrack = in.Conntrack.withDefaults(c.Conntrack.Timeouts)
	}
}

// namespace returns the name of the instance's network namespace. Valid iff its
// kind is KindNetns.
func (in *Instance) namespace(vpc string) string {
	if in.Namespace != "" {
		return in.Namespace
	}
	return vpc + "-" + in.Name
}

// link returns the name of the instance's network device in the host's
// namespace. Valid iff its kind is KindHost.
func (in *Instance) link() string {
	if in.Interface != "" {
		return in.Interface
	}
	return "tap-" + in.Name
}
