package main

import (
	"encoding/xml"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vswitch/internal/api"
	"vswitch/internal/goldenfile"
)

// With the line "delete me" deleted, test prints what the readme of the example
// promises.
func TestTestOfTwoTier(t *testing.T) {
	for _, c := range []struct {
		golden  string
		without []string
		args    []string
		code    int
	}{
		{"passed", nil, nil, exitOK},
		{"failed", []string{"delete me"}, nil, exitTest},
		{"failed-json", []string{"delete me"}, []string{"-j"}, exitTest},
		{"failed-jsonl", []string{"delete me"}, []string{"-o", "jsonl"}, exitTest},
		{"chosen", []string{"delete me"}, []string{"--run", "^data"}, exitOK},
	} {
		t.Run(c.golden, func(t *testing.T) {
			exampleFile(t, "two-tier", c.without...)
			got := invoke(t, t.TempDir(), append([]string{"test"}, c.args...)...)
			if got.code != c.code || got.err != "" {
				t.Errorf("exit code %d, want %d: %s", got.code, c.code, got.err)
			}
			golden(t, filepath.Join("test", c.golden), got.out)
		})
	}
}

func TestTestRefuses(t *testing.T) {
	exampleFile(t, "two-tier")
	const prefix = "vswitch: "
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--run", "nobody"}, exitUsage, `--run "nobody": no test of vpc.toml matches` + "\n"},
		{[]string{"--run", "web reachs app"}, exitUsage, `--run "web reachs app": no test of vpc.toml matches (did you mean "web reaches app"?)` + "\n"},
		{[]string{"--run", "("}, exitUsage, "--run: error parsing regexp: missing closing ): `(`\n"},
		{[]string{"--timeout", "1ms"}, exitUsage, "--timeout 1ms: want 100ms to 1m\n"},
		{[]string{"--junit", "no/such/folder.xml"}, exitFailure, "--junit: open no/such/folder.xml: no such file or directory\n"},
	} {
		got := invoke(t, t.TempDir(), append([]string{"test"}, c.args...)...)
		if got.code != c.code || got.err != prefix+c.want || got.out != "" {
			t.Errorf("test %v: exit code %d, %q, %q", c.args, got.code, got.out, got.err)
		}
	}
	if err := os.WriteFile("vpc.toml", []byte("[vpc]\nname = \"empty\"\ncidr = \"10.0.0.0/16\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := invoke(t, t.TempDir(), "test"); got.code != exitUsage || got.err != prefix+"vpc.toml: it has no [[test]]\n" {
		t.Errorf("a file without tests: exit code %d, %q", got.code, got.err)
	}
	if got := invoke(t, t.TempDir(), "test", "-f", "gone.toml"); got.code != exitUsage {
		t.Errorf("no file: exit code %d, %q", got.code, got.err)
	}
}

// sampleReport returns a report with everything that it can show.
func sampleReport() *testReport {
	at := func(line int) *api.Origin { return &api.Origin{File: "vpc.toml", Line: line, Column: 1} }
	app := netip.MustParseAddr("10.0.2.10")
	r := &testReport{VPC: "two-tier", File: "vpc.toml", Tests: []testOutcome{
		{Name: "web reaches app", At: at(100), Status: testPassed, Want: "allow", By: "sgr-app-web", Got: "allow", Reason: "sgr-app-web", Rule: at(38), Flows: 1, Failures: []testFlow{},
			Probes: []liveProbe{{From: "web1", To: "app1", ToIP: app, Service: "tcp/8080", SourcePort: 40312, Rules: "allow", Packets: outcomeOpen}}, Seconds: 0.25},
		{Name: "database is private", At: at(108), Status: testFailed, Want: "deny", Got: "allow", Reason: "app1 -> db1 tcp 5432: sgr-app-db, sgr-db-app", Rule: at(42), Flows: 9,
			Failures: []testFlow{{From: "app1", To: "db1", Family: "ipv4", Service: "tcp 5432", Got: "allow"}}, Seconds: 0.5},
		{Name: "web pings \"app\" <&>", At: at(115), Status: testDisagree, Want: "allow", Got: "allow", Reason: "sgr-web-ping, sgr-app-ping", Flows: 2, Failures: []testFlow{}, Probes: []liveProbe{
			{From: "web1", To: "app1", ToIP: app, Service: "icmp", Rules: "allow", Packets: outcomeSilence, Disagrees: true},
			{From: "web2", To: "app1", ToIP: app, Service: "udp/53", SourcePort: 50000, Rules: "allow", Packets: outcomeError, Error: "network is unreachable", Disagrees: true},
		}},
		{Name: "app by the right rule", Status: testFailed, Want: "allow", By: "sgr-app-admin", Got: "another rule", Reason: "sgr-web-app, sgr-app-web", Flows: 1,
			Failures: []testFlow{{From: "web1", To: "app1", Family: "ipv6", Service: "tcp 8080", Got: "allow"}}},
	}}
	r.Live = &liveSummary{Probes: 3, Disagreed: 2, TimeoutMS: 1500, Skipped: map[string]int{"that nobody in the VPC sends": 2, skippedKind: 1}}
	r.count()
	return r
}

