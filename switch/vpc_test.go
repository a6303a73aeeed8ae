package vswitch_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
	"vswitch/port"
)

func itoa(n int) string { return strconv.Itoa(n) }

// A vpc is the fixture of SEM 9.0 on in-memory ports with a clock that stands
// still: subnets P, A, B and M, and in them p1, a1, a2, b1, b2 and m1, each in a
// group of its own that allows nothing in and everything out. All have IPv6 too.
type vpc struct {
	t      *testing.T
	where  string // file:line of the scenario
	config vswitch.Config
	sw     *vswitch.Switch
	ports  map[string]*port.Memory
	now    int64
	dirty  bool // config is not applied yet
	frames int
	seen   map[string]outcomes // what was observed so far, by sender
}

// members are the instances of the fixture.
var members = []struct{ name, subnet, address, address6 string }{
	{"p1", "P", "10.0.0.30", "2001:db8:a::30"},
	{"a1", "A", "10.0.1.10", "2001:db8:a:1::10"}, {"a2", "A", "10.0.1.11", "2001:db8:a:1::11"},
	{"b1", "B", "10.0.2.20", "2001:db8:a:2::20"}, {"b2", "B", "10.0.2.21", "2001:db8:a:2::21"},
	{"m1", "M", "10.0.3.5", "2001:db8:a:3::5"},
}

// fixture returns the configuration of SEM 9.0.
func fixture() vswitch.Config {
	c := vswitch.Config{VPC: vswitch.VPC{Name: "vpc-a", CIDR: netip.MustParsePrefix("10.0.0.0/16"), CIDR6: netip.MustParsePrefix("2001:db8:a::/56")}}
	for i, name := range []string{"P", "A", "B", "M"} {
		c.Subnets = append(c.Subnets, vswitch.Subnet{
			Name: name, CIDR: netip.MustParsePrefix(fmt.Sprintf("10.0.%d.0/24", i)), CIDR6: netip.MustParsePrefix(fmt.Sprintf("2001:db8:a:%d::/64", i)),
		})
	}
	for _, m := range members {
		c.SecurityGroups = append(c.SecurityGroups, vswitch.SecurityGroup{Name: "g-" + m.name})
		c.Instances = append(c.Instances, vswitch.Instance{
			Name: m.name, Subnet: m.subnet, SecurityGroups: []string{"g-" + m.name},
			IP: netip.MustParseAddr(m.address), IP6: netip.MustParseAddr(m.address6),
		})
	}
	return c
}

// allOffloads is what a TAP takes.
var allOffloads = port.Offloads{Checksum: true, TSO4: true, TSO6: true, USO: true}

// astray steers frames to any queue at all, the same bytes to the same one.
func astray(frame []byte) uint16 { return uint16(crc32.ChecksumIEEE(frame)) }

// newVPC starts the fixture with a flow cache of the given size, and one worker.
func newVPC(t *testing.T, cache int) *vpc { return newCrew(t, cache, 1, port.SteerFrame) }

// newCrew is newVPC with several workers, on devices that steer frames to them.
func newCrew(t *testing.T, cache, workers int, steer func(frame []byte) uint16) *vpc {
	t.Helper()
	v := &vpc{t: t, where: "fixture", config: fixture(), ports: map[string]*port.Memory{}, seen: map[string]outcomes{}, now: int64(time.Hour)}
	sw, err := vswitch.New(v.config, vswitch.WithWorkers(workers),
		vswitch.WithClock(func() int64 { return v.now }), vswitch.WithFlowCache(cache), vswitch.WithCapacity(1<<12))
	v.must(err)
	v.sw = sw
	t.Cleanup(func() {
		if err := sw.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, m := range members {
		d := port.NewMemory(64, allOffloads)
		v.ports[m.name] = d
		v.must(sw.Attach(m.name, d.Queues(workers, steer)...))
	}
	return v
}

func (v *vpc) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatalf("%s: %v", v.where, err)
	}
}

func (v *vpc) fatalf(format string, args ...any) {
	v.t.Helper()
	v.t.Fatalf(v.where+": "+format, args...)
}

// apply publishes the configuration if a line has changed it.
func (v *vpc) apply() {
	v.t.Helper()
	if v.dirty {
		v.must(v.sw.Apply(v.config, nil))
		v.dirty = false
	}
}

