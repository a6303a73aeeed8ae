package metrics

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/goleak"

	"vswitch/internal/api"
	"vswitch/internal/goldenfile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// runtimeVersion differs from one machine to the next.
var runtimeVersion = runtime.Version()

// sample is a snapshot in which every figure that metrics show is another one.
func sample() Snapshot {
	status := api.Status{
		VPC: "two-tier", Version: "v0.1.0", Generation: 3,
		Instances: []api.Instance{
			{
				Name: "web1", State: api.StateUp,
				Counters:    api.Counters{RxFrames: 120, RxPackets: 300, RxBytes: 400_000, TxFrames: 90, TxPackets: 91, TxBytes: 9000, Delivered: 100, Answered: 8, Held: 1, Dropped: 11},
				Drops:       map[string]uint64{"SG_EGRESS": 9, "NACL_INGRESS": 2},
				Connections: api.ConnectionCount{Tracked: 4, Max: 1_048_576, Exceeded: 6},
				Process:     &api.Process{State: api.ProcessRunning},
			},
			{Name: "db1", State: api.StateDown, Process: &api.Process{State: api.ProcessExited}},
			{Name: "a-1", State: api.StateUp},
		},
		Connections: api.ConnectionCount{Tracked: 5, Max: 4_194_304},
		FlowCache:   api.FlowCache{Entries: 65_536, Hits: 99, Misses: 21},
		Reloads:     api.Reloads{Succeeded: 2, Failed: 1},
		Panics:      7,
		FlowLogs:    []api.FlowLog{{Name: "all", Written: 1200, Lost: 13}},
	}
	return Snapshot{status, []Rule{
		{Object: "sg:web", Direction: "ingress", ID: "sgr-web-https", Packets: 18_204, Flows: 1311},
		{Object: "nacl:public", Direction: "egress", ID: "*", Packets: 17},
	}}
}

func fixed(s Snapshot) Source { return func() (Snapshot, error) { return s, nil } }

// started returns a Server of source at an address of its own.
func started(t *testing.T, source Source, log io.Writer) *Server {
	t.Helper()
	s, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(source, slog.New(slog.NewTextHandler(log, nil)))
	t.Cleanup(func() {
		began := time.Now()
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if took := time.Since(began); took > 3*farewell {
			t.Errorf("Close took %v: it waited for clients", took)
		}
	})
	return s
}

func (s *Server) url() string { return "http://" + s.listener.Addr().String() + Path }

// get returns what a URL answers.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	reply, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply.StatusCode, string(body)
}

// What a scrape says of the sample, to the letter. Metrics of Go and of the
// process are there as well, under the names that everybody knows.
func TestScrape(t *testing.T) {
	code, body := get(t, started(t, fixed(sample()), io.Discard).url())
	if code != http.StatusOK {
		t.Fatalf("HTTP %d\n%s", code, body)
	}
	var ours strings.Builder
	for line := range strings.Lines(body) {
		if strings.HasPrefix(strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE "), "vswitch_") {
			ours.WriteString(strings.Replace(line, runtimeVersion, "GO", 1))
		}
	}
	goldenfile.Compare(t, "testdata/scrape.golden", ours.String())
	for _, name := range []string{"process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds", "go_goroutines"} {
		if !strings.Contains(body, "\n"+name+" ") {
			t.Errorf("no %s", name)
		}
	}
}

// The names are those that Prometheus wants.
func TestLint(t *testing.T) {
	_, body := get(t, started(t, fixed(sample()), io.Discard).url())
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	// The linter finds something where there is something to be found.
	bad, err := promlint.New(strings.NewReader("# TYPE badName counter\nbadName 1\n")).Lint()
	if err != nil || len(bad) == 0 {
		t.Errorf("the linter likes a bad name: %v", err)
	}
}

// Every family has at least one sample in the sample, and every figure of the
// sample is in some family: none was forgotten, none shows another's figure.
func TestEveryFigureIsShown(t *testing.T) {
	s := sample()
	shown := map[float64]bool{}
	for _, f := range families {
		n := 0
		f.sample(&s, func(value float64, labels ...string) {
			n++
			shown[value] = true
			if len(labels) != len(f.labels) {
				t.Errorf("%s: %d labels, want %v", f.name, len(labels), f.labels)
			}
		})
		if n == 0 {
			t.Errorf("%s has no sample", f.name)
		}
	}
	for _, part := range []any{s.Instances[0].Counters, s.Instances[0].Connections, s.FlowCache, struct{ Written, Lost uint64 }{s.FlowLogs[0].Written, s.FlowLogs[0].Lost},
		struct{ Packets, Flows uint64 }{s.Rules[0].Packets, s.Rules[0].Flows}} {
		v := reflect.ValueOf(part)
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if name == "Dropped" { // the sum of what is shown by reason
				continue
			}
			value := v.Field(i).Convert(reflect.TypeFor[float64]()).Float()
			if !shown[value] {
				t.Errorf("no metric shows %s = %v", name, value)
			}
		}
	}
}

