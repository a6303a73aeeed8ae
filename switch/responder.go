package vswitch

import (
	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// ARP operations, RFC 826.
const arpRequest = 1

// Types of a ping: ICMP (RFC 792) and ICMPv6 (RFC 4443).
const (
	icmpEchoRequest   = 8
	icmpv6EchoRequest = 128
)

// answerARP answers a question about the router or about a live neighbour of the
// same subnet, and about nobody else (SEM 5.4). The answer goes to the asker
// alone, whatever the question's destination. What a guest claims to know is
// ignored: addresses move by configuration only (reliability row L3).
func (w *worker) answerARP(in *eni, f *wire.Frame) {
	sender := wire.AddrFrom4(f.ARP.SenderIP[:])
	if f.ARP.SenderMAC != in.mac || !in.owns(&sender) && f.ARP.SenderIP != [4]byte{} {
		w.drop(in, policy.ARPSpoofed)
		return
	}
	mac, ok := w.resolve(in, wire.AddrFrom4(f.ARP.TargetIP[:]))
	if f.ARP.Op != arpRequest || f.ARP.SenderIP == [4]byte{} || !ok {
		w.drop(in, policy.ARPUnanswered) // an address probe (RFC 5227) never finds a conflict
		return
	}
	w.reply(in, wire.AppendARPReply(w.answer[:0], f, mac))
}

// answerND answers neighbour and router solicitations as answerARP does questions
// about IPv4 addresses. Duplicate address detection never finds a conflict. What
// a guest advertises is ignored, and pretending to be somebody else, or a
// router, is an offence (reliability row L4).
func (w *worker) answerND(in *eni, f *wire.Frame) {
	own := f.Tuple.Src == wire.Addr{} || in.owns(&f.Tuple.Src)
	if !own || f.ND.HasLinkLayer && f.ND.LinkLayer != in.mac {
		w.drop(in, policy.NDSpoofed)
		return
	}
	switch f.ND.Type {
	case wire.RouterSolicitation:
		if !in.subnet.cidr6.IsValid() {
			break
		}
		w.reply(in, wire.AppendRouterAdvertisement(w.answer[:0], f, in.subnet.routerMAC, in.mtu, in.subnet.cidr6))
		return
	case wire.NeighborSolicitation:
		mac, ok := w.resolve(in, f.ND.Target)
		if !ok || f.Tuple.Src == (wire.Addr{}) {
			break
		}
		w.reply(in, wire.AppendNeighborAdvertisement(w.answer[:0], f, mac, mac == in.subnet.routerMAC))
		return
	case wire.NeighborAdvertisement:
		if in.owns(&f.ND.Target) {
			break
		}
		w.drop(in, policy.NDSpoofed)
		return
	default: // a router's advertisement or redirect
		w.drop(in, policy.NDSpoofed)
		return
	}
	w.drop(in, policy.NDUnanswered)
}

// resolve returns the MAC that the VPC tells in for an address of its subnet.
func (w *worker) resolve(in *eni, target wire.Addr) (wire.MAC, bool) {
	if in.subnet.isRouter(&target) {
		return in.subnet.routerMAC, true
	}
	if e := w.plane.owner(in, &target); e != nil && e != in && e.subnet == in.subnet && w.live(e) {
		return e.mac, true
	}
	return wire.MAC{}, false
}

// echoes reports whether f is a ping of the subnet's own router, which answers
// it outside of all rules (SEM 1.6, 5.4).
func (s *subnet) echoes(f *wire.Frame) bool {
	if f.Dst != s.routerMAC || !s.isRouter(&f.Tuple.Dst) || f.Code != 0 {
		return false
	}
	switch policy.Protocol(f.Tuple.Protocol) {
	case policy.ICMP:
		return f.Kind == wire.KindIPv4 && f.Type == icmpEchoRequest
	case policy.ICMPv6:
		return f.Kind == wire.KindIPv6 && f.Type == icmpv6EchoRequest
	}
	return false
}

// answerEcho answers a ping of the router, in place.
func (w *worker) answerEcho(in *eni, f *wire.Frame) {
	if !f.TransportChecksumOK() {
		w.drop(in, policy.TransportChecksum)
		return
	}
	wire.EchoReply(f)
	w.reply(in, f.Bytes)
}

// reply sends an answer of the platform to the interface that asked.
func (w *worker) reply(in *eni, b []byte) {
	if r := w.written(in, in.queues[w.index].Write(b), 1, b, nil); r != policy.None {
		w.drop(in, r)
		return
	}
	w.counters[in.handle].Answered++
	w.pending = false
}