// refused executes a line whose configuration must be refused for a reason that
// holds text, and takes it back.
func (v *vpc) refused(text, line string) {
	v.t.Helper()
	v.apply()
	good := v.sw.Config()
	before := v.config
	before.SecurityGroups, before.NetworkACLs = slices.Clone(before.SecurityGroups), slices.Clone(before.NetworkACLs)
	before.Subnets, before.Instances = slices.Clone(before.Subnets), slices.Clone(before.Instances)
	before.RouteTables = slices.Clone(before.RouteTables)
	v.run(line)
	var invalid *vswitch.InvalidError
	if err := v.sw.Apply(v.config, nil); !errors.As(err, &invalid) || !strings.Contains(err.Error(), text) {
		v.fatalf("%q: got %v, want it refused for a reason with %q", line, err, text)
	}
	if now := v.sw.Config(); !reflect.DeepEqual(now, good) {
		v.fatalf("%q: the refused configuration left its traces", line)
	}
	v.config, v.dirty = before, false
}

// iface returns the interface of an instance, as the switch has it.
func (v *vpc) iface(name string) vswitch.Interface {
	c := v.sw.Config()
	return c.Interface(name)
}

// send sends one frame and checks what becomes of it: the delivery, byte for
// byte, and every counter of every port.
func (v *vpc) send(words []string, want string) {
	v.t.Helper()
	v.apply()
	v.frames++
	sender, next, source := v.sender(&words), v.mac(&words, "mac="), v.mac(&words, "smac=")
	tag, hasTag := v.option(&words, "vlan=")
	kind, hasKind := v.option(&words, "ethertype=")
	if sender == "" {
		sender = v.owner(words[0])
	}
	from := v.iface(sender)
	mac := from.RouterMAC
	if next != nil {
		mac = *next
	}
	text := v.text(words)
	own := from.MAC
	if source != nil {
		own = *source
	}
	b := wiretest.Bytes(v.t, own, mac, text)
	if hasKind {
		n, err := strconv.ParseUint(kind, 16, 16)
		v.must(err)
		binary.BigEndian.PutUint16(b[wire.VirtioSize+12:], uint16(n))
	}
	if hasTag {
		b = slices.Insert(b, wire.VirtioSize+12, 0x81, 0x00, 0x00, byte(v.number(tag)))
	}
	v.observed() // what the test has sent by other ways
	before, why := v.sw.Status(), v.trace(sender, b)
	if !v.ports[sender].Send(b) {
		v.fatalf("port of %s is full", sender)
	}
	if n := v.sw.Step(); n != 1 {
		v.fatalf("took in %d frames, want 1", n)
	}
	v.check(before, sender, want, text, b)
	v.checkObserved(sender, want, packetsOf(b), why)
}

// packetsOf returns how many packets a frame stands for.
func packetsOf(b []byte) uint64 {
	var f wire.Frame
	if f.Parse(bytes.Clone(b), 9001) == policy.None {
		return uint64(f.Segments)
	}
	return 1
}

// check compares all counters with what one frame of sender that met want must
// have changed, and no other.
func (v *vpc) check(before vswitch.Status, sender, want, text string, sent []byte) {
	v.t.Helper()
	packets, expect := packetsOf(sent), before.Ports
	at := func(name string) *vswitch.Counters {
		for i := range expect {
			if expect[i].Instance == name {
				return &expect[i].Counters
			}
		}
		v.fatalf("%q is neither an instance nor a reason", name)
		return nil
	}
	size := uint64(len(sent) - wire.VirtioSize)
	c := at(sender)
	c.RxFrames++
	c.RxPackets += packets
	c.RxBytes += size
	reason, isReason := reasonOf(want)
	switch {
	case isReason:
		c.Drops[reason]++
	case want == "answered":
		c.Answered++
		c.TxFrames++
		c.TxPackets++
		c.TxBytes += v.received(sender, nil)
	default:
		c.Delivered++
		to := at(want)
		to.TxFrames++
		to.TxPackets += packets
		to.TxBytes += v.received(want, sent)
	}
	after := v.sw.Status()
	for i := range expect {
		if got := after.Ports[i]; got.Counters != expect[i].Counters {
			v.fatalf("%s => %s: counters of %s\n got %v\nwant %v\n%s", text, want, got.Instance,
				describe(&got.Counters), describe(&expect[i].Counters), v.explain(sender, sent))
		}
	}
	for name, p := range v.ports {
		if n, ok := p.Receive(make([]byte, wire.MaxFrame)); ok {
			v.fatalf("%s => %s: %s also received %d bytes", text, want, name, n)
		}
	}
}

