package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// A drop is the part of an element of `why -o json` that these tests rest on.
type drop struct {
	From    string `json:"from"`
	To      string `json:"to"`
	Reason  string `json:"reason"`
	Packets uint64 `json:"packets"`
	By      string `json:"by"`
	Where   string `json:"where"`
	Flags   string `json:"tcp_flags"`
}

// why asks the lab.
func (l *lab) why(args ...string) []drop {
	l.t.Helper()
	var reply struct{ Drops []drop }
	text := l.must(append(append([]string{"why"}, args...), "-o", "json")...)
	if err := json.Unmarshal([]byte(text), &reply); err != nil {
		l.t.Fatalf("why: %v\n%s", err, text)
	}
	return reply.Drops
}

// rules returns the hits and flows of all rules, by object/direction/id.
func (l *lab) rules() map[string][2]uint64 {
	l.t.Helper()
	var reply struct {
		Rules []struct {
			Object, ID, Direction string
			Hits, Flows           uint64
		}
	}
	text := l.must("rules", "-o", "json")
	if err := json.Unmarshal([]byte(text), &reply); err != nil {
		l.t.Fatalf("rules: %v\n%s", err, text)
	}
	all := make(map[string][2]uint64)
	for _, r := range reply.Rules {
		all[r.Object+"/"+r.Direction+"/"+r.ID] = [2]uint64{r.Hits, r.Flows}
	}
	return all
}

// Why names the rule that dropped real packets, for either end, and what it tells
// adds up to the counters of status.
func TestWhyNamesTheRule(t *testing.T) {
	t.Parallel()
	l := startLab(t, twoTier(t))
	for _, c := range []struct{ src, dst, service, from, to, by, where string }{
		{"web1", "app1", "tcp/8080", "app1", "web1", "nacl private egress *", "(implicit deny)"},
		{"web2", "app1", "tcp/8080", "web2", "app1", "nacl private ingress 90", ":54"},
		{"web1", "db1", "tcp/5432", "web1", "db1", "sg web egress: no rule", ":20"},
		{"app1", "web1", "udp/53", "app1", "web1", "sg app egress: no rule", ":30"},
	} {
		if l.answers(c.src, c.dst, c.service) {
			t.Fatalf("%v passes", c)
		}
		for _, ends := range [][]string{{c.src}, {c.dst}, {c.from, c.to}} {
			found := false
			for _, d := range l.why(ends...) {
				found = found || d.From == c.from && d.To == c.to && d.By == c.by && strings.HasSuffix(d.Where, c.where) && d.Packets > 0
			}
			if !found {
				t.Errorf("%v: why %v says %+v", c, ends, l.why(ends...))
			}
		}
	}
	eventually(t, "why adds up to status", func() bool {
		want := l.status().Drops
		got := make(map[string]uint64)
		for _, d := range l.why() {
			got[d.Reason] += d.Packets
		}
		return fmt.Sprint(got) == fmt.Sprint(want)
	})
	if text := l.must("why", "web1", "app1"); !strings.Contains(text, "nothing was dropped") {
		t.Errorf("from web1 to app1 something was dropped:\n%s", text)
	}
	if r := l.try("why", "wbe1"); r.code != 2 || !strings.Contains(r.stderr, `did you mean "web1"?`) {
		t.Errorf("want the nearest name:\n%v", r)
	}
}

// Rules count the packets that they decide, each flow once, over a reload, until
// they are reset.
func TestRulesCount(t *testing.T) {
	t.Parallel()
	l := startLab(t, twoTier(t))
	l.must("exec", "web1", "--", "true")
	if r := l.try("ping", "web2", "web1", "icmp", "--count", "4"); r.code != 1 {
		t.Fatalf("web2 may send no ping: %v", r)
	}
	if !l.answers("app1", "db1", "tcp/5432") || l.answers("web1", "app1", "tcp/8080") {
		t.Fatal("not what the file says")
	}
	check := func(when string) {
		t.Helper()
		all := l.rules()
		for key, want := range map[string][2]uint64{
			"sg:web/egress/*":           {4, 0}, // four pings
			"sg:web/egress/sgr-web-app": {0, 1},
			"sg:app/egress/sgr-app-db":  {0, 1},
			"sg:db/ingress/sgr-db-app":  {0, 1},
			"sg:web/ingress/*":          {0, 0},
			"nacl:private/ingress/90":   {0, 0},
			"nacl:private/egress/*":     {0, 0},
		} {
			got := all[key]
			switch {
			case want[0] == 4 && got[0] != 4, got[1] != want[1]:
				t.Errorf("%s, %s: hits and flows %v, want %v", when, key, got, want)
			case want == [2]uint64{0, 1} && got[0] == 0, key == "nacl:private/egress/*" && got[0] == 0:
				t.Errorf("%s, %s has no hits", when, key)
			}
		}
	}
	check("at first")
	l.write(l.config() + "\n[prefix_list.other]\ncidrs = [\"198.51.100.0/24\"]\n")
	l.must("reload")
	check("after a reload")
	if r := l.try("rules", "sg:web", "--reset"); r.code != 0 || !strings.Contains(r.stdout, "sgr-web-app") {
		t.Errorf("reset: %v", r)
	}
	all := l.rules()
	if all["sg:web/egress/*"] != [2]uint64{} || all["sg:app/egress/sgr-app-db"][0] == 0 {
		t.Errorf("after the reset of sg:web: %v", all)
	}
	if unused := l.must("rules", "sg:web", "--unused", "-o", "name"); !strings.Contains(unused, "sg:web/ingress/sgr-web-https\n") || strings.Contains(unused, "*") {
		t.Errorf("unused: %q", unused)
	}
}
