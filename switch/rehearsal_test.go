package vswitch_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
	"vswitch/port"
)

// Exchanges that TestRehearsalEqualsExchange compares, in all and in one VPC.
const (
	exchanges       = 10_000
	exchangesPerVPC = 50
)

// A Rehearsal tells what becomes of real frames: of the first of a flow, of it
// again where an instance forwards it, and of its answer.
func TestRehearsalEqualsExchange(t *testing.T) {
	met := map[string]int{}
	for n := range exchanges / exchangesPerVPC {
		x := newExchanger(t, uint64(n))
		for range exchangesPerVPC {
			x.exchange(met)
			if t.Failed() {
				t.Fatalf("VPC %d:\n%s", n, printConfig(&x.config))
			}
		}
		x.close()
	}
	// What never happened has not been compared.
	for _, what := range []string{
		"request NONE", "reply NONE", "relayed NONE", "platform", "request SG_EGRESS", "request NACL_EGRESS", "request NO_ROUTE", "request BLACKHOLE",
		"request NACL_INGRESS", "request SG_INGRESS", "request DESTINATION_CHECK", "request UNASSIGNED_ADDRESS", "reply NACL_EGRESS", "reply NACL_INGRESS",
		"request PLATFORM_SERVICE", "request ROUTER_SERVICE", "request HAIRPIN", "tracked reply", "untracked reply",
	} {
		if met[what] == 0 {
			t.Errorf("in %d exchanges there was no %q", exchanges, what)
		}
	}
	t.Logf("%v", met)
}

// An exchanger sends the same frames to a switch and to a rehearsal of it.
type exchanger struct {
	t      *testing.T
	w      *world // for its random choices
	config vswitch.Config
	sw     *vswitch.Switch
	stage  *vswitch.Rehearsal
	ports  map[string]*port.Memory
	now    int64
	buf    []byte
}

func newExchanger(t *testing.T, seed uint64) *exchanger {
	x := &exchanger{t: t, w: &world{r: rand.New(rand.NewPCG(seed, 1))}, ports: map[string]*port.Memory{}, now: int64(time.Hour), buf: make([]byte, wire.MaxFrame)}
	x.config = x.w.randomVPC()
	x.config.Conntrack.Max = 0
	var err error
	if x.sw, err = vswitch.New(x.config, vswitch.WithClock(func() int64 { return x.now }), vswitch.WithFlowCache(64), vswitch.WithCapacity(1<<12)); err != nil {
		t.Fatalf("%v\n%s", err, printConfig(&x.config))
	}
	for _, in := range x.config.Instances {
		x.ports[in.Name] = port.NewMemory(4, allOffloads)
		if err := x.sw.Attach(in.Name, x.ports[in.Name]); err != nil {
			t.Fatal(err)
		}
	}
	if x.stage, err = x.sw.Rehearse(); err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *exchanger) close() {
	if err := x.stage.Close(); err != nil {
		x.t.Error(err)
	}
	if err := x.sw.Close(); err != nil {
		x.t.Error(err)
	}
}

// exchange begins a random flow, when all earlier ones are long forgotten.
func (x *exchanger) exchange(met map[string]int) {
	x.now += int64(10 * 24 * time.Hour)
	x.stage.Forget()
	from, request := x.request()
	to, reason := x.send(from, &request, met)
	met["request "+reason.String()]++
	if reason != policy.None || to == "" {
		return
	}
	dst := request.Dst.Netip()
	for range 3 {
		if x.stage.Owner(dst) == to {
			break
		}
		next, reason := x.send(to, &request, met)
		met["relayed "+reason.String()]++
		if next == "" {
			return
		}
		to = next
	}
	if x.stage.Owner(dst) != to {
		return
	}
	reply := request
	reply.Src, reply.Dst, reply.SrcPort, reply.DstPort = request.Dst, request.Src, request.DstPort, request.SrcPort
	reply.Seq, reply.Ack, reply.Flags = 100, request.Seq+1, wire.SYN|wire.ACK
	if typ, ok := wire.ReplyType(request.Protocol, request.Type); ok {
		reply.Type = typ
	}
	_, reason = x.send(to, &reply, met)
	met["reply "+reason.String()]++
}