// received takes one frame off an instance's port, checks that it is what was
// sent but for the MACs, and returns its size.
func (v *vpc) received(name string, sent []byte) uint64 {
	v.t.Helper()
	b := make([]byte, wire.MaxFrame)
	n, ok := v.ports[name].Receive(b)
	if !ok {
		return 0 // the counters will tell
	}
	b = b[:n]
	const macs = 12
	if sent != nil && !bytes.Equal(b[wire.VirtioSize+macs:], sent[wire.VirtioSize+macs:]) {
		v.fatalf("%s received other bytes than were sent:\n got %x\nwant %x", name, b, sent)
	}
	allNodes := wire.MAC{0x33, 0x33, 0, 0, 0, 1} // of an advertisement to an asker without an address
	if to := wire.MAC(b[wire.VirtioSize:][:6]); to != v.iface(name).MAC && to != allNodes {
		v.fatalf("%s received a frame for another MAC: %x", name, b)
	}
	return uint64(n - wire.VirtioSize)
}

// explain returns the trace of a frame, for failure messages.
func (v *vpc) explain(sender string, sent []byte) string {
	trace, err := v.sw.Trace(sender, sent)
	if err != nil {
		return err.Error()
	}
	return trace.String()
}

// describe returns the counters that are not zero.
func describe(c *vswitch.Counters) string {
	s := fmt.Sprintf("rx %d/%d/%d tx %d/%d/%d delivered %d answered %d held %d", c.RxFrames, c.RxPackets, c.RxBytes,
		c.TxFrames, c.TxPackets, c.TxBytes, c.Delivered, c.Answered, c.Held)
	for r, n := range c.Drops {
		if n > 0 {
			s += fmt.Sprintf(" %s %d", policy.Reason(r), n)
		}
	}
	return s
}

func reasonOf(name string) (policy.Reason, bool) {
	for _, r := range policy.Reasons() {
		if r.String() == name {
			return r, true
		}
	}
	return policy.None, false
}

// option takes a "key=value" out of the words.
func (v *vpc) option(words *[]string, key string) (string, bool) {
	for i, w := range *words {
		if value, ok := strings.CutPrefix(w, key); ok {
			*words = slices.Delete(*words, i, i+1)
			return value, true
		}
	}
	return "", false
}

// sender takes a "from=NAME" out of the words.
func (v *vpc) sender(words *[]string) string {
	name, _ := v.option(words, "from=")
	return name
}

// mac takes a MAC address, or the name of the instance that has it, out of the
// words. It returns nil if there is none.
func (v *vpc) mac(words *[]string, key string) *wire.MAC {
	v.t.Helper()
	name, ok := v.option(words, key)
	if !ok {
		return nil
	}
	if _, isPort := v.ports[name]; isPort {
		mac := v.iface(name).MAC
		return &mac
	}
	b, err := net.ParseMAC(name)
	v.must(err)
	mac := wire.MAC(b)
	return &mac
}

// address replaces the name of an instance by its address: "b1:22" and "b1" by
// the IPv4 one, "b1.6:22" and "b1.6" by the IPv6 one, "b1.ll" by the link-local one
// and "b1.mac" by its MAC; "A.router" by the router's link-local one in subnet A.
func (v *vpc) address(word string) string {
	if key, value, ok := strings.Cut(word, "="); ok {
		return key + "=" + v.address(value)
	}
	name, ports, hasPort := strings.Cut(word, ":")
	host, family, _ := strings.Cut(name, ".")
	if family == "router" {
		for _, m := range members {
			if m.subnet == host {
				return bracket(wire.LinkLocal(v.iface(m.name).RouterMAC).String(), ports, hasPort)
			}
		}
	}
	for _, m := range members {
		switch {
		case m.name != host:
		case family == "6":
			return bracket(m.address6, ports, hasPort)
		case family == "ll":
			return bracket(wire.LinkLocal(v.iface(host).MAC).String(), ports, hasPort)
		case family == "mac":
			return v.iface(host).MAC.String()
		case hasPort:
			return m.address + ":" + ports
		default:
			return m.address
		}
	}
	return word
}

