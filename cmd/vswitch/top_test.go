package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"vswitch/internal/api"
)

// busyLooks is busy with flows and rules, so many of each.
func busyLooks(ports, flows int) (before, now topLook) {
	before.status, now.status = busy(ports)
	b := &now.busiest
	b.Seconds = 1
	for i := range flows {
		f := api.BusyFlow{
			From: fmt.Sprintf("n%d", i), To: "n7", Protocol: "tcp", Source: "10.0.1.10", SourcePort: uint16(40_000 + i), Destination: "2001:db8::7", DestPort: 8080,
			Verdict: "DELIVERED", Packets: 1_000_000 >> (2 * i), Bytes: 1_500_000_000 >> (2 * i),
		}
		if i%3 == 1 {
			f.To, f.Protocol, f.SourcePort, f.DestPort, f.Verdict = "", "icmp", 0, 0, "SG_EGRESS"
		}
		if i%5 == 4 {
			f.Verdict = "SOURCE_ADDRESS"
		}
		b.Flows = append(b.Flows, f)
		r := api.BusyRule{Object: "nacl:private", ID: "*", Direction: "egress", Action: "deny", Words: "no rule matches", Packets: 7}
		if i > 0 {
			r = api.BusyRule{Object: "sg:web", ID: fmt.Sprintf("sgr-web-app-%d", i), Direction: "egress", Action: "allow", Words: "tcp 8080 -> sg:app", Packets: 90_000 >> i, Flows: uint64(i)}
		}
		b.Rules = append(b.Rules, r)
	}
	if flows > 10 {
		b.Unnamed = 12_345
	}
	return before, now
}

// busy returns two statuses, a second apart, of a VPC with that many ports: every
// third one is down, every fifth loses packets, names and figures are of all
// lengths.
func busy(ports int) (old, now api.Status) {
	old = api.Status{VPC: "two-tier", PID: 4711, Generation: 3, UptimeSeconds: 100, Memory: api.Memory{RSS: 22 << 20}, FlowCache: api.FlowCache{Hits: 991, Misses: 9}}
	now = old
	now.UptimeSeconds++
	now.Drops = map[string]uint64{"SG_EGRESS": 1_000_000, "NACL_INGRESS": 7, "UNKNOWN_MAC": 2}
	old.Drops = map[string]uint64{"SG_EGRESS": 1_000_000, "NACL_INGRESS": 2, "UNKNOWN_MAC": 1}
	rate := uint64(1)
	for i := range ports {
		in := api.Instance{
			Name: fmt.Sprintf("n%d%s", i, strings.Repeat("-long", i%6)), IP: fmt.Sprintf("10.0.%d.10", i), Subnet: "private",
			State: api.StateUp, Connections: api.ConnectionCount{Tracked: i * i},
		}
		if i%3 == 2 {
			in.State = api.StateDown
		}
		old.Instances = append(old.Instances, in)
		in.Counters = api.Counters{RxPackets: rate, RxBytes: 100 * rate, TxPackets: rate / 2, TxBytes: 50 * rate}
		if i%5 == 4 {
			in.Counters.Dropped = uint64(i)
		}
		now.Instances = append(now.Instances, in)
		rate = rate*7%1_000_000_007 + 1
		now.Connections.Tracked += i * i
	}
	return old, now
}

// What is shown in terminals of several sizes, with few ports, many, and none.
func TestTopScreens(t *testing.T) {
	quiet := topLook{status: api.Status{VPC: "hello", PID: 1, Generation: 1, UptimeSeconds: 3}}
	for _, c := range []struct {
		name         string
		ports, flows int
		screen       topScreen
	}{
		{"80x24", 5, 3, topScreen{width: 80, height: 24, keys: true}},
		{"200x50", 50, 12, topScreen{width: 200, height: 50, keys: true, order: byName}},
		{"80x24-many", 50, 12, topScreen{width: 80, height: 24, keys: true, order: byDrops, first: 7, paused: true}},
		{"40x10", 50, 12, topScreen{width: 40, height: 10, keys: true, order: byFile, first: 1000}},
		{"once", 5, 12, topScreen{}},
	} {
		old, now := busyLooks(c.ports, c.flows)
		lines, _ := newTopView(&old, &now).lines(c.screen)
		golden(t, filepath.Join("table", "top-"+c.name), screenText(t, lines, c.screen))
	}
	lines, _ := newTopView(nil, &quiet).lines(topScreen{width: 80, height: 24, keys: true})
	golden(t, filepath.Join("table", "top-empty"), screenText(t, lines, topScreen{width: 80, height: 24}))
}

// screenText returns the lines of a screen, which must fit on it.
func screenText(t *testing.T, lines []topLine, s topScreen) string {
	t.Helper()
	var b strings.Builder
	for _, l := range lines {
		if n := utf8.RuneCountInString(l.text); s.width > 0 && n > s.width {
			t.Errorf("%dx%d: %d characters: %q", s.width, s.height, n, l.text)
		}
		b.WriteString(strings.TrimRight(l.text, " ") + "\n")
	}
	if s.height > 0 && len(lines) > s.height {
		t.Errorf("%dx%d: %d lines", s.width, s.height, len(lines))
	}
	return b.String()
}

