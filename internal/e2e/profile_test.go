package e2e

import (
	"debug/elf"
	"debug/gosym"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// The binary holds the code of a TAP's Read and Write inside the worker's burst,
// in the place of calls through port.Device: the compiler puts it there by
// cmd/vswitch/default.pgo, as long as that fits the source. A line that comes or
// goes above such a call is enough to lose it, and nothing else would tell.
func TestProfileFits(t *testing.T) {
	inlined := linesWithin(t, binary, "vswitch/switch.(*worker).burst", "/port/tap_linux.go")
	for _, method := range []string{"Read", "Write"} {
		from, to := methodLines(t, filepath.Join("..", "..", "port", "tap_linux.go"), method)
		found := false
		for line := range inlined {
			found = found || from <= line && line <= to
		}
		if !found {
			t.Errorf("burst calls %s of a TAP through port.Device: the profile does not fit the source, run `make pgo`", method)
		}
	}
}

// linesWithin returns the lines of a source file that the code of a function of
// the binary comes from.
func linesWithin(t *testing.T, path, function, file string) map[int]bool {
	t.Helper()
	e, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	data, err := e.Section(".gopclntab").Data()
	if err != nil {
		t.Fatal(err)
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(data, e.Section(".text").Addr))
	if err != nil {
		t.Fatal(err)
	}
	f := table.LookupFunc(function)
	if f == nil {
		t.Fatalf("%s: no function %s", path, function)
	}
	lines := make(map[int]bool)
	for pc := f.Entry; pc < f.End; pc++ {
		if name, line, _ := table.PCToLine(pc); strings.HasSuffix(name, file) {
			lines[line] = true
		}
	}
	return lines
}

// methodLines returns the first and the last line of a method.
func methodLines(t *testing.T, file, name string) (int, int) {
	t.Helper()
	set := token.NewFileSet()
	source, err := parser.ParseFile(set, file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range source.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil && f.Name.Name == name {
			return set.Position(f.Pos()).Line, set.Position(f.End()).Line
		}
	}
	t.Fatalf("%s: no method %s", file, name)
	return 0, 0
}
