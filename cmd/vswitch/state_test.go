package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"vswitch/internal/api"
)

// fill makes the state directory of a VPC whose switch was killed.
func fill(t *testing.T, root, vpc, file string) stateDir {
	t.Helper()
	s := stateDir{root, vpc}
	if err := os.MkdirAll(s.path(), 0o700); err != nil {
		t.Fatal(err)
	}
	r := record{VPC: vpc, File: file, PID: 1, Instances: []recordInstance{
		{"web1", "i-0aa", "eni-0aa", "10.0.1.10", vpc + "-web1"},
		{"app1", "i-0bb", "eni-0bb", "10.0.2.10", vpc + "-app1"},
	}}
	if err := r.write(s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRecord(t *testing.T) {
	s := fill(t, t.TempDir(), "vst-one", "/lab/one.toml")
	r, err := readRecord(s)
	if err != nil || r.File != "/lab/one.toml" || len(r.Instances) != 2 {
		t.Fatalf("got %+v, %v", r, err)
	}
	info, err := os.Stat(s.record())
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("record: %v, %v; want mode 0600", info.Mode(), err)
	}
	if _, err := readRecord(stateDir{s.root, "vst-none"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no record: %v", err)
	}
	if err := s.clear(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(s.path()); err != nil || len(left) != 0 {
		t.Errorf("clear leaves %v, %v", left, err)
	}
}

// Names, i-... and eni-... all lead to an instance; addresses are destinations.
func TestNamesOfInstances(t *testing.T) {
	r, err := readRecord(fill(t, t.TempDir(), "vst-one", "/lab/one.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, instance, destination, err string }{
		{"web1", "web1", "web1 10.0.1.10", ""},
		{"i-0bb", "app1", "app1 10.0.2.10", ""},
		{"eni-0bb", "app1", "app1 10.0.2.10", ""},
		{"10.0.1.10", "", "web1 10.0.1.10", ""},
		{"10.0.1.1", "", "10.0.1.1 10.0.1.1", ""},
		{"wbe1", "", "", `no instance "wbe1" in VPC vst-one (did you mean "web1"?)`},
		{"unlike", "", "", `no instance "unlike" in VPC vst-one`},
		{"", "", "", `no instance "" in VPC vst-one`},
	} {
		in, err := r.instance(c.name)
		if in.Name != c.instance || c.err != "" && (err == nil || err.Error() != c.err) {
			t.Errorf("instance %q: got %q, %v; want %q, %s", c.name, in.Name, err, c.instance, c.err)
		}
		to, err := r.destination(c.name)
		if c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("destination %q: %v, want %s", c.name, err, c.err)
			}
		} else if got := to.name + " " + to.ip.String(); err != nil || got != c.destination {
			t.Errorf("destination %q: got %s, %v; want %s", c.name, got, err, c.destination)
		}
	}
}

// Which VPC a command means.
func TestTarget(t *testing.T) {
	type lab struct{ vpc, file string }
	here := "HERE/vpc.toml" // HERE stands for the current directory
	for _, c := range []struct {
		name    string
		running []lab
		local   string // ./vpc.toml, "" for none
		cli     cli
		purpose purpose
		want    string
		err     string
	}{
		{"nothing runs", nil, "", cli{}, toRead, "", "not running"},
		{"the only one", []lab{{"vst-a", "/a"}}, "", cli{}, toRead, "vst-a", ""},
		{"the only one, to change it", []lab{{"vst-a", "/a"}}, "", cli{}, toChange, "vst-a", ""},
		{"one of two", []lab{{"vst-a", "/a"}, {"vst-b", "/b"}}, "", cli{}, toRead, "", "several VPCs run here"},
		{"by name", []lab{{"vst-a", "/a"}, {"vst-b", "/b"}}, "", cli{vpc: "vst-b"}, toRead, "vst-b", ""},
		{"by name, not running", nil, "", cli{vpc: "vst-b"}, toRead, "vst-b", ""},
		{"by name, whatever the file", []lab{{"vst-a", "/a"}}, "broken", cli{vpc: "vst-b"}, toChange, "vst-b", ""},
		{"the file here", []lab{{"vst-a", "/a"}, {"vst-unit", "/b"}}, twoInstances, cli{}, toRead, "vst-unit", ""},
		{"the file here was used, and is broken now", []lab{{"vst-a", "/a"}, {"vst-b", here}}, "broken", cli{}, toChange, "vst-b", ""},
		{"the file here was used, and is gone", []lab{{"vst-a", "/a"}, {"vst-b", here}}, "", cli{}, toChange, "vst-b", ""},
		{"the file here does not run: read the other", []lab{{"vst-a", "/a"}}, twoInstances, cli{}, toRead, "vst-a", ""},
		{"the file here does not run: spare the other", []lab{{"vst-a", "/a"}}, twoInstances, cli{}, toChange, "vst-unit", ""},
		{"the file here is broken: read the other", []lab{{"vst-a", "/a"}}, "broken", cli{}, toRead, "vst-a", ""},
		{"the file here is broken: spare the other", []lab{{"vst-a", "/a"}}, "broken", cli{}, toChange, "", "vpc.toml:1:"},
		{"-f does not run", []lab{{"vst-a", "/a"}}, twoInstances, cli{file: "vpc.toml"}, toRead, "vst-unit", ""},
		{"-f is broken", []lab{{"vst-a", "/a"}}, "broken", cli{file: "vpc.toml"}, toRead, "", "vpc.toml:1:"},
		{"-f was used, and is gone", []lab{{"vst-b", here}}, "", cli{file: "vpc.toml"}, toRead, "vst-b", ""},
		{"-f is not there", []lab{{"vst-a", "/a"}}, "", cli{file: "none.toml"}, toRead, "", "none.toml: no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			if c.local != "" {
				if err := os.WriteFile("vpc.toml", []byte(c.local), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			c.cli.root = t.TempDir()
			for _, l := range c.running {
				fill(t, c.cli.root, l.vpc, strings.Replace(l.file, "HERE", dir, 1))
			}
			got, err := c.cli.target(c.purpose)
			if got.vpc != c.want && err == nil || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %q, %v; want %q, %s", got.vpc, err, c.want, c.err)
			}
		})
	}
}

// Whoever reads of another VPC than that of the file here is told so.
func TestAnotherVPCIsNamed(t *testing.T) {
	const note = "note: this is about VPC vst-a; vpc.toml describes VPC vst-unit, which does not run\n"
	for _, c := range []struct{ running, file, args, want string }{
		{"vst-a", "/a", "why", note},
		{"vst-a", "/a", "why -q", ""},
		{"vst-a", "/a", "why --vpc vst-a", ""},
		{"vst-a", "vpc.toml", "why", ""}, // it had that name when it was built
		{"vst-unit", "/a", "why", ""},
	} {
		dir, root := t.TempDir(), t.TempDir()
		t.Chdir(dir)
		t.Setenv("VSWITCH_FILE", "")
		if err := os.WriteFile("vpc.toml", []byte(twoInstances), 0o644); err != nil {
			t.Fatal(err)
		}
		file := c.file
		if file == "vpc.toml" {
			file = filepath.Join(dir, file)
		}
		fill(t, root, c.running, file)
		got := invoke(t, root, strings.Fields(c.args)...)
		if said, _, _ := strings.Cut(got.err, "vswitch: "); said != c.want {
			t.Errorf("%s of %s, built from %s: says %q, want %q", c.args, c.running, c.file, got.err, c.want)
		}
	}
}

func TestWithoutARuntimeDirectory(t *testing.T) {
	c := &cli{}
	if _, err := c.target(toRead); err == nil || !strings.Contains(err.Error(), "XDG_RUNTIME_DIR is not set") {
		t.Errorf("got %v", err)
	}
}

// Operations on one VPC queue up, and leave no lock behind without a VPC.
func TestOperationsQueue(t *testing.T) {
	s := stateDir{filepath.Join(t.TempDir(), "vswitch"), "vst-one"}
	nobody := func() error { t.Error("waits for nobody"); return nil }
	first, err := s.begin(context.Background(), nobody)
	if err != nil {
		t.Fatal(err)
	}
	waits := make(chan struct{})
	second := make(chan *operation)
	go func() {
		o, err := s.begin(context.Background(), func() error { close(waits); return nil })
		if err != nil {
			t.Error(err)
		}
		second <- o
	}()
	<-waits
	first.end() // removes the lock's file, for there is no state directory
	o := <-second
	if !leadsTo(s.operationLock(), o.lock) {
		t.Error("the second operation holds a lock that nobody else would find")
	}
	busy := errors.New("busy")
	if _, err := s.begin(context.Background(), func() error { return busy }); !errors.Is(err, busy) {
		t.Errorf("a third operation: %v, want %v", err, busy)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.begin(ctx, func() error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("an operation that was called off: %v, want %v", err, context.Canceled)
	}
	o.end()
	o.end()
	if left, err := os.ReadDir(s.root); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// C3: nobody else may be able to write where our state goes.
func TestStateRootOfOthersIsRefused(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{open, link} {
		if _, err := (stateDir{root, "vst-one"}).begin(context.Background(), func() error { return nil }); err == nil || !strings.Contains(err.Error(), "must be a directory of user") {
			t.Errorf("%s: %v", filepath.Base(root), err)
		}
	}
}

func TestRunner(t *testing.T) {
	s := fill(t, t.TempDir(), "vst-one", "/lab/one.toml")
	if r, err := s.runner(); r != nil || err != nil {
		t.Errorf("without a lock: %v, %v", r, err)
	}
	process := exec.Command("cat") // until its input ends
	input, err := process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(s.daemonLock())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, err := lock.WriteString(strconv.Itoa(process.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	if r, err := s.runner(); r != nil || err != nil {
		t.Errorf("a lock that nobody holds: %v, %v", r, err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	r, err := s.runner()
	if err != nil || r == nil || r.pid != process.Process.Pid {
		t.Fatalf("got %v, %v; want process %d", r, err, process.Process.Pid)
	}
	again, err := s.runner()
	if err != nil {
		t.Fatal(err)
	}
	if err := again.await(10 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "has not ended") {
		t.Errorf("await of one that lives: %v", err)
	}
	input.Close()
	if err := r.await(10 * time.Second); err != nil {
		t.Errorf("await of one that ends: %v", err)
	}
	if err := process.Wait(); err != nil {
		t.Error(err)
	}
}

func TestReadiness(t *testing.T) {
	for _, c := range []struct {
		name   string
		tell   func(r *readiness) error
		status string // the VPC of the status that up gets
		err    string
		code   int // of up
		own    int // of the daemon
	}{
		{"forwards", func(r *readiness) error { r.tell(api.Status{VPC: "vst-one"}); return r.end(nil) }, "vst-one", "", 0, 0},
		{"fails later", func(r *readiness) error { r.tell(api.Status{VPC: "vst-one"}); return r.end(errors.New("late")) }, "vst-one", "", 0, 1},
		{"fails", func(r *readiness) error { return r.end(errors.New("no TAP")) }, "", "no TAP", 1, 1},
		{"bad file", func(r *readiness) error {
			return r.end(&api.Error{Kind: api.KindConfiguration, Message: "vpc.toml:1:1: x"})
		}, "", "vpc.toml:1:1: x", 2, 2},
		{"wrong flag", func(r *readiness) error { return r.end(usagef("no such thing")) }, "", "no such thing", 2, 2},
		{"dies", func(r *readiness) error { return r.pipe.Close() }, "", errDied.Error(), 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			reader, writer, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			own := c.tell(&readiness{pipe: writer})
			if got := exitCode(own); got != c.own {
				t.Errorf("the daemon's exit code %d, want %d", got, c.own)
			}
			status, err := await(reader)
			if status.VPC != c.status || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err || exitCode(err) != c.code {
				t.Errorf("up got %q, %v (exit code %d); want %q, %s (%d)", status.VPC, err, exitCode(err), c.status, c.err, c.code)
			}
		})
	}
}

// The flag of run that is for up is of no use to anybody else.
func TestReadinessNeedsAPipe(t *testing.T) {
	f, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, fd := range []int{int(f.Fd()), -1} {
		if _, err := openReadiness(fd); exitCode(err) != exitUsage {
			t.Errorf("descriptor %d: %v", fd, err)
		}
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	fd, err := unix.FcntlInt(writer.Fd(), unix.F_DUPFD, 0) // as up leaves it: not closed on exec
	if err != nil {
		t.Fatal(err)
	}
	writer.Close()
	r, err := openReadiness(fd)
	if err != nil {
		t.Fatal(err)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("the commands of the instances would inherit the pipe: %#x, %v", flags, err)
	}
	r.tell(api.Status{VPC: "vst-one"})
	if status, err := await(reader); err != nil || status.VPC != "vst-one" {
		t.Errorf("got %q, %v", status.VPC, err)
	}
}

func TestStateDirs(t *testing.T) {
	root := t.TempDir()
	fill(t, root, "vst-one", "/lab/one.toml")
	for _, name := range []string{"NotAName", "vst-two.lock"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	got, err := stateDirs(root)
	if diff := cmp.Diff([]stateDir{{root, "vst-one"}}, got, cmp.AllowUnexported(stateDir{})); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if got, err := stateDirs(filepath.Join(root, "none")); got != nil || err != nil {
		t.Errorf("no directory: %v, %v", got, err)
	}
}