// text returns the packet that the words describe, addresses in place of names.
func (v *vpc) text(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = v.address(w)
	}
	return strings.Join(out, " ")
}

// bracket joins an IPv6 address and the ports, if there are some.
func bracket(address, ports string, hasPorts bool) string {
	if hasPorts {
		return "[" + address + "]:" + ports
	}
	return address
}

// owner returns the instance that the source of a packet names.
func (v *vpc) owner(word string) string {
	name, _, _ := strings.Cut(word, ":")
	name, _, _ = strings.Cut(name, ".")
	if _, ok := v.ports[name]; !ok {
		v.fatalf("%s is no instance: say from=NAME", word)
	}
	return name
}

// service parses "tcp 22", "udp", "icmp 8", "icmp 3/4", "all", "47".
func (v *vpc) service(words []string) (policy.Service, []string) {
	v.t.Helper()
	s := policy.Service{Protocol: protocolOf(words[0]), Ports: policy.AllPorts, Type: policy.AnyICMP, Code: policy.AnyICMP}
	rest := words[1:]
	if s.Protocol < policy.AllProtocols {
		v.fatalf("protocol %q", words[0])
	}
	if len(rest) < 2 || !s.Protocol.HasPorts() && !s.Protocol.HasTypes() {
		return zeroUnused(s), rest
	}
	spec := rest[0]
	rest = rest[1:]
	if s.Protocol.HasTypes() {
		typ, code, hasCode := strings.Cut(spec, "/")
		s.Type = int16(v.number(typ))
		if hasCode {
			s.Code = int16(v.number(code))
		}
		return zeroUnused(s), rest
	}
	from, to, isRange := strings.Cut(spec, "-")
	s.Ports = policy.Ports{From: uint16(v.number(from)), To: uint16(v.number(from))}
	if isRange {
		s.Ports.To = uint16(v.number(to))
	}
	return zeroUnused(s), rest
}

// zeroUnused clears the fields that are not valid for the protocol.
func zeroUnused(s policy.Service) policy.Service {
	if !s.Protocol.HasPorts() {
		s.Ports = policy.Ports{}
	}
	if !s.Protocol.HasTypes() {
		s.Type, s.Code = 0, 0
	}
	return s
}

func protocolOf(word string) policy.Protocol {
	for _, p := range []policy.Protocol{policy.AllProtocols, policy.TCP, policy.UDP, policy.ICMP, policy.ICMPv6} {
		if p.String() == word {
			return p
		}
	}
	n, err := strconv.Atoi(word)
	if err != nil {
		return policy.AllProtocols - 1
	}
	return policy.Protocol(n)
}

func (v *vpc) number(s string) int {
	v.t.Helper()
	n, err := strconv.Atoi(s)
	v.must(err)
	return n
}

// rule parses "tcp 22 10.0.1.0/24" or "tcp 22 sg-app".
func (v *vpc) rule(words []string) vswitch.SecurityGroupRule {
	v.t.Helper()
	s, rest := v.service(words)
	if len(rest) != 1 {
		v.fatalf("rule %q: want a service and a peer", words)
	}
	r := vswitch.SecurityGroupRule{Service: s}
	if name, isList := strings.CutPrefix(rest[0], "pl-"); isList {
		r.Peer = vswitch.Peer{Kind: vswitch.PeerPrefixList, Name: name}
	} else if prefix, err := netip.ParsePrefix(rest[0]); err == nil {
		r.Peer = vswitch.Peer{Kind: vswitch.PeerCIDR, Prefix: prefix}
	} else {
		r.Peer = vswitch.Peer{Kind: vswitch.PeerSecurityGroup, Name: rest[0]}
	}
	return r
}

// rules returns the list of a group that a line names: "b1" is b1's own group.
func (v *vpc) rules(group, direction string) *[]vswitch.SecurityGroupRule {
	v.t.Helper()
	v.dirty = true
	g := v.config.SecurityGroup("g-" + group)
	if g == nil {
		g = v.config.SecurityGroup(group)
	}
	if g == nil {
		v.fatalf("no group %s", group)
	}
	if direction == "in" {
		return &g.Ingress
	}
	return &g.Egress
}

func (v *vpc) authorize(group, direction string, words []string) {
	v.t.Helper()
	list := v.rules(group, direction)
	if words[0] == "none" {
		*list = []vswitch.SecurityGroupRule{}
		return
	}
	*list = append(slices.Clone(*list), v.rule(words))
}

