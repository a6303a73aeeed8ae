package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"vswitch/internal/api"
	"vswitch/internal/config"
	"vswitch/internal/lab"
)

// BenchmarkReload is a reload of two instances with real devices, of a file that says
// the same: it is read, checked, compiled, published and compared with the host.
func BenchmarkReload(b *testing.B) {
	if os.Geteuid() != 0 {
		if os.Getenv("VSWITCH_REQUIRE_ROOT") != "" {
			b.Fatal("not root")
		}
		b.Skip("needs root, for namespaces and TAP devices")
	}
	file := filepath.Join(b.TempDir(), "vpc.toml")
	if err := os.WriteFile(file, []byte(twoInstances), 0o600); err != nil {
		b.Fatal(err)
	}
	cfg, err := config.LoadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	s := stateDir{b.TempDir(), cfg.VPC.VPC.Name}
	if err := os.Mkdir(s.path(), 0o700); err != nil {
		b.Fatal(err)
	}
	l, err := lab.Open(s.path())
	if err != nil {
		b.Fatal(err)
	}
	d := &daemon{state: s, file: file, log: slog.New(slog.DiscardHandler), started: time.Now(), ended: make(chan struct{}), lab: l, workers: 1, events: newLookout()}
	if err := d.build(cfg.VPC); err != nil {
		b.Fatal(errors.Join(err, l.Close()))
	}
	b.Cleanup(func() {
		err := errors.Join(d.sw.Close(), d.closeFlows())
		_, downErr := l.Down()
		if err := errors.Join(err, downErr, l.Close()); err != nil {
			b.Error(err)
		}
	})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Reload(api.ReloadRequest{}); err != nil {
			b.Fatal(err)
		}
	}
}
