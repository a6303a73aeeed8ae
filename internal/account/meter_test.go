package account

import (
	"testing"
	"time"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	vswitch "vswitch/switch"
)

// A Meter has what its Book records between Begin and End: by flow and outcome, the
// most packets first, and what finds no place without a name.
func TestMeter(t *testing.T) {
	var b Book
	c := &vswitch.Config{}
	key := vswitch.RuleKey{Object: "nacl:a", Direction: policy.Egress, ID: "100"}
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	seen := func(port uint16, r policy.Reason, n uint64) vswitch.Observation {
		return vswitch.Observation{
			From: "web1", To: "db1", Tuple: wire.FiveTuple{SrcPort: port, Protocol: 17}, Reason: r, Frames: n, Packets: n, Bytes: 100 * n, First: at, Last: at,
			Rules: [vswitch.Gates]vswitch.RuleKey{vswitch.GateNACLEgress: key},
		}
	}
	record := func(all ...vswitch.Observation) { b.Record(all, c) }

	record(seen(1, policy.None, 1000))
	m, before := b.Begin()
	m.limit = 3
	record(seen(1, policy.None, 1), seen(2, policy.None, 5))
	record(seen(1, policy.None, 2), seen(1, policy.NoRoute, 4), seen(3, policy.None, 9))
	record(vswitch.Observation{From: "web1", Many: true, Packets: 20, Last: at}, vswitch.Observation{From: "web1", Reason: policy.ARPUnanswered, Packets: 50, Last: at})
	now := b.End(m)
	record(seen(2, policy.None, 1000))

	flows, total, unnamed := m.Busiest(2)
	if len(flows) != 2 || total != 3 || unnamed != 29 {
		t.Fatalf("got %+v, %d in all, %d without a name", flows, total, unnamed)
	}
	if f := flows[0]; f.Tuple.SrcPort != 2 || f.Packets != 5 || f.Bytes != 500 || f.From != "web1" || f.To != "db1" {
		t.Errorf("the busiest: %+v", f)
	}
	if f := flows[1]; f.Tuple.SrcPort != 1 || f.Reason != policy.NoRoute || f.Packets != 4 {
		t.Errorf("the next: %+v", f)
	}
	if before[key].Packets != 1000 || now[key].Packets != 1021 {
		t.Errorf("the rule had %d and then %d packets", before[key].Packets, now[key].Packets)
	}
	for range maxMeters {
		if m, _ := b.Begin(); m == nil {
			t.Fatal("no meter, although none is in use")
		}
	}
	if m, _ := b.Begin(); m != nil {
		t.Error("more meters than there may be")
	}
}
