package vswitch_test

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/port"
)

// Changes that TestPlanEqualsReload compares, and flows in each VPC.
const (
	plannedChanges = 300
	flowsPerPlan   = 24
)

// What PlanFlows says of each flow is what then becomes of it: random flows in
// random VPCs, a random change, and the next packets of both ends.
func TestPlanEqualsReload(t *testing.T) {
	met := map[string]int{}
	for n := range plannedChanges {
		newRehearsedChange(t, uint64(n)).run(met)
		if t.Failed() {
			t.Fatalf("VPC %d", n)
		}
	}
	for _, what := range []string{
		"kept", "tracked", "cut SG_EGRESS", "cut SG_INGRESS", "cut NACL_EGRESS", "cut NACL_INGRESS", "cut removed",
		"cut SOURCE_ADDRESS", "cut UNASSIGNED_ADDRESS", "cut CONNTRACK_STRICT", "untracked cut", "untracked kept", "relayed", "revives",
	} {
		if met[what] == 0 {
			t.Errorf("in %d changes there was no %q", plannedChanges, what)
		}
	}
	t.Logf("%v", met)
}

// A rehearsedChange is one VPC, before and after a change. It is run twice: the
// next packets of the flows are sent by the one end in the first run, by the other
// in the second.
type rehearsedChange struct {
	t      *testing.T
	w      *world // for its random choices
	config vswitch.Config
	runs   [2]*planRun
	flows  []*plannedTalk
	now    int64
}

// A planRun is one of the switches.
type planRun struct {
	sw    *vswitch.Switch
	ports map[string]*port.Memory
	buf   []byte
}

// A plannedTalk is a flow that the test has begun.
type plannedTalk struct {
	ends [2]string      // who sends
	next [2]wire.Packet // what they send next
	pass [2]bool        // what they sent last has arrived
	is   wire.FiveTuple // of the first packet
}

func newRehearsedChange(t *testing.T, seed uint64) *rehearsedChange {
	c := &rehearsedChange{t: t, w: &world{r: rand.New(rand.NewPCG(seed, 2))}, now: int64(time.Hour)}
	c.config = c.w.randomVPC()
	c.config.Conntrack.Max = 0
	workers := pick(c.w, 1, 1, 3)
	for i := range c.runs {
		sw, err := vswitch.New(c.config, vswitch.WithClock(func() int64 { return c.now }), vswitch.WithFlowCache(1<<13), vswitch.WithCapacity(1<<12), vswitch.WithWorkers(workers))
		if err != nil {
			t.Fatalf("%v\n%s", err, printConfig(&c.config))
		}
		c.runs[i] = &planRun{sw: sw, ports: map[string]*port.Memory{}, buf: make([]byte, wire.MaxFrame)}
		for _, in := range c.config.Instances {
			d := port.NewMemory(4, allOffloads)
			c.runs[i].ports[in.Name] = d
			if err := sw.Attach(in.Name, d.Queues(workers, port.SteerFrame)...); err != nil {
				t.Fatal(err)
			}
		}
	}
	return c
}

// run begins flows, plans a change, makes it, and looks what became of the flows.
func (c *rehearsedChange) run(met map[string]int) {
	x := &exchanger{t: c.t, w: c.w, config: c.config}
	var err error
	if x.stage, err = c.runs[0].sw.Rehearse(); err != nil {
		c.t.Fatal(err)
	}
	defer c.close(x.stage)
	used := map[wire.FiveTuple]bool{}
	for range flowsPerPlan {
		from, p := x.request()
		t := tupleOf(c.t, &p)
		if used[t] || used[t.Reverse()] {
			continue
		}
		used[t] = true
		c.begin(from, p, t)
	}
	next := c.change()
	before := c.runs[0].sw.Status()
	plan, err := c.runs[0].sw.PlanFlows(next, 1000)
	if err != nil {
		c.t.Fatal(err)
	}
	if after := c.runs[0].sw.Status(); !reflect.DeepEqual(before, after) {
		c.t.Errorf("planning changes the switch: %s", cmp.Diff(before, after))
	}
	for _, r := range c.runs {
		devices := map[string][]port.Device{}
		for _, in := range next.Instances {
			if r.ports[in.Name] == nil {
				r.ports[in.Name] = port.NewMemory(4, allOffloads)
				devices[in.Name] = r.ports[in.Name].Queues(before.Workers, port.SteerFrame)
			}
		}
		if err := r.sw.Apply(next, devices); err != nil {
			c.t.Fatal(err)
		}
	}
	c.compare(&plan, met)
}