// request returns the first packet of a flow, and who sends it.
func (x *exchanger) request() (from string, p wire.Packet) {
	w := x.w
	from = pick(w, x.config.Instances...).Name
	face, _ := x.stage.Interface(from)
	src := pick(w, face.Addresses...)
	dst := src
	for range 20 {
		other, _ := x.stage.Interface(pick(w, x.config.Instances...).Name)
		if dst = pick(w, other.Addresses...); dst.Is4() == src.Is4() && (other.Instance != from || w.one(20)) {
			break
		}
		dst = src
	}
	if w.one(4) {
		four := []string{"203.0.113.12", "192.0.2.1", "10.0.0.99", "10.0.1.1", "10.0.2.1", "10.0.0.2", "169.254.169.254", "10.0.1.200", "10.9.9.9", "224.0.0.5", "255.255.255.255"}
		six := []string{"2001:db8:b::1", "2001:db8:a::99", "2001:db8:a:1::1", "fd00:ec2::254", "ff02::5", "2001:db8:a:f::1"}
		if dst = netip.MustParseAddr(pick(w, four...)); src.Is6() {
			dst = netip.MustParseAddr(pick(w, six...))
		}
	}
	p = wire.Packet{
		Src: wire.AddrFrom(src), Dst: wire.AddrFrom(dst), Protocol: pick[uint8](w, 6, 6, 6, 17, 17, 47), ID: uint16(w.r.IntN(1 << 16)),
		SrcPort: uint16(1024 + w.r.IntN(64512)), DstPort: pick(w, randomPorts...), Seq: w.r.Uint32(), Flags: wire.SYN,
	}
	if w.one(2) {
		p.SrcPort = pick(w, randomPorts...) // an answer to a flow of the other end's, perhaps
	}
	if w.one(4) {
		p.Protocol, p.Type = 1, pick[uint8](w, 8, 8, 3, 13)
		if src.Is6() {
			p.Protocol, p.Type = 58, pick[uint8](w, 128, 128, 3)
		}
	}
	return from, p
}

// send sends a packet both ways, and returns what both agree on: who gets it, and
// why nobody does.
func (x *exchanger) send(from string, p *wire.Packet, met map[string]int) (to string, r policy.Reason) {
	x.t.Helper()
	face, _ := x.stage.Interface(from)
	p.SrcMAC, p.DstMAC = face.MAC, face.RouterMAC
	if owner, ok := x.stage.Interface(x.stage.Owner(p.Dst.Netip())); ok && owner.Subnet == face.Subnet {
		p.DstMAC = owner.MAC
	}
	b := p.Bytes()
	trace, err := x.stage.Send(from, b)
	if err != nil {
		x.t.Fatal(err)
	}
	before := x.counters(from)
	if !x.ports[from].Send(b) || x.sw.Step() != 1 {
		x.t.Fatalf("the port of %s does not send", from)
	}
	after := x.counters(from)
	for _, reason := range policy.Reasons() {
		if after.Drops[reason] != before.Drops[reason] {
			r = reason
		}
	}
	for _, in := range x.config.Instances {
		if _, ok := x.ports[in.Name].Receive(x.buf); ok {
			to = in.Name
		}
	}
	if after.Answered != before.Answered {
		to = ""
		met["platform"]++
	}
	if trace.Reason() != r || trace.To != to {
		x.t.Errorf("%s: rehearsed: %s to %q; really: %s to %q\n%s", wiretest.Format(b), trace.Reason(), trace.To, r, to, trace)
	}
	if s := trace.Steps[0]; p.Flags&wire.ACK != 0 && s.Check == vswitch.CheckSecurityGroup {
		if s.Rule == "" {
			met["tracked reply"]++
		} else {
			met["untracked reply"]++
		}
	}
	return to, r
}

func (x *exchanger) counters(instance string) vswitch.Counters {
	st := x.sw.Status()
	for i := range st.Ports {
		if st.Ports[i].Instance == instance {
			return st.Ports[i].Counters
		}
	}
	x.t.Fatalf("no port of %s", instance)
	return vswitch.Counters{}
}

// A Rehearsal has no effect on what it rehearses, nor on the next one after Forget.
func TestRehearsalHasNoEffect(t *testing.T) {
	x := newExchanger(t, 7)
	defer x.close()
	for i := range 1000 {
		from, p := x.request()
		face, _ := x.stage.Interface(from)
		p.SrcMAC, p.DstMAC = face.MAC, face.RouterMAC
		first, err := x.stage.Send(from, p.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		x.stage.Forget()
		again, err := x.stage.Send(from, p.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if first.String() != again.String() {
			t.Fatalf("frame %d, after Forget:\n%s, at first:\n%s", i, again, first)
		}
		x.stage.Forget()
	}
	if st := x.sw.Status(); st.Tracked != 0 || st.Totals != (vswitch.Counters{}) {
		t.Errorf("the switch has %d connections and counted %s", st.Tracked, describe(&st.Totals))
	}
	if _, err := x.stage.Send("nobody", nil); err == nil {
		t.Error("nobody can send")
	}
}

// A Rehearsal keeps its plane, and none begins after Close.
func TestRehearsalKeepsItsPlane(t *testing.T) {
	x := newExchanger(t, 3)
	if err := x.sw.Apply(x.config, nil); err != nil {
		t.Fatal(err)
	}
	later, err := x.sw.Rehearse()
	if err != nil {
		t.Fatal(err)
	}
	if a, b := x.stage.Generation(), later.Generation(); b != a+1 {
		t.Errorf("generations %d and, after Apply, %d", a, b)
	}
	if err := later.Close(); err != nil {
		t.Error(err)
	}
	x.close()
	if _, err := x.sw.Rehearse(); err != vswitch.ErrClosed {
		t.Errorf("after Close: %v", err)
	}
}
