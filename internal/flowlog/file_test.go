package flowlog

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// opened returns an open file in a folder of its own.
func opened(t *testing.T, limit int64, keep int, header string) *file {
	t.Helper()
	l := &file{path: filepath.Join(t.TempDir(), "flow.log"), limit: limit, keep: keep, header: header}
	if err := l.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// add appends lines that must be written whole.
func (l *file) add(t *testing.T, text string) {
	t.Helper()
	if n, err := l.append([]byte(text)); n != len(text) || err != nil {
		t.Fatalf("append %q: %d, %v", text, n, err)
	}
}

func TestRotation(t *testing.T) {
	l := opened(t, 10, 2, "")
	reader, err := os.Open(l.path) // as tail -F has it
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for _, line := range []string{"aaaa\n", "bbbb\n", "cccc\n", "dddd\neeee\n", "far too long\n", "ffff\n"} {
		l.add(t, line)
	}
	want(t, l.path, "ffff")
	want(t, l.path+".1", "far too long")
	want(t, l.path+".2", "dddd", "eeee")
	if _, err := os.Stat(l.path + ".3"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a third rotated file: %v", err)
	}
	text := make([]byte, 100)
	if n, _ := reader.Read(text); string(text[:n]) != "aaaa\nbbbb\n" {
		t.Errorf("who held the first file has lost it: %q", text[:n])
	}
	if info, err := os.Stat(l.path); err != nil || info.Mode().Perm()&^0o640 != 0 || info.Mode().Perm()&0o600 != 0o600 {
		t.Errorf("mode %v, %v, want 0640", info.Mode(), err)
	}
}

// Somebody else renames, removes or cuts the file: it is made anew, or goes on.
func TestRotationByOthers(t *testing.T) {
	l := opened(t, 1000, 2, "head\n")
	l.add(t, "a\n")
	if err := os.Rename(l.path, l.path+"-old"); err != nil {
		t.Fatal(err)
	}
	l.add(t, "b\n")
	want(t, l.path, "head", "b")
	if err := os.Remove(l.path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.path, nil, 0o600); err != nil { // as logrotate's create does
		t.Fatal(err)
	}
	l.add(t, "c\n")
	want(t, l.path, "head", "c")
	if err := os.Truncate(l.path, 0); err != nil { // as copytruncate does
		t.Fatal(err)
	}
	l.add(t, "d\n")
	want(t, l.path, "head", "d")
	want(t, l.path+"-old", "head", "a")
	if _, err := os.Stat(l.path + ".1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was rotated for no reason: %v", err)
	}
}

// A file of another format is moved out of the way, one of the same goes on.
func TestHeader(t *testing.T) {
	l := opened(t, 1000, 2, "version action\n")
	l.add(t, "2 ACCEPT\n")
	for _, header := range []string{"version action\n", "version action start\n"} {
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
		l.header = header
		l.add(t, "2 REJECT\n")
	}
	want(t, l.path, "version action start", "2 REJECT")
	want(t, l.path+".1", "version action", "2 ACCEPT", "2 REJECT")
}

