package vswitch_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"testing"
	"time"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
	"vswitch/internal/wire/wiretest"
	"vswitch/port"
)

// A crowd is a Device that sends one UDP frame after the other from a1 to b1, of
// flows that differ by their ports. It takes what it gets.
type crowd struct {
	treadmill
	template []byte
	flows    int // how many there are
	at       int // the flow that sent last
	step     int // from one flow to the next
	left     int
}

// crowdStep is a prime: flows come in an order that no prefetcher guesses.
const crowdStep = 479_001_599

func (d *crowd) Read(b []byte) (int, port.Status) {
	if d.left == 0 {
		return 0, port.Empty
	}
	d.left--
	if d.at += d.step; d.at >= d.flows {
		d.at %= d.flows
	}
	n := copy(b, d.template)
	number(b, d.at)
	return n, port.OK
}

// Where the ports lie in a frame: behind the virtio, Ethernet and IPv4 headers.
const (
	srcPortAt = 12 + 14 + 20
	dstPortAt = srcPortAt + 2
)

// number gives a frame the ports of flow i. The frame's checksum is for the
// receiver to make.
func number(b []byte, i int) {
	binary.BigEndian.PutUint16(b[srcPortAt:], uint16(1024+i%60000))
	binary.BigEndian.PutUint16(b[dstPortAt:], uint16(1024+i/60000))
}

// openSwitch returns a switch in which b1 takes UDP from subnet A by the last of
// n rules; the flows are tracked at both ends.
func openSwitch(tb testing.TB, rules int, opts ...vswitch.Option) *vswitch.Switch {
	tb.Helper()
	c := fixture()
	c.Quotas = vswitch.Quotas{RulesPerSecurityGroup: 20_000, RulesPerInterface: 20_000}
	g := c.SecurityGroup("g-b1")
	for i := range rules {
		block := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(16 + i>>8&15), byte(i), byte(i >> 4)}), 32)
		if i == rules-1 {
			block = netip.MustParsePrefix("10.0.1.0/24")
		}
		g.Ingress = append(g.Ingress, vswitch.SecurityGroupRule{
			Service: policy.Service{Protocol: policy.UDP, Ports: policy.Ports{From: uint16(i), To: 65535}}, Peer: vswitch.Peer{Prefix: block},
		})
	}
	g.Ingress[rules-1].Service.Ports = policy.AllPorts
	sw, err := vswitch.New(c, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := sw.Close(); err != nil {
			tb.Error(err)
		}
	})
	return sw
}

// newCrowd attaches a crowd of flows to a1 of a switch of openSwitch, and
// returns it and the device of b1.
func newCrowd(tb testing.TB, sw *vswitch.Switch, flows int) (*crowd, *treadmill) {
	tb.Helper()
	c := sw.Config()
	i := c.Interface("a1")
	d := &crowd{flows: flows, step: crowdStep % flows, template: wiretest.Bytes(tb, i.MAC, i.RouterMAC, "10.0.1.10:1 > 10.0.2.20:1 udp len=22 csum=partial")}
	to := &treadmill{}
	if err := sw.Attach("a1", d); err != nil {
		tb.Fatal(err)
	}
	if err := sw.Attach("b1", to); err != nil {
		tb.Fatal(err)
	}
	return d, to
}

// send sends n frames through the switch.
func (d *crowd) send(sw *vswitch.Switch, n int) {
	d.left = n
	sw.Step()
}

// benchClock returns a switch of openSwitch on a clock that the caller moves.
func benchClock(tb testing.TB) (*vswitch.Switch, *int64) {
	tb.Helper()
	now := int64(time.Hour)
	return openSwitch(tb, 10, vswitch.WithClock(func() int64 { return now })), &now
}

// residentBytes returns how much memory the process occupies, after a collection.
func residentBytes(tb testing.TB) int {
	tb.Helper()
	runtime.GC()
	rollup, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		tb.Fatal(err)
	}
	for line := range bytes.Lines(rollup) {
		if rest, ok := bytes.CutPrefix(line, []byte("Rss:")); ok {
			kb, err := strconv.Atoi(string(bytes.Fields(rest)[0]))
			if err != nil {
				tb.Fatal(err)
			}
			return kb << 10
		}
	}
	tb.Fatalf("no Rss in %q", rollup)
	return 0
}

