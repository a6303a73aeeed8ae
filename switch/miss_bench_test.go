package vswitch_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
	"vswitch/port"
)

// Ports that newcomers come from and go to: both runs begin at the first.
const (
	firstPort = 1024
	portCount = 60_000
)

// A newcomers device sends UDP frames from a1 to b1, each of a flow of its own:
// the destination ports come in an order that scatters them, and each round of
// them has the next source port.
type newcomers struct {
	treadmill
	frame []byte
	count int // flows so far
	left  int
}

func (d *newcomers) Read(b []byte) (int, port.Status) {
	if d.left == 0 {
		return 0, port.Empty
	}
	d.left--
	n := copy(b, d.frame)
	binary.BigEndian.PutUint16(b[wire.VirtioSize+udpAt:], uint16(firstPort+d.count/portCount%portCount))
	binary.BigEndian.PutUint16(b[wire.VirtioSize+udpAt+2:], uint16(firstPort+d.count*7919%portCount)) // a prime
	d.count++
	return n, port.OK
}

// newcomerRules returns n rules, each for its share of the ports, in turn for the
// blocks of the given lengths around one host.
func newcomerRules(n int, host string, lengths []int) []vswitch.SecurityGroupRule {
	rules := make([]vswitch.SecurityGroupRule, n)
	share := portCount / n
	for i := range rules {
		from := uint16(firstPort + i*share)
		block := netip.PrefixFrom(netip.MustParseAddr(host), lengths[i%len(lengths)])
		rules[i] = vswitch.SecurityGroupRule{
			Service: policy.Service{Protocol: policy.UDP, Ports: policy.Ports{From: from, To: from + uint16(share-1)}},
			Peer:    vswitch.Peer{Prefix: block.Masked()},
		}
	}
	return rules
}

// BenchmarkMiss is the first frame of a flow, and the end of another one: it
// misses the flow cache, one of n rules of the sender's security group allows it
// and one of n of the receiver's, two network ACLs pass it, and both ends open a
// connection, in a place that an idle one has left. live flows last until then.
// The rules name one block, or four that lie in one another, which is more to look
// through.
func BenchmarkMiss(b *testing.B) {
	for _, c := range []struct {
		live    int
		lengths []int
	}{{1000, []int{24}}, {1000, []int{32, 28, 24, 16}}, {100_000, []int{24}}} {
		for _, rules := range []int{10, 1000, 10_000} {
			b.Run(fmt.Sprintf("live=%d/blocks=%d/rules=%d", c.live, len(c.lengths), rules), func(b *testing.B) {
				benchMiss(b, c.live, rules, c.lengths)
			})
		}
	}
}

func benchMiss(b *testing.B, live, rules int, lengths []int) {
	const (
		timeout = 30 * time.Second // of a UDP flow without an answer (SEM 2.3)
		turn    = 250              // frames between two sweeps
	)
	c := fixture()
	c.Quotas = vswitch.Quotas{RulesPerSecurityGroup: 20_000, RulesPerInterface: 20_000}
	c.SecurityGroup("g-a1").Egress = newcomerRules(rules, "10.0.2.20", lengths)
	c.SecurityGroup("g-b1").Ingress = newcomerRules(rules, "10.0.1.10", lengths)
	guard(&c)
	now := int64(time.Hour)
	d, to := &newcomers{}, &treadmill{}
	sw, err := vswitch.New(c,
		vswitch.WithClock(func() int64 { return now }), vswitch.WithDevices(map[string][]port.Device{"a1": {d}, "b1": {to}}))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := sw.Close(); err != nil {
			b.Error(err)
		}
	})
	full := sw.Config()
	from := full.Interface("a1")
	d.frame = wiretest.Bytes(b, from.MAC, from.RouterMAC, "10.0.1.10:1 > 10.0.2.20:1 udp len=22 csum=partial")
	send := func(n int) {
		for n > 0 {
			d.left = min(n, turn)
			n -= d.left
			now += int64(timeout) * int64(d.left) / int64(live)
			sw.Step()
		}
	}
	send(2 * live) // as many as live, and so many again that connections end
	before := sw.Status()
	to.taken = 0
	b.ReportAllocs()
	b.ResetTimer()
	send(b.N)
	b.StopTimer()
	after := sw.Status()
	if misses := after.FlowCache.Misses - before.FlowCache.Misses; to.taken != b.N || misses != uint64(b.N) {
		b.Fatalf("%d of %d frames arrived, %d missed the flow cache", to.taken, b.N, misses)
	}
	if least, most := 2*live, 2*live+live/2+4*turn; after.Tracked < least || after.Tracked > most {
		b.Fatalf("%d connections at both ends, want %d to %d", after.Tracked, least, most)
	}
}

var _ port.Device = (*newcomers)(nil)
