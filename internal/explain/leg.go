package explain

import (
	"fmt"
	"net/netip"
	"slices"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	vswitch "vswitch/switch"
)

// Checks besides those of vswitch.
const (
	CheckSource   vswitch.Check = "source"   // nobody can have sent the packet
	CheckLoopback vswitch.Check = "loopback" // the packet never leaves its instance
)

// A Leg is the way of one packet, from the instance that sends it to the one that
// keeps it, instances that forward it in between included.
type Leg struct {
	From, To Endpoint
	Reply    bool         // it is the reply's
	Ports    policy.Ports // source ports of the client for which this is the way; valid iff the query's protocol has ports
	Path     []string     // instances, subnets and "router", in order
	Steps    []Step
	Verdict  policy.Verdict
	Reason   policy.Reason // valid iff Verdict is Deny and a gate of the switch has denied
	packet   wire.Packet
	relayed  int    // how many instances have forwarded it
	reached  string // the instance that keeps it; "" if none does
}

// A Step is one gate on the way of a packet.
type Step struct {
	vswitch.Step
	Object   string // what decided: security groups, a network ACL, a subnet, an instance
	Instance string // whose gate it is; "" for a subnet's
	Tracked  bool   // a connection let the packet pass, without a rule
	Code     string // AWS Reachability Analyzer's explanation code (SEM 7.3); "" unless denied, and where it has none
}

// maxRelays is how many instances may forward a packet in turn: a packet of ours
// lives for 64 hops (wire.Packet), and one that goes in a circle needs fewer to
// show it.
const maxRelays = 16

// An exchange is a request and what answers it, from one of the client's ports.
type exchange struct {
	request  Leg
	reply    Leg
	answered bool // reply is valid: the request arrives, and is one that is answered
}

// exchange judges the flow from one of the client's ports.
func (x *Explainer) exchange(q *Query, port uint16) (exchange, error) {
	x.stage.Forget()
	p := q.packet(port)
	ex := exchange{request: Leg{From: q.From, To: q.To}}
	if err := x.travel(&ex.request, q.From.Instance, p); err != nil {
		return ex, err
	}
	answer, ok := reply(p)
	if !ok || ex.request.reached == "" {
		return ex, nil
	}
	ex.reply, ex.answered = Leg{From: q.To, To: q.From, Reply: true}, true
	return ex, x.travel(&ex.reply, ex.request.reached, answer)
}

// add adds what an exchange has shown to e, for a range of the client's ports.
func (e *Explanation) add(ex exchange, ports policy.Ports) {
	if len(e.Request.Steps) == 0 {
		e.Request = ex.request
	}
	if !ex.answered {
		return
	}
	ex.reply.Ports = ports
	if n := len(e.Replies); n > 0 && slices.Equal(e.Replies[n-1].Steps, ex.reply.Steps) {
		e.Replies[n-1].Ports.To = ports.To // the ranges follow each other
		return
	}
	e.Replies = append(e.Replies, ex.reply)
}

// packet returns the first packet of the flow, from one of the client's ports.
func (q *Query) packet(port uint16) wire.Packet {
	return wire.Packet{
		Src: wire.AddrFrom(q.From.Address), Dst: wire.AddrFrom(q.To.Address), Protocol: uint8(q.Protocol),
		SrcPort: port, DstPort: q.Port, Seq: 1, Flags: wire.SYN, Type: q.Type, Code: q.Code, ID: 1,
	}
}

// reply returns the packet that answers another, and false if none does.
func reply(p wire.Packet) (wire.Packet, bool) {
	p.Src, p.Dst = p.Dst, p.Src
	p.SrcPort, p.DstPort = p.DstPort, p.SrcPort
	p.Seq, p.Ack, p.Flags = p.Ack, p.Seq+1, wire.SYN|wire.ACK
	answered := true
	if policy.Protocol(p.Protocol).HasTypes() {
		p.Type, answered = wire.ReplyType(p.Protocol, p.Type)
	}
	return p, answered
}

// travel follows a packet that an instance sends.
func (x *Explainer) travel(l *Leg, from string, p wire.Packet) error {
	dst := p.Dst.Netip()
	l.packet = p
	for {
		face, ok := x.stage.Interface(from)
		if !ok {
			return fmt.Errorf("no instance %q in VPC %s", from, x.config.VPC.Name)
		}
		p.SrcMAC, p.DstMAC = face.MAC, x.nextHop(&face, dst)
		trace, err := x.stage.Send(from, p.Bytes())
		if err != nil {
			return err
		}
		l.Path = append(l.Path, from, face.Subnet)
		l.Steps = slices.Grow(l.Steps, len(trace.Steps))
		for i := range trace.Steps {
			l.Steps = append(l.Steps, x.step(&p, from, trace, i))
		}
		l.Verdict, l.Reason = policy.Allow, trace.Reason()
		if l.Reason != policy.None {
			l.Verdict = policy.Deny
		}
		x.extend(l, &face, trace)
		switch {
		case trace.To == "":
			return nil
		case x.stage.Owner(dst) == trace.To:
			l.reached = trace.To
			return nil
		case l.relayed == maxRelays:
			l.Verdict, l.Reason = policy.Deny, policy.IPTTL
			l.Steps = append(l.Steps, Step{Object: face.Subnet, Step: vswitch.Step{
				Check: vswitch.CheckRoute, Where: x.config.Subnet(face.Subnet).RouteTable, Reason: policy.IPTTL, Words: "routes lead in a circle until the packet's time to live is over"}})
			return nil
		}
		l.relayed++
		from = trace.To
	}
}

// extend adds to the path what comes behind the sender's subnet, up to where the
// packet was to go if it was denied.
func (x *Explainer) extend(l *Leg, face *vswitch.Interface, trace *vswitch.Trace) {
	owner := x.stage.Owner(l.To.Address)
	next := trace.To
	if next == "" && trace.Reason() != policy.None {
		next = owner
	}
	in := x.config.Instance(next)
	switch {
	case in == nil && trace.Reason() == policy.None: // the router has answered
		l.Path = append(l.Path, "router")
	case in == nil:
		l.Path = append(l.Path, "router", l.To.Name())
	case in.Subnet != face.Subnet:
		l.Path = append(l.Path, "router", in.Subnet)
	}
	if in != nil && next == owner {
		l.Path = append(l.Path, next)
	}
}

// nextHop returns the MAC address that a host puts on a packet: that of a
// neighbour, or the router's.
func (x *Explainer) nextHop(face *vswitch.Interface, dst netip.Addr) wire.MAC {
	switch {
	case dst.IsMulticast() && dst.Is4(): // RFC 1112 section 6.4
		b := dst.As4()
		return wire.MAC{0x01, 0x00, 0x5e, b[1] & 0x7f, b[2], b[3]}
	case dst.IsMulticast(): // RFC 2464 section 7
		b := dst.As16()
		return wire.MAC{0x33, 0x33, b[12], b[13], b[14], b[15]}
	case dst == broadcast:
		return wire.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	}
	if owner := x.stage.Owner(dst); owner != "" {
		if neighbour, ok := x.stage.Interface(owner); ok && neighbour.Subnet == face.Subnet {
			return neighbour.MAC
		}
	}
	return face.RouterMAC
}

// broadcast is 255.255.255.255 (RFC 919).
var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
