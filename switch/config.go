// Package vswitch is the switch: a VPC's topology, the path of a frame through
// it, and the flow cache. Start reading at forward.go.
package vswitch

import (
	"fmt"
	"net/netip"
	"time"

	"vswitch/internal/policy"
)

// Config is the desired state of one VPC: exported, dumb types that hold what a
// file or a caller asked for and nothing that runs. The running counterparts
// are unexported (plane, eni). Names refer to each other; Validate finds those
// that dangle, and Complete fills in what AWS gives by default.
type Config struct {
	VPC            VPC
	Subnets        []Subnet
	SecurityGroups []SecurityGroup
	NetworkACLs    []NetworkACL
	PrefixLists    []PrefixList
	RouteTables    []RouteTable
	Instances      []Instance
	Conntrack      Conntrack
	Quotas         Quotas
	FlowLogs       []FlowLog
	Tests          []Test
}

// An Origin is where an object was written, so that every verdict can name the
// line that decided. The zero Origin means that nobody wrote it: it is a
// default of AWS's, or was made by a program.
type Origin struct {
	File   string
	Line   int // from 1
	Column int // from 1, in characters
}

// String returns "vpc.toml:41", or "(default)" for the zero Origin.
func (o Origin) String() string {
	if o.Line == 0 {
		return "(default)"
	}
	return fmt.Sprintf("%s:%d", o.File, o.Line)
}

// A VPC is the address space and its properties (SEM 5.1).
type VPC struct {
	Name  string
	CIDR  netip.Prefix   // the primary IPv4 block
	CIDRs []netip.Prefix // secondary IPv4 blocks
	CIDR6 netip.Prefix   // the zero Prefix in a VPC without IPv6
	MTU   int            // bytes, without the Ethernet header, 576 (with IPv6 1280) to 9001; 0 means 9001, AWS's inside a VPC (SEM 5.10)

	Account string // 12 digits, in flow logs; "" means 000000000000
	Region  string // in flow logs; "" for none
	Origin
}

// A Subnet is a part of the VPC with one network ACL at its edge.
type Subnet struct {
	Name       string
	CIDR       netip.Prefix
	CIDR6      netip.Prefix // the zero Prefix in a subnet without IPv6
	NetworkACL string       // "" means the default network ACL
	RouteTable string       // "" means the main route table
	AZ         string       // id of its availability zone, "use1-az1", in flow logs; "" for none
	Origin
}

// A SecurityGroup is a stateful set of allow rules (SEM 1).
type SecurityGroup struct {
	Name        string
	Description string
	Ingress     []SecurityGroupRule // nil means none, but for the group "default": its members
	Egress      []SecurityGroupRule // nil means AWS's default, everything; empty but not nil means none
	Origin
}

// A SecurityGroupRule allows one service to or from one peer (SEM 1.3).
type SecurityGroupRule struct {
	ID          string // sgr-...; "" means derived from the rule's identity
	Service     policy.Service
	Peer        Peer
	Description string
	Origin
}

// A PeerKind says how a rule names the remote end.
type PeerKind uint8

const (
	PeerCIDR          PeerKind = iota // Prefix
	PeerSecurityGroup                 // the members of the group Name (SEM 1.4)
	PeerPrefixList                    // the entries of the prefix list Name
	PeerInstance                      // all addresses of the instance Name
	PeerSubnet                        // the blocks of the subnet Name
	PeerInternet                      // 0.0.0.0/0 and ::/0
)

// A Peer is the remote end of a security-group rule. It is comparable.
type Peer struct {
	Kind   PeerKind
	Prefix netip.Prefix // valid iff Kind is PeerCIDR
	Name   string       // valid iff Kind names an object
}

// String returns the peer as the file writes it: "10.0.0.0/16", "sg:web",
// "pl:office", "web1", "internet".
func (p Peer) String() string {
	switch p.Kind {
	case PeerCIDR:
		return p.Prefix.String()
	case PeerSecurityGroup:
		return "sg:" + p.Name
	case PeerPrefixList:
		return "pl:" + p.Name
	case PeerInternet:
		return "internet"
	}
	return p.Name
}

// A NetworkACL is a stateless, ordered list of rules at the edge of subnets
// (SEM 3).
type NetworkACL struct {
	Name    string
	Ingress []NetworkACLEntry // nil means none, but for the ACL "default": allow all
	Egress  []NetworkACLEntry // likewise
	Origin
}

// A NetworkACLEntry is one numbered rule. The lowest number that matches
// decides (SEM 3.3).
type NetworkACLEntry struct {
	Number  int // 1 to 32766
	Action  policy.Verdict
	Service policy.Service
	CIDR    netip.Prefix
	Origin
}