func (v *vpc) revoke(group, direction string, words []string) {
	v.t.Helper()
	list, rule := v.rules(group, direction), v.rule(words)
	left := slices.DeleteFunc(slices.Clone(*list), func(r vswitch.SecurityGroupRule) bool {
		return r.Service == rule.Service && r.Peer == rule.Peer
	})
	if len(left) == len(*list) {
		v.fatalf("no such rule: %q", words)
	}
	*list = left
}

func (v *vpc) groups(instance string, names []string) {
	v.dirty = true
	for _, name := range names {
		if v.config.SecurityGroup(name) == nil && name != "default" {
			v.config.SecurityGroups = append(slices.Clone(v.config.SecurityGroups), vswitch.SecurityGroup{Name: name})
		}
	}
	v.config.Instance(instance).SecurityGroups = names
}

func (v *vpc) acl(subnet string, words []string) {
	v.t.Helper()
	v.dirty = true
	name := "acl-" + subnet
	if words[0] == "default" {
		v.config.Subnet(subnet).NetworkACL = ""
		return
	}
	if v.config.NetworkACL(name) == nil {
		v.config.NetworkACLs = append(slices.Clone(v.config.NetworkACLs), vswitch.NetworkACL{Name: name})
	}
	v.config.Subnet(subnet).NetworkACL = name
	if words[0] == "custom" {
		return
	}
	e := vswitch.NetworkACLEntry{Number: v.number(words[1])}
	if words[2] == "allow" {
		e.Action = policy.Allow
	}
	s, rest := v.service(words[3:])
	e.Service, e.CIDR = s, netip.MustParsePrefix(rest[0])
	acl := v.config.NetworkACL(name)
	list := &acl.Ingress
	if words[0] == "out" {
		list = &acl.Egress
	}
	*list = append(slices.Clone(*list), e)
}

func (v *vpc) route(subnet, destination, target string) {
	v.t.Helper()
	v.dirty = true
	name := "rtb-" + subnet
	v.config.Subnet(subnet).RouteTable = name
	at := slices.IndexFunc(v.config.RouteTables, func(t vswitch.RouteTable) bool { return t.Name == name })
	v.config.RouteTables = slices.Clone(v.config.RouteTables)
	if at < 0 {
		at = len(v.config.RouteTables)
		v.config.RouteTables = append(v.config.RouteTables, vswitch.RouteTable{Name: name})
	}
	r := vswitch.Route{Destination: netip.MustParsePrefix(destination), Target: vswitch.Target{Kind: vswitch.TargetInstance, Name: target}}
	if target == "blackhole" {
		r.Target = vswitch.Target{Kind: vswitch.TargetBlackhole}
	}
	t := &v.config.RouteTables[at]
	t.Routes = append(slices.Clone(t.Routes), r)
}

func (v *vpc) prefixes(list string, entries []string) {
	v.dirty = true
	l := vswitch.PrefixList{Name: list}
	for _, e := range entries {
		l.CIDRs = append(l.CIDRs, netip.MustParsePrefix(e))
	}
	v.config.PrefixLists = slices.DeleteFunc(slices.Clone(v.config.PrefixLists), func(old vswitch.PrefixList) bool { return old.Name == list })
	v.config.PrefixLists = append(v.config.PrefixLists, l)
}

func (v *vpc) timeouts(instance string, words []string) {
	v.t.Helper()
	v.dirty = true
	t := &v.config.Instance(instance).Conntrack
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		d, err := time.ParseDuration(value)
		v.must(err)
		switch key {
		case "tcp_established":
			t.TCPEstablished = d
		case "udp":
			t.UDP = d
		case "udp_stream":
			t.UDPStream = d
		default:
			v.fatalf("timeout %q", key)
		}
	}
}

func (v *vpc) properties(words []string) {
	v.t.Helper()
	v.dirty = true
	for _, w := range words {
		switch limit, isMax := strings.CutPrefix(w, "max="); {
		case isMax:
			v.config.Conntrack.Max = v.number(limit)
		case w == "strict", w == "loose":
			v.config.Conntrack.Strict = w == "strict"
		case w == "nitrov6":
			v.config.Conntrack.Profile = w
		default:
			v.fatalf("property %q", w)
		}
	}
}
