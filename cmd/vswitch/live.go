package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vswitch/internal/api"
	"vswitch/internal/expect"
	"vswitch/internal/lab"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// Bounds of what test --live sends.
const (
	maxLiveSamples = 8    // for one protocol between two ends of one test: at least 2
	maxLiveProbes  = 4096 // in all
)

// Why flows have no packet, besides what package expect says of them.
const (
	skippedKind  = "of an instance without a namespace"
	skippedBound = "beyond the first 4096 packets"
	skippedUDP   = "to a UDP server of the instance's own that does not answer"
)

// settling is how long a command of an instance has to take its ports, from its
// start, before test --live takes those that it finds free.
const settling = 2 * time.Second

// A liveProbe is one packet that test --live has sent, and what became of it.
type liveProbe struct {
	From       string     `json:"from"`
	To         string     `json:"to"`
	ToIP       netip.Addr `json:"to_ip"`
	Service    string     `json:"service"`
	SourcePort uint16     `json:"source_port,omitempty"`
	Rules      string     `json:"rules"`   // allow, or deny: whether an answer was to come back
	Packets    string     `json:"packets"` // the outcome, as ping names it
	Error      string     `json:"error,omitempty"`
	Disagrees  bool       `json:"disagrees"`
}

// flow returns what was sent, in words.
func (p *liveProbe) flow() string {
	text := fmt.Sprintf("%s -> %s %s", p.From, p.To, p.Service)
	if p.SourcePort != 0 {
		text += fmt.Sprintf(" from port %d", p.SourcePort)
	}
	return text
}

// disagreement returns what the rules and the packets say.
func (p *liveProbe) disagreement() string {
	text := fmt.Sprintf("rules %s, packets got %s", p.Rules, p.Packets)
	if p.Error != "" {
		text += " (" + p.Error + ")"
	}
	return text
}

// A liveSession is one run of test --live.
type liveSession struct {
	record  record
	client  *api.Client
	timeout time.Duration
}

// liveSession prepares to send packets in the VPC that runs, which must be that of
// cfg, read from path. It gives the instances of cfg the addresses that they have.
func (c *cli) liveSession(cfg *vswitch.Config, path string, timeout time.Duration) (*liveSession, error) {
	if err := lab.Check(); err != nil {
		return nil, err
	}
	s, client, err := c.client(toChange)
	if err != nil {
		return nil, err
	}
	request := api.ReloadRequest{DryRun: true}
	if c.file != "" && c.vpc == "" {
		request.File = path
	}
	reply, err := client.Reload(context.Background(), request)
	if err != nil {
		return nil, notRunning(s, err)
	}
	var differ []string
	for _, change := range reply.Changes {
		if change.Object != "test" { // they decide nothing
			differ = append(differ, strings.TrimSpace(change.Object+" "+change.Name))
		}
	}
	if len(differ) > 0 {
		return nil, fmt.Errorf("VPC %s: %s differs from what runs (%s): vswitch reload first", s.vpc, filepath.Base(path), strings.Join(differ, ", "))
	}
	r, err := readRecord(s)
	if err != nil {
		return nil, err
	}
	for i := range cfg.Instances {
		in := &cfg.Instances[i]
		at, err := r.instance(in.Name)
		if err != nil {
			return nil, err
		}
		if !in.IP.IsValid() {
			if in.IP, err = netip.ParseAddr(at.IP); err != nil {
				return nil, fmt.Errorf("record of VPC %s: %w", s.vpc, err)
			}
		}
	}
	return &liveSession{r, client, timeout}, nil
}

// A liveTask is one packet to send for a test.
type liveTask struct {
	test   int // its index in the report
	sample expect.Sample
	taken  bool // a server of the instance's own has the port
	result partyResult
}