// Every screen fits, however small it is and whatever is on it; the keys are on it
// if it has a line for them; and scrolling shows every port once.
func TestTopFitsEverywhere(t *testing.T) {
	for _, ports := range []int{0, 1, 3, 50} {
		old, now := busyLooks(ports, ports)
		v := newTopView(&old, &now)
		for width := 1; width <= 130; width += 3 {
			for height := 1; height <= 70; height += 3 {
				s := topScreen{width: width, height: height, keys: true}
				lines, scroll := v.lines(s)
				screenText(t, lines, s)
				if height >= 6 && (len(lines) != height || !strings.HasPrefix(lines[height-1].text, "q quit"[:min(6, width-1)])) {
					t.Fatalf("%dx%d: %d lines, the last is %q", width, height, len(lines), lines[len(lines)-1].text)
				}
				if s.first = scroll; width < 100 || height < 10 {
					continue
				}
				last, _ := v.lines(s)
				sorted := v.sorted(s.order)
				if ports > 0 && (!shows(lines, sorted[0].Name) || !shows(last, sorted[ports-1].Name)) {
					t.Fatalf("%dx%d: the first port or the last of %d cannot be seen", width, height, ports)
				}
			}
		}
	}
}

// shows reports whether a line begins with a name.
func shows(lines []topLine, name string) bool {
	for _, l := range lines {
		if strings.HasPrefix(l.text, name+" ") {
			return true
		}
	}
	return false
}

