package vswitch_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// A model is a second, obvious implementation of what a VPC does to frames
// (SEM 1 to 4 and 5.2 to 5.4): maps, and loops over the configuration as it was
// written. It has no compile step and no cache, and shares nothing with the
// switch but the words of package policy, the types of Config, and wire's
// parsing of frames. random_test.go holds the switch against it.
//
// One thing it does not restate: what a TCP segment means for the connection
// that it belongs to (model_tcp_test.go).
//
// Times are nanoseconds. The clock must stand on whole seconds, since the switch
// is free to let a connection live for a fraction of a second longer.
type model struct {
	config    vswitch.Config // as it was asked for: not completed
	now       int64
	capacity  int // connections of all interfaces together
	enis      map[string]*modelENI
	datagrams []*modelDatagram
	tcp       *tcpOracle
	emitted   []emission // what the last frame made ports send, in order
	remarks   []remark   // why, for the last frame
	decided   []string   // the rules that decided about it, in order
}

// An emission is a frame that must come out of a port.
type emission struct {
	port  string
	bytes []byte
}

// A verdict is what became of a frame: it was dropped, answered, held, or
// delivered to an instance.
type verdict struct {
	reason   policy.Reason // None unless it was dropped
	to       string        // "" unless it was delivered
	answered bool
	held     bool
}

// String returns the verdict as a scenario writes it.
func (v verdict) String() string {
	switch {
	case v.answered:
		return "answered"
	case v.held:
		return "held"
	case v.to != "":
		return v.to
	}
	return v.reason.String()
}

// A remark is a step of the model's reasoning, put into words when somebody asks.
type remark struct {
	format string
	args   []any
}

func (m *model) say(format string, args ...any) {
	m.remarks = append(m.remarks, remark{format, args})
}

// reasoning returns why the last frame met what it met.
func (m *model) reasoning() string {
	var b strings.Builder
	for _, r := range m.remarks {
		fmt.Fprintf(&b, r.format+"\n", r.args...)
	}
	return b.String()
}

// receive takes one frame from an instance and counts what becomes of it.
func (m *model) receive(name string, sent []byte) verdict {
	m.emitted, m.remarks, m.decided = m.emitted[:0], m.remarks[:0], m.decided[:0]
	in := m.enis[name]
	c := &in.counters
	c.RxFrames++
	c.RxBytes += uint64(len(sent) - wire.VirtioSize)
	var f wire.Frame
	if r := f.Parse(slices.Clone(sent), m.mtu()); r != policy.None {
		c.RxPackets++
		return m.drop(in, r)
	}
	c.RxPackets += uint64(f.Segments)
	if r := m.identify(in, &f); r != policy.None {
		return m.drop(in, r)
	}
	switch {
	case f.Kind == wire.KindARP:
		return m.arp(in, &f)
	case f.Fragment:
		return m.fragment(in, &f)
	case f.IsND():
		return m.discovery(in, &f)
	case m.pingsRouter(in, &f):
		return m.echo(in, &f)
	}
	out, r := m.judge(in, &f)
	if r != policy.None {
		return m.drop(in, r)
	}
	return m.transmit(in, out, &f)
}

func (m *model) drop(in *modelENI, r policy.Reason) verdict {
	in.counters.Drops[r]++
	return verdict{reason: r}
}

// A modelPacket is what rules look at.
type modelPacket struct {
	src, dst     netip.Addr
	protocol     policy.Protocol
	sport, dport uint16
	icmpType     uint8
	icmpCode     uint8
}

func packetOf(f *wire.Frame) modelPacket {
	return modelPacket{
		src: f.Tuple.Src.Netip(), dst: f.Tuple.Dst.Netip(), protocol: policy.Protocol(f.Tuple.Protocol),
		sport: f.Tuple.SrcPort, dport: f.Tuple.DstPort, icmpType: f.Type, icmpCode: f.Code,
	}
}

// judge takes a packet through the steps of SEM 4.1, which number the comments.
func (m *model) judge(in *modelENI, f *wire.Frame) (*modelENI, policy.Reason) {
	p := packetOf(f)
	// 0 and 1.
	if r := m.reachable(in, f); r != policy.None {
		m.say("0: %s cannot reach %s at %v: %s", in.name, p.dst, f.Dst, r)
		return nil, r
	}
	// The route is needed early: whether the packet leaves the subnet decides
	// about step 3, and whether it goes straight to its destination about group
	// references in step 2. It is only acted on in step 4.
	out, routing := m.nextHop(in, f)
	if out != nil {
		m.say("the next interface is that of %s", out.name)
	}
	// 2. A group stands for the addresses of its members, as long as nothing is
	// in between (SEM 1.4).
	var remote *modelENI
	if out != nil && out.has(p.dst) {
		remote = out
	}
	if r := m.securityGroups(in, policy.Egress, f, p.dst, remote); r != policy.None {
		return nil, r
	}
	// 3.
	if m.leaves(in, out, routing, p.dst) && !m.aclAllows(in.instance.Subnet, policy.Egress, p, p.dst) {
		return nil, policy.NACLEgress
	}
	// 4.
	if routing != policy.None {
		m.say("4: no way to %s: %s", p.dst, routing)
		return nil, routing
	}
	// 5.
	if out.instance.Subnet != in.instance.Subnet && !m.aclAllows(out.instance.Subnet, policy.Ingress, p, p.src) {
		return nil, policy.NACLIngress
	}
	// 6.
	if !out.instance.DisableSourceDestCheck && !out.has(p.dst) {
		m.say("6: %s has not the address %s", out.name, p.dst)
		return nil, policy.DestinationCheck
	}
	// 7.
	remote = nil
	if in.has(p.src) {
		remote = in
	}
	return out, m.securityGroups(out, policy.Ingress, f, p.src, remote)
}

// nextHop returns the interface that a packet goes to, or why there is none.
func (m *model) nextHop(in *modelENI, f *wire.Frame) (*modelENI, policy.Reason) {
	dst := f.Tuple.Dst.Netip()
	if f.Dst != in.routerMAC {
		return m.neighbour(in, f.Dst), policy.None
	}
	src := f.Tuple.Src.Netip()
	if dst.IsLinkLocalUnicast() || src.Is6() && src.IsLinkLocalUnicast() && !contains(m.subnet(in), dst) {
		return nil, policy.NoRoute // link-local packets stay on their link (RFC 4291 section 2.5.6)
	}
	target := vswitch.Target{Kind: vswitch.TargetLocal}
	if !contains(m.subnet(in), dst) { // inside a subnet there is nothing to route (SEM 4.2)
		var ok bool
		if target, ok = m.route(in, dst); !ok {
			return nil, policy.NoRoute
		}
	}
	switch target.Kind {
	case vswitch.TargetBlackhole:
		return nil, policy.Blackhole
	case vswitch.TargetInstance:
		if target.Name == in.name {
			return nil, policy.Hairpin
		}
		return m.enis[target.Name], policy.None
	}
	if owner := m.owner(in, dst); owner != nil {
		return owner, policy.None
	}
	return nil, policy.Unassigned
}

// leaves reports whether a packet crosses the edge of its sender's subnet, which
// is where the network ACL stands (SEM 3.2).
func (m *model) leaves(in, out *modelENI, routing policy.Reason, dst netip.Addr) bool {
	if out != nil {
		return out.instance.Subnet != in.instance.Subnet
	}
	return routing != policy.Hairpin && !contains(m.subnet(in), dst) && !dst.IsLinkLocalUnicast()
}
