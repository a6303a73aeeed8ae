package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// explanation is the part of `explain -o json` that these tests rest on.
type explanation struct {
	Verdict    string `json:"verdict"`
	Generation uint64 `json:"generation"`
	Fixes      []struct {
		Table string `json:"table"`
		Key   string `json:"key"`
		Rule  string `json:"rule"`
	} `json:"fixes"`
}

// explain asks the lab.
func (l *lab) explain(src, dst, service string) explanation {
	l.t.Helper()
	var e explanation
	text := l.must("explain", src, dst, service, "-o", "json")
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		l.t.Fatalf("explain: %v\n%s", err, text)
	}
	return e
}

// twoTier returns the two-tier example, without the line that says "delete me".
func twoTier(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(examples, "two-tier/vpc.toml"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := step{verb: "delete", text: "delete me"}.apply(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// What is explained is what kernels meet: before the fixes and, once these are in
// the file, after them.
func TestExplainAgreesWithKernels(t *testing.T) {
	t.Parallel()
	l := startLab(t, twoTier(t))
	for _, c := range []struct{ src, dst, service string }{
		{"app1", "db1", "tcp/5432"},
		{"web1", "app1", "tcp/8080"}, // the reply is denied
		{"web2", "app1", "tcp/8080"}, // a network ACL denies the request
		{"db1", "web1", "tcp/443"},   // a security group does
		{"app1", "web2", "icmp"},
	} {
		e := l.explain(c.src, c.dst, c.service)
		if passes := l.answers(c.src, c.dst, c.service); passes != (e.Verdict == "allow") {
			t.Errorf("%v: answers %v, explained %+v", c, passes, e)
		}
		if e.Verdict == "allow" {
			continue
		}
		for _, f := range e.Fixes {
			l.paste(f.Table, f.Key, f.Rule)
		}
		l.must("reload")
		after := l.explain(c.src, c.dst, c.service)
		if after.Verdict != "allow" || after.Generation != e.Generation+1 || !l.answers(c.src, c.dst, c.service) {
			t.Errorf("%v: with %+v: %+v, or no answer", c, e.Fixes, after)
		}
	}
}

// paste adds a rule to a list of the lab's file.
func (l *lab) paste(table, key, rule string) {
	l.t.Helper()
	text := l.config()
	before, section, found := strings.Cut(text, "\n["+table+"]\n")
	at := regexp.MustCompile(`(?m)^` + key + ` *= *\[`).FindStringIndex(section)
	if !found || at == nil {
		l.t.Fatalf("the file has no list %s in %s", key, table)
	}
	l.write(before + "\n[" + table + "]\n" + section[:at[1]] + rule + ", " + section[at[1]:])
}

// Explain speaks of what runs, and says so when the file is another by now; when
// nothing runs, of the file.
func TestExplainSpeaksOfWhatRuns(t *testing.T) {
	t.Parallel()
	l := newLab(t, twoTier(t))
	if e := l.explain("web1", "app1", "tcp/8080"); e.Verdict != "deny" || e.Generation != 0 {
		t.Errorf("before up: %+v", e)
	}
	l.must("up")
	r := l.try("explain", "web1", "app1", "tcp/8080", "--exit-code")
	if r.code != 4 || r.stderr != "" || !strings.Contains(r.stdout, "(generation 1)") {
		t.Errorf("want exit code 4 and no note:\n%v", r)
	}
	l.paste("nacl.private", "egress", `{ rule = 100, action = "allow", proto = "tcp", ports = "1024-65535", to = "10.0.1.0/24" }`)
	r = l.try("explain", "web1", "app1", "tcp/8080", "--exit-code")
	if r.code != 4 || !strings.Contains(r.stderr, "the file differs in 1 object") {
		t.Errorf("want exit code 4 and a note on the file:\n%v", r)
	}
	l.write("[vpc")
	if r = l.try("explain", "web1", "app1", "tcp/8080", "--exit-code"); r.code != 4 || !strings.Contains(r.stderr, "cannot be compared") {
		t.Errorf("with a broken file, want exit code 4 and a note:\n%v", r)
	}
	if r = l.try("explain", "web1", "ap1", "tcp/8080"); r.code != 2 || !strings.Contains(r.stderr, `did you mean "app1"?`) {
		t.Errorf("want exit code 2 and the nearest name:\n%v", r)
	}
}

// The story on the first screen of the README works as it is printed: each command
// prints what is below it. A line "..." stands for any others, and a client's port
// for any port.
func TestReadmeStory(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(readme), "```console\n$ ")
	story, _, closed := strings.Cut(rest, "```\n")
	where, script, entered := strings.Cut(story, "\n")
	folder := regexp.MustCompile(`cd (examples/[a-z-]+)`).FindStringSubmatch(where)
	if !found || !closed || !entered || folder == nil {
		t.Fatalf("the README has no story, or it enters no example:\n%s", story)
	}
	config, err := os.ReadFile(filepath.Join("../..", folder[1], "vpc.toml"))
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, string(config))
	bin := t.TempDir()
	if err := os.Symlink(binary, filepath.Join(bin, "vswitch")); err != nil {
		t.Fatal(err)
	}
	commands := 0
	for _, part := range strings.Split("\n"+script, "\n# ")[1:] {
		command, want, _ := strings.Cut(part, "\n")
		commands++
		cmd := exec.Command("sh", "-c", command)
		cmd.Dir = filepath.Dir(l.file)
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		r := finish(t, cmd)
		if got := r.stdout + r.stderr; !printed(got, want) {
			t.Fatalf("# %s\nprints (exit code %d)\n%s, want\n%s", command, r.code, got, want)
		}
	}
	if commands < 5 || !strings.Contains(script, "explain") || !strings.Contains(script, "curl") {
		t.Errorf("that is no story:\n%s", script)
	}
}

// clientPort matches the port that a kernel has picked for a client.
var clientPort = regexp.MustCompile(`:[3-6]\d{4}\b`)

// printed reports whether a command printed what the README shows.
func printed(got, want string) bool {
	pattern := regexp.QuoteMeta(clientPort.ReplaceAllString(strings.TrimSpace(want), ":PORT"))
	pattern = strings.ReplaceAll(pattern, `\.\.\.`, `[\s\S]*`)
	if want == "" {
		return true // of a command that is shown without output
	}
	return regexp.MustCompile(`^` + pattern + `$`).MatchString(strings.TrimSpace(clientPort.ReplaceAllString(got, ":PORT")))
}
