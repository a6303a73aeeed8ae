package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const tinyVPC = "[vpc]\nname = \"x\"\ncidr = \"10.0.0.0/16\"\n"

func loadText(t *testing.T, text string) (File, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vpc.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return LoadFile(path)
}

// Metrics are for this machine alone (reliability row C7).
func TestMetricsAreServedOnLoopbackOnly(t *testing.T) {
	for _, c := range []struct{ address, refusal string }{
		{"127.0.0.1:9464", ""},
		{"127.8.9.10:1", ""},
		{"[::1]:65535", ""},
		{"0.0.0.0:9464", "0.0.0.0 is no loopback address"},
		{"[::]:9464", ":: is no loopback address"},
		{"192.0.2.1:9464", "192.0.2.1 is no loopback address"},
		{"[::ffff:127.0.0.1]:9464", "::ffff:127.0.0.1 is no loopback address"},
		{"[::1%lo]:9464", "is no loopback address"},
		{"127.0.0.1:0", "port 0"},
		{"127.0.0.1", "want an address and a port"},
		{"localhost:9464", "want an address and a port"},
		{":9464", "want an address and a port"},
		{"127.0.0.1:65536", "want an address and a port"},
		{"", "want an address and a port"},
	} {
		f, err := loadText(t, tinyVPC+fmt.Sprintf("[api]\nmetrics = %q\n", c.address))
		if c.refusal == "" {
			if err != nil || f.API.Metrics.String() != c.address || f.API.Line != 4 || f.VPC.VPC.Name != "x" {
				t.Errorf("%s: got %+v, %v", c.address, f.API, err)
			}
			continue
		}
		var mistakes Errors
		if !errors.As(err, &mistakes) || len(mistakes) != 1 || mistakes[0].Line != 5 || mistakes[0].Path != "api.metrics" || !strings.Contains(err.Error(), c.refusal) {
			t.Errorf("%s: got %v, want one mistake at line 5: %s", c.address, err, c.refusal)
		}
	}
}

func TestWithoutAPINothingIsServed(t *testing.T) {
	for _, text := range []string{tinyVPC, tinyVPC + "[api]\n"} {
		f, err := loadText(t, text)
		if err != nil || f.API.Metrics.IsValid() {
			t.Errorf("%q: got %+v, %v", text, f.API, err)
		}
	}
	if f, err := loadText(t, "[vpc]\n"); err == nil || f.VPC.VPC.Name != "" {
		t.Errorf("a file with a mistake: got %+v, %v", f, err)
	}
}