func TestReportForPeople(t *testing.T) {
	var b strings.Builder
	if err := sampleReport().writeTable(&b, false); err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("test", "report"), b.String())
}

// What docs/output.md shows is what test prints.
func TestOutputDocumentShowsTheRealEncoding(t *testing.T) {
	path := filepath.Join(testdata, "../../../docs/output.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	if err := api.Encode(&want, sampleReport()); err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), "## vswitch test\n")
	intro, rest, fenced := strings.Cut(rest, "```json\n")
	got, after, closed := strings.Cut(rest, "```\n")
	if !found || !fenced || !closed {
		t.Fatalf("%s shows no report", path)
	}
	if *goldenfile.Update {
		if err := os.WriteFile(path, []byte(before+"## vswitch test\n"+intro+"```json\n"+want.String()+"```\n"+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got != want.String() {
		t.Errorf("%s (go test -update rewrites it): got\n%s\nwant\n%s", path, got, want.String())
	}
	for _, field := range []string{
		"vpc", "file", "passed", "failed", "tests", "test.name", "test.at", "test.status", "test.want", "test.by", "test.got", "test.reason", "test.rule",
		"test.flows", "test.failures", "failure.from", "failure.to", "failure.family", "failure.service", "failure.got", "test.probes", "probe.from", "probe.to",
		"probe.to_ip", "probe.service", "probe.source_port", "probe.rules", "probe.packets", "probe.error", "probe.disagrees", "live", "live.probes",
		"live.disagreed", "live.timeout_ms", "live.skipped",
	} {
		if !strings.Contains(string(text), "| `"+field+"` |") {
			t.Errorf("%s has no row for %s", path, field)
		}
	}
}

// The report has the form that CI systems take: the numbers add up, every failure
// has a message, and nothing is lost in quoting.
func TestJUnit(t *testing.T) {
	r := sampleReport()
	text, err := r.junit()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("test", "junit.xml"), string(text))

	var suite struct {
		XMLName  xml.Name `xml:"testsuite"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Errors   *int     `xml:"errors,attr"`
		Skipped  *int     `xml:"skipped,attr"`
		Time     float64  `xml:"time,attr"`
		Cases    []struct {
			Name    string  `xml:"name,attr"`
			Class   string  `xml:"classname,attr"`
			Time    float64 `xml:"time,attr"`
			Failure *struct {
				Message string `xml:"message,attr"`
				Type    string `xml:"type,attr"`
				Text    string `xml:",chardata"`
			} `xml:"failure"`
		} `xml:"testcase"`
	}
	if err := xml.Unmarshal(text, &suite); err != nil {
		t.Fatal(err)
	}
	if suite.Tests != len(r.Tests) || len(suite.Cases) != len(r.Tests) || suite.Failures != r.Failed || suite.Errors == nil || suite.Skipped == nil || suite.Time != 0.75 {
		t.Errorf("the suite does not add up: %+v", suite)
	}
	for i, c := range suite.Cases {
		o := &r.Tests[i]
		if c.Name != o.Name || c.Class != r.VPC || c.Time != o.Seconds || (c.Failure == nil) != (o.Status == testPassed) {
			t.Errorf("case %d: %+v", i, c)
		}
		if c.Failure != nil && (c.Failure.Message == "" || c.Failure.Type != o.Status || c.Failure.Text == "") {
			t.Errorf("case %d says too little of its failure: %+v", i, *c.Failure)
		}
	}
}

// The file is written for a run that fails, too.
func TestJUnitFile(t *testing.T) {
	exampleFile(t, "two-tier", "delete me")
	if got := invoke(t, t.TempDir(), "test", "--junit", "result.xml"); got.code != exitTest {
		t.Fatalf("exit code %d, %s", got.code, got.err)
	}
	text, err := os.ReadFile("result.xml")
	if err != nil || !strings.Contains(string(text), `<failure message="want allow, got deny (reply)" type="failed">`) {
		t.Errorf("%v\n%s", err, text)
	}
}
