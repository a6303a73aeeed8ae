package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vswitch/internal/account"
	"vswitch/internal/api"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
	vswitch "vswitch/switch"
)

var dropsAt = time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)

// sampleDropBook returns drops of every kind in the two-tier example, newest first,
// and its configuration.
func sampleDropBook(t *testing.T) ([]account.Drop, *vswitch.Config) {
	t.Helper()
	cfg := exampleConfig(t, "two-tier")
	tuple := func(src, dst byte, sport, dport uint16, p policy.Protocol) wire.FiveTuple {
		return wire.FiveTuple{Src: wire.AddrFrom4([]byte{10, 0, src / 100, src % 100}), Dst: wire.AddrFrom4([]byte{10, 0, dst / 100, dst % 100}), SrcPort: sport, DstPort: dport, Protocol: uint8(p)}
	}
	const web1, web2, app1, db1 = 110, 166, 210, 220
	key := func(d policy.Direction, id string) vswitch.RuleKey {
		return vswitch.RuleKey{Object: "nacl:private", Direction: d, ID: id}
	}
	drops := []account.Drop{
		{From: "app1", To: "web1", Tuple: tuple(app1, web1, 8080, 49152, policy.TCP), Reason: policy.NACLEgress, Rule: key(policy.Egress, "*"), Packets: 7, TCPFlags: wire.SYN | wire.ACK},
		{From: "web2", To: "app1", Tuple: tuple(web2, app1, 50000, 8080, policy.TCP), Reason: policy.NACLIngress, Rule: key(policy.Ingress, "90"), Packets: 2, TCPFlags: wire.SYN},
		{From: "web1", Tuple: tuple(web1, db1, 49153, 5432, policy.TCP), Reason: policy.SGEgress, Packets: 1, TCPFlags: wire.SYN},
		{From: "web1", To: "app1", Tuple: tuple(web1, app1, 77, 77, policy.ICMP), Reason: policy.SGIngress, Packets: 4, ICMPType: 8},
		{From: "web1", To: "app1", Tuple: tuple(web1, app1, 5000, 53, policy.UDP), Reason: policy.NACLIngress, Rule: key(policy.Ingress, "77"), Packets: 4},
		{From: "gone1", Tuple: tuple(web1, app1, 5000, 53, policy.UDP), Reason: policy.SGEgress, Packets: 3},
		{From: "web1", Tuple: wire.FiveTuple{Src: wire.AddrFrom4([]byte{1, 2, 3, 4}), Dst: wire.AddrFrom4([]byte{198, 51, 100, 7}), SrcPort: 9, DstPort: 443, Protocol: 6}, Reason: policy.SourceAddress, Packets: 5, TCPFlags: wire.RST | wire.ACK | wire.FIN},
		{From: "web1", Many: true, Reason: policy.NoRoute, Packets: 812},
		{From: "db1", Reason: policy.ARPUnanswered, Packets: 3},
		{From: "db1", Tuple: wire.FiveTuple{Src: wire.AddrFrom4([]byte{10, 0, 2, 20}), Dst: wire.AddrFrom4([]byte{224, 0, 0, 22}), Protocol: 2}, Reason: policy.MulticastMembership, Packets: 6},
	}
	for i := range drops {
		age := []time.Duration{2 * time.Second, 59 * time.Second, time.Minute, 90 * time.Minute, 47 * time.Hour, 49 * time.Hour}[min(i, 5)]
		drops[i].Last = dropsAt.Add(-age)
		drops[i].First = drops[i].Last.Add(-time.Second)
	}
	return drops, cfg
}

func sampleDropDocuments(t *testing.T) []api.Drop {
	drops, cfg := sampleDropBook(t)
	var all []api.Drop
	for i := range drops {
		all = append(all, dropDocument(&drops[i], cfg, newNameBook(cfg)))
	}
	return all
}

func TestDropsArePrinted(t *testing.T) {
	all := sampleDropDocuments(t)
	var b bytes.Buffer
	if err := writeDropTable(&b, all, dropsAt, func(s string) string { return strings.ReplaceAll(s, cfgDir(t)+"/", "") }); err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("table", "why"), b.String())
	b.Reset()
	if err := encodeLines(&b, asItems(all)); err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("table", "why-jsonl"), strings.ReplaceAll(b.String(), cfgDir(t), "/lab"))
	b.Reset()
	if err := writeDropTable(&b, nil, dropsAt, strings.ToLower); err != nil || b.String() != "nothing was dropped\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
}

