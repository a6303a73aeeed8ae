// Package e2e drives the built binary: real TAPs, real namespaces, real kernels
// at both ends (ring 4). It runs every folder of examples/, and shows one by one
// what `up`, `reload`, `exec` and `down` promise. It consists of tests only.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binary is the absolute path of the vswitch under test.
var binary string

// TestMain builds the binary, unless $VSWITCH_BINARY names one. Called as
// `e2e.test inside PROGRAM ...` it is one of the programs that tests run inside
// an instance (inside_test.go).
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "inside" {
		os.Exit(inside(os.Args[2], os.Args[3:]))
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	// What the tests start must not inherit the tester's choice of a lab.
	os.Unsetenv("VSWITCH_FILE")

	if binary = os.Getenv("VSWITCH_BINARY"); binary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "vst-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "vswitch")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "vswitch/cmd/vswitch")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "e2e: %v: %v\n%s", build.Args, err, out)
		return 1
	}
	return m.Run()
}

// needRoot skips the test without root, or fails it where VSWITCH_REQUIRE_ROOT
// says that there ought to be root.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("VSWITCH_REQUIRE_ROOT") == "1" {
		t.Fatal("VSWITCH_REQUIRE_ROOT=1, but this is not root")
	}
	t.Skip("NOT TESTED: making namespaces needs root")
}
