package flowlog

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// A Format is the fields of a record's line, in order. NewFormat makes one.
type Format struct {
	names   []string
	columns []column
	version string // what the field "version" prints: the highest of the fields' (SEM 6.2)
}

// A column appends a field of a record to b. It appends "-" where the field does
// not apply or nobody knows it (SEM 6.1).
type column func(b []byte, f *Format, r *Record) []byte

// NewFormat returns the format of the named fields. It returns an error if there
// is no such field.
func NewFormat(names []string) (*Format, error) {
	versions := make(map[string]int)
	for _, f := range vswitch.FlowLogFields() {
		versions[f.Name] = f.Version
	}
	f := &Format{names: names}
	highest := 2
	for _, name := range names {
		c, ok := columns[name]
		if !ok {
			return nil, fmt.Errorf("flow logs have no field %q", name)
		}
		f.columns = append(f.columns, c)
		highest = max(highest, versions[name])
	}
	f.version = strconv.Itoa(highest)
	return f, nil
}

// Header returns the names of the fields as the first line of a file has them.
func (f *Format) Header() string { return strings.Join(f.names, " ") }

// Append appends the line of a record to b, without a line feed.
func (f *Format) Append(b []byte, r *Record) []byte {
	for i, c := range f.columns {
		if i > 0 {
			b = append(b, ' ')
		}
		b = c(b, f, r)
	}
	return b
}

// columns are the fields by name. Those that are always "-" stand for what a VPC
// here does not have, or AWS tells of others than interfaces of instances.
var columns = map[string]column{
	"version":      func(b []byte, f *Format, _ *Record) []byte { return append(b, f.version...) },
	"account-id":   ofInterface(func(i *Interface) string { return i.Account }),
	"interface-id": ofInterface(func(i *Interface) string { return i.ID }),
	"srcaddr": ofTraffic(func(b []byte, r *Record) []byte {
		src, _ := r.Addresses()
		return src.AppendTo(b)
	}),
	"dstaddr": ofTraffic(func(b []byte, r *Record) []byte {
		_, dst := r.Addresses()
		return dst.AppendTo(b)
	}),
	"srcport":    number(func(r *Record) uint64 { return uint64(r.Tuple.SrcPort) }),
	"dstport":    number(func(r *Record) uint64 { return uint64(r.Tuple.DstPort) }),
	"protocol":   number(func(r *Record) uint64 { return uint64(r.Tuple.Protocol) }),
	"packets":    number(func(r *Record) uint64 { return r.Packets }),
	"bytes":      number(func(r *Record) uint64 { return r.Bytes }),
	"start":      moment(func(r *Record) time.Time { return r.Start }),
	"end":        moment(func(r *Record) time.Time { return r.End }),
	"action":     text(func(r *Record) string { return r.Action.String() }),
	"log-status": func(b []byte, _ *Format, r *Record) []byte { return append(b, r.Status.String()...) },

	"vpc-id":      ofInterface(func(i *Interface) string { return i.VPCID }),
	"subnet-id":   ofInterface(func(i *Interface) string { return i.SubnetID }),
	"instance-id": ofInterface(func(i *Interface) string { return i.InstanceID }),
	"tcp-flags":   number(func(r *Record) uint64 { return uint64(r.TCPFlags) }),
	"type":        text(family),
	"pkt-srcaddr": address(func(r *Record) netip.Addr { return r.Tuple.Src.Netip() }),
	"pkt-dstaddr": address(func(r *Record) netip.Addr { return r.Tuple.Dst.Netip() }),

	"region":           ofInterface(func(i *Interface) string { return i.Region }),
	"az-id":            ofInterface(func(i *Interface) string { return i.AZ }),
	"sublocation-type": none,
	"sublocation-id":   none,

	"pkt-src-aws-service": none, // nobody in the VPC is one of AWS's services
	"pkt-dst-aws-service": none,
	"flow-direction":      text(func(r *Record) string { return r.Direction.String() }),
	"traffic-path":        text(path),

	"ecs-cluster-arn": none, "ecs-cluster-name": none, "ecs-container-instance-arn": none, "ecs-container-instance-id": none, "ecs-container-id": none,
	"ecs-second-container-id": none, "ecs-service-name": none, "ecs-task-definition-arn": none, "ecs-task-arn": none, "ecs-task-id": none,
	"reject-reason":     none, // AWS has none for security groups and network ACLs (SEM 6.3)
	"resource-id":       none,
	"encryption-status": none,
	"instance-tag":      none, "instance-tag-2": none, "interface-tag": none, "interface-tag-2": none, "asg-tag": none, "asg-tag-2": none,
	"interface-type": none,

	"next-hop-interface-id":   ofNextHop(func(i *Interface) string { return i.ID }),
	"next-hop-subnet-id":      ofNextHop(func(i *Interface) string { return i.SubnetID }),
	"next-hop-az-id":          ofNextHop(func(i *Interface) string { return i.AZ }),
	"next-hop-vpc-id":         ofNextHop(func(i *Interface) string { return i.VPCID }),
	"next-hop-interface-type": none,

	"vswitch-verdict": text(func(r *Record) string { return VerdictName(r.Verdict) }),
	"vswitch-rule":    text(ruleNames),
}

