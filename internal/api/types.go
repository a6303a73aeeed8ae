// Package api is the control interface of a running switch: HTTP and JSON over
// a unix socket, its server and its client. docs/api.md lists every document.
package api

import "time"

// Paths of the API. The leading element is its version: a field may be added
// to a document of a version, but none removed nor given another meaning.
const (
	PathStatus      = "/v1/status"
	PathConnections = "/v1/connections"
	PathReload      = "/v1/reload"
	PathStop        = "/v1/stop"
)

// Status is the answer to GET /v1/status: what runs, and what it has done.
type Status struct {
	VPC           string            `json:"vpc"`
	ID            string            `json:"id"` // vpc-...
	CIDR          string            `json:"cidr"`
	File          string            `json:"file"` // absolute
	Version       string            `json:"version"`
	PID           int               `json:"pid"`
	Generation    uint32            `json:"generation"` // counts the published configurations, from 1
	Started       time.Time         `json:"started"`
	UptimeSeconds float64           `json:"uptime_seconds"`
	Counts        Counts            `json:"counts"`
	Instances     []Instance        `json:"instances"` // in file order
	IDs           map[string]string `json:"ids"`       // of all objects, by their tables in the file: "subnet.public"
	Totals        Counters          `json:"totals"`    // of the instances that exist; what removed ones counted is gone
	Drops         map[string]uint64 `json:"drops"`     // frames by reason; reasons that never happened are left out
	Connections   ConnectionCount   `json:"connections"`
	FlowCache     FlowCache         `json:"flow_cache"`
	Reloads       Reloads           `json:"reloads"`
	Memory        Memory            `json:"memory"`
	Descriptors   Descriptors       `json:"descriptors"`
	Panics        uint64            `json:"panics"`      // frames whose handling failed inside the switch
	Workers       int               `json:"workers"`     // threads that share the traffic
	HandedOver    uint64            `json:"handed_over"` // frames that one worker has read and another owned
	FlowLogs      []FlowLog         `json:"flow_logs,omitempty"`
}

// Counts says how many objects the file declares. Defaults of AWS's that nobody
// wrote are not counted.
type Counts struct {
	Subnets            int `json:"subnets"`
	Instances          int `json:"instances"`
	SecurityGroups     int `json:"security_groups"`
	SecurityGroupRules int `json:"security_group_rules"`
	NetworkACLs        int `json:"network_acls"`
	NetworkACLRules    int `json:"network_acl_rules"`
	PrefixLists        int `json:"prefix_lists"`
	Tests              int `json:"tests"`
}

// States of an instance's port.
const (
	StateUp   = "up"   // its device works
	StateDown = "down" // it has no device, or one that does not work
)

// An Instance is one instance and its port.
type Instance struct {
	Name           string            `json:"name"`
	ID             string            `json:"id"`        // i-...
	Interface      string            `json:"interface"` // eni-...
	IP             string            `json:"ip"`        // the primary private address
	IPs            []string          `json:"ips"`       // all of them, the primary one first
	MAC            string            `json:"mac"`
	Subnet         string            `json:"subnet"`
	SecurityGroups []string          `json:"security_groups"`
	Kind           string            `json:"kind"`
	Namespace      string            `json:"namespace,omitempty"` // absent for kind host
	Device         string            `json:"device"`
	MTU            int               `json:"mtu"` // bytes, without the Ethernet header
	State          string            `json:"state"`
	Offloads       Offloads          `json:"offloads"`
	Counters       Counters          `json:"counters"`
	Drops          map[string]uint64 `json:"drops"` // frames it sent that were dropped, by reason
	Connections    ConnectionCount   `json:"connections"`
	Process        *Process          `json:"process,omitempty"` // absent without `run =`
}

// Offloads are the kinds of unfinished frame that an instance's device takes.
type Offloads struct {
	Checksum bool `json:"checksum"`
	TSO4     bool `json:"tso4"`
	TSO6     bool `json:"tso6"`
	USO      bool `json:"uso"`
}

// Counters count frames as the switch sees them: received is what instances
// sent. RxFrames = Delivered + Answered + Held + Dropped.
type Counters struct {
	RxFrames  uint64 `json:"rx_frames"`
	RxPackets uint64 `json:"rx_packets"` // a superframe stands for several
	RxBytes   uint64 `json:"rx_bytes"`   // with the Ethernet header
	TxFrames  uint64 `json:"tx_frames"`
	TxPackets uint64 `json:"tx_packets"`
	TxBytes   uint64 `json:"tx_bytes"`
	Delivered uint64 `json:"delivered"` // frames written to another port
	Answered  uint64 `json:"answered"`  // frames the platform took in
	Held      uint64 `json:"held"`      // fragments that wait for the rest
	Dropped   uint64 `json:"dropped"`   // the sum of the drops by reason
}

// ConnectionCount is how full connection tracking is.
type ConnectionCount struct {
	Tracked  int    `json:"tracked"`
	Max      int    `json:"max"`
	Exceeded uint64 `json:"exceeded"` // new flows refused because Max was reached
}

