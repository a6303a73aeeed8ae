package vswitch_test

import (
	"net/netip"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

// A talk is what two hosts say to each other, so that most random frames are
// plausible: answers to earlier ones, repetitions, and now and then something
// that does not fit.
type talk struct {
	protocol policy.Protocol
	ends     [2]talker // the first begins
	id       uint16    // ICMP
	question uint8     // ICMP: echo or timestamp
	last     *wiretest.Frame
	lastEnd  int
}

// A talker is one end of a talk.
type talker struct {
	name string
	addr netip.Addr
	port uint16

	// TCP. next is what it sends next, heard what it expects next from the other.
	next, heard uint32
	began       bool // it has sent a SYN
	met         bool // it has received one
	scale       int
}

// maxTalks is how many go on at once.
const maxTalks = 12

// talk continues a talk, or begins one.
func (w *world) talk() {
	switch n := len(w.talks); {
	case n == 0, n < maxTalks && w.one(6):
		w.talks = append(w.talks, w.newTalk())
	case n < maxTalks && w.one(20): // the one that was called calls back, between the same ports
		back := *w.talks[w.r.IntN(n)]
		back.ends[0], back.ends[1] = back.ends[1], back.ends[0]
		for i := range back.ends {
			back.ends[i].next, back.ends[i].began, back.ends[i].met = w.r.Uint32(), false, false
		}
		w.talks = append(w.talks, &back)
	}
	i := w.r.IntN(len(w.talks))
	t := w.talks[i]
	if w.one(60) {
		w.talks = append(w.talks[:i], w.talks[i+1:]...)
		return
	}
	end := w.r.IntN(2)
	f := w.say(t, end)
	w.finishFrame(f)
	v, ok := w.send(t.ends[end].name, w.address(t.ends[end].name, f))
	if !ok || v.reason != policy.None && w.one(15) { // they give up
		w.talks = append(w.talks[:i], w.talks[i+1:]...)
		return
	}
	t.last, t.lastEnd = f, end
	w.delivered(t, end, f, v)
}

// newTalk chooses two hosts and what they talk in. Ports are few, so that two
// talks may be about the same tuple, from either end.
func (w *world) newTalk() *talk {
	t := &talk{protocol: pick(w, policy.TCP, policy.TCP, policy.TCP, policy.TCP, policy.UDP, policy.UDP, policy.ICMP, policy.Protocol(47), policy.Protocol(50))}
	t.id = pick[uint16](w, 7, 8, 0x0800)
	t.question = pick[uint8](w, 8, 8, 8, 13)
	hosts := w.r.Perm(len(w.config.Instances))
	six := w.one(3)
	for i := range t.ends {
		e := w.model.enis[w.config.Instances[hosts[i]].Name]
		t.ends[i] = talker{name: e.name, addr: w.addressOf(e, six), port: pick(w, randomPorts...), scale: pick(w, -1, 0, 7), next: w.r.Uint32()}
		six = t.ends[0].addr.Is6()
	}
	if six != t.ends[1].addr.Is6() {
		t.ends[1].addr = elsewhere(w, six) // the other has no such address
	}
	t.ends[0].port = pick[uint16](w, 40000, 40000, 900, t.ends[0].port)
	if w.one(8) {
		t.ends[1].addr = elsewhere(w, six)
	}
	if w.model.enis[t.ends[0].name].instance.DisableSourceDestCheck && w.one(3) { // for others
		if w.one(4) { // of whatever family, also in a VPC without it
			six = !six
			t.ends[1].addr = elsewhere(w, six)
		}
		t.ends[0].addr = elsewhere(w, six)
	}
	if six && t.protocol == policy.ICMP && !w.one(6) {
		t.protocol, t.question = policy.ICMPv6, 128
	}
	if !six && t.protocol == 50 && w.one(6) {
		t.protocol = policy.ICMPv6 // over IPv4 it is a protocol like any other
	}
	return t
}

// addressOf returns one of an interface's addresses, of IPv6 if there is one and it
// is wanted.
func (w *world) addressOf(e *modelENI, six bool) netip.Addr {
	if six && e.local.IsValid() && w.one(4) {
		return e.local
	}
	var all []netip.Addr
	for _, a := range e.addresses {
		if a.Is6() == six {
			all = append(all, a)
		}
	}
	if len(all) == 0 {
		return e.addresses[0]
	}
	return pick(w, all...)
}

// elsewhere returns an address out of the VPC, or one that nobody has.
func elsewhere(w *world, six bool) netip.Addr {
	if six {
		return netip.MustParseAddr(pick(w, "2001:db8:b::12", "2001:db8:c::1", "2001:db8:a:1::99", "2001:db8:a:77::1", "fe80::99"))
	}
	return netip.MustParseAddr(pick(w, "203.0.113.12", "203.0.113.77", "198.51.100.1", "10.0.1.99", "10.0.77.1", "10.9.9.9"))
}

// say returns the next frame of one end of a talk.
func (w *world) say(t *talk, end int) *wiretest.Frame {
	if t.last != nil && t.lastEnd == end && w.one(12) {
		again := *t.last // a repetition
		return &again
	}
	from, to := &t.ends[end], &t.ends[1-end]
	f := &wiretest.Frame{
		Src: from.addr, Dst: to.addr, Protocol: uint8(t.protocol), TTL: 64, Window: 64240, Scale: -1, Quoted: 8,
		SrcPort: from.port, DstPort: to.port, Len: pick(w, 0, 0, 1, 10, 100),
	}
	switch t.protocol {
	case policy.TCP:
		f.Len = 0
		w.saySegment(t, end, f)
	case policy.UDP:
		if w.one(6) {
			f.Len, f.GSO = pick(w, 200, 300, 350), 100
		}
	case policy.ICMP, policy.ICMPv6:
		f.ID, f.Seq = t.id, w.r.Uint32()&0xffff
		f.Type = t.question
		if end == 1 && !w.one(6) {
			f.Type = map[uint8]uint8{8: 0, 13: 14, 128: 129}[t.question]
		}
		if w.one(12) {
			f.Code = 1
		}
	}
	if w.one(14) && t.last != nil {
		return w.complain(t, end)
	}
	return f
}

// complain returns an ICMP error about the last packet of a talk: mostly one that
// is true, else one about a packet that nobody sent (T4).
func (w *world) complain(t *talk, end int) *wiretest.Frame {
	quoted := *t.last
	quoted.Checksum, quoted.GSO = wiretest.Right, 0
	switch w.r.IntN(8) {
	case 0:
		quoted.SrcPort++
	case 1:
		quoted.Src, quoted.Dst = quoted.Dst, quoted.Src
	}
	f := &wiretest.Frame{
		Src: t.ends[end].addr, Dst: quoted.Src, Protocol: uint8(policy.ICMP), TTL: 64, Scale: -1,
		Type: pick[uint8](w, 3, 3, 11, 12, 5), Code: pick[uint8](w, 0, 4), Quote: &quoted, Quoted: pick(w, 8, 8, 8, 7, 28),
	}
	if f.Src.Is6() {
		f.Protocol, f.Type = uint8(policy.ICMPv6), pick[uint8](w, 1, 2, 3, 4, 5)
	}
	return f
}

// finishFrame gives some frames what any frame may have: a checksum that is wrong
// or left to the hardware, or padding.
func (w *world) finishFrame(f *wiretest.Frame) {
	hasPorts := policy.Protocol(f.Protocol).HasPorts()
	switch n := w.r.IntN(24); {
	case n == 0:
		f.Checksum = wiretest.Bad
	case n < 4 && hasPorts && f.Offset == 0 && !f.MF:
		f.Checksum = wiretest.Partial
	case n == 4 && f.GSO == 0:
		f.Pad = pick(w, 1, 18)
	case n == 5 && f.Src.Is6() && f.GSO == 0 && f.ARP == 0:
		f.Extensions = pick(w, []wiretest.Extension{{Number: 0, Size: 8}}, []wiretest.Extension{{Number: 60, Size: 16}},
			[]wiretest.Extension{{Number: 0, Size: 8}, {Number: 43, Size: 24, Type: 2}}, []wiretest.Extension{{Number: 43, Size: 24}})
	}
	if f.GSO != 0 {
		f.Checksum = wiretest.Partial
	}
}

// address gives a frame the MACs that its sender would: its own, and that of the
// neighbour or the router. It returns the bytes.
func (w *world) address(from string, f *wiretest.Frame) []byte {
	e := w.model.enis[from]
	if e == nil {
		return f.Bytes() // the instance is gone, and nothing will be sent
	}
	f.SrcMAC, f.DstMAC = e.mac, e.routerMAC
	if owner := w.model.owner(e, f.Dst); owner != nil && owner.instance.Subnet == e.instance.Subnet && !w.one(3) {
		f.DstMAC = owner.mac
	}
	if w.one(40) { // any interface's, its own included
		f.DstMAC = w.model.enis[pick(w, w.config.Instances...).Name].mac
	}
	return f.Bytes()
}

// A relay is a packet that an instance has got for somebody else, as an appliance
// does.
type relay struct {
	at    string
	frame []byte
}

// forward lets an appliance send on, unchanged, what it has got.
func (w *world) forward() {
	r := w.relay
	w.relay = nil
	e := w.model.enis[r.at]
	if e == nil {
		return
	}
	b := append([]byte(nil), r.frame...)
	copy(b[wire.VirtioSize:], e.routerMAC[:])
	copy(b[wire.VirtioSize+6:], e.mac[:])
	w.send(r.at, b)
}

// delivered notes what a frame that arrived has told its receiver.
func (w *world) delivered(t *talk, end int, f *wiretest.Frame, v verdict) {
	if v.to == "" {
		return
	}
	if to := w.model.enis[v.to]; !to.has(f.Dst) {
		w.relay = &relay{v.to, f.Bytes()}
		return
	}
	if t.protocol == policy.TCP && policy.Protocol(f.Protocol) == policy.TCP {
		hear(&t.ends[1-end], f)
	}
}
