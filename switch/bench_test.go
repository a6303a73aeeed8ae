package vswitch_test

import (
	"fmt"
	"net/netip"
	"testing"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
	"vswitch/port"
)

// A treadmill is a Device that gives the same frames again and again, as many as
// it is told, and takes whatever it gets: the switch's own cost, without a kernel.
type treadmill struct {
	frames [][]byte
	left   int
	taken  int
}

func (d *treadmill) Read(b []byte) (int, port.Status) {
	if d.left == 0 {
		return 0, port.Empty
	}
	d.left--
	return copy(b, d.frames[d.left%len(d.frames)]), port.OK
}

func (d *treadmill) Write([]byte) port.Status              { d.taken++; return port.OK }
func (d *treadmill) WriteParts([]byte, []byte) port.Status { d.taken++; return port.OK }
func (d *treadmill) FD() int                               { return -1 } // ppoll ignores it; the benchmarks use Step, which does not poll
func (d *treadmill) Offloads() port.Offloads               { return allOffloads }
func (d *treadmill) Close() error                          { return nil }

// benchSwitch returns a switch on treadmills, in which b1 takes tcp and udp from
// subnet A by the last of n rules (IPv6 by two more), and the ports of a1 and b1.
func benchSwitch(b *testing.B, rules, cache int) (*vswitch.Switch, map[string]*treadmill) {
	b.Helper()
	c := fixture()
	c.Quotas = vswitch.Quotas{RulesPerSecurityGroup: 20000, RulesPerInterface: 20000}
	g := c.SecurityGroup("g-b1")
	for i := range rules - 2 {
		g.Ingress = append(g.Ingress, vswitch.SecurityGroupRule{
			Service: policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: uint16(i + 1), To: uint16(i + 1)}},
			Peer:    vswitch.Peer{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(16 + i/256%16), byte(i), 0}), 24)},
		})
	}
	for _, p := range []policy.Protocol{policy.TCP, policy.UDP} {
		for _, block := range []string{"10.0.1.0/24", "2001:db8:a:1::/64"} {
			g.Ingress = append(g.Ingress, vswitch.SecurityGroupRule{
				Service: policy.Service{Protocol: p, Ports: policy.AllPorts}, Peer: vswitch.Peer{Prefix: netip.MustParsePrefix(block)},
			})
		}
	}
	sw, err := vswitch.New(c, vswitch.WithFlowCache(cache))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := sw.Close(); err != nil {
			b.Error(err)
		}
	})
	ports := map[string]*treadmill{}
	for _, m := range members {
		ports[m.name] = &treadmill{}
		if err := sw.Attach(m.name, ports[m.name]); err != nil {
			b.Fatal(err)
		}
	}
	return sw, ports
}

// guard puts a network ACL on subnets A and B, which denies tcp 23 and allows the
// rest, both ways.
func guard(c *vswitch.Config) {
	any4, any6 := netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")
	telnet := policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: 23, To: 23}}
	entries := []vswitch.NetworkACLEntry{
		{Number: 90, Service: telnet, CIDR: any4}, {Number: 91, Service: telnet, CIDR: any6},
		{Number: 100, Action: policy.Allow, Service: policy.AllTraffic, CIDR: any4},
		{Number: 101, Action: policy.Allow, Service: policy.AllTraffic, CIDR: any6},
	}
	c.NetworkACLs = append(c.NetworkACLs, vswitch.NetworkACL{Name: "acl-bench", Ingress: entries, Egress: entries})
	c.Subnet("A").NetworkACL, c.Subnet("B").NetworkACL = "acl-bench", "acl-bench"
}

// routed returns a frame that an instance sends to its router.
func routed(b *testing.B, sw *vswitch.Switch, from, text string) []byte {
	full := sw.Config()
	i := full.Interface(from)
	return wiretest.Bytes(b, i.MAC, i.RouterMAC, text)
}

// handshake opens a TCP connection from a1 to b1, which are behind the devices of
// these names.
func handshake(b *testing.B, sw *vswitch.Switch, a1, b1 *treadmill, source, destination string) {
	for _, step := range []struct {
		device     *treadmill
		from, text string
	}{
		{a1, "a1", source + " > " + destination + " tcp S seq=100 win=64240 wscale=7"},
		{b1, "b1", destination + " > " + source + " tcp SA seq=500 ack=101 win=64240 wscale=7"},
		{a1, "a1", source + " > " + destination + " tcp A seq=101 ack=501 win=512"},
	} {
		step.device.frames, step.device.left = [][]byte{routed(b, sw, step.from, step.text)}, 1
		sw.Step()
	}
}

// benchForward measures frames from a1 to b1 after an opening exchange.
func benchForward(b *testing.B, rules, cache int, frames ...string) {
	sw, ports := benchSwitch(b, rules, cache)
	a := ports["a1"]
	handshake(b, sw, a, ports["b1"], "10.0.1.10:40000", "10.0.2.20:22")
	a.frames = nil
	for _, text := range frames {
		a.frames = append(a.frames, routed(b, sw, "a1", text))
	}
	ports["b1"].taken = 0
	a.left = b.N
	b.ReportAllocs()
	b.ResetTimer()
	sw.Step()
	b.StopTimer()
	if ports["b1"].taken != b.N {
		b.Fatalf("%d of %d frames arrived", ports["b1"].taken, b.N)
	}
}

