// Package goldenfile compares what is made with files that were read and found right.
// Tests alone import it.
package goldenfile

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
)

// Update says that files are to be rewritten rather than compared with. go test
// sets it by -update.
var Update = flag.Bool("update", false, "rewrite golden files, and the parts of documents that tests write")

// Compare fails the test if a file is not to the letter what was made. With
// -update it makes the file so.
func Compare(t testing.TB, path, got string) {
	t.Helper()
	if *Update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s (go test -update rewrites it): got\n%s\nwant\n%s", path, got, want)
	}
}