// FlowCache counts the work of the flow cache.
type FlowCache struct {
	Entries int    `json:"entries"` // capacity
	Hits    uint64 `json:"hits"`
	Misses  uint64 `json:"misses"`
}

// Reloads counts the attempts to change the running configuration.
type Reloads struct {
	Succeeded int    `json:"succeeded"`
	Failed    int    `json:"failed"`
	LastError string `json:"last_error,omitempty"` // of the latest attempt; absent if that succeeded
}

// Memory is what the switch's process uses, in bytes.
type Memory struct {
	RSS   uint64 `json:"rss"`
	Heap  uint64 `json:"heap"`
	Limit uint64 `json:"limit"` // of the Go runtime (GOMEMLIMIT); 0 means none
}

// Descriptors counts the open file descriptors of the switch's process.
type Descriptors struct {
	Open  int    `json:"open"`
	Limit uint64 `json:"limit"`
}

// States of an instance's command.
const (
	ProcessRunning = "running"
	ProcessExited  = "exited"
)

// A Process is the command that `run =` started in an instance.
type Process struct {
	Command  string    `json:"command"`
	State    string    `json:"state"`
	PID      int       `json:"pid,omitempty"`       // valid iff State is "running"
	ExitCode *int      `json:"exit_code,omitempty"` // absent while it runs, and when nobody saw it end
	Since    time.Time `json:"since"`               // when it started or ended
}

// Connections is the answer to GET /v1/connections.
type Connections struct {
	Connections []Connection `json:"connections"`
	Total       int          `json:"total"` // how many there are; more than len(Connections) when the limit cut them
}

// A Connection is one tracked connection at one instance. A flow between two
// instances is tracked at both, apart.
type Connection struct {
	Instance    string  `json:"instance"`
	Protocol    string  `json:"protocol"` // tcp, udp, icmp, or a number
	Source      string  `json:"source"`   // the address of the opener
	SourcePort  uint16  `json:"source_port,omitempty"`
	Destination string  `json:"destination"`
	DestPort    uint16  `json:"destination_port,omitempty"` // both ports are absent but for tcp and udp
	ICMP        *ICMP   `json:"icmp,omitempty"`             // absent but for icmp and icmpv6
	State       string  `json:"state"`
	TimeoutLeft float64 `json:"timeout_left_seconds"`
}

// ICMP is what an ICMP flow has in the place of ports.
type ICMP struct {
	Type uint8  `json:"type"` // of the opener's message
	Code uint8  `json:"code"`
	ID   uint16 `json:"id"` // the identifier of an echo; 0 for a message without
}

// ReloadRequest is the body of POST /v1/reload.
type ReloadRequest struct {
	File   string `json:"file,omitempty"` // absolute; if given, it must be the file that runs
	DryRun bool   `json:"dry_run,omitempty"`
	Status bool   `json:"status,omitempty"` // the answer shall have the Status after the reload
}

// ReloadReply is the answer to it.
type ReloadReply struct {
	Generation uint32   `json:"generation"` // after the reload; the current one for a dry run
	DryRun     bool     `json:"dry_run"`
	Changes    []Change `json:"changes"`
	Warnings   []string `json:"warnings,omitempty"` // what went wrong after the new rules were in force
	Status     *Status  `json:"status,omitempty"`   // after the reload; absent unless asked for, and for a dry run
}

// Actions of a Change.
const (
	ActionAdd    = "add"
	ActionChange = "change"
	ActionRemove = "remove"
)

// A Change is one object that differs between two configurations.
type Change struct {
	Action string `json:"action"`
	Object string `json:"object"` // vpc, subnet, security_group, nacl, prefix_list, instance, conntrack, quotas, test, api
	Name   string `json:"name"`   // "" for conntrack, quotas and api
}

// StopReply is the answer to POST /v1/stop. The process ends right after it.
type StopReply struct {
	Removed  int      `json:"removed"`            // namespaces, links, hosts directories and commands
	Warnings []string `json:"warnings,omitempty"` // what could not be removed
}

// A Kind classes an Error, so that a client can choose its exit code.
type Kind string

// The kinds of Error.
const (
	KindUsage         Kind = "usage"         // the request makes no sense
	KindForbidden     Kind = "forbidden"     // the request comes from another user
	KindConfiguration Kind = "configuration" // the file has mistakes; nothing changed
	KindNotFound      Kind = "not_found"     // no object of that name
	KindConflict      Kind = "conflict"      // the running switch belongs to another file
	KindStopping      Kind = "stopping"      // the switch is about to end; wait for that and start another
	KindBusy          Kind = "busy"          // too many clients
	KindInternal      Kind = "internal"      // the switch could not do it; nothing changed
)

// An Error is the body of every answer that is not 200.
type Error struct {
	Kind    Kind   `json:"kind"`
	Message string `json:"message"` // several lines for a file with several mistakes
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }
