// Package archtest holds the tree to the rules of ARCHITECTURE.md: which package
// may import which, what has one home, and what documents and code must agree
// on. It consists of tests only.
package archtest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// module is the module's path; imports of it are the arrows that are judged.
const module = "vswitch"

// root is the top of the tree, as seen from this package.
const root = "../.."

// A file is one text file of the tree. Names are relative to the root, with
// slashes.
type file struct {
	name string
	text []byte
	ast  *ast.File // nil if it is not Go
}

// dir returns the folder of the file, which is the path of its package inside
// the module.
func (f *file) dir() string { return path.Dir(f.name) }

// isTest reports whether only `go test` compiles the file.
func (f *file) isTest() bool { return strings.HasSuffix(f.name, "_test.go") }

// imports returns the import paths of the file.
func (f *file) imports() []string {
	var paths []string
	for _, spec := range f.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // unreachable: the parser has accepted it
		}
		paths = append(paths, p)
	}
	return paths
}

// tree reads every text file below the root that git would track: not what
// `make` builds and not git's own. It reads them once.
var tree = sync.OnceValues(func() ([]*file, error) {
	var files []*file
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		rel := strings.TrimPrefix(name, root+"/")
		if d.IsDir() {
			if rel == ".git" || rel == "dist" {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || strings.HasSuffix(rel, ".prof") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if bytes.IndexByte(text, 0) >= 0 { // a binary: `make` and `go test -c` leave them
			return nil
		}
		f := &file{name: rel, text: text}
		if strings.HasSuffix(rel, ".go") && !strings.Contains(rel, "/testdata/") {
			f.ast, err = parser.ParseFile(token.NewFileSet(), rel, text, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return err
			}
		}
		files = append(files, f)
		return nil
	})
	return files, err
})

// textFiles returns all files of the tree.
func textFiles(t *testing.T) []*file {
	t.Helper()
	files, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatalf("only %d files below %s: not the root of the tree", len(files), root)
	}
	return files
}

// goFiles returns the Go files of the tree.
func goFiles(t *testing.T) []*file {
	t.Helper()
	var found []*file
	for _, f := range textFiles(t) {
		if f.ast != nil {
			found = append(found, f)
		}
	}
	return found
}
