package explain_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"vswitch/internal/explain"
	"vswitch/internal/explain/explaintest"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/port"
	vswitch "vswitch/switch"
)

// A lab is a switch in memory whose instances speak as kernels do: they answer
// what reaches them, and forward what is for others.
type lab struct {
	t     *testing.T
	sw    *vswitch.Switch
	ports map[string]*port.Memory
	now   int64
}

func newLab(t *testing.T, c vswitch.Config) *lab {
	t.Helper()
	l := &lab{t: t, ports: map[string]*port.Memory{}, now: int64(time.Hour)}
	var err error
	if l.sw, err = vswitch.New(c, vswitch.WithClock(func() int64 { return l.now }), vswitch.WithCapacity(1024), vswitch.WithFlowCache(64)); err != nil {
		t.Fatal(err)
	}
	for i := range c.Instances {
		name := c.Instances[i].Name
		l.ports[name] = port.NewMemory(4, port.Offloads{})
		if err := l.sw.Attach(name, l.ports[name]); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func (l *lab) close() {
	if err := l.sw.Close(); err != nil {
		l.t.Error(err)
	}
}

// carry sends a packet and lets instances forward it, until one keeps it. It
// returns that one, or "" and why the packet was dropped.
func (l *lab) carry(from string, p wire.Packet) (to string, reason policy.Reason) {
	l.t.Helper()
	cfg := l.sw.Config()
	for range 40 {
		face := cfg.Interface(from)
		p.SrcMAC, p.DstMAC = face.MAC, face.RouterMAC
		keeper := ""
		for i := range cfg.Instances {
			other := cfg.Interface(cfg.Instances[i].Name)
			for _, a := range other.Addresses {
				if a != p.Dst.Netip() {
					continue
				}
				keeper = other.Instance
				if other.Subnet == face.Subnet {
					p.DstMAC = other.MAC
				}
			}
		}
		to, reason = l.send(from, p.Bytes())
		if to == "" || to == keeper || to == from { // the last: an answer of the router's
			return to, reason
		}
		from = to
	}
	return "", policy.IPTTL
}

// send sends one frame and returns who gets it, or why nobody does.
func (l *lab) send(from string, b []byte) (to string, reason policy.Reason) {
	l.t.Helper()
	before := l.sw.Status().Totals
	if !l.ports[from].Send(b) || l.sw.Step() != 1 {
		l.t.Fatalf("the port of %s does not send", from)
	}
	after := l.sw.Status().Totals
	for _, r := range policy.Reasons() {
		if after.Drops[r] != before.Drops[r] {
			reason = r
		}
	}
	buf := make([]byte, wire.MaxFrame)
	for name, m := range l.ports {
		if _, ok := m.Receive(buf); ok {
			to = name
		}
	}
	return to, reason
}

// exchange sends the first packet of a flow and, if it arrives, its answer. Both
// verdicts are None if all passes.
func (l *lab) exchange(q *explain.Query, source uint16) (arrived bool, request, reply policy.Reason) {
	l.t.Helper()
	l.now += int64(10 * 24 * time.Hour) // everything before is forgotten
	p := wire.Packet{
		Src: wire.AddrFrom(q.From.Address), Dst: wire.AddrFrom(q.To.Address), Protocol: uint8(q.Protocol), SrcPort: source, DstPort: q.Port,
		Seq: 5, Flags: wire.SYN, Type: q.Type, Code: q.Code, ID: source,
	}
	to, request := l.carry(q.From.Instance, p)
	if to == "" || to == q.From.Instance {
		return to != "", request, policy.None
	}
	p.Src, p.Dst, p.SrcPort, p.DstPort, p.Seq, p.Ack, p.Flags = p.Dst, p.Src, p.DstPort, p.SrcPort, 9, 6, wire.SYN|wire.ACK
	if q.Protocol.HasTypes() {
		typ, ok := wire.ReplyType(p.Protocol, p.Type)
		if !ok {
			return true, request, policy.None
		}
		p.Type = typ
	}
	_, reply = l.carry(to, p)
	return true, request, reply
}

// What is explained is what real frames meet: from random source ports, in both
// directions, through instances that forward.
func TestExplanationEqualsExchange(t *testing.T) {
	met := map[string]int{}
	for n := range 150 {
		m := maker{rand.New(rand.NewPCG(uint64(n), 9))}
		text := m.vpc()
		l, x := newLab(t, explaintest.Parse(t, text)), explainer(t, text)
		for range 10 {
			query := m.query()
			e := ask(t, x, query)
			if e.Query.From.Instance == e.Query.To.Instance {
				continue // it never leaves the kernel
			}
			sources := []uint16{1024, 65535}
			for i := range e.Replies {
				sources = append(sources, e.Replies[i].Ports.From, e.Replies[i].Ports.To)
			}
			for range 5 {
				sources = append(sources, uint16(1024+m.IntN(64512)))
			}
			for _, source := range sources {
				arrived, request, reply := l.exchange(&e.Query, source)
				want := replyFrom(e, source)
				if arrived != (e.Request.Verdict == policy.Allow) || request != e.Request.Reason || reply != want {
					t.Fatalf("VPC %d: %s from port %d: really %s, %s; explained %s, %s: %+v\n%s", n, query, source, request, reply, e.Request.Reason, want, e, text)
				}
				met["request "+request.String()]++
				met["reply "+reply.String()]++
			}
			if e.Partial {
				met["partial"]++
			}
		}
		l.close()
	}
	t.Log(met)
	for _, what := range []string{
		"request NONE", "request SG_EGRESS", "request SG_INGRESS", "request NACL_EGRESS", "request NACL_INGRESS", "request NO_ROUTE", "request BLACKHOLE",
		"request UNASSIGNED_ADDRESS", "request ROUTER_SERVICE", "reply NONE", "reply NACL_EGRESS", "reply NACL_INGRESS", "partial",
	} {
		if met[what] == 0 {
			t.Errorf("%s never happened", what)
		}
	}
}

// replyFrom returns how the explanation says that the reply to a source port
// fares.
func replyFrom(e *explain.Explanation, source uint16) policy.Reason {
	for i := range e.Replies {
		if l := &e.Replies[i]; !e.Query.Protocol.HasPorts() || l.Ports.Contains(source) {
			return l.Reason
		}
	}
	return policy.None
}
