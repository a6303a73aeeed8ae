package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"vswitch/internal/lint"
)

// lintFiles are the files whose findings are golden, by name without ".toml".
func lintFiles(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(testdata, "lint", "*.toml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files: %v", err)
	}
	files := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimSuffix(filepath.Base(path), ".toml")] = string(text)
	}
	return files
}

// Every kind of finding is in a golden file, and the file "clean" has none.
func TestLint(t *testing.T) {
	seen := map[string]bool{}
	for name, text := range lintFiles(t) {
		write(t, "vpc.toml", text)
		got := invoke(t, "", "check", "--lint")
		if got.code != exitOK || got.err != "" {
			t.Errorf("%s: exit code %d, want 0; stderr %q", name, got.code, got.err)
		}
		golden(t, "lint/"+name, got.out)
		var result checkResult
		if err := json.Unmarshal([]byte(invoke(t, "", "check", "--lint", "-j").out), &result); err != nil || result.Findings == nil {
			t.Fatalf("%s: no findings in the JSON: %v", name, err)
		}
		for _, f := range *result.Findings {
			seen[f.Code] = true
		}
		want := exitUsage
		if name == "clean" {
			want = exitOK
		}
		if got := invoke(t, "", "check", "--strict"); got.code != want || got.err != "" || (len(*result.Findings) == 0) != (want == exitOK) {
			t.Errorf("%s: --strict: exit code %d, want %d; stderr %q", name, got.code, want, got.err)
		}
	}
	for _, code := range lint.Codes {
		if !seen[string(code)] {
			t.Errorf("no golden file has %s", code)
		}
		delete(seen, string(code))
	}
	for code := range seen {
		t.Errorf("lint.Codes does not have %s", code)
	}
}

func TestLintJSON(t *testing.T) {
	write(t, "vpc.toml", lintFiles(t)["acl-redundant"])
	golden(t, "lint/json", invoke(t, "", "check", "--lint", "-o", "json").out)
	write(t, "vpc.toml", lintFiles(t)["clean"])
	if got := invoke(t, "", "check", "--lint", "-o", "json").out; !strings.Contains(got, `"findings": []`) {
		t.Errorf("a clean file has no empty list of findings: %s", got)
	}
	if got := invoke(t, "", "check", "-o", "json").out; strings.Contains(got, "findings") {
		t.Errorf("findings that nobody asked for: %s", got)
	}
}

// A file with mistakes is told its mistakes, and nothing else.
func TestLintOfABadFile(t *testing.T) {
	write(t, "vpc.toml", strings.ReplaceAll(twoInstances, `subnet = "main"`, `subnet = "mian"`))
	for _, flag := range []string{"--lint", "--strict"} {
		if got := invoke(t, "", "check", flag); got.code != exitUsage || got.out != "" || !strings.Contains(got.err, "no subnet") {
			t.Errorf("%s: got %+v", flag, got)
		}
	}
}

// The advice for replies, pasted into the file, ends the finding.
func TestLintAdvicePasted(t *testing.T) {
	const name = "acl-no-reply"
	text := lintFiles(t)[name]
	advice := regexp.MustCompile(`^add to (nacl\.\w+) (ingress|egress):  (\{ .* \})$`)
	findings := func(text string) []finding {
		write(t, "vpc.toml", text)
		var result checkResult
		if err := json.Unmarshal([]byte(invoke(t, "", "check", "--lint", "-j").out), &result); err != nil || result.Findings == nil {
			t.Fatalf("no findings: %v", err)
		}
		return slices.DeleteFunc(*result.Findings, func(f finding) bool { return f.Code != name })
	}
	before := findings(text)
	if len(before) < 3 {
		t.Fatalf("%d findings, want several", len(before))
	}
	for _, f := range before {
		m := advice.FindStringSubmatch(f.Advice)
		if m == nil {
			t.Errorf("%s: no rule to paste: %q", f.Object, f.Advice)
			continue
		}
		table := strings.Index(text, "\n["+m[1]+"]")
		list := table + strings.Index(text[table:], "\n"+m[2]+" ")
		open := list + strings.Index(text[list:], "[") + 1
		for _, left := range findings(text[:open] + m[3] + "," + text[open:]) {
			if left.Object == f.Object {
				t.Errorf("%s: the advice does not help: %s\nthen: %s", f.Object, f.Advice, left.Message)
			}
		}
	}
}

// docs/lint.md explains every code, in the order of lint.Codes, and no other; and
// every field of a finding in JSON.
func TestLintDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/lint.md")
	if err != nil {
		t.Fatal(err)
	}
	codes, fields, _ := strings.Cut(string(text), "\n## As JSON\n")
	for i := range reflect.TypeFor[finding]().NumField() {
		name, _, _ := strings.Cut(reflect.TypeFor[finding]().Field(i).Tag.Get("json"), ",")
		if !strings.Contains(fields, "| `"+name+"` |") {
			t.Errorf("docs/lint.md has no row for the field %s", name)
		}
	}
	var rows []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(codes, -1) {
		rows = append(rows, m[1])
	}
	var want []string
	for _, code := range lint.Codes {
		want = append(want, string(code))
	}
	if !slices.Equal(rows, want) {
		t.Errorf("docs/lint.md has rows for %v, want %v", rows, want)
	}
}

// What the examples mean, they mean; where lint finds something, they say so.
func TestLintOfTheExamples(t *testing.T) {
	want := map[string]string{
		"nacl-ephemeral-ports": "acl-no-reply nacl.servers ingress 100",
		"two-tier":             "prefix-list-unused prefix_list.office",
	}
	paths, err := filepath.Glob("../../examples/*/vpc.toml")
	if err != nil || len(paths) < 4 {
		t.Fatalf("examples %v: %v", paths, err)
	}
	for _, path := range paths {
		var result checkResult
		got := invoke(t, "", "check", "--lint", "-j", "-f", path)
		if err := json.Unmarshal([]byte(got.out), &result); err != nil || result.Findings == nil {
			t.Errorf("%s: %+v: %v", path, got, err)
			continue
		}
		var found []string
		for _, f := range *result.Findings {
			found = append(found, f.Code+" "+f.Object)
		}
		name := filepath.Base(filepath.Dir(path))
		if strings.Join(found, "; ") != want[name] {
			t.Errorf("example %s: got %q, want %q", name, found, want[name])
		}
	}
}