func TestWhatIsNoLog(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(fifo, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("target", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, link, dir, filepath.Join(dir, "none", "flow.log")} {
		c := configuration(t, vswitch.FlowLog{Name: "bad", File: path})
		if k, err := New(c, noon, nil); err == nil || !strings.HasPrefix(err.Error(), "flow_log bad: ") || k != nil {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

// TestFullDisk writes to a device that is always full: every record is counted as
// lost, nobody waits, and once there is room a SKIPDATA record tells of it.
func TestFullDisk(t *testing.T) {
	spec := vswitch.FlowLog{Name: "full", File: "/dev/full", Format: []string{"packets", "log-status"}}
	failures := make(chan error, 10)
	k, err := New(configuration(t, spec), noon, func(_ string, err error) { failures <- err })
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, k: k, now: noon}
	t.Cleanup(b.close)
	b.pass(time.Second, b.seen("a1", "b1", "10.0.1.10:40000 > 10.0.2.20:22 tcp", 3, policy.None))
	b.pass(time.Minute)
	if err := <-failures; !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("told of %v", err)
	}
	if all, _ := k.Figures(); len(all) != 1 || all[0].Written != 0 || all[0].Lost != 2 || !errors.Is(all[0].Error, syscall.ENOSPC) {
		t.Errorf("figures: %+v", all)
	}
}

// A window that was lost is told of by the next one that is not.
func TestLostWindowIsToldOf(t *testing.T) {
	spec := logTo(t, "interface-id", "packets", "start", "end", "log-status")
	spec.Scope = []string{"A"}
	full := completed(t, *configuration(t, spec))
	all := interfaces(full, nil)
	failed := make(chan error, 10)
	format, err := NewFormat(spec.Format)
	if err != nil {
		t.Fatal(err)
	}
	f := &file{path: "/dev/full", limit: 1000, keep: 1}
	if err := f.open(); err != nil {
		t.Fatal(err)
	}
	w := newWriter(f, format, func(err error) { failed <- err })
	record := func(name string, n uint64, at time.Time) Record {
		return Record{Interface: all[name], Packets: n, Start: at, End: at.Add(time.Second)}
	}
	if !w.offer([]Record{record("a1", 1, noon), record("a1", 2, noon.Add(5*time.Second)), {Interface: all["a2"], Status: NoData, Start: noon, End: noon}}) {
		t.Fatal("no room for the first window")
	}
	<-failed
	f.path = spec.File // the goroutine waits for a window: nobody else looks at f
	if !w.offer([]Record{record("a1", 4, noon.Add(time.Minute))}) {
		t.Fatal("no room for the second window")
	}
	if !w.offer([]Record{record("a1", 8, noon.Add(2*time.Minute))}) { // has nothing more to tell
		t.Fatal("no room for the third window")
	}
	w.end()
	<-w.ended
	got := lines(t, spec.File)
	if len(got) != 4 {
		t.Fatalf("got %q", got)
	}
	at := func(d time.Duration) string { return decimal(noon.Add(d).Unix()) }
	for _, line := range []string{
		all["a1"].ID + " - " + at(0) + " " + at(6*time.Second) + " SKIPDATA",
		all["a2"].ID + " - " + at(0) + " " + at(0) + " SKIPDATA",
		all["a1"].ID + " 4 " + at(time.Minute) + " " + at(time.Minute+time.Second) + " OK",
	} {
		if !strings.Contains(strings.Join(got, "\n"), line) {
			t.Errorf("no line %q in\n%s", line, strings.Join(got, "\n"))
		}
	}
	if written, lost, last := w.figures(); written != 4 || lost != 2 || last != nil {
		t.Errorf("written %d, lost %d, %v", written, lost, last)
	}
}

// A writer that does not get on costs records, which are counted and told; it
// never holds up the Collector.
func TestSlowDisk(t *testing.T) {
	spec := logTo(t, "packets", "log-status")
	spec.Scope = []string{"a1"}
	b := newBench(t, configuration(t, spec))
	l := b.k.logs[0]
	blocked := l.writer
	stuck := &writer{format: blocked.format, file: blocked.file, queue: make(chan []Record, maxBatches), ended: make(chan struct{}), skipped: make(map[*Interface]span)}
	l.writer = stuck // whose goroutine does not run yet
	const windows = maxBatches + 3
	for range windows {
		b.pass(time.Minute, b.seen("a1", "", "10.0.1.10 > 10.0.2.20 47", 1, policy.SGEgress))
	}
	b.pass(time.Minute)
	if all, _ := b.k.Figures(); all[0].Lost == 0 {
		t.Errorf("nothing was lost: %+v", all)
	}
	for range maxBatches {
		stuck.window(<-stuck.queue)
	}
	go stuck.run()
	b.pass(time.Minute)
	b.close()
	blocked.end()
	<-blocked.ended
	skipped, ok := 0, 0
	for _, line := range lines(t, spec.File) {
		switch line {
		case "- SKIPDATA":
			skipped++
		case "1 OK":
			ok++
		}
	}
	if skipped != 1 || ok != maxBatches {
		t.Errorf("%d SKIPDATA and %d records, want 1 and %d:\n%q", skipped, ok, maxBatches, lines(t, spec.File))
	}
}
