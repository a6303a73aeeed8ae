package vswitch

import (
	"fmt"
	"strings"
	"time"
)

// A FlowLog writes the records of VPC Flow Logs to a file (SEM 6): for the
// interfaces of its scope, those of instances included that are added later.
type FlowLog struct {
	Name       string
	Scope      []string      // "vpc", subnets and instances; nil means "vpc"
	Traffic    Traffic       // "" means all
	Format     []string      // the fields of a record, in order; nil means those of version 2
	File       string        // Complete makes it absolute if the configuration comes from a file
	Interval   time.Duration // of aggregation, 60 s or 600 s; 0 means 60 s
	Header     bool          // every file begins with a line of field names, as on S3 (SEM 6.1)
	RotateSize int           // MiB that a file may reach; 0 means 64
	Keep       int           // rotated files that are kept; 0 means 4
	Origin
}

// A Traffic says which records a flow log keeps.
type Traffic string

// AWS's traffic types.
const (
	TrafficAll    Traffic = "all"
	TrafficAccept Traffic = "accept"
	TrafficReject Traffic = "reject"
)

// ScopeVPC is the scope of every interface.
const ScopeVPC = "vpc"

// Aggregation intervals (SEM 6.1). AWS's default is the long one, but an
// interface on Nitro gets the short one whatever was chosen, and every current
// instance is on Nitro. Here the short one is the default, and what is chosen
// holds.
const (
	ShortInterval = 60 * time.Second
	LongInterval  = 600 * time.Second
)

// Defaults and limits of a flow log's files: ours, for AWS keeps them in S3.
const (
	defaultRotateSize = 64 // MiB
	defaultKeep       = 4
	maxRotateSize     = 1 << 20 // MiB
	maxKeep           = 100
)

// A FlowLogField is a field that a record may have.
type FlowLogField struct {
	Name    string
	Version int // of the record format that brought it (SEM 6.2, 6.3); 0 for those that AWS does not have
}

// flowLogFields are all of them. AWS's version 6 has none for a VPC.
var flowLogFields = []FlowLogField{
	{"version", 2}, {"account-id", 2}, {"interface-id", 2}, {"srcaddr", 2}, {"dstaddr", 2}, {"srcport", 2}, {"dstport", 2},
	{"protocol", 2}, {"packets", 2}, {"bytes", 2}, {"start", 2}, {"end", 2}, {"action", 2}, {"log-status", 2},
	{"vpc-id", 3}, {"subnet-id", 3}, {"instance-id", 3}, {"tcp-flags", 3}, {"type", 3}, {"pkt-srcaddr", 3}, {"pkt-dstaddr", 3},
	{"region", 4}, {"az-id", 4}, {"sublocation-type", 4}, {"sublocation-id", 4},
	{"pkt-src-aws-service", 5}, {"pkt-dst-aws-service", 5}, {"flow-direction", 5}, {"traffic-path", 5},
	{"ecs-cluster-arn", 7}, {"ecs-cluster-name", 7}, {"ecs-container-instance-arn", 7}, {"ecs-container-instance-id", 7}, {"ecs-container-id", 7},
	{"ecs-second-container-id", 7}, {"ecs-service-name", 7}, {"ecs-task-definition-arn", 7}, {"ecs-task-arn", 7}, {"ecs-task-id", 7},
	{"reject-reason", 8}, {"resource-id", 9}, {"encryption-status", 10},
	{"instance-tag", 11}, {"instance-tag-2", 11}, {"interface-tag", 11}, {"interface-tag-2", 11}, {"asg-tag", 11}, {"asg-tag-2", 11}, {"interface-type", 11},
	{"next-hop-interface-id", 11}, {"next-hop-subnet-id", 11}, {"next-hop-az-id", 11}, {"next-hop-vpc-id", 11}, {"next-hop-interface-type", 11},
	{"vswitch-verdict", 0}, {"vswitch-rule", 0},
}

// defaultFlowLogFields is how many of them, from the first on, make the default
// format (SEM 6.2).
const defaultFlowLogFields = 14

// FlowLogFields returns all fields that a record may have, in the order of AWS's
// documentation, and behind them our own.
func FlowLogFields() []FlowLogField { return append([]FlowLogField(nil), flowLogFields...) }

// DefaultFlowLogFormat returns the fields of version 2.
func DefaultFlowLogFormat() []string {
	names := make([]string, defaultFlowLogFields)
	for i := range names {
		names[i] = flowLogFields[i].Name
	}
	return names
}

// maxFlowLogFormat bounds the text of a format, in bytes: all fields take a sixth
// of it.
const maxFlowLogFormat = 8192

// ParseFlowLogFormat reads a format as AWS writes it: "${version} ${action}".
// Names may also stand without their "${" and "}". It returns an error if the
// text is no list of fields, if there is no such field, or one of them is there
// twice.
func ParseFlowLogFormat(text string) ([]string, error) {
	if len(text) > maxFlowLogFormat {
		return nil, fmt.Errorf("the format is longer than %d bytes", maxFlowLogFormat)
	}
	var names []string
	for _, word := range strings.Fields(text) {
		name := word
		if inner, ok := strings.CutPrefix(word, "${"); ok {
			if name, ok = strings.CutSuffix(inner, "}"); !ok || strings.ContainsAny(name, "${}") {
				return nil, fmt.Errorf("%q: want fields as in \"${version} ${action}\", separated by spaces", word)
			}
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("the format has no field")
	}
	for i := range names {
		if message, hint := badField(names, i); message != "" {
			if hint != "" {
				message += " (" + hint + ")"
			}
			return nil, fmt.Errorf("%s", message)
		}
	}
	return names, nil
}

// badField returns what is wrong with the i-th field of a format, and what was
// probably meant; "" for nothing.
func badField(names []string, i int) (message, hint string) {
	all := make([]string, len(flowLogFields))
	for j, f := range flowLogFields {
		all[j] = f.Name
		if f.Name != names[i] {
			continue
		}
		for _, earlier := range names[:i] {
			if earlier == names[i] {
				return fmt.Sprintf("the field %q is in the format twice", names[i]), ""
			}
		}
		return "", ""
	}
	if near := Nearest(names[i], all); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return fmt.Sprintf("flow logs have no field %q", names[i]), hint
}

// FlowLog returns the flow log of that name, or nil.
func (c *Config) FlowLog(name string) *FlowLog {
	for i := range c.FlowLogs {
		if c.FlowLogs[i].Name == name {
			return &c.FlowLogs[i]
		}
	}
	return nil
}
