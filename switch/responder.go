package vswitch

import (
	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// ARP operations, RFC 826.
const arpRequest = 1

// icmpEchoRequest is the ICMP type of a ping, RFC 792.
const icmpEchoRequest = 8

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

// resolve returns the MAC that the VPC tells in for an address of its subnet.
func (w *worker) resolve(in *eni, target wire.Addr) (wire.MAC, bool) {
	if target == in.subnet.router {
		return in.subnet.routerMAC, true
	}
	if e := w.plane.byAddress[target]; e != nil && e != in && e.subnet == in.subnet && w.live(e) {
		return e.mac, true
	}
	return wire.MAC{}, false
}

// echoes reports whether f is a ping of the subnet's own router, which answers
// it outside of all rules (SEM 1.6, 5.4).
func (s *subnet) echoes(f *wire.Frame) bool {
	return f.Dst == s.routerMAC && f.Tuple.Dst == s.router &&
		policy.Protocol(f.Tuple.Protocol) == policy.ICMP && f.Type == icmpEchoRequest && f.Code == 0
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
	if r := w.write(in, b, 1); r != policy.None {
		w.drop(in, r)
		return
	}
	w.counters[in.handle].Answered++
	w.pending = false
}
