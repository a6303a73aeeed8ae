package lab_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	vswitch "vswitch/switch"
)

// A change of nothing in the lab leaves the journal's file alone; one that is gone or
// tells of less is written anew.
func TestJournalIsWrittenForAReason(t *testing.T) {
	requireRoot(t)
	dir := stateDir(t)
	l := open(t, dir)
	one := vswitch.Instance{Name: "one"}
	number := func() uint64 {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(dir, "journal.json"), &st); err != nil {
			t.Fatal(err)
		}
		return st.Ino
	}
	up(t, l, vpc("vst-journal", one))
	first, err := os.Open(filepath.Join(dir, "journal.json")) // so that its number is not given out again
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	written := number()
	up(t, l, vpc("vst-journal", one))
	if number() != written {
		t.Error("the journal was written again, and nothing had changed")
	}
	if err := os.Remove(filepath.Join(dir, "journal.json")); err != nil {
		t.Fatal(err)
	}
	up(t, l, vpc("vst-journal", one))
	if number() == written {
		t.Error("not a new file")
	}
	up(t, l, vpc("vst-journal", one, vswitch.Instance{Name: "two"}))
	if data, err := os.ReadFile(filepath.Join(dir, "journal.json")); err != nil || !bytes.Contains(data, []byte("vst-journal-two")) {
		t.Errorf("the journal says %s, %v", data, err)
	}
}
