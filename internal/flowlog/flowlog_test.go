package flowlog

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	vswitch "vswitch/switch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is the beginning of a window of either interval.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// configuration returns a part of SEM 9.0: a1 with a secondary address and a2 in
// subnet A, b1 in subnet B, completed.
func configuration(t testing.TB, logs ...vswitch.FlowLog) *vswitch.Config {
	t.Helper()
	c := vswitch.Config{
		VPC: vswitch.VPC{
			Name: "vpc-a", CIDR: netip.MustParsePrefix("10.0.0.0/16"), CIDR6: netip.MustParsePrefix("2001:db8:a::/56"),
			Account: "123456789010", Region: "us-east-1",
		},
		Subnets: []vswitch.Subnet{
			{Name: "A", CIDR: netip.MustParsePrefix("10.0.1.0/24"), CIDR6: netip.MustParsePrefix("2001:db8:a:1::/64"), AZ: "use1-az1"},
			{Name: "B", CIDR: netip.MustParsePrefix("10.0.2.0/24"), CIDR6: netip.MustParsePrefix("2001:db8:a:2::/64")},
		},
		Instances: []vswitch.Instance{
			{Name: "a1", Subnet: "A", IP: netip.MustParseAddr("10.0.1.10"), IP6: netip.MustParseAddr("2001:db8:a:1::10"), ExtraIPs: []netip.Addr{netip.MustParseAddr("10.0.1.50")}},
			{Name: "a2", Subnet: "A", IP: netip.MustParseAddr("10.0.1.11")},
			{Name: "b1", Subnet: "B", IP: netip.MustParseAddr("10.0.2.20"), IP6: netip.MustParseAddr("2001:db8:a:2::20")},
		},
		FlowLogs: logs,
	}
	return completed(t, c)
}

