package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vswitch/internal/api"
)

// What up suggests for every example, and for files with nothing to explain or to
// test.
func TestNext(t *testing.T) {
	examples, err := filepath.Glob(filepath.Join("..", "..", "examples", "*", "vpc.toml"))
	if err != nil || len(examples) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	var b strings.Builder
	suggest := func(name, text string) {
		cfg := parsed(t, text)
		s := &api.Status{}
		for i := range cfg.Instances {
			s.Instances = append(s.Instances, api.Instance{Name: cfg.Instances[i].Name})
		}
		fmt.Fprintf(&b, "%s: %s\n", name, next(&cfg, s))
	}
	for _, path := range examples {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		suggest(filepath.Base(filepath.Dir(path)), string(text))
	}
	const all = `[{ proto = "tcp", ports = 8080, from = "alice" }]`
	suggest("a rule, no test", twoInstances)
	suggest("a range of ports", changed(t, twoInstances, "ports = 8080", `ports = "1024-2048"`))
	suggest("all ports", changed(t, twoInstances, all, `[{ proto = "udp", from = "alice" }]`))
	suggest("all ports, and a test", changed(t, twoInstances, all, `[{ proto = "udp", from = "alice" }]`)+"[[test]]\nname = \"names\"\nfrom = \"alice\"\nto = \"bob\"\nport = \"udp/53\"\nwant = \"allow\"\n")
	one, _, _ := strings.Cut(twoInstances, "[instance.bob]")
	suggest("one instance", one)
	suggest("none", "[vpc]\nname = \"empty\"\ncidr = \"10.9.0.0/16\"\n")
	golden(t, filepath.Join("table", "up-next"), b.String())
}
