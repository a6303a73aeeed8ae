package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"vswitch/internal/wire"
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
		if n != before[r] && r != "MULTICAST_MEMBERSHIP" && !slices.Contains(v.named, r) {
			v.t.Errorf("%s: %d dropped for %s too", v.where, n-before[r], r)
		}
	}
	v.drops = after
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
