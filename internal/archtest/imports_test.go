package archtest

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// layers is the order of the packages, lowest first. A package imports packages
// of lower layers only; those of one layer never know each other. In particular
// filter, nacl, conntrack and port are composed by switch and by nobody else.
//
// Test doubles are not listed: the package of doubles for x is x/xtest (port
// and port/porttest) and stands half a layer above x.
var layers = [][]string{
	{"internal/policy", "internal/event", "internal/goldenfile"},
	{"internal/wire", "internal/classify", "internal/mapped"},
	{"conntrack", "filter", "nacl", "port", "internal/cover"},
	{"switch"},
	{"internal/graph", "internal/lint", "internal/plan"},
	{"internal/account", "internal/api", "internal/capture", "internal/config", "internal/flowlog", "internal/lab"},
	{"internal/metrics", "internal/explain"},
	{"internal/expect", "internal/reach"},
	{"cmd/vswitch", "bench/peers"},
	{"internal/archtest", "internal/e2e"},
}

// homes names, for third-party packages that have one home, the folder that
// alone may import them, and whether a single file of it does. Tests are free to
// use the former: they stand on the other side of what they test. So is
// bench/peers, which measures the product from outside.
var homes = []struct {
	imported, folder string
	oneFile          bool
}{
	{"github.com/cilium/ebpf", "port", false},                        // it steers packets to queues, and filters nothing
	{"github.com/songgao/water", "port", true},                       // its descriptors need mending in one place
	{"github.com/vishvananda/netns", "internal/lab", true},           // whoever enters a namespace locks its thread
	{"github.com/vishvananda/netlink", "internal/lab", false},        // links, addresses and routes
	{"github.com/BurntSushi/toml", "internal/config", false},         // a file is one source of a desired state, not the only one
	{"gvisor.dev/gvisor/pkg/tcpip/header", "internal/wire", false},   // one parser
	{"gvisor.dev/gvisor/pkg/tcpip/checksum", "internal/wire", false}, // likewise
	{"github.com/spf13/cobra", "cmd/vswitch", false},                 // the library has no command line,
	{"github.com/coreos/go-systemd/v22", "cmd/vswitch", false},       // no service manager,
	{"golang.org/x/term", "cmd/vswitch", false},                      // and no terminal
	{"charm.land", "cmd/vswitch", false},                             // likewise
	{"github.com/prometheus", "internal/metrics", false},             // counters are plain numbers to everybody else
}

// height returns where a package of the module stands: ten times its layer, and
// five more for test doubles. It reports false for a package that layers does
// not know.
func height(pkg string) (int, bool) {
	double := 0
	if isDouble(pkg) {
		pkg, double = path.Dir(pkg), 5
	}
	for i, layer := range layers {
		if slices.Contains(layer, pkg) {
			return 10*i + double, true
		}
	}
	return 0, false
}

// isDouble reports whether pkg holds test doubles for the package above it.
func isDouble(pkg string) bool {
	parent := path.Dir(pkg)
	return parent != "." && path.Base(pkg) == path.Base(parent)+"test"
}

// mayImport reports whether an import is an arrow down. Tests may also use
// doubles, of their own package or of one that they might import.
func mayImport(from, to string, test bool) bool {
	a, _ := height(from)
	b, known := height(to)
	switch {
	case !known:
		return false
	case test && from == to: // the external tests of a package
		return true
	case test && isDouble(to):
		return from == path.Dir(to) || b-5 < a
	case isDouble(to):
		return isDouble(from) && b < a
	}
	return b < a
}

func TestImportsPointDown(t *testing.T) {
	for _, f := range goFiles(t) {
		if _, known := height(f.dir()); !known {
			t.Errorf("%s: package %s has no layer: give it one in imports_test.go", f.name, f.dir())
			continue
		}
		for _, imported := range f.imports() {
			to, ours := strings.CutPrefix(imported, module+"/")
			if ours && !mayImport(f.dir(), to, f.isTest()) {
				t.Errorf("%s imports %s, which is not below it", f.name, to)
			}
		}
	}
}

// The rules themselves, one line a case, so that a slip in mayImport shows.
func TestMayImport(t *testing.T) {
	for _, c := range []struct {
		from, to string
		test     bool
		want     bool
	}{
		{"filter", "internal/policy", false, true},
		{"internal/classify", "internal/policy", false, true},
		{"internal/classify", "internal/wire", false, false},
		{"filter", "nacl", false, false},
		{"filter", "conntrack", true, false},
		{"port", "switch", false, false},
		{"switch", "port", false, true},
		{"switch", "internal/lab", false, false},
		{"internal/lab", "internal/config", false, false},
		{"cmd/vswitch", "internal/lab", false, true},
		{"internal/lab", "cmd/vswitch", false, false},
		{"port/porttest", "port", false, true},
		{"port", "port/porttest", false, false},
		{"port", "port/porttest", true, true},
		{"switch", "port/porttest", true, true},
		{"switch", "port/porttest", false, false},
		{"port/porttest", "internal/wire/wiretest", false, true},
		{"conntrack", "port/porttest", true, false},
		{"conntrack", "internal/wire/wiretest", true, true},
		{"switch", "switch", true, true},
		{"switch", "internal/util", false, false},
	} {
		if got := mayImport(c.from, c.to, c.test); got != c.want {
			t.Errorf("mayImport(%s, %s, test %v) = %v, want %v", c.from, c.to, c.test, got, c.want)
		}
	}
}

func TestThirdPartyPackagesHaveOneHome(t *testing.T) {
	for _, home := range homes {
		var importers []string
		for _, f := range goFiles(t) {
			if (f.isTest() || f.dir() == "bench/peers") && !home.oneFile {
				continue
			}
			for _, p := range f.imports() {
				if p != home.imported && !strings.HasPrefix(p, home.imported+"/") {
					continue
				}
				importers = append(importers, f.name)
				if f.dir() != home.folder && !strings.HasPrefix(f.dir(), home.folder+"/") {
					t.Errorf("%s imports %s, whose home is %s", f.name, p, home.folder)
				}
			}
		}
		if home.oneFile && len(importers) > 1 {
			t.Errorf("%s is imported by %v, want one file", home.imported, importers)
		}
	}
}