// none is the column of what is never known.
func none(b []byte, _ *Format, _ *Record) []byte { return append(b, '-') }

// ofTraffic returns a column that only records of traffic have.
func ofTraffic(of func(b []byte, r *Record) []byte) column {
	return func(b []byte, _ *Format, r *Record) []byte {
		if r.Status != OK {
			return append(b, '-')
		}
		return of(b, r)
	}
}

// number returns a column of a number.
func number(of func(*Record) uint64) column {
	return ofTraffic(func(b []byte, r *Record) []byte { return strconv.AppendUint(b, of(r), 10) })
}

// text returns a column of a text, "" for none.
func text(of func(*Record) string) column {
	return ofTraffic(func(b []byte, r *Record) []byte { return appendText(b, of(r)) })
}

// address returns a column of an address.
func address(of func(*Record) netip.Addr) column {
	return ofTraffic(func(b []byte, r *Record) []byte { return of(r).AppendTo(b) })
}

// moment returns a column of seconds since 1970, which all records have.
func moment(of func(*Record) time.Time) column {
	return func(b []byte, _ *Format, r *Record) []byte { return strconv.AppendInt(b, of(r).Unix(), 10) }
}

// ofInterface returns a column that all records of an interface have.
func ofInterface(of func(*Interface) string) column {
	return func(b []byte, _ *Format, r *Record) []byte { return appendText(b, of(r.Interface)) }
}

// ofNextHop returns a column of the interface that the packets went to, or came
// from.
func ofNextHop(of func(*Interface) string) column {
	return text(func(r *Record) string {
		if r.NextHop == nil {
			return ""
		}
		return of(r.NextHop)
	})
}

// family returns the field "type".
func family(r *Record) string {
	if r.Tuple.Src.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// path returns the field "traffic-path" (SEM 6.5): 1 for what went to another
// interface of the VPC, by whatever route. Packets without a next hop went nowhere.
func path(r *Record) string {
	if r.Direction == policy.Egress && r.NextHop != nil {
		return "1"
	}
	return ""
}

// VerdictName returns what became of packets in one word: DELIVERED, or the
// reason.
func VerdictName(r policy.Reason) string {
	if r == policy.None {
		return "DELIVERED"
	}
	return r.String()
}

// RuleName returns a rule in one word: "sg:web/sgr-web-app", "nacl:public/100",
// "nacl:public/*". It returns "" for the zero RuleKey.
func RuleName(k vswitch.RuleKey) string {
	if k == (vswitch.RuleKey{}) {
		return ""
	}
	return k.Object + "/" + k.ID
}

// ruleNames returns the rules of a record, in the order in which they were asked.
func ruleNames(r *Record) string {
	var names []string
	for _, k := range r.Rules {
		if name := RuleName(k); name != "" {
			names = append(names, escape(name))
		}
	}
	return strings.Join(names, ",")
}

// escape returns s without what separates fields and rules, percent-encoded as AWS
// does it with tags (SEM 6.3).
func escape(s string) string {
	if !strings.ContainsFunc(s, separates) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if separates(rune(s[i])) {
			fmt.Fprintf(&b, "%%%02X", s[i])
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func separates(r rune) bool { return r <= ' ' || r == ',' || r == '%' || r == 0x7f }

// appendText appends s, or "-" for nothing.
func appendText(b []byte, s string) []byte {
	if s == "" {
		return append(b, '-')
	}
	return append(b, s...)
}
