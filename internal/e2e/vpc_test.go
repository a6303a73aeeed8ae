package e2e

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

// A vpc is the fixture as a running lab, with an agent in each instance. The
// fields from t on belong to the scenario that runs.
type vpc struct {
	lab     *lab
	agents  map[string]*program
	macs    map[string]wire.MAC // of the instances, and of the routers by subnet
	serial  int                 // makes lines and identifiers that nothing else has
	fixture *fixture
	applied string // the text that the switch has

	t     *testing.T
	where string              // the line that runs
	dirty bool                // the fixture has changed since it was applied
	conns map[string]string   // the instances of named connections
	drops map[string]uint64   // as of the last step
	named []string            // the reasons that the scenario has named
	heard map[string][][]byte // by instance: all frames since the scenario began
}

// startVPC brings up the fixture and its agents.
func startVPC(t *testing.T) *vpc {
	t.Helper()
	v := &vpc{agents: map[string]*program{}, macs: map[string]wire.MAC{}, fixture: newFixture(), serial: 1000}
	v.lab = startLab(t, v.fixture.text("fixture"))
	v.applied = v.fixture.text(v.lab.name)
	for name := range v.fixture.instances {
		v.agents[name] = v.lab.program(name, "agent")
	}
	for name, m := range v.fixture.instances {
		agent := v.agents[name]
		agent.expect("ready")
		agent.say("links")
		var mac, gateway string
		if n, err := fmt.Sscan(agent.line(), &mac, &gateway); n != 2 {
			t.Fatalf("links of %s: %v", name, err)
		}
		v.macs[name] = parseMAC(t, mac)
		v.macs[m.subnet] = fromEUI64(t, gateway)
	}
	return v
}

func parseMAC(t *testing.T, s string) wire.MAC {
	t.Helper()
	mac, err := net.ParseMAC(s)
	if err != nil || len(mac) != 6 {
		t.Fatalf("MAC %q: %v", s, err)
	}
	return wire.MAC(mac)
}

// fromEUI64 returns the MAC address that a link-local address was made of
// (RFC 4291, appendix A).
func fromEUI64(t *testing.T, s string) wire.MAC {
	t.Helper()
	address, err := netip.ParseAddr(s)
	if err != nil || !address.IsLinkLocalUnicast() {
		t.Fatalf("the gateway is %s, want a link-local address", s)
	}
	a := address.As16()
	if a[11] != 0xff || a[12] != 0xfe {
		t.Fatalf("the gateway %s is no EUI-64", s)
	}
	return wire.MAC{a[8] ^ 2, a[9], a[10], a[13], a[14], a[15]}
}

// linkLocal is the inverse of fromEUI64.
func linkLocal(m wire.MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}

// begin makes the VPC the unchanged fixture again, for the scenario of t.
func (v *vpc) begin(t *testing.T) {
	t.Helper()
	v.t, v.where, v.dirty = t, "begin", true
	v.lab = v.lab.of(t)
	for name, agent := range v.agents {
		p := *agent
		p.t = t
		v.agents[name] = &p
		v.expect(v.ask(name, "reset"), "reset")
	}
	v.fixture = newFixture()
	v.conns, v.heard, v.named = map[string]string{}, map[string][][]byte{}, nil
}

// apply reloads the VPC if a line has changed it, and takes the counters of drops
// as they are then.
func (v *vpc) apply() {
	v.t.Helper()
	if !v.dirty {
		return
	}
	v.dirty = false
	if text := v.fixture.text(v.lab.name); text != v.applied {
		v.lab.write(text)
		v.lab.must("reload")
		v.applied = text
	}
	v.drops = v.lab.status().Drops
}

func (v *vpc) fatalf(format string, args ...any) {
	v.t.Helper()
	v.t.Fatalf(v.where+": "+format, args...)
}

func (v *vpc) must(err error) {
	v.t.Helper()
	if err != nil {
		v.fatalf("%v", err)
	}
}

func (v *vpc) expect(got, want string) {
	v.t.Helper()
	if got != want {
		v.fatalf("got %s, want %s", got, want)
	}
}

func (v *vpc) number(s string) int {
	v.t.Helper()
	n, err := strconv.Atoi(s)
	v.must(err)
	return n
}

// unique returns a number that no other step of the lab has had.
func (v *vpc) unique() string {
	v.serial++
	return strconv.Itoa(v.serial)
}

