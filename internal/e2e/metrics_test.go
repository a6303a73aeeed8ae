package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// freePort returns an address of loopback that nobody listens at.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// scrape returns the samples that a switch serves at an address, by name and
// instance: "vswitch_port_up alice". Those of several reasons are added up.
func scrape(t *testing.T, address string) map[string]uint64 {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	reply, err := client.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err != nil || reply.StatusCode != http.StatusOK {
		t.Fatalf("HTTP %d, %v\n%s", reply.StatusCode, err, body)
	}
	samples := map[string]uint64{}
	for _, m := range sampleLine.FindAllStringSubmatch(string(body), -1) {
		value, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Fatalf("%s: %v", m[0], err)
		}
		key := m[1]
		if instance := instanceLabel.FindStringSubmatch(m[2]); instance != nil {
			key += " " + instance[1]
		}
		samples[key] += uint64(value)
	}
	return samples
}

var (
	sampleLine    = regexp.MustCompile(`(?m)^(vswitch_\w+)\{([^}]*)\} (\S+)$`)
	instanceLabel = regexp.MustCompile(`instance="([^"]*)"`)
)

// Under traffic, allowed and denied, every scrape adds up, port by port, and so
// does every status.
func TestMetricsAddUpUnderTraffic(t *testing.T) {
	address := freePort(t)
	l := startLab(t, oneSubnet+fmt.Sprintf("\n[api]\nmetrics = %q\n", address))
	sink := l.start("bob", "sink", ":9000")
	source := l.program("alice", "bulk", "10.8.0.11:9000", fmt.Sprint(256<<20))
	if got := l.dial("alice", "tcp", "10.8.0.11:9001"); got != "timeout" {
		t.Fatalf("a denied connection: %s", got)
	}

	var first, last uint64 // frames of alice
	looks := 0
	for sent := ""; sent == ""; looks++ {
		select {
		case sent = <-source.lines:
			if sent == "" {
				t.Fatal("the transfer broke off")
			}
		default:
		}
		s := scrape(t, address)
		for _, name := range []string{"alice", "bob"} {
			of := func(metric string) uint64 { return s["vswitch_port_"+metric+" "+name] }
			received, sum := of("received_frames_total"), of("delivered_frames_total")+of("answered_frames_total")+of("held_frames")+of("dropped_frames_total")
			if received != sum {
				t.Fatalf("%s: received %d frames, accounted for %d", name, received, sum)
			}
		}
		if last = s["vswitch_port_received_frames_total alice"]; looks == 0 {
			first = last
		}
		addsUp(t, l)
	}
	sink.await(time.Minute)
	if last <= first || looks < 3 {
		t.Errorf("%d frames at first and %d at last in %d looks: there was no traffic between them", first, last, looks)
	}
	s := scrape(t, address)
	if s["vswitch_port_dropped_frames_total alice"] == 0 || s["vswitch_port_up alice"] != 1 || s["vswitch_generation"] != 1 {
		t.Errorf("got %v", s)
	}
	eventually(t, "the rules of a scrape are those of vswitch rules", func() bool {
		var hits, flows uint64
		for _, r := range l.rules() {
			hits, flows = hits+r[0], flows+r[1]
		}
		s := scrape(t, address)
		return hits > 0 && flows > 0 && s["vswitch_rule_packets_total"] == hits && s["vswitch_rule_flows_total"] == flows
	})
	t.Logf("%d looks, %d frames", looks, last)
}

// addsUp fails the test unless the counters of a status add up.
func addsUp(t *testing.T, l *lab) {
	t.Helper()
	var s struct {
		Instances []struct {
			Name     string            `json:"name"`
			Counters map[string]uint64 `json:"counters"`
			Drops    map[string]uint64 `json:"drops"`
		} `json:"instances"`
	}
	if err := json.Unmarshal([]byte(l.must("status", "-o", "json")), &s); err != nil {
		t.Fatal(err)
	}
	for _, in := range s.Instances {
		c, drops := in.Counters, uint64(0)
		for _, n := range in.Drops {
			drops += n
		}
		if c["rx_frames"] != c["delivered"]+c["answered"]+c["held"]+drops || drops != c["dropped"] {
			t.Fatalf("%s: %v, drops %v", in.Name, c, in.Drops)
		}
	}
}

// A reload moves the metrics, and turns them off; an address that is taken refuses
// the whole file, at the start as well.
func TestMetricsFollowTheFile(t *testing.T) {
	t.Parallel()
	first, second := freePort(t), freePort(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	section := func(address string) string { return fmt.Sprintf("\n[api]\nmetrics = %q\n", address) }
	listens := func(address string) bool {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	}

	l := newLab(t, oneSubnet+section(taken.Addr().String()))
	if r := l.try("up"); r.code == 0 || !strings.Contains(r.stderr, "address already in use") {
		t.Fatalf("started, although its address is taken:\n%v", r)
	}
	if left := l.namespaces(); len(left) > 0 {
		t.Errorf("what was refused left %v", left)
	}
	l.edit(section(taken.Addr().String()), section(first))
	l.must("up")
	if !listens(first) {
		t.Error("no metrics after the start")
	}
	l.edit(section(first), section(second)+carol)
	if got := l.must("reload", "--dry-run"); !strings.Contains(got, "~ api") || !listens(first) {
		t.Errorf("dry run:\n%s", got)
	}
	l.must("reload")
	if listens(first) || !listens(second) {
		t.Errorf("after moving: at the old address %v, at the new one %v", listens(first), listens(second))
	}
	if s := scrape(t, second); s["vswitch_port_up carol"] != 1 || s["vswitch_reloads_total"] != 1 {
		t.Errorf("got %v", s)
	}
	l.edit(section(second)+carol, section(taken.Addr().String()))
	if r := l.try("reload"); r.code == 0 || !listens(second) || len(l.status().Instances) != 3 {
		t.Errorf("an address that is taken: metrics at the old one %v\n%v", listens(second), r)
	}
	l.edit(section(taken.Addr().String()), "")
	l.must("reload")
	if listens(second) {
		t.Error("metrics without [api]")
	}
}