func (c *rehearsedChange) close(stage *vswitch.Rehearsal) {
	err := stage.Close()
	for _, r := range c.runs {
		err = errors.Join(err, r.sw.Close())
	}
	if err != nil {
		c.t.Error(err)
	}
}

// change returns another configuration, which is valid.
func (c *rehearsedChange) change() vswitch.Config {
	for {
		next := cloneConfig(&c.config)
		for range 1 + c.w.r.IntN(3) {
			c.w.edit(&next)
		}
		next.Conntrack.Max = 0
		if len(next.Validate()) == 0 {
			return next
		}
	}
}

// tupleOf returns the flow of a packet.
func tupleOf(t *testing.T, p *wire.Packet) wire.FiveTuple {
	t.Helper()
	var f wire.Frame
	if r := f.Parse(p.Bytes(), 1500); r != policy.None {
		return wire.FiveTuple{Src: p.Src, Dst: p.Dst, Protocol: p.Protocol}
	}
	return f.Tuple
}

// begin sends the first packets of a flow: a handshake, or a question and mostly
// an answer.
func (c *rehearsedChange) begin(from string, p wire.Packet, is wire.FiveTuple) {
	talk := &plannedTalk{is: is}
	talk.ends[0] = from
	if talk.ends[1], _ = c.both(from, p); talk.ends[1] == "" {
		c.flows = append(c.flows, talk)
		return
	}
	talk.pass[0] = true
	reply := p
	reply.Src, reply.Dst, reply.SrcPort, reply.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
	reply.Seq, reply.Ack, reply.Flags = 100, p.Seq+1, wire.SYN|wire.ACK
	answers := true
	if policy.Protocol(p.Protocol).HasTypes() {
		reply.Type, answers = wire.ReplyType(p.Protocol, p.Type)
	}
	if policy.Protocol(p.Protocol) == policy.UDP && c.w.one(4) {
		answers = false // of other protocols the switch does not notice it
	}
	if answers {
		end, _ := c.both(talk.ends[1], reply)
		talk.pass[1] = end != ""
	}
	p.Seq, p.Ack, p.Flags = p.Seq+1, 101, wire.ACK
	reply.Seq, reply.Flags = 101, wire.ACK
	talk.next = [2]wire.Packet{p, reply}
	if policy.Protocol(p.Protocol) == policy.TCP && talk.pass[1] {
		end, _ := c.both(from, p)
		talk.pass[0] = end != ""
	}
	c.flows = append(c.flows, talk)
}

// both sends a packet in both runs.
func (c *rehearsedChange) both(from string, p wire.Packet) (to string, r policy.Reason) {
	to, r, _ = c.runs[0].deliver(c.t, from, p)
	if again, _, _ := c.runs[1].deliver(c.t, from, p); again != to {
		c.t.Fatalf("one switch delivers to %q, the other to %q", to, again)
	}
	return to, r
}

// deliver sends a packet, which instances on its way forward. It returns who gets
// it, or why nobody does.
func (r *planRun) deliver(t *testing.T, from string, p wire.Packet) (to string, _ policy.Reason, relayed bool) {
	t.Helper()
	cfg := r.sw.Config()
	owner := func(a wire.Addr) string {
		for _, in := range cfg.Instances {
			for _, own := range cfg.Interface(in.Name).Addresses {
				if own == a.Netip() {
					return in.Name
				}
			}
		}
		return ""
	}
	target := owner(p.Dst)
	for range 8 {
		face := cfg.Interface(from)
		p.SrcMAC, p.DstMAC = face.MAC, face.RouterMAC
		if n := cfg.Interface(target); target != "" && target != from && n.Subnet == face.Subnet {
			p.DstMAC = n.MAC
		}
		before := r.sw.Status()
		if !r.ports[from].Send(p.Bytes()) || r.sw.Step() != 1 {
			t.Fatalf("the port of %s does not send", from)
		}
		after := r.sw.Status()
		for _, reason := range policy.Reasons() {
			if after.Totals.Drops[reason] != before.Totals.Drops[reason] {
				return "", reason, relayed
			}
		}
		to = ""
		for _, in := range cfg.Instances {
			if d := r.ports[in.Name]; d != nil {
				if _, ok := d.Receive(r.buf); ok && (in.Name != from || after.Totals.Answered == before.Totals.Answered) {
					to = in.Name
				}
			}
		}
		if to == "" || to == target || target == "" {
			return to, policy.None, relayed
		}
		from, relayed = to, true
	}
	return "", policy.Hairpin, relayed
}

