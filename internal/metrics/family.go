package metrics

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"vswitch/internal/api"
)

// A family is one metric by name: what it counts, and its samples in a snapshot.
type family struct {
	name   string
	kind   prometheus.ValueType
	help   string
	labels []string
	sample func(s *Snapshot, emit func(value float64, labels ...string))
}

// Labels that families share.
var (
	ofVPC  = []string{"vpc"}
	ofPort = []string{"vpc", "instance"}
)

// families are all metrics, in the order of docs/metrics.md. What instances sent
// is received here, as the counters of the switch have it.
var families = []family{
	port("received_frames_total", counter, "Frames that the instance sent. Always the sum of those delivered, answered, held and dropped.",
		func(in *api.Instance) uint64 { return in.Counters.RxFrames }),
	port("received_packets_total", counter, "Packets that these frames stand for: a superframe is several.",
		func(in *api.Instance) uint64 { return in.Counters.RxPackets }),
	port("received_bytes_total", counter, "Bytes of these frames, with their Ethernet headers.",
		func(in *api.Instance) uint64 { return in.Counters.RxBytes }),
	port("delivered_frames_total", counter, "Frames that the instance sent and another received.",
		func(in *api.Instance) uint64 { return in.Counters.Delivered }),
	port("answered_frames_total", counter, "Frames that the instance sent and the platform took in: ARP, neighbor discovery, echo to the router.",
		func(in *api.Instance) uint64 { return in.Counters.Answered }),
	port("held_frames", gauge, "Fragments that the instance sent and that wait for the rest of their datagram.",
		func(in *api.Instance) uint64 { return in.Counters.Held }),
	{
		name: "vswitch_port_dropped_frames_total", kind: counter,
		help:   "Frames that the instance sent and the switch dropped, by reason. A reason that never happened is absent.",
		labels: []string{"vpc", "instance", "reason"},
		sample: func(s *Snapshot, emit func(float64, ...string)) {
			for i := range s.Instances {
				for reason, n := range s.Instances[i].Drops {
					emit(float64(n), s.VPC, s.Instances[i].Name, reason)
				}
			}
		},
	},
	port("transmitted_frames_total", counter, "Frames that the instance received, the platform's answers included.",
		func(in *api.Instance) uint64 { return in.Counters.TxFrames }),
	port("transmitted_packets_total", counter, "Packets that these frames stand for.",
		func(in *api.Instance) uint64 { return in.Counters.TxPackets }),
	port("transmitted_bytes_total", counter, "Bytes of these frames, with their Ethernet headers.",
		func(in *api.Instance) uint64 { return in.Counters.TxBytes }),
	port("up", gauge, "Whether the instance has a device that works.",
		func(in *api.Instance) uint64 { return truth(in.State == api.StateUp) }),
	port("connections", gauge, "Connections tracked at the instance.",
		func(in *api.Instance) uint64 { return uint64(in.Connections.Tracked) }),
	port("connections_allowed", gauge, "How many connections may be tracked at the instance.",
		func(in *api.Instance) uint64 { return uint64(in.Connections.Max) }),
	port("refused_flows_total", counter, "New flows refused because the connections allowed were used up.",
		func(in *api.Instance) uint64 { return in.Connections.Exceeded }),
	{
		name: "vswitch_instance_command_running", kind: gauge,
		help:   "Whether the command of the instance (run = in the file) runs. Instances without one are absent.",
		labels: ofPort,
		sample: func(s *Snapshot, emit func(float64, ...string)) {
			for i := range s.Instances {
				if p := s.Instances[i].Process; p != nil {
					emit(float64(truth(p.State == api.ProcessRunning)), s.VPC, s.Instances[i].Name)
				}
			}
		},
	},
	vpc("connections", gauge, "Connections tracked at all instances together.",
		func(s *api.Status) uint64 { return uint64(s.Connections.Tracked) }),
	vpc("connections_allowed", gauge, "How many connections all instances together may have tracked.",
		func(s *api.Status) uint64 { return uint64(s.Connections.Max) }),
	vpc("flow_cache_hits_total", counter, "Frames whose verdict was in the flow cache.",
		func(s *api.Status) uint64 { return s.FlowCache.Hits }),
	vpc("flow_cache_misses_total", counter, "Frames that asked the flow cache in vain.",
		func(s *api.Status) uint64 { return s.FlowCache.Misses }),
	vpc("flow_cache_entries", gauge, "How many flows the flow cache can hold.",
		func(s *api.Status) uint64 { return uint64(s.FlowCache.Entries) }),
	vpc("panics_total", counter, "Frames whose handling failed inside the switch: a bug, please report it.",
		func(s *api.Status) uint64 { return s.Panics }),
	vpc("generation", gauge, "Number of the configuration that is in force.",
		func(s *api.Status) uint64 { return uint64(s.Generation) }),
	{
		name: "vswitch_reloads_total", kind: counter,
		help:   "Attempts to change the running configuration, by result: success or failure.",
		labels: []string{"vpc", "result"},
		sample: func(s *Snapshot, emit func(float64, ...string)) {
			emit(float64(s.Reloads.Succeeded), s.VPC, "success")
			emit(float64(s.Reloads.Failed), s.VPC, "failure")
		},
	},
	rule("packets_total", "Packets that the rule decided, as vswitch rules counts them. Those of a tracked flow count for the rule that let it begin.",
		func(r *Rule) uint64 { return r.Packets }),
	rule("flows_total", "Flows that the rule let begin.", func(r *Rule) uint64 { return r.Flows }),
	flowLog("records_total", "Records that the flow log has written to its file.", func(l *api.FlowLog) uint64 { return l.Written }),
	flowLog("lost_records_total", "Records for which the flow log had no room, or that it could not write; at least so many.",
		func(l *api.FlowLog) uint64 { return l.Lost }),
	{
		name: "vswitch_build_info", kind: gauge,
		help:   "Always 1; its labels say which program runs.",
		labels: []string{"vpc", "version", "goversion"},
		sample: func(s *Snapshot, emit func(float64, ...string)) {
			emit(1, s.VPC, s.Version, runtime.Version())
		},
	},
}

