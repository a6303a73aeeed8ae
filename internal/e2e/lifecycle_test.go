package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// `up` of the two-tier example returns within two seconds and says what it made.
func TestUpIsFast(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(examples, "two-tier", "vpc.toml"))
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, string(text))
	r := l.try("up")
	if r.code != 0 {
		t.Fatalf("want exit code 0:\n%v", r)
	}
	t.Logf("%v", r)
	if r.took > 2*time.Second {
		t.Errorf("up took %v, want less than 2 s", r.took)
	}
	for _, want := range []string{l.name, "web1", "10.0.1.10", "web2", "app1", "db1"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("up does not mention %s:\n%s", want, r.stdout)
		}
	}
}

func TestUpIsIdempotent(t *testing.T) {
	t.Parallel()
	l := startLab(t, oneSubnet)
	before, namespaces := l.status(), l.namespaces()
	l.must("up")
	after := l.status()
	if after.PID != before.PID {
		t.Errorf("the second up started another switch: pid %d, before %d", after.PID, before.PID)
	}
	for name, inode := range l.namespaces() {
		if namespaces[name] != inode {
			t.Errorf("the second up made the namespace %s anew", name)
		}
	}
	if !l.answers("alice", "bob", "icmp") {
		t.Error("no answer after the second up")
	}
}

// `up` on a running VPC takes the file as it is now, as reload does.
func TestUpOfARunningVPCReloads(t *testing.T) {
	t.Parallel()
	l := startLab(t, oneSubnet)
	l.write(l.config() + carol)
	l.must("up")
	if got, want := l.status().names(), []string{"alice", "bob", "carol"}; !slices.Equal(got, want) {
		t.Errorf("instances after the second up: %v, want %v", got, want)
	}
	if !l.answers("alice", "carol", "icmp") {
		t.Error("no answer from the instance that the second up added")
	}
}

func TestStateIsPrivate(t *testing.T) {
	t.Parallel()
	l := startLab(t, oneSubnet)
	for path, want := range map[string]os.FileMode{
		l.stateDir():               os.ModeDir | 0o700,
		l.stateDir() + "/api.sock": os.ModeSocket | 0o600,
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
	}
}

// `down` removes what `up` made (newLab looks), and a second one says that there
// was nothing to remove.
func TestDownIsIdempotent(t *testing.T) {
	t.Parallel()
	l := startLab(t, oneSubnet)
	if len(l.namespaces()) != 2 {
		t.Errorf("namespaces while up: %v, want 2", l.namespaces())
	}
	pid := l.status().PID
	l.must("down")
	l.gone()
	if alive(pid) {
		t.Errorf("the switch, process %d, still runs after down", pid)
	}
	if r := l.try("down"); r.code != 0 || !strings.Contains(r.stdout+r.stderr, "nothing") {
		t.Errorf("want exit code 0 and word that there was nothing:\n%v", r)
	}
}

// kill ends the switch as a crash would.
func (l *lab) kill() {
	l.t.Helper()
	l.namespaces() // so that gone knows them
	pid := l.status().PID
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		l.t.Fatal(err)
	}
	eventually(l.t, "the switch is dead", func() bool { return !alive(pid) })
}

const withRun = oneSubnet + `run    = "exec vswitch serve tcp/9000"
`

// awaitRun waits until bob's command serves: `up` does not wait for it.
func (l *lab) awaitRun() {
	l.t.Helper()
	eventually(l.t, "bob serves", func() bool { return l.dial("alice", "tcp", "10.8.0.11:9000") == "connected" })
}

// running returns the processes in the namespace of an instance.
func (l *lab) running(instance string) []process {
	l.t.Helper()
	return in(l.namespaces()[l.name+"-"+instance])
}

func TestDownAfterACrashRemovesEverything(t *testing.T) {
	t.Parallel()
	l := startLab(t, withRun)
	l.awaitRun()
	l.kill()
	if len(l.namespaces()) != 2 {
		t.Errorf("namespaces after the crash: %v, want 2: they carry what the next up adopts", l.namespaces())
	}
	l.must("down")
	l.gone()
}

// After a crash `up` finds the namespaces as they were, and what runs in them
// never noticed.
func TestUpAfterACrashAdopts(t *testing.T) {
	t.Parallel()
	l := startLab(t, withRun+carol)
	l.awaitRun()
	l.start("carol", "serve", ":9000")
	namespaces, commands := l.namespaces(), l.running("bob")
	l.kill()
	l.must("up")

	for name, inode := range l.namespaces() {
		if namespaces[name] != inode {
			t.Errorf("up made the namespace %s anew", name)
		}
	}
	if got := l.running("bob"); !slices.Equal(got, commands) {
		t.Errorf("bob's command after the crash: %v, before: %v", got, commands)
	}
	for _, name := range []string{"bob", "carol"} {
		if got := l.dial("alice", "tcp", l.ip(name)+":9000"); got != "connected" {
			t.Errorf("what listens on %s since before the crash: %s, want connected", name, got)
		}
	}
}