// BenchmarkFlows is a frame of one of many live flows, each tracked at both ends,
// in an order that no cache of the processor likes.
func BenchmarkFlows(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000, 1_000_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			sw, _ := benchClock(b)
			d, to := newCrowd(b, sw, n)
			d.send(sw, 6*n) // the flows open, and the flow cache grows
			before := sw.Status()
			to.taken = 0
			b.ReportAllocs()
			b.ResetTimer()
			d.send(sw, b.N)
			b.StopTimer()
			after := sw.Status()
			if to.taken != b.N || after.Tracked != 2*n {
				b.Fatalf("%d of %d frames arrived, %d connections", to.taken, b.N, after.Tracked)
			}
			b.ReportMetric(100*float64(after.FlowCache.Hits-before.FlowCache.Hits)/float64(b.N), "%hits")
			b.ReportMetric(float64(after.FlowCache.Entries), "entries")
		})
	}
}

// BenchmarkInsert is the opening of a million flows, each with two connections:
// the time is that of all of them.
func BenchmarkInsert(b *testing.B) {
	const n = 1_000_000
	for _, rules := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("rules=%d", rules), func(b *testing.B) {
			base := residentBytes(b)
			var used int
			for b.Loop() {
				b.StopTimer()
				sw := openSwitch(b, rules)
				d, _ := newCrowd(b, sw, n)
				b.StartTimer()
				d.send(sw, n)
				b.StopTimer()
				if got := sw.Status().Tracked; got != 2*n {
					b.Fatalf("%d connections, want %d", got, 2*n)
				}
				d.send(sw, 4*n)
				sw.ForgetSums()
				used = residentBytes(b) - base
				if err := sw.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "flows/s")
			b.ReportMetric(float64(used)/(1<<20), "MiB")
		})
	}
}

// BenchmarkCollect is the garbage collector's pauses with a million live flows.
func BenchmarkCollect(b *testing.B) {
	const n = 1_000_000
	sw, _ := benchClock(b)
	d, _ := newCrowd(b, sw, n)
	d.send(sw, 4*n)
	sample := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(sample)
	before := sample[0].Value.Float64Histogram()
	counts := append([]uint64(nil), before.Counts...)
	for b.Loop() {
		d.send(sw, 1000)
		runtime.GC()
	}
	metrics.Read(sample)
	after := sample[0].Value.Float64Histogram()
	var total, seen uint64
	for i := range after.Counts {
		total += after.Counts[i] - counts[i]
	}
	for i := range after.Counts {
		if seen += after.Counts[i] - counts[i]; seen*1000 >= total*999 {
			b.ReportMetric(after.Buckets[i+1]*1e6, "us-p99.9")
			break
		}
	}
}

// BenchmarkDenied is a flood that the receiver's security group denies, beside
// flows=1 of BenchmarkHit: what an entry for a denied flow could save.
func BenchmarkDenied(b *testing.B) {
	for _, n := range []int{1, 1_000_000} {
		b.Run(fmt.Sprintf("flows=%d", n), func(b *testing.B) {
			sw, _ := benchClock(b)
			d, to := newCrowd(b, sw, n)
			c := sw.Config()
			g := c.SecurityGroup("g-b1")
			g.Ingress = g.Ingress[:0:0]
			if err := sw.Apply(c, nil); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			d.send(sw, b.N)
			b.StopTimer()
			if to.taken != 0 {
				b.Fatal("let in")
			}
		})
	}
}

// BenchmarkReload publishes a configuration that is the same, or differs in one
// rule of a group that nobody else refers to.
func BenchmarkReload(b *testing.B) {
	for _, changes := range []bool{false, true} {
		b.Run(fmt.Sprintf("changes=%v", changes), func(b *testing.B) {
			sw := openSwitch(b, 10_000)
			c := sw.Config()
			g, i := c.SecurityGroup("g-m1"), 0
			for b.Loop() {
				if changes {
					g.Ingress = append(g.Ingress[:0:0], vswitch.SecurityGroupRule{Service: policy.AllTraffic, Peer: vswitch.Peer{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 32)}})
					i++
				}
				if err := sw.Apply(c, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
