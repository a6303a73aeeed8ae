package flowlog

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
	"vswitch/port"
	vswitch "vswitch/switch"
)

// A world is a switch on in-memory ports under a clock that stands still, and a
// Collector that logs what it does to one file.
type world struct {
	*bench
	sw    *vswitch.Switch
	ports map[string]*port.Memory
	begin time.Time // of the first window
	file  string
}

// newWorld starts the switch with a flow log of that format, as edit changes it.
// All instances are in the default group, so that everything passes.
func newWorld(t *testing.T, format string, edit func(*vswitch.Config, *vswitch.FlowLog)) *world {
	t.Helper()
	fields, err := vswitch.ParseFlowLogFormat(format)
	if err != nil {
		t.Fatal(err)
	}
	spec := logTo(t, fields...)
	raw := *configuration(t)
	if edit != nil {
		edit(&raw, &spec)
	}
	raw.FlowLogs = []vswitch.FlowLog{spec}
	// The switch takes its epoch from the real clock when it is made; from then on
	// the time is ours, and the first window begins at a multiple of both intervals.
	w := &world{bench: &bench{t: t, now: time.Now()}, ports: map[string]*port.Memory{}, file: spec.File}
	epoch := w.now.Truncate(vswitch.LongInterval)
	w.sw, err = vswitch.New(raw, vswitch.WithClock(func() int64 { return int64(w.now.Sub(epoch)) }), vswitch.WithCapacity(1<<10))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.sw.Close(); err != nil {
			t.Error(err)
		}
	})
	full := w.sw.Config()
	w.config = &full
	w.begin = epoch.Add(vswitch.LongInterval)
	w.now = w.begin
	w.k, err = New(w.config, w.now, func(name string, err error) { t.Errorf("flow log %s: %v", name, err) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	w.attach()
	w.now = w.now.Add(time.Second)
	return w
}

// attach gives every instance without a device one.
func (w *world) attach() {
	w.t.Helper()
	for i := range w.config.Instances {
		name := w.config.Instances[i].Name
		if w.ports[name] != nil {
			continue
		}
		w.ports[name] = port.NewMemory(64, port.Offloads{Checksum: true, TSO4: true, TSO6: true, USO: true})
		if err := w.sw.Attach(name, w.ports[name]); err != nil {
			w.t.Fatal(err)
		}
	}
}

// apply makes a changed configuration the running one, as a reload does.
func (w *world) apply(edit func(*vswitch.Config)) {
	w.t.Helper()
	c := w.sw.Config()
	c.Instances = slices.Clone(c.Instances)
	c.SecurityGroups = slices.Clone(c.SecurityGroups)
	edit(&c)
	full, err := vswitch.Complete(c, w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.collect()
	if err := w.sw.Apply(full, nil); err != nil {
		w.t.Fatal(err)
	}
	w.change(&full)
	w.attach()
}

// send makes an instance send a frame to its router.
func (w *world) send(from, text string) {
	w.t.Helper()
	at := w.config.Interface(from)
	if !w.ports[from].Send(wiretest.Bytes(w.t, at.MAC, at.RouterMAC, text)) {
		w.t.Fatalf("the port of %s is full", from)
	}
	w.sw.Step()
	for _, p := range w.ports {
		for ok := true; ok; {
			_, ok = p.Receive(make([]byte, wire.MaxFrame))
		}
	}
}

// collect asks the switch what it has observed.
func (w *world) collect() {
	w.sw.Observations(func(some []vswitch.Observation) { w.k.Record(w.now, some) })
	w.k.Record(w.now, nil)
}

// turn lets the window pass.
func (w *world) turn() {
	w.collect()
	w.now = w.now.Truncate(vswitch.ShortInterval).Add(vswitch.ShortInterval)
	w.collect()
	w.now = w.now.Add(time.Second)
}

// logged ends the log and returns its lines in order of text, without those of
// NODATA.
func (w *world) logged() []string {
	w.t.Helper()
	w.collect()
	w.now = w.now.Truncate(vswitch.ShortInterval).Add(vswitch.ShortInterval)
	w.close()
	all := slices.DeleteFunc(lines(w.t, w.file), func(line string) bool { return strings.HasSuffix(line, "NODATA") })
	slices.Sort(all)
	return all
}

// expect compares what was logged.
func (w *world) expect(want ...string) {
	w.t.Helper()
	slices.Sort(want)
	if got := w.logged(); !slices.Equal(got, want) {
		w.t.Errorf("logged\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// instances is a format that names the flow in few words.
const instances = "srcaddr dstaddr flow-direction action packets tcp-flags log-status"

// session is a TCP connection from its first to its last segment.
func (w *world) session(middle func()) {
	w.t.Helper()
	w.send("a1", "10.0.1.10:40000 > 10.0.2.20:22 tcp S seq=100 win=64240")
	w.send("b1", "10.0.2.20:22 > 10.0.1.10:40000 tcp SA seq=500 ack=101 win=64240")
	w.send("a1", "10.0.1.10:40000 > 10.0.2.20:22 tcp A seq=101 ack=501 win=64240")
	w.send("b1", "10.0.2.20:22 > 10.0.1.10:40000 tcp A seq=501 ack=101 win=64240 len=10")
	middle()
	w.send("a1", "10.0.1.10:40000 > 10.0.2.20:22 tcp FA seq=101 ack=511 win=64240")
	w.send("b1", "10.0.2.20:22 > 10.0.1.10:40000 tcp FA seq=511 ack=102 win=64240")
	w.send("a1", "10.0.1.10:40000 > 10.0.2.20:22 tcp A seq=102 ack=512 win=64240")
}

// closed puts an instance into a group that lets nothing in.
func closed(instance string) func(*vswitch.Config) {
	return func(c *vswitch.Config) {
		if c.SecurityGroup("closed") == nil {
			c.SecurityGroups = append(c.SecurityGroups, vswitch.SecurityGroup{Name: "closed"})
		}
		c.Instance(instance).SecurityGroups = []string{"closed"}
	}
}

// open puts it back.
func open(instance string) func(*vswitch.Config) {
	return func(c *vswitch.Config) { c.Instance(instance).SecurityGroups = []string{"default"} }
}

func editing(edit func(*vswitch.Config)) func(*vswitch.Config, *vswitch.FlowLog) {
	return func(c *vswitch.Config, _ *vswitch.FlowLog) { edit(c) }
}

func TestFL01AnIdleInterface(t *testing.T) {
	w := newWorld(t, strings.Join(vswitch.DefaultFlowLogFormat(), " "), func(_ *vswitch.Config, l *vswitch.FlowLog) { l.Scope = []string{"a1"} })
	w.send("a2", "10.0.1.11 > 10.0.2.20 icmp echo-request id=1")
	w.logged()
	want(t, w.file, "2 123456789010 "+vswitch.ID("eni", "vpc-a", "a1")+" - - - - - - - "+decimal(w.begin.Unix())+" "+decimal(w.begin.Unix()+59)+" - NODATA")
}

func TestFL02ASession(t *testing.T) {
	w := newWorld(t, instances, nil)
	w.session(func() {})
	w.expect(
		"10.0.1.10 10.0.2.20 egress ACCEPT 4 3 OK", "10.0.1.10 10.0.2.20 ingress ACCEPT 4 3 OK",
		"10.0.2.20 10.0.1.10 egress ACCEPT 3 19 OK", "10.0.2.20 10.0.1.10 ingress ACCEPT 3 19 OK")
}

func TestFL03ASessionInTwoIntervals(t *testing.T) {
	w := newWorld(t, "interface-id srcport action tcp-flags log-status", func(_ *vswitch.Config, l *vswitch.FlowLog) { l.Scope = []string{"a1"} })
	w.session(w.turn)
	at := vswitch.ID("eni", "vpc-a", "a1")
	w.expect(at+" 40000 ACCEPT 2 OK", at+" 22 ACCEPT 18 OK", at+" 40000 ACCEPT 1 OK", at+" 22 ACCEPT 1 OK")
}

func TestFL04ARefusedPort(t *testing.T) {
	w := newWorld(t, instances, func(_ *vswitch.Config, l *vswitch.FlowLog) { l.Scope = []string{"b1"} })
	w.send("a1", "10.0.1.10:40000 > 10.0.2.20:23 tcp S seq=100 win=64240")
	w.send("b1", "10.0.2.20:23 > 10.0.1.10:40000 tcp RA seq=0 ack=101")
	w.expect("10.0.1.10 10.0.2.20 ingress ACCEPT 1 2 OK", "10.0.2.20 10.0.1.10 egress ACCEPT 1 4 OK")
}

func TestFL05ASecondaryAddress(t *testing.T) {
	w := newWorld(t, "srcaddr dstaddr pkt-srcaddr pkt-dstaddr flow-direction log-status", func(_ *vswitch.Config, l *vswitch.FlowLog) { l.Scope = []string{"a1"} })
	w.send("b1", "10.0.2.20:53 > 10.0.1.50:4000 udp len=4")
	w.send("a1", "10.0.1.50:4000 > 10.0.2.20:53 udp len=4")
	w.expect("10.0.2.20 10.0.1.10 10.0.2.20 10.0.1.50 ingress OK", "10.0.1.10 10.0.2.20 10.0.1.50 10.0.2.20 egress OK")
}

func TestFL06TheHighestVersion(t *testing.T) {
	w := newWorld(t, "${version} ${protocol} ${flow-direction} ${log-status}", func(_ *vswitch.Config, l *vswitch.FlowLog) { l.Scope = []string{"b1"} })
	w.send("a1", "10.0.1.10:4000 > 10.0.2.20:53 udp len=4")
	w.expect("5 17 ingress OK")
}

func TestFL07TwoColumns(t *testing.T) {
	w := newWorld(t, "${pkt-dstaddr} ${action}", nil)
	w.send("a1", "10.0.1.10:4000 > 10.0.2.20:53 udp len=4")
	w.expect("- -", "10.0.2.20 ACCEPT", "10.0.2.20 ACCEPT") // a2 was idle
}

func TestFL08PacketsAndBytes(t *testing.T) {
	w := newWorld(t, "srcport dstport protocol packets bytes log-status", func(_ *vswitch.Config, l *vswitch.FlowLog) { l.Scope = []string{"a1"} })
	for id := range 4 { // pings with identifiers of their own are one record, for ICMP has no ports
		w.send("a1", "10.0.1.10 > 10.0.2.20 icmp echo-request len=56 id="+decimal(int64(id)))
	}
	w.send("a1", "10.0.1.10 > 10.0.2.20 proto 47 len=100")
	w.send("a1", "10.0.1.10:40000 > 10.0.2.20:22 tcp S seq=100 win=64240 wscale=7")
	w.send("b1", "10.0.2.20:22 > 10.0.1.10:40000 tcp SA seq=500 ack=101 win=64240 wscale=7")
	// A superframe counts as the packets that it stands for: 50000 bytes in 35 segments.
	w.send("a1", "10.0.1.10:40000 > 10.0.2.20:22 tcp A seq=101 ack=501 win=64240 len=50000 gso=1448")
	syn := int64(20 + 24) // with the window scale option
	w.expect("0 0 1 4 336 OK", "0 0 47 1 120 OK", "40000 22 6 36 "+decimal(50000+35*40+syn)+" OK", "22 40000 6 1 "+decimal(syn)+" OK")
}

func TestFL09OnlyRejected(t *testing.T) {
	w := newWorld(t, instances, func(_ *vswitch.Config, l *vswitch.FlowLog) { l.Traffic = vswitch.TrafficReject })
	w.session(func() {})
	w.expect()
	for _, line := range lines(t, w.file) { // a1 and b1 had traffic, though none that was to be logged
		if line != "- - - - - - NODATA" {
			t.Errorf("got %q", line)
		}
	}
	if n := len(lines(t, w.file)); n != 1 {
		t.Errorf("%d lines, want that of a2 alone", n)
	}
}

func TestFL10AnInterfaceCreatedLater(t *testing.T) {
	w := newWorld(t, instances, nil)
	w.turn()
	w.apply(func(c *vswitch.Config) {
		c.Instances = append(c.Instances, vswitch.Instance{Name: "b2", Subnet: "B", IP: netip.MustParseAddr("10.0.2.21")})
	})
	w.send("b2", "10.0.2.21:4000 > 10.0.1.10:53 udp len=4")
	w.expect("10.0.2.21 10.0.1.10 egress ACCEPT 1 0 OK", "10.0.2.21 10.0.1.10 ingress ACCEPT 1 0 OK")
}

// Paths 8 and 4 need an internet gateway and a peering, which a VPC here has not.
func TestFL11TheTrafficPath(t *testing.T) {
	w := newWorld(t, "flow-direction action dstport traffic-path log-status", editing(closed("a2")))
	w.send("a1", "10.0.1.10:4000 > 10.0.2.20:1 udp len=4")
	w.send("a1", "10.0.1.10:4000 > 10.0.1.11:2 udp len=4")
	w.send("a1", "10.0.1.10:4000 > 192.0.2.1:3 udp len=4")
	w.expect("egress ACCEPT 1 1 OK", "ingress ACCEPT 1 - OK", "egress ACCEPT 2 1 OK", "ingress REJECT 2 - OK", "egress ACCEPT 3 - OK")
}

func TestFL12NoRejectReason(t *testing.T) {
	w := newWorld(t, "action reject-reason vswitch-verdict log-status", editing(closed("b1")))
	w.send("a1", "10.0.1.10:40000 > 10.0.2.20:22 tcp S seq=100")
	w.expect("ACCEPT - SG_INGRESS OK", "REJECT - SG_INGRESS OK")
}

func TestFL13ARuleChange(t *testing.T) {
	w := newWorld(t, instances, func(c *vswitch.Config, l *vswitch.FlowLog) {
		closed("b1")(c)
		l.Scope = []string{"b1"}
	})
	w.send("a1", "10.0.1.10:40000 > 10.0.2.20:22 tcp S seq=100")
	w.apply(open("b1"))
	w.send("a1", "10.0.1.10:40000 > 10.0.2.20:22 tcp S seq=100")
	w.expect("10.0.1.10 10.0.2.20 ingress ACCEPT 1 2 OK", "10.0.1.10 10.0.2.20 ingress REJECT 1 2 OK")
}

// SEM 6.7: the record is that of the interface that denied, and the other one has
// none; with the rule that did it, which AWS does not tell.
func TestSEM67Denials(t *testing.T) {
	w := newWorld(t, "flow-direction dstport action vswitch-verdict vswitch-rule log-status", func(c *vswitch.Config, _ *vswitch.FlowLog) {
		deny := vswitch.NetworkACLEntry{Number: 50, Action: policy.Deny, Service: policy.Service{Protocol: policy.UDP, Ports: policy.Ports{From: 1, To: 1}}, CIDR: netip.MustParsePrefix("0.0.0.0/0")}
		allow := vswitch.NetworkACLEntry{Number: 100, Action: policy.Allow, Service: policy.AllTraffic, CIDR: netip.MustParsePrefix("0.0.0.0/0")}
		in := deny
		in.Service.Ports = policy.Ports{From: 2, To: 2}
		c.NetworkACLs = append(c.NetworkACLs,
			vswitch.NetworkACL{Name: "out", Egress: []vswitch.NetworkACLEntry{deny, allow}, Ingress: []vswitch.NetworkACLEntry{allow}},
			vswitch.NetworkACL{Name: "in", Egress: []vswitch.NetworkACLEntry{allow}, Ingress: []vswitch.NetworkACLEntry{in, allow}})
		c.Subnet("A").NetworkACL, c.Subnet("B").NetworkACL = "out", "in"
		c.SecurityGroups = append(c.SecurityGroups, vswitch.SecurityGroup{Name: "mute", Egress: []vswitch.SecurityGroupRule{}})
		c.Instance("a2").SecurityGroups = []string{"mute"}
	})
	w.send("a1", "10.0.1.10:4000 > 10.0.2.20:1 udp len=4")
	w.send("a1", "10.0.1.10:4000 > 10.0.2.20:2 udp len=4")
	w.send("a2", "10.0.1.11:4000 > 10.0.2.20:3 udp len=4")
	rule := ""
	for _, r := range w.config.SecurityGroup("default").Egress {
		if r.Peer.Prefix.Addr().Is4() {
			rule = "sg:default/" + r.ID
		}
	}
	w.expect("egress 1 REJECT NACL_EGRESS nacl:out/50 OK",
		"egress 2 ACCEPT NACL_INGRESS "+rule+",nacl:out/100 OK", "ingress 2 REJECT NACL_INGRESS nacl:in/50 OK",
		"egress 3 REJECT SG_EGRESS - OK")
}

// SEM 6.6: what is not logged, and is no traffic for NODATA either.
func TestSEM66PlatformTraffic(t *testing.T) {
	w := newWorld(t, instances, nil)
	w.send("a1", "arp who-has 10.0.1.1 tell 10.0.1.10")
	w.send("a1", "10.0.1.10 > 10.0.1.1 icmp echo-request id=1")
	w.send("a1", "10.0.1.10:4000 > 10.0.0.2:53 udp len=4")
	w.send("a1", "10.0.1.10:68 > 255.255.255.255:67 udp len=4")
	w.send("a1", "10.0.1.10:4000 > 169.254.169.254:80 tcp S seq=1")
	w.send("a1", "10.0.1.10:4000 > 224.0.0.251:5353 udp len=4")
	w.send("a1", "10.0.1.99:4000 > 10.0.2.20:1 udp len=4") // spoofed
	w.expect()
	if n := len(lines(t, w.file)); n != 3 {
		t.Errorf("%d NODATA records, want 3: %q", n, lines(t, w.file))
	}
}

// SEM 10.6, decided: what routing drops was accepted by its sender, and what
// connection tracking refuses is rejected where that happened.
func TestSEM106WhatAWSDoesNotSay(t *testing.T) {
	w := newWorld(t, "flow-direction dstaddr action vswitch-verdict log-status", nil)
	w.send("a1", "10.0.1.10:4000 > 192.0.2.1:1 udp len=4")
	w.send("a1", "10.0.1.10:4000 > 10.0.2.99:1 udp len=4")
	if err := w.sw.Detach("b1"); err != nil {
		t.Fatal(err)
	}
	w.send("a1", "10.0.1.10:4000 > 10.0.2.20:1 udp len=4")
	w.expect("egress 192.0.2.1 ACCEPT NO_ROUTE OK", "egress 10.0.2.99 ACCEPT UNASSIGNED_ADDRESS OK",
		"egress 10.0.2.20 ACCEPT PORT_DOWN OK", "ingress 10.0.2.20 ACCEPT PORT_DOWN OK")
}