// What every kernel sends unasked is hidden, and counted, unless asked for.
func TestVisibleDrops(t *testing.T) {
	all := sampleDropDocuments(t)
	shown, hidden := visible(all, false)
	if len(shown) != len(all)-1 || hidden != 6 {
		t.Errorf("%d of %d shown, %d packets hidden", len(shown), len(all), hidden)
	}
	if shown, hidden = visible(all, true); len(shown) != len(all) || hidden != 0 {
		t.Errorf("with --all, %d of %d shown, %d packets hidden", len(shown), len(all), hidden)
	}
}

// One name is either end, two are source and destination.
func TestConcerns(t *testing.T) {
	drops, cfg := sampleDropBook(t)
	names := newNameBook(cfg)
	for _, c := range []struct {
		from, to string
		want     int
	}{{"", "", 10}, {"web1", "", 6}, {"app1", "", 5}, {"app1", "web1", 1}, {"web1", "app1", 2}, {"db1", "", 3}, {"web1", "db1", 1}, {"web2", "web1", 0}} {
		n := 0
		for i := range drops {
			if concerns(&drops[i], c.from, c.to, names) {
				n++
			}
		}
		if n != c.want {
			t.Errorf("from %q to %q: %d drops, want %d", c.from, c.to, n, c.want)
		}
	}
}

// Who follows is told once of every packet, oldest first.
func TestFollowingDrops(t *testing.T) {
	all := sampleDropDocuments(t)
	grown := append([]api.Drop{}, all...)
	grown[0].Packets += 5
	answers := [][]api.Drop{all[2:4], all[:4], grown[:4], grown[:4]}
	var b bytes.Buffer
	c := &cli{format: formatTable, out: &b}
	tick := make(chan time.Time, len(answers))
	asked := 0
	err := c.followDrops(t.Context(), whyQuery{}, func(context.Context) (api.Drops, error) {
		if asked == len(answers) {
			return api.Drops{}, api.ErrNotRunning
		}
		tick <- dropsAt
		asked++
		return api.Drops{Drops: answers[asked-1]}, nil
	}, tick)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("table", "why-follow"), strings.ReplaceAll(b.String(), cfgDir(t), "/lab"))
}

func TestRulesArePrinted(t *testing.T) {
	cfg := exampleConfig(t, "two-tier")
	all, err := listRules(cfg, "")
	if err != nil {
		t.Fatal(err)
	}
	rules := ruleDocuments(cfg, all, func(k vswitch.RuleKey) account.Hits {
		if k.Direction == policy.Egress {
			return account.Hits{}
		}
		return account.Hits{Packets: uint64(100 * len(k.ID)), Flows: uint64(len(k.Object)), Last: dropsAt.Add(-time.Duration(len(k.ID)) * time.Second)}
	})
	var b bytes.Buffer
	if err := writeRules(&b, rules, true, dropsAt); err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("table", "rules"), b.String())
	b.Reset()
	one, err := listRules(cfg, "sg:web")
	if err != nil || len(one) != 5 {
		t.Fatalf("%d rules, %v", len(one), err)
	}
	if err := writeRules(&b, ruleDocuments(cfg, one, nil), false, dropsAt); err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("table", "rules-web"), b.String())
	for given, meant := range map[string]string{"sg:wbe": "sg:web", "web": "sg:web", "private": "nacl:private"} {
		if _, err := listRules(cfg, given); err == nil || !strings.Contains(err.Error(), `did you mean "`+meant+`"`) {
			t.Errorf("%s: error %v", given, err)
		}
	}
	if same, err := listRules(cfg, cfg.IDs()["nacl.private"]); err != nil || same[0].Key.Object != "nacl:private" {
		t.Errorf("by id: %v, %v", same, err)
	}
}

// exampleConfig returns the completed configuration of an example.
func exampleConfig(t *testing.T, name string) *vswitch.Config {
	t.Helper()
	c := &cli{file: filepath.Join("..", "..", "examples", name, "vpc.toml")}
	cfg, _, err := c.load()
	if err != nil {
		t.Fatal(err)
	}
	full, err := vswitch.Complete(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &full
}

// cfgDir is where the two-tier example lies.
func cfgDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", "examples", "two-tier"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
