package vswitch_test

import (
	"fmt"
	"net/netip"
	"testing"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
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
// subnet A by the last of n rules, and the ports of a1 and b1.
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
		g.Ingress = append(g.Ingress, vswitch.SecurityGroupRule{
			Service: policy.Service{Protocol: p, Ports: policy.AllPorts}, Peer: vswitch.Peer{Prefix: netip.MustParsePrefix("10.0.1.0/24")},
		})
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

// benchForward measures frames from a1 to b1 after an opening exchange.
func benchForward(b *testing.B, rules, cache int, frames ...string) {
	sw, ports := benchSwitch(b, rules, cache)
	full := sw.Config()
	build := func(from, text string) []byte {
		i := full.Interface(from)
		return wiretest.Bytes(b, i.MAC, i.RouterMAC, text)
	}
	play := func(from, text string) {
		ports[from].frames, ports[from].left = [][]byte{build(from, text)}, 1
		sw.Step()
	}
	play("a1", "10.0.1.10:40000 > 10.0.2.20:22 tcp S seq=100 win=64240 wscale=7")
	play("b1", "10.0.2.20:22 > 10.0.1.10:40000 tcp SA seq=500 ack=101 win=64240 wscale=7")
	play("a1", "10.0.1.10:40000 > 10.0.2.20:22 tcp A seq=101 ack=501 win=512")
	a := ports["a1"]
	a.frames = nil
	for _, text := range frames {
		a.frames = append(a.frames, build("a1", text))
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

// BenchmarkMiss is the slow path for a frame of a tracked flow.
func BenchmarkMiss(b *testing.B) {
	for _, rules := range []int{10, 1000, 10000} {
		b.Run(fmt.Sprintf("rules=%d", rules), func(b *testing.B) { benchForward(b, rules, 0, segment) })
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