// Kinds of a family.
const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// port returns a family with one sample for each instance.
func port(name string, kind prometheus.ValueType, help string, value func(*api.Instance) uint64) family {
	return family{"vswitch_port_" + name, kind, help, ofPort, func(s *Snapshot, emit func(float64, ...string)) {
		for i := range s.Instances {
			emit(float64(value(&s.Instances[i])), s.VPC, s.Instances[i].Name)
		}
	}}
}

// vpc returns a family with one sample.
func vpc(name string, kind prometheus.ValueType, help string, value func(*api.Status) uint64) family {
	return family{"vswitch_" + name, kind, help, ofVPC, func(s *Snapshot, emit func(float64, ...string)) {
		emit(float64(value(&s.Status)), s.VPC)
	}}
}

// rule returns a family with one sample for each rule, the implicit denies
// included.
func rule(name, help string, value func(*Rule) uint64) family {
	return family{"vswitch_rule_" + name, counter, help, []string{"vpc", "object", "direction", "rule"}, func(s *Snapshot, emit func(float64, ...string)) {
		for i := range s.Rules {
			r := &s.Rules[i]
			emit(float64(value(r)), s.VPC, r.Object, r.Direction, r.ID)
		}
	}}
}

// flowLog returns a family with one sample for each flow log of the file.
func flowLog(name, help string, value func(*api.FlowLog) uint64) family {
	return family{"vswitch_flow_log_" + name, counter, help, []string{"vpc", "flow_log"}, func(s *Snapshot, emit func(float64, ...string)) {
		for i := range s.FlowLogs {
			emit(float64(value(&s.FlowLogs[i])), s.VPC, s.FlowLogs[i].Name)
		}
	}}
}

func truth(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