// docs/metrics.md lists the families, all of them, in their order.
func TestDocumentListsEveryMetric(t *testing.T) {
	const path = "../../docs/metrics.md"
	var want strings.Builder
	kinds := map[prometheus.ValueType]string{counter: "counter", gauge: "gauge"}
	for _, f := range families {
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s |\n", f.name, kinds[f.kind], strings.Join(f.labels, ", "), f.help)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const header = "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n"
	before, rest, found := strings.Cut(string(text), header)
	got, after, _ := strings.Cut(rest, "\n\n")
	if !found {
		t.Fatalf("%s has no table that begins\n%s", path, header)
	}
	if *goldenfile.Update {
		if err := os.WriteFile(path, []byte(before+header+want.String()+"\n"+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got+"\n" != want.String() {
		t.Errorf("%s (go test -update rewrites it): got\n%s\nwant\n%s", path, got, &want)
	}
}

// A scrape is one snapshot: one question to the switch, whatever it shows.
func TestScrapeAsksOnce(t *testing.T) {
	asked := 0
	s := started(t, func() (Snapshot, error) { asked++; return sample(), nil }, io.Discard)
	get(t, s.url())
	if asked != 1 {
		t.Errorf("asked %d times for one scrape", asked)
	}
}

// A switch that cannot answer fails the scrape; only one that is stopping does so
// without a word in the log.
func TestFailedScrape(t *testing.T) {
	for _, c := range []struct {
		err  error
		logs bool
	}{
		{&api.Error{Kind: api.KindStopping, Message: "the switch is stopping"}, false},
		{&api.Error{Kind: api.KindInternal, Message: "out of memory"}, true},
	} {
		var log lockedBuffer
		code, body := get(t, started(t, func() (Snapshot, error) { return Snapshot{}, c.err }, &log).url())
		if code != http.StatusInternalServerError || strings.Contains(body, "vswitch_generation{") {
			t.Errorf("%v: HTTP %d\n%s", c.err, code, body)
		}
		if logs := strings.Contains(log.String(), c.err.Error()); logs != c.logs {
			t.Errorf("%v: the log has it: %v, want %v\n%s", c.err, logs, c.logs, log.String())
		}
	}
}

// A lockedBuffer is a log that a server writes and a test reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Nothing but the metrics is served: no profiles, no index (reliability row C7).
func TestNothingElseIsServed(t *testing.T) {
	s := started(t, fixed(sample()), io.Discard)
	base := strings.TrimSuffix(s.url(), Path)
	for _, path := range []string{"/", "/debug/pprof/", "/metrics/x", "/v1/status"} {
		if code, _ := get(t, base+path); code != http.StatusNotFound {
			t.Errorf("%s: HTTP %d", path, code)
		}
	}
	reply, err := http.Post(s.url(), "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	reply.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if reply.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: HTTP %d", reply.StatusCode)
	}
}

// Clients that dawdle take no more than their share, and do not hold up Close.
func TestClientsAreBounded(t *testing.T) {
	var idle []net.Conn // until the server is closed
	t.Cleanup(func() {
		for _, c := range idle {
			c.Close()
		}
	})
	s := started(t, fixed(sample()), io.Discard)
	var open []net.Conn
	for range 3 * maxClients {
		c, err := net.Dial("tcp", s.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	waitFor(t, func() bool { return len(s.listener.slots) == maxClients })
	for _, c := range open {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if code, _ := get(t, s.url()); code != http.StatusOK { // its turn comes
		t.Errorf("HTTP %d", code)
	}
	waitFor(t, func() bool { return len(s.listener.slots) == 0 || len(s.listener.slots) == 1 })
	// More idle connections than there may be: Accept waits for a slot, and Close
	// ends that.
	for range maxClients + 1 {
		c, err := net.Dial("tcp", s.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, c)
	}
	waitFor(t, func() bool { return len(s.listener.slots) == maxClients })
}

// waitFor waits until a condition holds.
func waitFor(t *testing.T, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatal("did not happen in 10 s")
		case <-tick.C:
		}
	}
}

// An address that is taken is an error, and one that was given back can be taken.
func TestListen(t *testing.T) {
	s := started(t, fixed(sample()), io.Discard)
	taken := netip.MustParseAddrPort(s.listener.Addr().String())
	if _, err := Listen(taken); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("taken: got %v", err)
	}
	var none *Server
	if err := none.Close(); err != nil {
		t.Error(err)
	}
	unserved, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	if err := unserved.Close(); err != nil {
		t.Error(err)
	}
}
