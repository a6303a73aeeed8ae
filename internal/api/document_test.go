package api

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"vswitch/internal/goldenfile"
)

const document = "../../docs/api.md"

func sampleStatus() Status {
	code := 1
	started := time.Date(2026, 11, 23, 9, 30, 0, 125_000_000, time.UTC)
	return Status{
		VPC: "two-tier", ID: "vpc-0f3c5a1b2d4e6f708", CIDR: "10.0.0.0/16", File: "/home/ann/lab/vpc.toml",
		Version: "v0.1.0", PID: 4711, Generation: 3, Started: started, UptimeSeconds: 3725.25,
		Counts: Counts{Subnets: 2, Instances: 2, SecurityGroups: 3, SecurityGroupRules: 5, NetworkACLs: 2, NetworkACLRules: 7, PrefixLists: 1, Tests: 2},
		Instances: []Instance{
			{
				Name: "web1", ID: "i-0a1b2c3d4e5f60718", Interface: "eni-0b2c3d4e5f6071829", IP: "10.0.1.10", IPs: []string{"10.0.1.10", "10.0.1.11"},
				MAC: "02:5e:10:00:00:01", Subnet: "public", SecurityGroups: []string{"web"}, Kind: "netns",
				Namespace: "two-tier-web1", Device: "eth0", MTU: 9001, State: StateUp,
				Offloads:    Offloads{Checksum: true, TSO4: true, TSO6: true, USO: true},
				Counters:    Counters{RxFrames: 120, RxPackets: 300, RxBytes: 400_000, TxFrames: 90, TxPackets: 90, TxBytes: 9000, Delivered: 100, Answered: 8, Held: 1, Dropped: 11},
				Drops:       map[string]uint64{"SG_EGRESS": 9, "NACL_INGRESS": 2},
				Connections: ConnectionCount{Tracked: 4, Max: 1_048_576},
				Process:     &Process{Command: "vswitch serve tcp/443", State: ProcessRunning, PID: 4802, Since: started},
			},
			{
				Name: "db1", ID: "i-0c3d4e5f607182930", Interface: "eni-0d4e5f60718293a41", IP: "10.0.2.20", IPs: []string{"10.0.2.20"},
				MAC: "02:5e:10:00:00:02", Subnet: "private", SecurityGroups: []string{"db"}, Kind: "host",
				Device: "tap-db1", MTU: 9001, State: StateDown, Drops: map[string]uint64{},
				Connections: ConnectionCount{Max: 1_048_576, Exceeded: 5},
				Process:     &Process{Command: "false", State: ProcessExited, ExitCode: &code, Since: started},
			},
		},
		IDs:         map[string]string{"subnet.public": "subnet-0a1b2c3d4e5f60718", "security_group.web": "sg-0b2c3d4e5f6071829", "nacl.public": "acl-0c3d4e5f607182930"},
		Totals:      Counters{RxFrames: 120, RxPackets: 300, RxBytes: 400_000, TxFrames: 90, TxPackets: 90, TxBytes: 9000, Delivered: 100, Answered: 8, Held: 1, Dropped: 11},
		Drops:       map[string]uint64{"SG_EGRESS": 9, "NACL_INGRESS": 2},
		Connections: ConnectionCount{Tracked: 4, Max: 4_194_304, Exceeded: 5},
		FlowCache:   FlowCache{Entries: 65_536, Hits: 99, Misses: 21},
		Reloads:     Reloads{Succeeded: 2, Failed: 1, LastError: "/home/ann/lab/vpc.toml:12:9: instance.web1.sg: no security group \"wbe\" (did you mean \"web\"?)"},
		Memory:      Memory{RSS: 23_068_672, Heap: 3_145_728, Limit: 0},
		Descriptors: Descriptors{Open: 15, Limit: 20_000},
		Workers:     2, HandedOver: 3,
		FlowLogs: []FlowLog{{Name: "all", File: "/home/ann/lab/flow.log", Written: 1200, Lost: 7, Error: "write /home/ann/lab/flow.log: no space left on device"}},
	}
}

