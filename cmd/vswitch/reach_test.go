package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// exampleFile copies an example's vpc.toml into a folder of its own, from where
// commands are to run, without the lines that contain one of the texts.
func exampleFile(t *testing.T, name string, without ...string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testdata, "../../../examples", name, "vpc.toml"))
	if err != nil {
		t.Fatal(err)
	}
	var kept strings.Builder
	for line := range strings.Lines(string(text)) {
		drop := false
		for _, w := range without {
			drop = drop || strings.Contains(line, w)
		}
		if !drop {
			kept.WriteString(line)
		}
	}
	if len(without) > 0 && kept.Len() == len(text) {
		t.Fatalf("example %s: no line contains any of %q", name, without)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "vpc.toml"), []byte(kept.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	t.Setenv("VSWITCH_FILE", "")
}

func TestReach(t *testing.T) {
	exampleFile(t, "two-tier", "delete me")
	for _, c := range []struct {
		golden string
		args   []string
	}{
		{"list", nil},
		{"matrix", []string{"--matrix"}},
		{"row", []string{"--matrix", "web1"}},
		{"json", []string{"-o", "json"}},
		{"jsonl", []string{"web1", "app1", "-o", "jsonl"}},
		{"csv", []string{"-o", "csv"}},
		{"matrix-csv", []string{"--matrix", "-o", "csv"}},
		{"nothing", []string{"db1"}},
	} {
		got := invoke(t, t.TempDir(), append([]string{"reach"}, c.args...)...)
		legend := strings.HasPrefix(got.err, "~ partial: ") // of what a table marks so
		if got.code != exitOK || legend != (c.golden == "matrix" || c.golden == "row") || !legend && got.err != "" {
			t.Errorf("reach %v: exit code %d, %q", c.args, got.code, got.err)
		}
		golden(t, filepath.Join("reach", c.golden), got.out)
	}
	if got := invoke(t, t.TempDir(), "reach", "web1", "web2"); got.out != "web1 does not reach web2\n" {
		t.Errorf("reach web1 web2: %q", got.out)
	}
	if got := invoke(t, t.TempDir(), "rules", "--shadowed"); got.code != exitOK || got.out != "no rule is shadowed\n" {
		t.Errorf("rules --shadowed: exit code %d, %q", got.code, got.out)
	}
	if got := invoke(t, t.TempDir(), "reach", "web3"); got.code != exitUsage || !strings.Contains(got.err, `did you mean "web1"?`) {
		t.Errorf("reach web3: exit code %d, %s", got.code, got.err)
	}
}