// check sends packets for all results and adds to the report what became of them.
func (s *liveSession) check(ctx context.Context, e *expect.Evaluator, results []expect.Result, report *testReport) error {
	left := expect.Left{}
	tasks, err := s.tasks(e, results, left)
	if err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	parties := s.parties(tasks)
	if err := runParties(ctx, parties); err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		return err
	}
	summary := &liveSummary{TimeoutMS: s.timeout.Milliseconds(), Skipped: left}
	for i := range tasks {
		p, conclusive, err := tasks[i].probe(e)
		switch {
		case err != nil:
			return err
		case !conclusive:
			left[skippedUDP]++
			continue
		}
		summary.Probes++
		o := &report.Tests[tasks[i].test]
		o.Probes = append(o.Probes, p)
		if p.Disagrees {
			summary.Disagreed++
			if o.Status == testPassed {
				o.Status = testDisagree
			}
		}
	}
	report.Live = summary
	return nil
}

// settle waits until the commands of the instances have had time to listen.
func (s *liveSession) settle(ctx context.Context) error {
	status, err := s.client.Status(ctx)
	if err != nil {
		return err
	}
	var youngest time.Time
	for i := range status.Instances {
		if p := status.Instances[i].Process; p != nil && p.State == api.ProcessRunning && p.Since.After(youngest) {
			youngest = p.Since
		}
	}
	if wait := time.Until(youngest.Add(settling)); wait > 0 {
		select {
		case <-time.After(min(wait, settling)):
		case <-ctx.Done():
			return errors.New("interrupted")
		}
	}
	return nil
}

// tasks returns what to send for all results.
func (s *liveSession) tasks(e *expect.Evaluator, results []expect.Result, left expect.Left) ([]liveTask, error) {
	var tasks []liveTask
	for i := range results {
		samples, err := e.Samples(&results[i], maxLiveSamples, left)
		if err != nil {
			return nil, err
		}
		for _, sample := range samples {
			switch {
			case s.namespace(sample.From.Instance) == "", sample.To.Instance != "" && s.namespace(sample.To.Instance) == "":
				left[skippedKind]++
			case len(tasks) == maxLiveProbes:
				left[skippedBound]++
			default:
				tasks = append(tasks, liveTask{test: i, sample: sample})
			}
		}
	}
	return tasks, nil
}

// namespace returns that of an instance, "" if it has none.
func (s *liveSession) namespace(instance string) string {
	in, err := s.record.instance(instance)
	if err != nil {
		return ""
	}
	return in.Namespace
}

// parties returns who has to do something for the tasks, by name: the instances
// that send, and those that listen.
func (s *liveSession) parties(tasks []liveTask) []*party {
	all := make(map[string]*party)
	of := func(instance string) *party {
		if all[instance] == nil {
			all[instance] = &party{instance: instance, namespace: s.namespace(instance), plan: partyPlan{Timeout: s.timeout}}
		}
		return all[instance]
	}
	for i := range tasks {
		t := &tasks[i]
		of(t.sample.From.Instance).add(t)
		if t.sample.To.Instance != "" && t.sample.Protocol.HasPorts() {
			of(t.sample.To.Instance).listen(t)
		}
	}
	sorted := make([]*party, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		sorted = append(sorted, all[name])
	}
	return sorted
}

// probe returns what the report says of a task that is done. It is not conclusive
// if silence may be that of a server which is not ours.
func (t *liveTask) probe(e *expect.Evaluator) (p liveProbe, conclusive bool, err error) {
	sample := &t.sample
	p = liveProbe{
		From: sample.From.Name(), To: sample.To.Name(), ToIP: sample.To.Address, Service: sample.Protocol.String(),
		SourcePort: t.result.SourcePort, Rules: policy.Deny.String(), Packets: t.result.Outcome, Error: t.result.Error,
	}
	if sample.Protocol.HasPorts() {
		p.Service = fmt.Sprintf("%s/%d", sample.Protocol, sample.Port)
	}
	expected, err := e.Answered(sample, t.result.SourcePort)
	if expected {
		p.Rules = policy.Allow.String()
	}
	answered := p.Packets != outcomeSilence && p.Packets != outcomeError
	p.Disagrees = answered != expected
	conclusive = answered || !expected || !t.taken || sample.Protocol != policy.UDP
	return p, conclusive, err
}