// Two VPCs of the same addresses do not see each other, and one's end is nothing
// to the other.
func TestTwoVPCsSideBySide(t *testing.T) {
	t.Parallel()
	one, two := startLab(t, oneSubnet), startLab(t, oneSubnet)
	one.start("bob", "serve", ":9000")
	if got := one.dial("alice", "tcp", "10.8.0.11:9000"); got != "connected" {
		t.Errorf("in the VPC with a server: %s, want connected", got)
	}
	if got := two.dial("alice", "tcp", "10.8.0.11:9000"); got != "refused" {
		t.Errorf("in the VPC without a server: %s, want refused", got)
	}
	one.must("down")
	if !two.answers("alice", "bob", "icmp") {
		t.Error("the second VPC went down with the first")
	}
}

func TestSameNameFromAnotherFileIsRefused(t *testing.T) {
	t.Parallel()
	l := startLab(t, oneSubnet)
	other := filepath.Join(t.TempDir(), "other.toml")
	if err := os.WriteFile(other, []byte(l.config()+carol), 0o644); err != nil {
		t.Fatal(err)
	}
	before := l.status()
	for _, command := range []string{"up", "run"} {
		r := vswitch(t, filepath.Dir(other), nil, command, "-f", other)
		if r.code == 0 || !strings.Contains(r.stderr, l.file) {
			t.Errorf("want a refusal that names %s:\n%v", l.file, r)
		}
	}
	if after := l.status(); after.PID != before.PID || after.Generation != before.Generation {
		t.Errorf("the running VPC changed: %+v, before %+v", after, before)
	}
}

func TestRunWhileRunningIsRefused(t *testing.T) {
	t.Parallel()
	l := startLab(t, oneSubnet)
	before := l.status()
	if r := l.try("run"); r.code != 1 || r.stderr == "" {
		t.Errorf("want exit code 1 and a reason:\n%v", r)
	}
	if after := l.status(); after.PID != before.PID || after.Generation != before.Generation {
		t.Errorf("the running VPC changed: %+v, before %+v", after, before)
	}
}

// `run` stays in the foreground until SIGTERM, and leaves nothing.
func TestRunStopsCleanly(t *testing.T) {
	t.Parallel()
	l := newLab(t, withRun)
	cmd := exec.Command(binary, "run", "-f", l.file)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	eventually(t, "run forwards", func() bool { return l.try("status").code == 0 && l.answers("alice", "bob", "icmp") })
	l.namespaces()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("run ended with %v, want exit code 0", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("run does not end on SIGTERM")
		cmd.Process.Kill()
		<-ended
	}
	l.gone()
}

// Commands that change the lab at the same time queue up: each finds a whole VPC
// or none.
func TestConcurrentCommandsQueue(t *testing.T) {
	t.Parallel()
	l := newLab(t, oneSubnet)
	results := make(chan result)
	for range 5 {
		go func() { results <- vswitch(t, filepath.Dir(l.file), nil, "up", "-f", l.file) }()
	}
	for range 5 {
		if r := <-results; r.code != 0 {
			t.Errorf("want exit code 0:\n%v", r)
		}
	}
	if !l.answers("alice", "bob", "icmp") {
		t.Error("no answer after five commands at once")
	}
	for _, command := range []string{"down", "down", "up", "down"} {
		go func() { results <- vswitch(t, filepath.Dir(l.file), nil, command, "-f", l.file) }()
	}
	for range 4 {
		if r := <-results; r.code != 0 {
			t.Errorf("want exit code 0:\n%v", r)
		}
	}
}

func TestHundredInstances(t *testing.T) {
	l := newLab(t, many(100))
	r := l.try("up")
	if r.code != 0 {
		t.Fatalf("want exit code 0:\n%v", r)
	}
	t.Logf("up of 100 instances took %v", r.took)
	if r.took > 10*time.Second {
		t.Errorf("up of 100 instances took %v, want less than 10 s", r.took)
	}
	if n := len(l.namespaces()); n != 100 {
		t.Errorf("%d namespaces, want 100", n)
	}
	if !l.answers("i0", "i99", "icmp") || !l.answers("i99", "i50", "icmp") {
		t.Error("no answer")
	}
	began := time.Now()
	l.must("down")
	t.Logf("down took %v", time.Since(began))
}
