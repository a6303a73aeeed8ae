package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLogs(t *testing.T) {
	root := t.TempDir()
	s := fill(t, root, "vst-one", "/lab/one.toml")
	if err := os.MkdirAll(filepath.Dir(s.instanceLog("web1")), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{s.daemonLog(): "of the switch\n", s.instanceLog("web1"): "of web1\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for args, want := range map[string]string{"logs": "of the switch\n", "logs web1": "of web1\n", "logs i-0aa": "of web1\n"} {
		got := invoke(t, root, append([]string{"--vpc", "vst-one"}, strings.Fields(args)...)...)
		if got.code != 0 || got.out != want || got.err != "" {
			t.Errorf("%s: got %+v, want %q", args, got, want)
		}
	}
}

// -F goes on as the log grows, and ends when it is removed.
func TestFollow(t *testing.T) {
	root := t.TempDir()
	s := fill(t, root, "vst-one", "/lab/one.toml")
	w, err := os.Create(s.daemonLog())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	out := &transcript{}
	c := &cli{root: root, vpc: "vst-one", out: out}
	ended := make(chan error, 1)
	go func() { ended <- c.logs("", true) }()
	for _, line := range []string{"one\n", "two\n"} {
		if _, err := w.WriteString(line); err != nil {
			t.Fatal(err)
		}
		out.await(t, line)
	}
	if err := s.clear(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("at the end: %v", err)
	}
	if got := out.String(); got != "one\ntwo\n" {
		t.Errorf("got %q", got)
	}
}

// C4: no name from outside can forge a line of the log.
func TestLogLinesCannotBeForged(t *testing.T) {
	var b bytes.Buffer
	log := (&cli{}).newLog(&b)
	log.Info("reloaded", "file", "vpc.toml\n{\"level\":\"ERROR\"}")
	if n := strings.Count(b.String(), "\n"); n != 1 {
		t.Errorf("%d lines:\n%s", n, b.String())
	}
	if !json.Valid(b.Bytes()) {
		t.Errorf("no JSON: %s", b.String())
	}
	log.Debug("secret")
	if strings.Contains(b.String(), "secret") {
		t.Error("debug lines without -v")
	}
	b.Reset()
	(&cli{verbose: true}).newLog(&b).Debug("detail")
	if !strings.Contains(b.String(), slog.LevelDebug.String()) {
		t.Errorf("-v: %s", b.String())
	}
}