// compare holds the plan against what becomes of the flows now.
func (c *rehearsedChange) compare(plan *vswitch.FlowPlan, met map[string]int) {
	cfg := c.runs[0].sw.Config()
	listed := map[wire.FiveTuple]*vswitch.PlannedFlow{}
	for i := range plan.Flows {
		listed[plan.Flows[i].Tuple] = &plan.Flows[i]
	}
	for _, talk := range c.flows {
		flow, turned := listed[talk.is], false
		if flow == nil {
			flow, turned = listed[talk.is.Reverse()], true
		}
		delete(listed, talk.is)
		delete(listed, talk.is.Reverse())
		if !talk.pass[0] && !talk.pass[1] || talk.ends[1] == "" || !converses(&talk.next[0]) {
			if flow != nil {
				c.t.Errorf("%s never passed, and is planned as %+v", talk.is, flow)
			}
			continue
		}
		if talk.next[0].Protocol == uint8(policy.TCP) && talk.pass != [2]bool{true, true} {
			continue // the handshake is not complete: whether it has begun is a matter of taste
		}
		if flow == nil {
			c.t.Errorf("%s is not in the plan (pass %v)", talk.is, talk.pass)
			continue
		}
		c.compareFlow(talk, flow, turned, &cfg, met)
	}
	for t := range listed {
		c.t.Errorf("%s is in the plan, and nobody has begun it", t)
	}
}

// converses reports whether a packet is one that is answered.
func converses(p *wire.Packet) bool {
	_, question := wire.ReplyType(p.Protocol, p.Type)
	return question || !policy.Protocol(p.Protocol).HasTypes()
}

func (c *rehearsedChange) compareFlow(talk *plannedTalk, flow *vswitch.PlannedFlow, turned bool, cfg *vswitch.Config, met map[string]int) {
	kind := flow.Fate.String()
	if flow.State == "" {
		met["untracked "+kind]++
	}
	if flow.Removed != "" {
		met["cut removed"]++
		if cfg.Instance(flow.Removed) != nil {
			c.t.Errorf("%s: instance %s is not removed", talk.is, flow.Removed)
		}
		return
	}
	reasons := map[policy.Reason]bool{}
	for d, r := range c.runs {
		if !talk.pass[d] {
			continue
		}
		at := d
		if turned {
			at = 1 - d
		}
		_, reason, relayed := r.deliver(c.t, talk.ends[d], talk.next[d])
		if relayed {
			met["relayed"]++
		}
		if cut := reason != policy.None; cut != flow.Cut[at] {
			c.t.Errorf("%s: packet from %s: %s, and the plan says %+v", talk.is, talk.ends[d], reason, flow)
			continue
		}
		if reason != policy.None {
			reasons[reason] = true
			c.compareRevival(talk, flow, r, d, met)
		}
	}
	if flow.Fate == vswitch.FlowCut {
		if kind += " " + flow.Reason.String(); !reasons[flow.Reason] {
			c.t.Errorf("%s: dropped as %v, and the plan says %+v", talk.is, reasons, flow)
		}
	}
	met[kind]++
}

// compareRevival lets the end that is not cut speak, and the other one again.
func (c *rehearsedChange) compareRevival(talk *plannedTalk, flow *vswitch.PlannedFlow, r *planRun, d int, met map[string]int) {
	if flow.Cut[0] == flow.Cut[1] || !talk.pass[1-d] {
		return
	}
	if _, reason, _ := r.deliver(c.t, talk.ends[1-d], talk.next[1-d]); reason != policy.None {
		c.t.Errorf("%s: packet from %s, after one that was dropped: %s", talk.is, talk.ends[1-d], reason)
	}
	_, reason, _ := r.deliver(c.t, talk.ends[d], talk.next[d])
	if (reason == policy.None) != flow.Revives {
		c.t.Errorf("%s: packet from %s, after one from the other end: %s, and the plan says %+v", talk.is, talk.ends[d], reason, flow)
	}
	if flow.Revives {
		met["revives"]++
	}
}
