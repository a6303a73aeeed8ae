package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	vswitch "vswitch/switch"
)

// FuzzParse holds what every file must keep: Parse does not panic; an accepted
// file is accepted again with the same meaning, and can be completed; a refused
// one has all its mistakes inside the file, in file order, without control
// characters in the messages.
func FuzzParse(f *testing.F) {
	for _, dir := range []string{"ok", "bad"} {
		files, err := filepath.Glob(filepath.Join("testdata", dir, "*.toml"))
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f", data)
		if err != nil {
			checkErrors(t, data, err)
			return
		}
		again, err := Parse("f", data)
		if err != nil || !reflect.DeepEqual(c, again) {
			t.Fatalf("the second time: %v\n%+v\n%+v", err, c, again)
		}
		full, err := vswitch.Complete(c, nil)
		if err != nil {
			t.Fatalf("accepted, but cannot be completed: %v", err)
		}
		if twice, err := vswitch.Complete(full, nil); err != nil || !reflect.DeepEqual(full, twice) {
			t.Fatalf("completed twice: %v\n%+v\n%+v", err, full, twice)
		}
	})
}

// checkErrors checks the form of the errors of a file.
func checkErrors(t *testing.T, data []byte, err error) {
	t.Helper()
	var mistakes Errors
	if !errors.As(err, &mistakes) || len(mistakes) == 0 {
		t.Fatalf("got %#v, want Errors", err)
	}
	lines := bytes.Count(data, []byte("\n")) + 1
	last := position{1, 1}
	for _, e := range mistakes {
		at := position{int32(e.Line), int32(e.Column)}
		if e.Line < 1 || e.Line > lines || e.Column < 1 {
			t.Fatalf("outside the file of %d lines: %s", lines, e)
		}
		if at.line < last.line || at.line == last.line && at.column < last.column {
			t.Fatalf("out of order, after %v: %s", last, e)
		}
		last = at
		if strings.ContainsFunc(e.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Fatalf("control character: %q", e.Error())
		}
	}
}

// FuzzPositions compares the scanner with the TOML decoder: a document that the
// decoder accepts is followed to its end, has the same keys and elements to both,
// and stands where the tree says. The exception is a key that is defined twice:
// the decoder overlooks it beside a dotted key, as in "a.b = 1" and "a = 2". So is an
// empty key: the decoder loses elements of a list below one, as of "a.” = [1, [2], {}]".
// No file that is accepted has one.
func FuzzPositions(f *testing.F) {
	for _, s := range []string{
		"a = 1", "a.b . 'c' = [1, [2, 3], {x = 1, y.z = 'q'}]", "[a]\nb = \"\"\"x\"\" \"\"\"\"\"\n[[c.d]]\n[c.d.e]\n[[c.d]]",
		"\"\\u00e9\\x41\\e\" = '''\n'' '''''", "a = {\n b = 1, # c\n}\n", "d = 1979-05-27 07:32:00 # x", "\ufeffk = 'é' \r\nl = []",
		"a.b = 1\n[a.c]\nd = {}", "a = [ # x\n  'y', # ]\n]\nb = -0x1f",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, bad := badText(data); bad != "" {
			return
		}
		s, complete := scan(data)
		if s.limit != "" {
			return
		}
		value, err := decodeTOML(data[:min(len(data), s.i+tail)])
		if err != nil {
			if strings.Contains(err.Error(), "gave up") {
				t.Logf("the decoder's own mistake: %v", err)
			}
			return
		}
		if s.twice() || s.root.hasEmptyKey() {
			return
		}
		if !complete {
			t.Fatalf("stopped at byte %d: %q", s.i, data[min(s.i, len(data)):])
		}
		if err := s.root.matches(value); err != nil {
			t.Fatal(err)
		}
		checkPositions(t, data, s.root)
	})
}

// hasEmptyKey reports whether there is an empty key below n.
func (n *node) hasEmptyKey() bool {
	return slices.ContainsFunc(n.children, func(c *node) bool { return c.index == 0 && c.key == "" || c.hasEmptyKey() })
}

// checkPositions checks that every key below n stands where the tree says, and
// that every value begins as one of its shape does.
func checkPositions(t *testing.T, data []byte, n *node) {
	t.Helper()
	for _, c := range n.children {
		value := after(data, c.at)
		switch c.shape {
		case array:
			if !strings.HasPrefix(value, "[") {
				t.Fatalf("%s: a list begins with %.10q", c.path(), value)
			}
		case scalar:
			if value == "" || strings.ContainsAny(value[:1], "[]{},=# \t\r\n") {
				t.Fatalf("%s: a value begins with %.10q", c.path(), value)
			}
		}
		if key := after(data, c.keyAt); c.index == 0 && !strings.HasPrefix(key, c.key) && !strings.HasPrefix(key, "'") && !strings.HasPrefix(key, `"`) {
			t.Fatalf("%s: the key begins with %.10q", c.path(), key)
		}
		checkPositions(t, data, c)
	}
}

// after returns the rest of the line at a position.
func after(data []byte, at position) string {
	text := strings.TrimPrefix(string(data), "\ufeff")
	line := strings.Split(text, "\n")[at.line-1]
	return string([]rune(line)[at.column-1:])
}
