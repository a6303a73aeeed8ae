package main

import (
	"context"
	"fmt"
	"time"

	"vswitch/internal/api"
	"vswitch/internal/flowlog"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// flushDeadline bounds how long the last records of a flow log may take on their
// way to the disk, when it ends.
const flushDeadline = 5 * time.Second

// newFlows returns the flow logs of a configuration.
func (d *daemon) newFlows(full *vswitch.Config) (*flowlog.Collector, error) {
	return flowlog.New(full, time.Now(), func(name string, err error) {
		d.log.Warn("flow log records lost", "flow_log", name, "error", err)
		d.tellLost(name, err)
	})
}

// observe hands what the switch has observed since the last time to those who keep
// books on it. Whoever looks into such a book calls it first. The caller sees to
// it that the switch lives.
func (d *daemon) observe() {
	d.observing.Lock() // so that observations are recorded in the order of time
	defer d.observing.Unlock()
	cfg, now := d.sw.Config(), time.Now()
	d.sw.Observations(func(some []vswitch.Observation) {
		d.book.Record(some, &cfg)
		d.flows.Record(now, some)
	})
	d.flows.Record(now, nil) // windows close without traffic, too
}

// changeFlows makes the flow logs those of a prepared configuration.
func (d *daemon) changeFlows(change *flowlog.Change) error {
	ctx, cancel := context.WithTimeout(context.Background(), flushDeadline)
	defer cancel()
	return change.Commit(ctx, time.Now())
}

// closeFlows ends all flow logs with what they have.
func (d *daemon) closeFlows() error {
	ctx, cancel := context.WithTimeout(context.Background(), flushDeadline)
	defer cancel()
	return d.flows.Close(ctx, time.Now())
}

// flowLogs returns the documents of the flow logs.
func (d *daemon) flowLogs() []api.FlowLog {
	logs, _ := d.flows.Figures()
	var all []api.FlowLog
	for _, f := range logs {
		a := api.FlowLog{Name: f.Name, File: f.File, Written: f.Written, Lost: f.Lost}
		if f.Error != nil {
			a.Error = f.Error.Error()
		}
		all = append(all, a)
	}
	return all
}

// defaultFormat stands for the fields of version 2.
const defaultFormat = "default"

// lineFormat returns the format of that text; nil for none.
func lineFormat(text string) (*flowlog.Format, error) {
	switch text {
	case "":
		return nil, nil
	case defaultFormat:
		return flowlog.NewFormat(vswitch.DefaultFlowLogFormat())
	}
	fields, err := vswitch.ParseFlowLogFormat(text)
	if err != nil {
		return nil, err
	}
	return flowlog.NewFormat(fields)
}

// Flows returns flow records, for the API. It waits for one as the API's
// FlowSource does.
func (d *daemon) Flows(ctx context.Context, r api.FlowsRequest) (api.Flows, error) {
	format, err := lineFormat(r.Format)
	if err != nil {
		return api.Flows{}, &api.Error{Kind: api.KindUsage, Message: fmt.Sprintf("format: %v", err)}
	}
	q := flowlog.Query{Rejected: r.Rejected, Limit: r.Limit, Follow: r.Follow, After: r.After}
	if q.Instance, err = d.observed(r.Instance); err != nil {
		return api.Flows{}, err
	}
	found := d.flows.Flows(ctx, q)
	if len(found.Records) == 0 && r.Follow && d.isStopped() {
		return api.Flows{}, errStopping(d.state.vpc)
	}
	reply := api.Flows{Flows: make([]api.Flow, len(found.Records)), Total: found.Total, Next: found.Next, Missed: found.Missed}
	for i := range found.Records {
		reply.Flows[i] = flow(&found.Records[i], format)
	}
	return reply, nil
}

// observed returns the name of the instance that name or id stands for, "" for "",
// once all that the switch has observed is in the books.
func (d *daemon) observed(instance string) (string, error) {
	d.life.RLock()
	defer d.life.RUnlock()
	if d.stopped {
		return "", errStopping(d.state.vpc)
	}
	if instance != "" {
		cfg := d.sw.Config()
		r := newRecord(&cfg, d.file)
		in, err := r.instance(instance)
		if err != nil {
			return "", &api.Error{Kind: api.KindNotFound, Message: err.Error()}
		}
		instance = in.Name
	}
	d.observe()
	return instance, nil
}

func (d *daemon) isStopped() bool {
	d.life.RLock()
	defer d.life.RUnlock()
	return d.stopped
}

// flow returns the document of one record.
func flow(r *flowlog.Record, format *flowlog.Format) api.Flow {
	a := api.Flow{
		Instance: r.Interface.Instance, Interface: r.Interface.ID, State: api.FlowClosed, Status: r.Status.String(),
		Start: r.Start.UTC().Truncate(time.Millisecond), End: r.End.UTC().Truncate(time.Millisecond),
	}
	if format != nil {
		a.Line = string(format.Append(nil, r))
	}
	if r.Open() {
		a.State = api.FlowOpen
	}
	if r.Status != flowlog.OK {
		return a
	}
	t := &r.Tuple
	a.Direction, a.Action, a.Protocol = r.Direction.String(), r.Action.String(), policy.Protocol(t.Protocol).String()
	a.Source, a.SourcePort, a.Destination, a.DestPort = t.Src.String(), t.SrcPort, t.Dst.String(), t.DstPort
	a.Packets, a.Bytes, a.TCPFlags, a.Verdict = r.Packets, r.Bytes, r.TCPFlags, flowlog.VerdictName(r.Verdict)
	if r.NextHop != nil {
		a.Peer = r.NextHop.Instance
	}
	for _, k := range r.Rules {
		if name := flowlog.RuleName(k); name != "" {
			a.Rules = append(a.Rules, name)
		}
	}
	return a
}
