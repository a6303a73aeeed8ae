package account_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"vswitch/internal/account"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
	vswitch "vswitch/switch"
)

// config returns a VPC of one subnet, with two groups on web and one on db.
func config(t *testing.T) *vswitch.Config {
	t.Helper()
	c := vswitch.Config{
		VPC:            vswitch.VPC{Name: "v", CIDR: netip.MustParsePrefix("10.0.0.0/16")},
		Subnets:        []vswitch.Subnet{{Name: "s", CIDR: netip.MustParsePrefix("10.0.1.0/24")}},
		SecurityGroups: []vswitch.SecurityGroup{{Name: "web"}, {Name: "extra"}, {Name: "db"}},
		Instances: []vswitch.Instance{
			{Name: "web1", Subnet: "s", SecurityGroups: []string{"web", "extra"}},
			{Name: "db1", Subnet: "s", SecurityGroups: []string{"db"}},
		},
	}
	full, err := vswitch.Complete(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &full
}

var (
	start   = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	webOut  = vswitch.RuleKey{Object: "sg:web", Direction: policy.Egress, ID: "sgr-1"}
	dbIn    = vswitch.RuleKey{Object: "sg:db", Direction: policy.Ingress, ID: "sgr-2"}
	aclDeny = vswitch.RuleKey{Object: "nacl:default", Direction: policy.Egress, ID: vswitch.ImplicitDeny}
)

// flow returns the tuple of web1's n-th flow to db1.
func flow(n int) wire.FiveTuple {
	return wire.FiveTuple{Src: wire.AddrFrom4([]byte{10, 0, 1, 10}), Dst: wire.AddrFrom4([]byte{10, 0, 1, 20}), SrcPort: uint16(40000 + n), DstPort: 5432, Protocol: 6}
}

// dropped returns an observation of n packets of a flow that web1 sent, dropped at
// a second.
func dropped(f int, r policy.Reason, n uint64, second int) vswitch.Observation {
	at := start.Add(time.Duration(second) * time.Second)
	o := vswitch.Observation{From: "web1", Tuple: flow(f), Reason: r, Frames: n, Packets: n, First: at, Last: at, LastFlags: wire.SYN}
	if r == policy.NACLEgress {
		o.Rules[vswitch.GateNACLEgress] = aclDeny
	}
	return o
}

func TestRulesCountTheirOwnDirection(t *testing.T) {
	var b account.Book
	c := config(t)
	request := vswitch.Observation{From: "web1", To: "db1", Tuple: flow(1), Packets: 5, Opened: 2, Last: start.Add(time.Second),
		Rules: [vswitch.Gates]vswitch.RuleKey{vswitch.GateSGEgress: webOut, vswitch.GateSGIngress: dbIn}}
	reply := vswitch.Observation{From: "db1", To: "web1", Tuple: flow(1).Reverse(), Packets: 7, Last: start.Add(2 * time.Second),
		Rules: [vswitch.Gates]vswitch.RuleKey{vswitch.GateSGEgress: dbIn, vswitch.GateSGIngress: webOut}}
	b.Record([]vswitch.Observation{request, reply, request}, c)
	want := account.Hits{Packets: 10, Flows: 4, Last: start.Add(time.Second)}
	for _, key := range []vswitch.RuleKey{webOut, dbIn} {
		if got := b.Hits()[key]; got != want {
			t.Errorf("%v: %+v, want %+v", key, got, want)
		}
	}
}

// TestImplicitDeny: the packet that no group allows counts at the end of each
// group of the interface, and at no other's.
func TestImplicitDeny(t *testing.T) {
	var b account.Book
	c := config(t)
	in := dropped(1, policy.SGIngress, 3, 0)
	in.To = "db1"
	b.Record([]vswitch.Observation{dropped(1, policy.SGEgress, 2, 0), in, dropped(2, policy.NACLEgress, 4, 0), dropped(3, policy.NoRoute, 9, 0)}, c)
	for key, want := range map[vswitch.RuleKey]uint64{
		{Object: "sg:web", Direction: policy.Egress, ID: "*"}:   2,
		{Object: "sg:extra", Direction: policy.Egress, ID: "*"}: 2,
		{Object: "sg:web", Direction: policy.Ingress, ID: "*"}:  0,
		{Object: "sg:db", Direction: policy.Ingress, ID: "*"}:   3,
		{Object: "sg:db", Direction: policy.Egress, ID: "*"}:    0,
		aclDeny: 4,
	} {
		if got := b.Hits()[key].Packets; got != want {
			t.Errorf("%v: %d packets, want %d", key, got, want)
		}
	}
}

func TestResetAndRetain(t *testing.T) {
	var b account.Book
	c := config(t)
	b.Record([]vswitch.Observation{dropped(1, policy.SGEgress, 2, 0), dropped(2, policy.NACLEgress, 4, 0)}, c)
	if n := b.Reset(func(k vswitch.RuleKey) bool { return k.Object == "sg:web" }); n != 1 {
		t.Errorf("Reset forgot %d rules, want 1", n)
	}
	if b.Hits()[vswitch.RuleKey{Object: "sg:web", Direction: policy.Egress, ID: "*"}].Packets != 0 || b.Hits()[aclDeny].Packets != 4 {
		t.Error("Reset forgot the wrong rules")
	}
	gone := *c
	gone.NetworkACLs = nil
	b.Retain(c)
	if b.Hits()[aclDeny].Packets != 4 {
		t.Error("Retain forgot a rule that exists")
	}
	b.Retain(&gone)
	if b.Hits()[aclDeny].Packets != 0 {
		t.Error("Retain kept a rule that is gone")
	}
	if len(b.Drops()) != 2 {
		t.Error("forgetting rules forgot drops")
	}
}

func TestDropsAreAggregated(t *testing.T) {
	var b account.Book
	c := config(t)
	b.Record([]vswitch.Observation{dropped(1, policy.SGEgress, 2, 0), dropped(2, policy.SGEgress, 1, 5), dropped(1, policy.NACLEgress, 3, 2)}, c)
	b.Record([]vswitch.Observation{dropped(1, policy.SGEgress, 4, 9)}, c)
	var got []string
	for _, d := range b.Drops() {
		got = append(got, fmt.Sprintf("%d %s %s x%d %v-%v %s", d.Tuple.SrcPort, d.From, d.Reason, d.Packets, d.First.Sub(start), d.Last.Sub(start), d.Rule.ID))
	}
	want := "[40001 web1 SG_EGRESS x6 0s-9s  40002 web1 SG_EGRESS x1 5s-5s  40001 web1 NACL_EGRESS x3 2s-2s *]"
	if fmt.Sprint(got) != want {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
}

// TestDropsAreBounded: however many flows are dropped, the packets remembered add
// up by sender and reason, memory is bounded, and a busy offender hides nobody.
func TestDropsAreBounded(t *testing.T) {
	var b account.Book
	c := config(t)
	quiet := dropped(0, policy.NACLEgress, 1, 0)
	quiet.From = "db1"
	b.Record([]vswitch.Observation{quiet}, c)
	sent := map[policy.Reason]uint64{}
	for i := range 20_000 {
		r := []policy.Reason{policy.SGEgress, policy.NACLEgress, policy.NoRoute}[i%3]
		o := dropped(i%25_000, r, uint64(1+i%4), 1+i/100)
		if i%50 == 0 {
			o.Many, o.Tuple = true, wire.FiveTuple{}
		}
		sent[r] += o.Packets
		b.Record([]vswitch.Observation{o}, c)
	}
	got, lines, found := map[policy.Reason]uint64{}, 0, false
	for _, d := range b.Drops() {
		if d.From == "db1" {
			found = true
			continue
		}
		got[d.Reason] += d.Packets
		lines++
	}
	if fmt.Sprint(got) != fmt.Sprint(sent) {
		t.Errorf("remembered %v, dropped %v", got, sent)
	}
	if lines > 3*65 {
		t.Errorf("%d flows remembered of three senders and reasons", lines)
	}
	if !found {
		t.Error("the quiet sender's drop is forgotten")
	}
	if newest := b.Drops()[0]; newest.Last != start.Add(200*time.Second) {
		t.Errorf("the newest is of %v", newest.Last.Sub(start))
	}
}

// TestAllDropsAreBounded: many senders together are bounded too.
func TestAllDropsAreBounded(t *testing.T) {
	var b account.Book
	c := config(t)
	sent, got := uint64(0), uint64(0)
	for i := range 40_000 {
		o := dropped(i, policy.SourceMAC, 1, i)
		o.From = fmt.Sprint("i", i%1000)
		sent++
		b.Record([]vswitch.Observation{o}, c)
	}
	all := b.Drops()
	for _, d := range all {
		got += d.Packets
	}
	if got != sent || len(all) > 16_384+1000 {
		t.Errorf("%d of %d packets, %d lines", got, sent, len(all))
	}
}