// A PrefixList is a named set of blocks (SEM 1.5).
type PrefixList struct {
	Name  string
	CIDRs []netip.Prefix
	Origin
}

// A RouteTable says where the packets that leave a subnet's instances for the
// router go (SEM 5.2). The table "main" serves every subnet that names none.
type RouteTable struct {
	Name   string
	Routes []Route // besides the local routes, one for each block of the VPC, that every table has
	Origin
}

// A Route sends packets to a block to a target. The longest block that matches
// decides (SEM 5.3).
type Route struct {
	Destination netip.Prefix
	Target      Target
	Origin
}

// A TargetKind says where a route leads.
type TargetKind uint8

const (
	TargetLocal     TargetKind = iota // to the interface that has the address
	TargetBlackhole                   // nowhere: the packet is dropped
	TargetInstance                    // to the interface of the instance Name, which forwards
)

// A Target is where a route leads. It is comparable.
type Target struct {
	Kind TargetKind
	Name string // valid iff Kind is TargetInstance
}

// String returns the target as the file writes it: "local", "blackhole" or the
// instance's name.
func (t Target) String() string {
	switch t.Kind {
	case TargetLocal:
		return "local"
	case TargetBlackhole:
		return "blackhole"
	}
	return t.Name
}

// A Kind is how an instance is attached to the switch.
type Kind string

const (
	KindNetns Kind = "netns" // eth0 in a network namespace of its own; the zero Kind means this
	KindHost  Kind = "host"  // a TAP left in the host's namespace
)

// An Instance stands for an EC2 instance with one network interface (ENI).
type Instance struct {
	Name                   string
	Subnet                 string
	IP                     netip.Addr // the primary private address; the zero Addr means the first free one of the subnet
	IP6                    netip.Addr // the zero Addr: none
	ExtraIPs               []netip.Addr
	SecurityGroups         []string // nil means the group "default"
	Kind                   Kind
	Run                    string // a command to start in the namespace; "" for none
	Namespace              string // name for `ip netns`; "" means VPC-INSTANCE
	Interface              string // name of the TAP of KindHost; "" means "tap-" and the instance's name
	DisableSourceDestCheck bool
	Conntrack              Timeouts // zero fields mean the VPC's
	Origin
}

// Timeouts are the idle timeouts of tracked connections that AWS lets one set
// for each network interface (SEM 2.3). A zero field means: as the profile has it.
type Timeouts struct {
	TCPEstablished time.Duration // 60 s to 432000 s
	UDP            time.Duration // 30 s to 60 s
	UDPStream      time.Duration // 60 s to 180 s
}

// Conntrack configures connection tracking for the whole VPC.
type Conntrack struct {
	Profile  string // "nitro" (the default, established 432000 s) or "nitrov6" (350 s)
	Timeouts        // zero fields mean: as Profile has it
	Strict   bool   // only a SYN opens a TCP connection (SEM 2.4)
	Max      int    // tracked connections per network interface; 0 means 1048576
	Origin
}

// Quotas are limits whose excess is an error of the configuration. A zero field
// means AWS's default (SEM 1.5, 3.4).
type Quotas struct {
	RulesPerSecurityGroup      int // 60 for each direction and address family
	SecurityGroupsPerInterface int // 5
	RulesPerInterface          int // 1000 for each direction and address family, all groups together
	RulesPerNetworkACL         int // 20 for each direction and address family, the implicit one included
	Origin
}

// A Test is an expectation that `vswitch test` checks.
type Test struct {
	Name    string
	From    []string // instances, addresses, blocks, or "internet"
	To      []string
	Service policy.Service
	Want    policy.Verdict
	By      string // the id of a rule that must match; "" for any
	Origin
}

// SecurityGroup returns the group of that name, or nil.
func (c *Config) SecurityGroup(name string) *SecurityGroup {
	for i := range c.SecurityGroups {
		if c.SecurityGroups[i].Name == name {
			return &c.SecurityGroups[i]
		}
	}
	return nil
}

// NetworkACL returns the network ACL of that name, or nil.
func (c *Config) NetworkACL(name string) *NetworkACL {
	for i := range c.NetworkACLs {
		if c.NetworkACLs[i].Name == name {
			return &c.NetworkACLs[i]
		}
	}
	return nil
}

// Subnet returns the subnet of that name, or nil.
func (c *Config) Subnet(name string) *Subnet {
	for i := range c.Subnets {
		if c.Subnets[i].Name == name {
			return &c.Subnets[i]
		}
	}
	return nil
}

// Instance returns the instance of that name, or nil.
func (c *Config) Instance(name string) *Instance {
	for i := range c.Instances {
		if c.Instances[i].Name == name {
			return &c.Instances[i]
		}
	}
	return nil
}