func sampleConnections() Connections {
	return Connections{Total: 2, Connections: []Connection{
		{Instance: "web1", Protocol: "tcp", Source: "10.0.1.10", SourcePort: 40000, Destination: "10.0.2.10", DestPort: 8080, State: "established", TimeoutLeft: 431_999.5},
		{Instance: "web1", Protocol: "icmp", Source: "10.0.2.10", Destination: "10.0.1.10", ICMP: &ICMP{Type: 8, Code: 0, ID: 4242}, State: "replied", TimeoutLeft: 29},
	}}
}

func sampleReload() ReloadReply {
	return ReloadReply{Generation: 3, DryRun: true, Changes: []Change{
		{Action: ActionAdd, Object: "instance", Name: "web2"},
		{Action: ActionChange, Object: "security_group", Name: "web"},
		{Action: ActionRemove, Object: "subnet", Name: "old"},
	}}
}

func sampleStop() StopReply {
	return StopReply{Removed: 9, Warnings: []string{"namespace two-tier-db1: not the one that vswitch made (inode 4026532300, made 4026532299)"}}
}

// samples are the documents whose encoding docs/api.md shows, by heading.
var samples = []struct {
	heading string
	value   any
}{
	{"Status", sampleStatus()},
	{"Connections", sampleConnections()},
	{"Explanation", sampleExplanation()},
	{"Reach", sampleReach()},
	{"Events", sampleEvents()},
	{"Drops", sampleDrops()},
	{"Busiest", sampleBusiest()},
	{"Rules", sampleRules()},
	{"RulesReset", RulesReset{Object: "sg:web"}},
	{"RulesResetReply", RulesResetReply{Rules: 12}},
	{"Flows", sampleFlows()},
	{"Graph", sampleGraph()},
	{"Plan", samplePlan()},
	{"ReloadRequest", ReloadRequest{File: "/home/ann/lab/vpc.toml", DryRun: true}},
	{"ReloadReply", sampleReload()},
	{"StopReply", sampleStop()},
	{"Error", &Error{KindNotFound, "no instance \"wbe1\" in VPC two-tier (did you mean \"web1\"?)"}},
}

// What docs/api.md shows is what the API says.
func TestDocumentShowsTheRealEncoding(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range samples {
		var want bytes.Buffer
		if err := Encode(&want, s.value); err != nil {
			t.Fatal(err)
		}
		before, rest, found := bytes.Cut(text, []byte("\n### "+s.heading+"\n"))
		intro, rest, fenced := bytes.Cut(rest, []byte("```json\n"))
		got, after, closed := bytes.Cut(rest, []byte("```\n"))
		if !found || !fenced || !closed {
			t.Errorf("%s has no sample under the heading %q", document, s.heading)
			continue
		}
		if *goldenfile.Update {
			text = []byte(fmt.Sprintf("%s\n### %s\n%s```json\n%s```\n%s", before, s.heading, intro, want.Bytes(), after))
			continue
		}
		if string(got) != want.String() {
			t.Errorf("%s: the sample of %s is (go test -update rewrites it)\n%s\nand should be\n%s", document, s.heading, got, want.String())
		}
	}
	if *goldenfile.Update {
		if err := os.WriteFile(document, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Every field has a row in the tables of docs/api.md.
func TestDocumentExplainsEveryField(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range samples {
		for _, field := range fields(reflect.TypeOf(s.value), "") {
			if !bytes.Contains(text, []byte("| `"+field+"` |")) {
				t.Errorf("%s: no row for `%s` of %s", document, field, s.heading)
			}
		}
	}
}

// fields returns the names of a document's fields as the tables have them: those
// of a document inside the document begin with its type's name.
func fields(t reflect.Type, prefix string) []string {
	switch {
	case t.Kind() == reflect.Pointer, t.Kind() == reflect.Slice:
		return fields(t.Elem(), prefix)
	case t.Kind() != reflect.Struct, t == reflect.TypeFor[time.Time]():
		return nil
	}
	var all []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		all = append(all, prefix+name)
		inner := t.Field(i).Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner != reflect.TypeFor[Status]() { // it has a heading of its own
			all = append(all, fields(inner, strings.ToLower(inner.Name())+".")...)
		}
	}
	return all
}