func completed(t testing.TB, c vswitch.Config) *vswitch.Config {
	t.Helper()
	full, err := vswitch.Complete(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &full
}

// A bench is a Collector under a clock that stands still, and the configuration
// that it has.
type bench struct {
	t      *testing.T
	k      *Collector
	config *vswitch.Config
	now    time.Time
}

func newBench(t *testing.T, c *vswitch.Config) *bench {
	t.Helper()
	b := &bench{t: t, config: c, now: noon}
	k, err := New(c, b.now, func(name string, err error) { t.Errorf("flow log %s: %v", name, err) })
	if err != nil {
		t.Fatal(err)
	}
	b.k = k
	t.Cleanup(b.close)
	return b
}

// close closes the Collector: all that it has recorded is in its files.
func (b *bench) close() {
	b.t.Helper()
	if err := b.k.Close(context.Background(), b.now); err != nil {
		b.t.Error(err)
	}
}

// pass lets time pass, and collects.
func (b *bench) pass(d time.Duration, observed ...vswitch.Observation) {
	b.now = b.now.Add(d)
	b.k.Record(b.now, observed)
}

// change makes c the configuration.
func (b *bench) change(c *vswitch.Config) {
	b.t.Helper()
	change, err := b.k.Prepare(c)
	if err == nil {
		err = change.Commit(context.Background(), b.now)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.config = c
}

// seen returns an Observation of n packets of 60 bytes between two instances, or
// from one to nobody: "10.0.1.10:40000 > 10.0.2.20:22 tcp", in the last second.
func (b *bench) seen(from, to, flow string, n uint64, r policy.Reason) vswitch.Observation {
	b.t.Helper()
	return vswitch.Observation{
		From: from, To: to, Tuple: tuple(b.t, flow), Reason: r, Frames: n, Packets: n, Bytes: 60 * n, First: b.now, Last: b.now,
	}
}

func tuple(t testing.TB, flow string) wire.FiveTuple {
	t.Helper()
	words := strings.Fields(flow)
	if len(words) != 4 || words[1] != ">" {
		t.Fatalf("%q: want SOURCE > DESTINATION PROTOCOL", flow)
	}
	end := func(s string) (wire.Addr, uint16) {
		if p, err := netip.ParseAddrPort(s); err == nil {
			return wire.AddrFrom(p.Addr()), p.Port()
		}
		return wire.AddrFrom(netip.MustParseAddr(s)), 0
	}
	u := wire.FiveTuple{Protocol: uint8(map[string]policy.Protocol{"tcp": policy.TCP, "udp": policy.UDP, "icmp": policy.ICMP, "icmpv6": policy.ICMPv6, "47": 47}[words[3]])}
	u.Src, u.SrcPort = end(words[0])
	u.Dst, u.DstPort = end(words[2])
	return u
}

// logTo returns a flow log of the whole VPC in a file of its own.
func logTo(t testing.TB, format ...string) vswitch.FlowLog {
	return vswitch.FlowLog{Name: "all", File: filepath.Join(t.TempDir(), "flow.log"), Format: format}
}

// lines returns the lines of a file; none if there is no file.
func lines(t testing.TB, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(text) == 0 {
		return nil
	}
	whole, ok := strings.CutSuffix(string(text), "\n")
	if !ok {
		t.Errorf("%s ends in the middle of a line: %q", path, text)
	}
	return strings.Split(whole, "\n")
}

// want compares the lines of a file.
func want(t testing.TB, path string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, lines(t, path)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", filepath.Base(path), diff)
	}
}

func TestWhoSaysWhat(t *testing.T) {
	for _, c := range []struct {
		reason          policy.Reason
		arrived         bool
		egress, ingress Action
	}{
		{policy.None, true, Accept, Accept},
		{policy.None, false, None, None}, // SEM 6.6: the platform took it
		{policy.SGEgress, false, Reject, None},
		{policy.NACLEgress, false, Reject, None},
		{policy.NACLEgress, true, Reject, None}, // the receiver was known, but not asked
		{policy.NACLIngress, true, Accept, Reject},
		{policy.SGIngress, true, Accept, Reject},
		{policy.EgressAllowance, false, Reject, None},
		{policy.IngressAllowance, true, Accept, Reject},
		{policy.ConntrackClosed, false, Reject, None},
		{policy.ConntrackClosed, true, Accept, Reject},
		{policy.ConntrackWindow, true, Accept, Reject},
		{policy.ConntrackState, false, Reject, None},
		{policy.ConntrackStrict, true, Accept, Reject},
		{policy.NoRoute, false, Accept, None},
		{policy.Blackhole, false, Accept, None},
		{policy.Unassigned, false, Accept, None},
		{policy.DestinationCheck, true, Accept, None},
		{policy.PortDown, true, Accept, Accept},
		{policy.PortRefused, true, Accept, Accept},
		{policy.SourceAddress, false, None, None},
		{policy.Multicast, false, None, None},
		{policy.PlatformService, false, None, None},
		{policy.RouterService, false, None, None},
		{policy.TransportChecksum, true, None, None},
		{policy.FragmentTimeout, false, None, None},
		{policy.Panic, false, None, None},
	} {
		o := vswitch.Observation{Reason: c.reason, Tuple: tuple(t, "10.0.1.10:40000 > 10.0.2.20:22 tcp")}
		if c.arrived {
			o.To = "b1"
		}
		if egress, ingress := actions(&o); egress != c.egress || ingress != c.ingress {
			t.Errorf("%s, arrived %v: got %s and %s, want %s and %s", c.reason, c.arrived, egress, ingress, c.egress, c.ingress)
		}
	}
	if egress, ingress := actions(&vswitch.Observation{To: "b1"}); egress != None || ingress != None {
		t.Errorf("a frame without a tuple is logged: %s, %s", egress, ingress)
	}
}

// Windows end at whole multiples of the interval; what was taken in before the end
// and collected after it belongs to the window that is over.
func TestWindows(t *testing.T) {
	for _, interval := range []time.Duration{vswitch.ShortInterval, vswitch.LongInterval} {
		spec := logTo(t, "packets", "start", "end", "log-status")
		spec.Scope, spec.Interval = []string{"b1"}, interval
		b := newBench(t, configuration(t, spec))
		const flow = "10.0.1.10:40000 > 10.0.2.20:22 tcp"
		b.pass(10 * time.Second)
		b.pass(time.Second, b.seen("a1", "b1", flow, 1, policy.None))
		b.now = noon.Add(interval - time.Millisecond)
		before := b.seen("a1", "b1", flow, 2, policy.None)
		b.now = noon.Add(interval + time.Millisecond)
		after := b.seen("a1", "b1", flow, 4, policy.None)
		b.pass(time.Millisecond, before, after)
		b.now = noon.Add(2 * interval)
		b.pass(0)
		b.pass(interval)
		b.close()
		at := func(d time.Duration) string { return decimal(noon.Add(d).Unix()) }
		want(t, spec.File,
			"3 "+at(10*time.Second)+" "+at(interval-time.Millisecond)+" OK",
			"4 "+at(interval)+" "+at(interval)+" OK",
			"- "+at(2*interval)+" "+at(3*interval-time.Second)+" NODATA")
	}
}

// What is older than its window, because it was collected late, does not make the
// record begin before the window.
func TestLateObservation(t *testing.T) {
	spec := logTo(t, "packets", "start", "end", "log-status")
	spec.Scope = []string{"a1"}
	b := newBench(t, configuration(t, spec))
	late := b.seen("a1", "", "10.0.1.10 > 10.0.2.20 47", 1, policy.SGEgress)
	late.First = noon.Add(-2 * time.Second)
	late.Last = noon.Add(-time.Second)
	b.pass(time.Second, late)
	b.now = noon.Add(time.Minute)
	b.pass(0)
	b.close()
	want(t, spec.File, "1 "+decimal(noon.Unix())+" "+decimal(noon.Unix())+" OK")
}

// A clock that is put back ends the window instead of holding it open for hours.
func TestClockPutBack(t *testing.T) {
	spec := logTo(t, "packets", "log-status")
	b := newBench(t, configuration(t, spec))
	b.pass(time.Second, b.seen("a1", "", "10.0.1.10 > 10.0.2.20 47", 1, policy.SGEgress))
	b.now = noon.Add(-time.Hour)
	b.pass(0)
	b.pass(time.Minute, b.seen("a1", "", "10.0.1.10 > 10.0.2.20 47", 2, policy.SGEgress))
	b.close()
	want(t, spec.File, "1 OK", "- NODATA", "- NODATA", "2 OK", "- NODATA", "- NODATA")
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
