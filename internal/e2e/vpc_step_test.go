package e2e

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"time"

	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

// option takes a "key=value" out of the words.
func option(w *[]string, key string) string {
	for i, s := range *w {
		if value, ok := strings.CutPrefix(s, key+"="); ok {
			*w = slices.Delete(slices.Clone(*w), i, i+1)
			return value
		}
	}
	return ""
}

// dials carries out "a1:900 > b1:22 tcp ...".
func (v *vpc) dials(w []string, want string) {
	v.t.Helper()
	from := option(&w, "from")
	if from == "" {
		from = v.owner(w[0])
	}
	local := v.address(w[0])
	if _, err := netip.ParseAddrPort(local); err != nil {
		local = netip.AddrPortFrom(v.parse(local), 0).String()
	}
	remote := v.address(w[2])
	if to, err := netip.ParseAddrPort(remote); err == nil && to.Addr().IsLinkLocalUnicast() {
		remote = netip.AddrPortFrom(to.Addr().WithZone("eth0"), to.Port()).String()
		here := netip.MustParseAddrPort(local)
		local = netip.AddrPortFrom(here.Addr().WithZone("eth0"), here.Port()).String()
	}
	for _, o := range w[4:] {
		if name, ok := strings.CutPrefix(o, "name="); ok {
			v.conns[name] = from
		}
	}
	request := append([]string{"dial", w[3], local, remote, v.patience(want)}, w[4:]...)
	v.outcome(v.ask(from, request...), want)
}

// pings carries out "a1 > b1 icmp ...".
func (v *vpc) pings(w []string, want string) {
	v.t.Helper()
	id, size, from := option(&w, "id"), option(&w, "len"), option(&w, "from")
	if id == "" {
		id = v.unique()
	}
	if size == "" {
		size = "56"
	}
	if from == "" {
		from = v.owner(w[0])
	}
	v.outcome(v.ask(from, "ping", v.address(w[0]), v.address(w[2]), id, size, v.patience(want)), want)
}

// finds carries out "a1 finds 10.0.1.11 => a2".
func (v *vpc) finds(instance, address, want string) {
	v.t.Helper()
	patience := "5s"
	wanted := want
	switch want {
	case "nobody":
		patience = "100ms"
	case "router":
		wanted = v.macs[v.member(instance).subnet].String()
	default:
		wanted = v.mac(want).String()
	}
	v.expect(v.ask(instance, "find", v.address(address), patience), wanted)
	if want != "nobody" {
		v.settle("", 0)
		return
	}
	// The reason depends on the family.
	reason := "ARP_UNANSWERED"
	if v.parse(v.address(address)).Is6() {
		reason = "ND_UNANSWERED"
	}
	v.settle(reason, 1)
}

// sends carries out "a1 sends FRAME => ...".
func (v *vpc) sends(instance string, w []string, want string) {
	v.t.Helper()
	src, dst := v.mac(instance), v.macs[v.member(instance).subnet]
	if s := option(&w, "src"); s != "" {
		src = v.mac(s)
	}
	if s := option(&w, "mac"); s != "" {
		dst = v.mac(s)
	}
	cut := option(&w, "cut")
	frames := [][]byte{wiretest.Bytes(v.t, src, dst, v.packet(w))}
	if cut != "" {
		frames = wiretest.Fragments(frames[0], v.number(cut))
	}
	for i, f := range frames {
		frames[i] = f[wire.VirtioSize:]
		v.expect(v.ask(instance, "send", hex.EncodeToString(frames[i])), "sent")
	}
	switch {
	case want == "held", want == "answered":
		v.settle("", 0)
	case v.agents[want] == nil:
		v.settle(want, len(frames))
	default:
		eventually(v.t, v.where+": arrives", func() bool {
			return !slices.ContainsFunc(frames, func(f []byte) bool { return !v.arrived(want, f) })
		})
		v.settle("", 0)
	}
	for name := range v.agents {
		for _, f := range frames {
			if name != want && v.arrived(name, f) {
				v.t.Errorf("%s: %s got it", v.where, name)
			}
		}
	}
}

// arrived reports whether an instance has got a frame: addressed to it, and
// otherwise to the byte what was sent.
func (v *vpc) arrived(instance string, frame []byte) bool {
	v.t.Helper()
	v.collect(instance)
	mac := v.macs[instance]
	return slices.ContainsFunc(v.heard[instance], func(f []byte) bool {
		return slices.Equal(f[:6], mac[:]) && slices.Equal(f[12:], frame[12:])
	})
}

// collect takes over what an instance has heard since the last time.
func (v *vpc) collect(instance string) {
	v.t.Helper()
	for digits := range strings.FieldsSeq(v.ask(instance, "heard")) {
		f, err := hex.DecodeString(digits)
		v.must(err)
		v.heard[instance] = append(v.heard[instance], f)
	}
}

// hears carries out "b1 hears FRAME": one of the frames that came to b1 begins,
// as a line of text, with the words.
func (v *vpc) hears(instance string, w []string) {
	v.t.Helper()
	for end := time.Now().Add(5 * time.Second); !v.match(instance, w); {
		if time.Now().After(end) {
			v.fatalf("has not come; what came is\n%s", strings.Join(v.texts(instance), "\n"))
		}
	}
}

// hearsNo carries out "b1 hears no FRAME". Whatever was sent before is through
// the switch, since the steps before have waited for it.
func (v *vpc) hearsNo(instance string, w []string) {
	v.t.Helper()
	if v.match(instance, w) {
		v.t.Errorf("%s: it has come", v.where)
	}
}

func (v *vpc) match(instance string, w []string) bool {
	v.t.Helper()
	v.collect(instance)
	begins := v.packet(w)
	return slices.ContainsFunc(v.texts(instance), func(text string) bool { return strings.HasPrefix(text, begins) })
}

// texts returns what an instance has heard, as lines of text.
func (v *vpc) texts(instance string) []string {
	var lines []string
	for _, f := range v.heard[instance] {
		lines = append(lines, wiretest.Format(append(make([]byte, wire.VirtioSize), f...)))
	}
	return lines
}