const (
	segment    = "10.0.1.10:40000 > 10.0.2.20:22 tcp A seq=101 ack=501 win=512 len=64 csum=partial"
	superframe = "10.0.1.10:40000 > 10.0.2.20:22 tcp A seq=101 ack=501 win=512 len=60000 gso=1448"
)

// BenchmarkHit is a frame of a flow that the cache knows.
func BenchmarkHit(b *testing.B) {
	b.Run("tcp", func(b *testing.B) { benchForward(b, 10, 1<<16, segment) })
	b.Run("superframe", func(b *testing.B) { benchForward(b, 10, 1<<16, superframe) })
	for _, n := range []int{1, 1000, 30000} {
		b.Run(fmt.Sprintf("udp/flows=%d", n), func(b *testing.B) { benchForward(b, 10, 1<<16, flows(n)...) })
	}
}

// BenchmarkRevisit is the slow path for a frame of a flow that is tracked: what a
// frame costs that the flow cache has forgotten.
func BenchmarkRevisit(b *testing.B) {
	for _, rules := range []int{10, 1000, 10000} {
		b.Run(fmt.Sprintf("rules=%d", rules), func(b *testing.B) { benchForward(b, rules, 0, segment) })
	}
}

// BenchmarkEnd is a frame of a1 that goes nowhere: the platform answers it, or the
// switch drops it.
func BenchmarkEnd(b *testing.B) {
	const udp = "10.0.1.10:4000 > 10.0.2.20:53 udp len=22"
	for _, c := range []struct{ name, text, want string }{
		{"arp", "arp who-has 10.0.1.11 tell 10.0.1.10", "answered"},
		{"neighbor discovery", "nd solicit 2001:db8:a:1::11 from 2001:db8:a:1::10 lladdr", "answered"},
		{"echo of the router", "10.0.1.10 > 10.0.1.1 icmp echo-request id=7", "answered"},
		{"network ACL", "10.0.1.10:4000 > 10.0.2.20:23 tcp S seq=1", "NACL_EGRESS"},
		{"no such host", "10.0.1.10:4000 > 10.0.2.99:53 udp len=22", "UNASSIGNED_ADDRESS"},
		{"spoofed", "10.0.1.99:4000 > 10.0.2.20:53 udp len=22", "SOURCE_ADDRESS"},
		{"malformed", udp + " ipcsum=bad", "IP_CHECKSUM"},
	} {
		b.Run(c.name, func(b *testing.B) {
			sw, ports := benchSwitch(b, 10, 1<<16)
			full := sw.Config()
			guard(&full)
			if err := sw.Apply(full, nil); err != nil {
				b.Fatal(err)
			}
			a := ports["a1"]
			a.frames, a.left = [][]byte{routed(b, sw, "a1", c.text)}, b.N
			before := sw.Status().Totals
			b.ReportAllocs()
			b.ResetTimer()
			sw.Step()
			b.StopTimer()
			after := sw.Status().Totals
			met := after.Answered - before.Answered
			if r, isReason := reasonOf(c.want); isReason {
				met = after.Drops[r] - before.Drops[r]
			}
			if met != uint64(b.N) {
				b.Fatalf("%s: %d of %d frames; counters %s", c.want, met, b.N, describe(&after))
			}
		})
	}
}

// BenchmarkPath is a frame's whole way in memory: into one port, through the
// switch, out of the other.
func BenchmarkPath(b *testing.B) {
	sw, _ := benchSwitch(b, 10, 1<<16)
	from, to := port.NewMemory(64, allOffloads), port.NewMemory(64, allOffloads)
	for name, d := range map[string]port.Device{"a1": from, "b1": to} {
		if err := sw.Attach(name, d); err != nil {
			b.Fatal(err)
		}
	}
	frame, out := routed(b, sw, "a1", flows(1)[0]), make([]byte, wire.MaxFrame)
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; {
		n := min(b.N-done, 64)
		for range n {
			from.Send(frame)
		}
		sw.Step()
		for range n {
			if _, ok := to.Receive(out); !ok {
				b.Fatal("a frame did not arrive")
			}
		}
		done += n
	}
}

// flows returns one UDP frame for each of n flows.
func flows(n int) []string {
	frames := make([]string, n)
	for i := range frames {
		frames[i] = fmt.Sprintf("10.0.1.10:%d > 10.0.2.20:%d udp len=22 csum=partial", 1024+i%60000, 1+i/60000)
	}
	return frames
}

// BenchmarkApply compiles and publishes a configuration.
func BenchmarkApply(b *testing.B) {
	for _, rules := range []int{10, 10000} {
		b.Run(fmt.Sprintf("rules=%d", rules), func(b *testing.B) {
			sw, _ := benchSwitch(b, rules, 1<<10)
			c := sw.Config()
			for b.Loop() {
				if err := sw.Apply(c, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

var _ port.Device = (*treadmill)(nil)