func TestTopRates(t *testing.T) {
	old, now := busy(2)
	for _, c := range []struct {
		name string
		make func(old, now *api.Status) (*api.Status, *api.Status)
		want string // tx pkt/s and bit/s of the second port
	}{
		{"a second", func(old, now *api.Status) (*api.Status, *api.Status) { return old, now }, "8 6.4k"},
		{"half a second", func(old, now *api.Status) (*api.Status, *api.Status) {
			now.UptimeSeconds -= 0.5
			return old, now
		}, "16 12.8k"},
		{"nothing before", func(_, now *api.Status) (*api.Status, *api.Status) { return nil, now }, "- -"},
		{"another run", func(old, now *api.Status) (*api.Status, *api.Status) { old.PID++; return old, now }, "- -"},
		{"no time in between", func(_, now *api.Status) (*api.Status, *api.Status) { return now, now }, "- -"},
		{"another instance of that name", func(old, now *api.Status) (*api.Status, *api.Status) {
			old.Instances[1].Counters.RxPackets = 1000
			return old, now
		}, "- -"},
		{"a new instance", func(old, now *api.Status) (*api.Status, *api.Status) {
			old.Instances = old.Instances[:1]
			return old, now
		}, "- -"},
	} {
		o, n := old, now
		o.Instances = append([]api.Instance{}, old.Instances...)
		before, now := c.make(&o, &n)
		var look *topLook
		if before != nil {
			look = &topLook{status: *before}
		}
		tx := newTopView(look, &topLook{status: *now}).ports[1].tx
		if got := tx.perSecond(tx.packets) + " " + tx.perSecond(tx.bits); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestShort(t *testing.T) {
	for n, want := range map[float64]string{
		0: "0", 0.04: "0.0", 0.5: "0.5", 5: "5", 9.94: "9.9", 9.96: "10", 99.4: "99", 999: "999", 999.4: "999", 999.6: "1.0k",
		1000: "1.0k", 12_345: "12.3k", 99_949: "99.9k", 99_951: "100k", 999_499: "999k", 999_501: "1.0M", 1e9: "1.0G", 6.4e18: "6.4E",
	} {
		if got := short(n); got != want || len(got) > 6 {
			t.Errorf("short(%v) = %q, want %q", n, got, want)
		}
	}
}

// key returns the message of a key, by its name as the library has it.
func key(name string) tea.Msg {
	special := map[string]rune{"down": tea.KeyDown, "up": tea.KeyUp, "pgdown": tea.KeyPgDown, "pgup": tea.KeyPgUp, "home": tea.KeyHome, "end": tea.KeyEnd, "space": tea.KeySpace, "esc": tea.KeyEscape}
	if code, ok := special[name]; ok {
		return tea.KeyPressMsg{Code: code}
	}
	if name == "ctrl+c" {
		return tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}
	}
	return tea.KeyPressMsg{Code: []rune(name)[0], Text: name}
}

func TestTopKeys(t *testing.T) {
	old, now := busyLooks(50, 3)
	m := &topModel{view: newTopView(&old, &now), screen: topScreen{keys: true}}
	m.Update(tea.WindowSizeMsg{Width: 80, Height: 24})
	m.View()
	if m.scroll < 30 {
		t.Fatalf("%d ports can be scrolled away", m.scroll)
	}
	end := m.scroll
	for _, c := range []struct {
		key    string
		first  int
		order  topOrder
		paused bool
	}{
		{"up", 0, byTraffic, false},
		{"down", 1, byTraffic, false},
		{"j", 2, byTraffic, false},
		{"k", 1, byTraffic, false},
		{"pgdown", 13, byTraffic, false},
		{"pgup", 1, byTraffic, false},
		{"end", end, byTraffic, false},
		{"down", end, byTraffic, false},
		{"home", 0, byTraffic, false},
		{"down", 1, byTraffic, false},
		{"s", 0, byDrops, false},
		{"s", 0, byName, false},
		{"p", 0, byName, true},
		{"s", 0, byFile, true},
		{"space", 0, byFile, false},
		{"s", 0, byTraffic, false},
		{"x", 0, byTraffic, false},
	} {
		_, command := m.Update(key(c.key))
		m.View()
		if m.screen.first != c.first || m.screen.order != c.order || m.screen.paused != c.paused || command != nil {
			t.Fatalf("after %s: %+v, a command: %v; want %+v", c.key, m.screen, command != nil, c)
		}
	}
	for _, name := range []string{"q", "Q", "esc", "ctrl+c"} {
		_, command := m.Update(key(name))
		if command == nil || command() != (tea.QuitMsg{}) {
			t.Errorf("%s does not quit", name)
		}
	}
}

// A pause keeps the screen as it is, whatever arrives; the end of the switch ends
// top with its error.
func TestTopPausesAndEnds(t *testing.T) {
	old, now := busyLooks(3, 3)
	asked := 0
	m := &topModel{view: newTopView(nil, &old), ask: func(over time.Duration) (topLook, error) {
		asked++
		now.status.UptimeSeconds += over.Seconds()
		return now, nil
	}}
	shown := func() float64 { return m.view.status.UptimeSeconds }
	began := now.status.UptimeSeconds
	_, command := m.Update(m.Init()())
	if asked != 1 || command == nil || shown() != began+1 {
		t.Fatalf("asked %d times, shows the status after %v s", asked, shown())
	}
	m.Update(key("p"))
	if _, command = m.Update(command()); command == nil || shown() != began+1 || asked != 2 {
		t.Errorf("paused: asked %d times, shows the status after %v s", asked, shown())
	}
	m.Update(key("p"))
	if m.Update(command()); shown() != began+3 || m.view.lost.known != true {
		t.Errorf("goes on: asked %d times, shows the status after %v s", asked, shown())
	}
	gone := errors.New("gone")
	_, command = m.Update(topAnswer{err: gone})
	if command == nil || command() != (tea.QuitMsg{}) || m.err != gone {
		t.Errorf("the end: %v", m.err)
	}
}

func TestPrintTop(t *testing.T) {
	old, now := busyLooks(2, 2)
	gone := errors.New("gone")
	answers := []topLook{old, now, now}
	var asked []time.Duration
	ask := func(over time.Duration) (topLook, error) {
		asked = append(asked, over)
		if len(asked) > len(answers) {
			return topLook{}, gone
		}
		return answers[len(asked)-1], nil
	}
	var b bytes.Buffer
	c := &cli{out: &b}
	if err := c.printTop(3, ask); err != gone || !slices.Equal(asked, []time.Duration{0, topInterval, topInterval, topInterval}) {
		t.Errorf("got %v, asked %v", err, asked)
	}
	if n := strings.Count(b.String(), "NAME "); n != 2 || !strings.Contains(b.String(), "\n\ntwo-tier  ") {
		t.Errorf("%d screens:\n%s", n, &b)
	}
}

func TestTopDocument(t *testing.T) {
	old, now := busyLooks(2, 2)
	looks := []topLook{old, now}
	ask := func(time.Duration) (topLook, error) {
		look := looks[0]
		looks = looks[1:]
		return look, nil
	}
	var b bytes.Buffer
	c := &cli{out: &b, format: formatJSON}
	if err := c.printTop(1, ask); err != nil {
		t.Fatal(err)
	}
	var got api.Busiest
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || !reflect.DeepEqual(got, now.busiest) || len(got.Flows) == 0 {
		t.Errorf("%v: %s", err, &b)
	}
}

func TestTopErrors(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"top", "-n", "0"}, exitUsage, "want 1 or more"},
		{[]string{"top", "-n", "2", "--once"}, exitUsage, "--once means -n 1"},
		{[]string{"top", "-o", "json", "-n", "2"}, exitUsage, "one document"},
		{[]string{"top", "-o", "jsonl"}, exitUsage, "json"},
		{[]string{"top", "-o", "json"}, exitFailure, "not running"},
		{[]string{"top", "--once"}, exitFailure, "not running"},
	} {
		t.Chdir(t.TempDir())
		if got := invoke(t, t.TempDir(), c.args...); got.code != c.code || !strings.Contains(got.err, c.want) {
			t.Errorf("%v: got %+v, want exit code %d and %q", c.args, got, c.code, c.want)
		}
	}
}
