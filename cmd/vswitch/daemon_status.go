package main

import (
	"encoding/hex"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vswitch/internal/api"
	"vswitch/internal/lab"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// Status returns what runs, for the API.
func (d *daemon) Status() (api.Status, error) {
	d.life.RLock()
	defer d.life.RUnlock()
	if d.stopped {
		return api.Status{}, errStopping(d.state.vpc)
	}
	return d.status(), nil
}

// status returns what runs. The caller sees to it that the switch lives.
func (d *daemon) status() api.Status {
	cfg := d.sw.Config()
	now := d.sw.Status()
	d.logFailed(now.Captured)
	s := api.Status{
		VPC:           cfg.VPC.Name,
		ID:            vswitch.ID("vpc", cfg.VPC.Name),
		CIDR:          cfg.VPC.CIDR.String(),
		File:          d.file,
		Version:       buildVersion().Version,
		PID:           os.Getpid(),
		Generation:    now.Generation,
		Started:       d.started.UTC().Truncate(time.Millisecond),
		UptimeSeconds: time.Since(d.started).Truncate(time.Millisecond).Seconds(),
		Counts:        counts(&cfg),
		Instances:     []api.Instance{},
		IDs:           cfg.IDs(),
		Totals:        counters(&now.Totals),
		Drops:         drops(&now.Totals),
		Connections:   api.ConnectionCount{Tracked: now.Tracked, Max: now.Capacity},
		FlowCache:     api.FlowCache{Entries: now.FlowCache.Entries, Hits: now.FlowCache.Hits, Misses: now.FlowCache.Misses},
		Reloads:       d.reloadCounts(),
		Memory:        memory(),
		Descriptors:   descriptors(),
		Panics:        now.Panics,
		Workers:       now.Workers,
		HandedOver:    now.HandedOver,
		FlowLogs:      d.flowLogs(),
	}
	commands := map[string]lab.Process{}
	for _, p := range d.lab.Processes() {
		commands[p.Instance] = p
	}
	for i := range now.Ports {
		p := &now.Ports[i]
		in := cfg.Instance(p.Instance)
		if in == nil {
			continue // published or removed between the two looks
		}
		s.Connections.Exceeded += p.Exceeded
		a := instanceStatus(in, p)
		if c, ok := commands[in.Name]; ok {
			a.Process = process(&c)
		}
		s.Instances = append(s.Instances, a)
	}
	return s
}

// logFailed logs the frames whose handling failed inside the switch, each once.
// The switch keeps ten at most.
func (d *daemon) logFailed(frames []vswitch.FailedFrame) {
	d.tally.Lock()
	defer d.tally.Unlock()
	for ; d.failed < len(frames); d.failed++ {
		f := &frames[d.failed]
		d.log.Error("a frame failed inside the switch: please report this", "instance", f.Instance, "cause", f.Cause, "frame", hex.EncodeToString(f.Bytes))
	}
}

// instanceStatus returns the document of one instance, without its command.
func instanceStatus(in *vswitch.Instance, p *vswitch.PortStatus) api.Instance {
	a := api.Instance{
		Name:           in.Name,
		ID:             p.InstanceID,
		Interface:      p.ID,
		IP:             p.Addresses[0].String(),
		MAC:            p.MAC.String(),
		Subnet:         p.Subnet,
		SecurityGroups: in.SecurityGroups,
		Kind:           string(in.Kind),
		Namespace:      p.Namespace,
		Device:         p.Device,
		MTU:            p.MTU,
		State:          api.StateDown,
		Offloads:       api.Offloads(p.Offloads),
		Counters:       counters(&p.Counters),
		Drops:          drops(&p.Counters),
		Connections:    api.ConnectionCount{Tracked: p.Tracked, Max: p.Allowed, Exceeded: p.Exceeded},
	}
	if p.Up {
		a.State = api.StateUp
	}
	for _, ip := range p.Addresses {
		a.IPs = append(a.IPs, ip.String())
	}
	return a
}

func counters(c *vswitch.Counters) api.Counters {
	return api.Counters{
		RxFrames: c.RxFrames, RxPackets: c.RxPackets, RxBytes: c.RxBytes,
		TxFrames: c.TxFrames, TxPackets: c.TxPackets, TxBytes: c.TxBytes,
		Delivered: c.Delivered, Answered: c.Answered, Held: c.Held, Dropped: c.Dropped(),
	}
}

// drops returns the drops that happened, by reason.
func drops(c *vswitch.Counters) map[string]uint64 {
	by := map[string]uint64{}
	for _, r := range policy.Reasons() {
		if n := c.Drops[r]; n > 0 {
			by[r.String()] = n
		}
	}
	return by
}

func process(p *lab.Process) *api.Process {
	a := &api.Process{Command: p.Command, State: api.ProcessRunning, PID: p.PID, Since: p.Since.UTC().Truncate(time.Millisecond)}
	if !p.Running {
		a.State, a.PID = api.ProcessExited, 0
		if p.Code != lab.UnknownCode {
			a.ExitCode = &p.Code
		}
	}
	return a
}

// Connections lists tracked connections, for the API.
func (d *daemon) Connections(instance string, limit int) (api.Connections, error) {
	d.life.RLock()
	defer d.life.RUnlock()
	if d.stopped {
		return api.Connections{}, errStopping(d.state.vpc)
	}
	cfg := d.sw.Config()
	if instance != "" {
		r := newRecord(&cfg, d.file)
		in, err := r.instance(instance)
		if err != nil {
			return api.Connections{}, &api.Error{Kind: api.KindNotFound, Message: err.Error()}
		}
		instance = in.Name
	}
	all, err := d.sw.Connections(instance)
	if err != nil {
		return api.Connections{}, err
	}
	reply := api.Connections{Connections: []api.Connection{}, Total: len(all)}
	for _, c := range all[:min(limit, len(all))] {
		reply.Connections = append(reply.Connections, connection(&c))
	}
	return reply, nil
}

// connection returns the document of one connection.
func connection(c *vswitch.Connection) api.Connection {
	protocol := policy.Protocol(c.Tuple.Protocol)
	a := api.Connection{
		Instance:    c.Instance,
		Protocol:    protocol.String(),
		Source:      c.Tuple.Src.String(),
		Destination: c.Tuple.Dst.String(),
		State:       c.State,
		TimeoutLeft: c.Left.Truncate(time.Millisecond).Seconds(),
	}
	if protocol.HasTypes() {
		a.ICMP = &api.ICMP{Type: uint8(c.Tuple.DstPort >> 8), Code: uint8(c.Tuple.DstPort), ID: c.Tuple.SrcPort}
	} else {
		a.SourcePort, a.DestPort = c.Tuple.SrcPort, c.Tuple.DstPort
	}
	return a
}

// memory returns what this process uses. A figure that the kernel does not tell
// is 0.
func memory() api.Memory {
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(heap)
	m := api.Memory{Heap: heap[0].Value.Uint64()}
	if limit := debug.SetMemoryLimit(-1); limit < 1<<62 {
		m.Limit = uint64(limit)
	}
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return m
	}
	if fields := strings.Fields(string(statm)); len(fields) > 1 { // proc(5): size, resident, ... in pages
		if pages, err := strconv.ParseUint(fields[1], 10, 64); err == nil {
			m.RSS = pages * uint64(os.Getpagesize())
		}
	}
	return m
}

// descriptors returns how many files this process has open, and may have.
func descriptors() api.Descriptors {
	var d api.Descriptors
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		d.Open = len(open) - 1 // without the one that reads the directory
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		d.Limit = limit.Cur
	}
	return d
}
