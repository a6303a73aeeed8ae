package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// examples is the folder of the examples, as seen from this package.
const examples = "../../examples"

// A step is one line of an example's file expect (examples/README.md).
type step struct {
	line int // in the file, from 1

	// A probe, if from is not empty.
	from, to, service string
	silence           string // the reason of the drop; "" means that an answer must come

	// An edit of vpc.toml otherwise: of the lines that contain text.
	verb string // delete or uncomment
	text string
}

// parseExpect reads the steps of a file.
func parseExpect(text string) ([]step, error) {
	var steps []step
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s := step{line: i + 1}
		fields := strings.Fields(line)
		switch {
		case fields[0] == "delete" || fields[0] == "uncomment":
			var err error
			s.verb = fields[0]
			if s.text, err = strconv.Unquote(strings.TrimSpace(strings.TrimPrefix(line, s.verb))); err != nil {
				return nil, fmt.Errorf("line %d: %s wants a quoted text", s.line, s.verb)
			}
		case len(fields) == 4 && fields[3] == "answer":
			s.from, s.to, s.service = fields[0], fields[1], fields[2]
		case len(fields) == 5 && fields[3] == "silence":
			s.from, s.to, s.service, s.silence = fields[0], fields[1], fields[2], fields[4]
		default:
			return nil, fmt.Errorf("line %d: want FROM TO SERVICE answer, or FROM TO SERVICE silence REASON: %q", s.line, line)
		}
		steps = append(steps, s)
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("no steps")
	}
	return steps, nil
}

// apply returns vpc.toml as the edit leaves it.
func (s step) apply(config string) (string, error) {
	lines := strings.Split(config, "\n")
	kept := lines[:0]
	changed := 0
	for _, line := range lines {
		if !strings.Contains(line, s.text) {
			kept = append(kept, line)
			continue
		}
		changed++
		if s.verb == "uncomment" {
			indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
			code, found := strings.CutPrefix(line[len(indent):], "# ")
			if !found {
				return "", fmt.Errorf("line %d: %q is no comment", s.line, line)
			}
			kept = append(kept, indent+code)
		}
	}
	if changed == 0 {
		return "", fmt.Errorf("line %d: no line contains %q", s.line, s.text)
	}
	return strings.Join(kept, "\n"), nil
}

// Every folder of examples/ does in real namespaces what its file expect says.
func TestExamples(t *testing.T) {
	folders, err := os.ReadDir(examples)
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if !folder.IsDir() {
			continue
		}
		t.Run(folder.Name(), func(t *testing.T) {
			t.Parallel()
			read := func(name string) string {
				text, err := os.ReadFile(filepath.Join(examples, folder.Name(), name))
				if err != nil {
					t.Fatal(err)
				}
				return string(text)
			}
			read("README.md") // every example explains itself
			steps, err := parseExpect(read("expect"))
			if err != nil {
				t.Fatalf("expect: %v", err)
			}
			runSteps(startLab(t, read("vpc.toml")), steps)
		})
	}
}

// runSteps takes the steps one by one. Probes that must stay silent are told
// apart by the drop that they cause: its reason, and no reason that the steps
// have not named so far (a server goes on repeating what was dropped before).
func runSteps(l *lab, steps []step) {
	l.t.Helper()
	var named []string
	for _, s := range steps {
		if s.from == "" {
			config, err := s.apply(l.config())
			if err != nil {
				l.t.Fatalf("expect: %v", err)
			}
			l.write(config)
			l.must("reload")
			continue
		}
		what := fmt.Sprintf("expect:%d: %s to %s %s", s.line, s.from, s.to, s.service)
		if s.silence == "" {
			// What `run =` started may still be on its way to its port.
			eventually(l.t, what+" connects", func() bool { return l.connects(s) })
			if !l.answers(s.from, s.to, s.service) {
				l.t.Errorf("%s: no answer", what)
			}
			continue
		}
		if !slices.Contains(named, s.silence) {
			named = append(named, s.silence)
		}
		before := l.status().Drops
		if l.answers(s.from, s.to, s.service) {
			l.t.Errorf("%s: an answer, want silence", what)
		}
		if l.connects(s) {
			l.t.Errorf("%s: connects, want silence", what)
		}
		after := l.status().Drops
		if after[s.silence] == before[s.silence] {
			l.t.Errorf("%s: nothing was dropped for %s, but %v before and %v after", what, s.silence, before, after)
		}
		for reason := range after {
			if !slices.Contains(named, reason) && after[reason] != before[reason] {
				l.t.Errorf("%s: dropped for %s too", what, reason)
			}
		}
	}
}

// connects tries the probe with a client of the tests' own. Neither a refusal nor
// an error of ICMP counts as silence: the only outcomes are an answer and
// nothing at all. It answers echo requests with the truth of `vswitch ping`.
func (l *lab) connects(s step) bool {
	l.t.Helper()
	network, port, hasPort := strings.Cut(s.service, "/")
	if !hasPort {
		return l.answers(s.from, s.to, s.service)
	}
	switch fate := l.dial(s.from, network, l.ip(s.to)+":"+port); fate {
	case "connected":
		return true
	case "timeout":
		return false
	case "refused":
		if s.silence == "" {
			return false // not listening yet
		}
		fallthrough
	default:
		l.t.Errorf("expect:%d: %s to %s %s: %s, want an answer or silence", s.line, s.from, s.to, s.service, fate)
		return false
	}
}

func TestParseExpect(t *testing.T) {
	steps, err := parseExpect("# comment\na b tcp/80 answer\n\n  a  b  icmp  silence  SG_INGRESS\nuncomment \"the fix\"\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []step{
		{line: 2, from: "a", to: "b", service: "tcp/80"},
		{line: 4, from: "a", to: "b", service: "icmp", silence: "SG_INGRESS"},
		{line: 5, verb: "uncomment", text: "the fix"},
	}
	if !slices.Equal(steps, want) {
		t.Errorf("got  %+v\nwant %+v", steps, want)
	}
	for _, bad := range []string{"", "a b tcp/80", "a b tcp/80 silence", "a b tcp/80 answers", "delete", "delete me"} {
		if steps, err := parseExpect(bad); err == nil {
			t.Errorf("%q is accepted: %+v", bad, steps)
		}
	}
}

func TestEditsOfExpect(t *testing.T) {
	const config = "a = 1\n  # b = 2 # fix\nc = 3\n"
	for _, c := range []struct {
		step step
		want string // "" means an error
	}{
		{step{verb: "delete", text: "a ="}, "  # b = 2 # fix\nc = 3\n"},
		{step{verb: "uncomment", text: "fix"}, "a = 1\n  b = 2 # fix\nc = 3\n"},
		{step{verb: "uncomment", text: "c ="}, ""},
		{step{verb: "delete", text: "d ="}, ""},
	} {
		got, err := c.step.apply(config)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: got %q, %v, want %q", c.step, got, err, c.want)
		}
	}
}
