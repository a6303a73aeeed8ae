package lab_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	vswitch "vswitch/switch"
)

// Whatever somebody does to the files that say how names resolve, a reload mends it,
// and one that finds them right leaves them alone.
func TestReloadMendsHostsFiles(t *testing.T) {
	requireRoot(t)
	l := open(t, stateDir(t))
	c := vpc("vst-mend", vswitch.Instance{Name: "one"})
	path := "/etc/netns/vst-mend-one/hosts"
	read := func() string {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	up(t, l, c)
	want := read()
	for _, damage := range []struct {
		what string
		do   func() error
	}{
		{"none", func() error { return nil }},
		{"an edit", func() error { return os.WriteFile(path, []byte(want+"10.9.9.9\tother\n"), 0o644) }},
		{"an edit that keeps the size", func() error { return os.WriteFile(path, []byte(strings.ReplaceAll(want, "one", "two")), 0o644) }},
		{"removed", func() error { return os.Remove(path) }},
		{"the directory removed", func() error { return os.RemoveAll(filepath.Dir(path)) }},
		{"replaced", func() error {
			return errors.Join(os.WriteFile(path+".new", []byte(strings.ToUpper(want)), 0o644), os.Rename(path+".new", path))
		}},
	} {
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := damage.do(); err != nil {
			t.Fatal(err)
		}
		up(t, l, c)
		if got := read(); got != want {
			t.Errorf("%s: the file is\n%s\nwant\n%s", damage.what, got, want)
		}
		if after, err := os.Stat(path); damage.what == "none" && (err != nil || !after.ModTime().Equal(before.ModTime()) || !os.SameFile(before, after)) {
			t.Errorf("a file that was right is another: %v", err)
		}
	}
	up(t, l, vpc("vst-mend", vswitch.Instance{Name: "one"}, vswitch.Instance{Name: "two"}))
	if got := read(); !strings.Contains(got, "\ttwo ") {
		t.Errorf("a new instance is not in the file:\n%s", got)
	}
}
