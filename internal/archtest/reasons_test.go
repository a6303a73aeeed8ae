package archtest

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"

	"vswitch/internal/policy"
)

// The table of reasons in ARCHITECTURE.md lists the reasons of package policy:
// all of them, nothing else, in the order in which a frame can meet them, in the
// same words.
func TestArchitectureListsEveryReason(t *testing.T) {
	var text string
	for _, f := range textFiles(t) {
		if f.name == "ARCHITECTURE.md" {
			text = string(f.text)
		}
	}
	if text == "" {
		t.Fatal("ARCHITECTURE.md is missing")
	}

	var got []string
	row := regexp.MustCompile("^\\| `([A-Z][A-Z0-9_]+)` +\\| *([^|]*?) *\\|")
	for _, line := range strings.Split(text, "\n") {
		if m := row.FindStringSubmatch(line); m != nil {
			got = append(got, m[1]+": "+m[2])
		}
	}
	var want []string
	for _, r := range policy.Reasons() {
		want = append(want, r.String()+": "+r.Sentence())
	}

	for _, line := range want {
		if !slices.Contains(got, line) {
			name, sentence, _ := strings.Cut(line, ": ")
			t.Errorf("ARCHITECTURE.md lacks the row\n| `%s` | %s |", name, sentence)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("ARCHITECTURE.md has a row that package policy does not know: %s", line)
		}
	}
	if !t.Failed() && !slices.Equal(got, want) {
		t.Errorf("the rows of ARCHITECTURE.md are in another order than policy.Reasons, or twice there:\n%s", strings.Join(got, "\n"))
	}
}

// A reason that nothing gives is a promise not kept, and one that no test names
// may never have worked. A test names a reason as a constant, or by its name in
// a Go string, in testdata or in the `expect` file of an example.
func TestEveryReasonIsGivenAndTested(t *testing.T) {
	constants := reasonConstants(t)
	reasons := policy.Reasons()
	if len(constants) != len(reasons) {
		t.Fatalf("found %d constants of type Reason in internal/policy, want %d: %v", len(constants), len(reasons), constants)
	}

	given := map[string]bool{} // constants that code other than tests uses
	var tests strings.Builder
	for _, f := range textFiles(t) {
		switch {
		case f.dir() == "internal/policy" || f.dir() == "internal/archtest":
		case f.isTest() || strings.Contains(f.name, "/testdata/") || strings.HasSuffix(f.name, "/expect"):
			tests.Write(f.text)
		case f.ast != nil:
			ast.Inspect(f.ast, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok {
					if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "policy" {
						given[sel.Sel.Name] = true
					}
				}
				return true
			})
		}
	}
	for i, name := range constants {
		if !given[name] {
			t.Errorf("nothing drops a frame with policy.%s", name)
		}
		named := regexp.MustCompile(`\bpolicy\.` + name + `\b|\b` + reasons[i].String() + `\b`)
		if !named.MatchString(tests.String()) {
			t.Errorf("no test names policy.%s", name)
		}
	}
}

// reasonConstants returns the names of the constants that policy.Reasons
// returns, in order.
func reasonConstants(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, f := range goFiles(t) {
		if f.name != "internal/policy/reason.go" {
			continue
		}
		for _, decl := range f.ast.Decls {
			consts, ok := decl.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range consts.Specs {
				value, ok := spec.(*ast.ValueSpec)
				if !ok {
					continue
				}
				for _, ident := range value.Names {
					if ident.Name != "None" && ident.Name != "NumReasons" && ident.Name != "reasons" {
						names = append(names, ident.Name)
					}
				}
			}
		}
	}
	return names
}