// ask has the agent of an instance do something, and returns its answer.
func (v *vpc) ask(instance string, words ...string) string {
	v.t.Helper()
	agent := v.agents[instance]
	if agent == nil {
		v.fatalf("%q is no instance", instance)
	}
	agent.say(strings.Join(words, " "))
	answer := agent.line()
	if strings.HasPrefix(answer, "error ") {
		v.fatalf("%s in %s: %s", words[0], instance, answer)
	}
	return answer
}

// patience returns how long an answer may take: long if one must come, and
// otherwise long enough for one that comes without delay. That the frame was
// dropped, the counters show.
func (v *vpc) patience(want string) string {
	if want == "answer" || want == "refused" {
		return "5s"
	}
	return "200ms"
}

// outcome compares what came of something with what the line wants: an answer, a
// refusal of an instance's kernel, or silence and the reason of it.
func (v *vpc) outcome(fate, want string) {
	v.t.Helper()
	switch want {
	case "answer":
		v.expect(fate, "connected")
		v.settle("", 0)
	case "refused", "too long":
		v.expect(fate, want)
		v.settle("", 0)
	default:
		v.expect(fate, "timeout")
		v.settle(want, 1)
	}
}

// settle waits until n frames have been dropped for reason, if one is given, and
// fails if any was dropped for a reason that the scenario has not named. The
// kernels' own reports of multicast groups (RFC 3810), which no VPC carries, may
// come at any time.
func (v *vpc) settle(reason string, n int) {
	v.t.Helper()
	before, after := v.drops, v.lab.status().Drops
	if reason != "" {
		v.named = append(v.named, reason)
		for end := time.Now().Add(5 * time.Second); after[reason] < before[reason]+uint64(n); after = v.lab.status().Drops {
			if time.Now().After(end) {
				v.fatalf("not dropped for %s, but %v before and %v after", reason, before, after)
			}
		}
	}
	for r, n := range after {
		if n != before[r] && r != "MULTICAST" && !slices.Contains(v.named, r) {
			v.t.Errorf("%s: %d dropped for %s too", v.where, n-before[r], r)
		}
	}
	v.drops = after
}

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

// mac returns the MAC address of an instance or of a subnet's router, or the one
// that s is.
func (v *vpc) mac(s string) wire.MAC {
	v.t.Helper()
	if mac, ok := v.macs[s]; ok {
		return mac
	}
	return parseMAC(v.t, s)
}

// packet returns the words of a frame with addresses in the place of names.
func (v *vpc) packet(w []string) string {
	words := make([]string, len(w))
	for i, s := range w {
		words[i] = v.address(s)
	}
	return strings.Join(words, " ")
}

// address replaces a name by its address: "b1:22", "b1.6", "b1.ll", "A.router".
// Any other word stays as it is.
func (v *vpc) address(word string) string {
	name, port, hasPort := strings.Cut(word, ":")
	name, kind, _ := strings.Cut(name, ".")
	var a netip.Addr
	if m := v.fixture.instances[name]; m != nil {
		a = map[string]netip.Addr{"": m.ip, "6": m.ip6, "ll": linkLocal(v.macs[name])}[kind]
	} else if n := slices.Index(subnets, name); n >= 0 {
		a = map[string]netip.Addr{
			"router":    netip.AddrFrom4([4]byte{10, 0, byte(n), 1}),
			"router.6":  netip.MustParseAddr(fmt.Sprintf("2001:db8:a:%d::1", n)),
			"router.ll": linkLocal(v.macs[name]),
		}[kind]
	}
	switch {
	case !a.IsValid():
		return word
	case hasPort:
		return netip.AddrPortFrom(a, uint16(v.number(port))).String()
	}
	return a.String()
}

// parse reads an address, with or without a port.
func (v *vpc) parse(s string) netip.Addr {
	v.t.Helper()
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr()
	}
	a, err := netip.ParseAddr(s)
	v.must(err)
	return a
}

// owner returns the instance that a name with or without a port stands for.
func (v *vpc) owner(word string) string {
	v.t.Helper()
	name, _, _ := strings.Cut(word, ":")
	name, _, _ = strings.Cut(name, ".")
	if v.fixture.instances[name] == nil {
		v.fatalf("no instance is called %s: say from=NAME", word)
	}
	return name
}
