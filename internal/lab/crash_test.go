package lab_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vswitch/internal/lab"
	vswitch "vswitch/switch"
)

// crashVPC is the configuration of the process that daemon is.
func crashVPC() vswitch.Config {
	return vpc("vst-crash",
		vswitch.Instance{Name: "one", Run: "echo begun; sleep 1000 & wait"},
		vswitch.Instance{Name: "two", Run: "exit 3"},
		vswitch.Instance{Name: "gone"},
	)
}

// daemon brings crashVPC up in the state directory dir, says so, and holds it
// until it is killed.
func daemon(dir string) {
	l, err := lab.Open(dir)
	must(err)
	full, err := vswitch.Complete(crashVPC(), nil)
	must(err)
	change, err := l.Prepare(full)
	must(err)
	must(change.Commit())
	for {
		for _, p := range l.Processes() {
			if p.Instance == "two" && !p.Running {
				fmt.Println("up")
				select {}
			}
		}
	}
}

// crash runs daemon in the state directory dir and kills it.
func crash(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command(self(t), "daemon", dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	cmd.Wait() // it says "killed"
	if line != "up\n" {
		t.Fatalf("the daemon did not come up: %q, %v", line, err)
	}
}

func TestUpAfterACrashAdopts(t *testing.T) {
	requireRoot(t)
	dir := stateDir(t)
	crash(t, dir)
	space := inode(t, "vst-crash-one")
	if space == 0 {
		t.Fatal("the namespace did not survive")
	}

	l := open(t, dir)
	one := processOf(t, l, "one")
	if !one.Running || !alive(one.PID) {
		t.Fatalf("the command did not survive: %+v", one)
	}
	c := crashVPC()
	c.Instances = c.Instances[:2]
	devices := up(t, l, c)
	if len(devices) != 2 {
		t.Errorf("devices %v, want two new ones", devices)
	}
	if now := inode(t, "vst-crash-one"); now != space {
		t.Errorf("namespace is %d, was %d: not adopted", now, space)
	}
	if v := look(t, "vst-crash-one"); !v.Links["eth0"].Carrier || len(v.Routes) != 1 {
		t.Errorf("after the crash: %+v", v)
	}
	if after := processOf(t, l, "one"); after != one {
		t.Errorf("command is %+v, was %+v", after, one)
	}
	if two := processOf(t, l, "two"); two.Running || two.Code != 3 {
		t.Errorf("a command that had ended: %+v, want the exit code 3, not another run", two)
	}
	if inode(t, "vst-crash-gone") != 0 || exists("/etc/netns/vst-crash-gone") {
		t.Error("an instance that the configuration has no more is left")
	}
	if err := unix.Kill(one.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an adopted command's end is noticed", func() bool {
		p := processOf(t, l, "one")
		return !p.Running && p.Code == lab.UnknownCode
	})
}

func TestDownAfterACrash(t *testing.T) {
	requireRoot(t)
	dir := stateDir(t)
	crash(t, dir)
	l := open(t, dir)
	one := processOf(t, l, "one")
	report, err := l.Down()
	if err != nil || report.Removed != 8 || len(report.Left) != 0 {
		t.Errorf("down: %+v, %v; want 2 commands, 3 namespaces, 3 hosts directories removed", report, err)
	}
	for _, in := range []string{"one", "two", "gone"} {
		if inode(t, "vst-crash-"+in) != 0 || exists("/etc/netns/vst-crash-"+in) {
			t.Errorf("%s is left", in)
		}
	}
	if alive(one.PID) {
		t.Error("the command is left")
	}
}

// A command that ended while no vswitch was there is started again.
func TestCommandLostInACrash(t *testing.T) {
	requireRoot(t)
	dir := stateDir(t)
	crash(t, dir)
	one := readJournalPID(t, dir, "one")
	if err := unix.Kill(-one, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the command has ended", func() bool { return !alive(one) })
	l := open(t, dir)
	up(t, l, crashVPC())
	if p := processOf(t, l, "one"); !p.Running || p.PID == one {
		t.Errorf("the command is %+v, was process %d", p, one)
	}
}

func readJournalPID(t *testing.T, dir, instance string) int {
	t.Helper()
	var j struct{ Processes map[string]struct{ PID int } }
	data, err := os.ReadFile(filepath.Join(dir, "journal.json"))
	if err == nil {
		err = json.Unmarshal(data, &j)
	}
	if err != nil || j.Processes[instance].PID == 0 {
		t.Fatalf("journal: %v: %s", err, data)
	}
	return j.Processes[instance].PID
}

// The moments of a crash that leave the least: a name that is not bound yet, and
// a hosts directory that is still empty.
func TestCrashInTheMiddle(t *testing.T) {
	requireRoot(t)
	dir := stateDir(t)
	crash(t, dir)
	if err := unix.Unmount("/run/netns/vst-crash-two", unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll("/etc/netns/vst-crash-two"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("/etc/netns/vst-crash-two", 0o755); err != nil {
		t.Fatal(err)
	}
	l := open(t, dir)
	up(t, l, crashVPC())
	if v := look(t, "vst-crash-two"); !strings.Contains(v.Hosts, "vst-crash") || !v.Links["eth0"].Up {
		t.Errorf("%+v", v)
	}
}

// A directory in /etc outlives a restart of the machine; namespaces do not.
func TestJournalOfAnotherBoot(t *testing.T) {
	requireRoot(t)
	dir := stateDir(t)
	crash(t, dir)
	real := open(t, dir)
	one := processOf(t, real, "one")
	journal, err := os.ReadFile(filepath.Join(dir, "journal.json"))
	if err != nil {
		t.Fatal(err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	other := stateDir(t)
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	old := strings.Replace(string(journal), strings.TrimSpace(string(boot)), "00000000-0000-0000-0000-000000000000", 1)
	if err := os.WriteFile(filepath.Join(other, "journal.json"), []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, other)
	if report, err := l.Down(); err != nil || report.Removed != 3 || len(report.Left) != 0 {
		t.Errorf("down: %+v, %v; want only the three hosts directories removed", report, err)
	}
	if inode(t, "vst-crash-one") == 0 || !alive(one.PID) {
		t.Error("a namespace or process that has the number of one before the boot was removed")
	}
}

func TestForeignNamespaceIsRefusedAndLeft(t *testing.T) {
	requireRoot(t)
	theirs := open(t, stateDir(t))
	up(t, theirs, vpc("vst-theirs", vswitch.Instance{Name: "x", Namespace: "vst-shared"}))
	want := inode(t, "vst-shared")

	l := open(t, stateDir(t))
	c := complete(t, vpc("vst-ours", vswitch.Instance{Name: "y"}, vswitch.Instance{Name: "z", Namespace: "vst-shared"}))
	_, err := l.Prepare(c)
	if err == nil || !strings.Contains(err.Error(), "instance z: namespace vst-shared exists and vswitch did not make it") {
		t.Fatalf("prepare: %v", err)
	}
	if inode(t, "vst-ours-y") != 0 || exists("/etc/netns/vst-ours-y") {
		t.Error("another instance's namespace is left")
	}
	if report, err := l.Down(); err != nil || report.Anything() {
		t.Errorf("down: %+v, %v", report, err)
	}
	if inode(t, "vst-shared") != want || !exists("/etc/netns/vst-shared/hosts") {
		t.Error("the foreign namespace was touched")
	}
}

// The name in the journal has gone to somebody else's namespace meanwhile.
func TestStaleJournal(t *testing.T) {
	requireRoot(t)
	dir := stateDir(t)
	crash(t, dir)
	if err := unix.Unmount("/run/netns/vst-crash-one", unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/run/netns/vst-crash-one", "/etc/netns/vst-crash-one"} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	theirs := open(t, stateDir(t))
	up(t, theirs, vpc("vst-theirs", vswitch.Instance{Name: "x", Namespace: "vst-crash-one"}))
	want := inode(t, "vst-crash-one")

	l := open(t, dir)
	if _, err := l.Prepare(complete(t, crashVPC())); err == nil || !strings.Contains(err.Error(), "vswitch did not make it") {
		t.Errorf("prepare: %v", err)
	}
	report, err := l.Down()
	if err != nil || len(report.Left) != 2 {
		t.Errorf("down: %+v, %v; want the namespace and the hosts directory left", report, err)
	}
	if inode(t, "vst-crash-one") != want || !exists("/etc/netns/vst-crash-one/hosts") {
		t.Error("the foreign namespace was touched")
	}
	if inode(t, "vst-crash-two") != 0 {
		t.Error("ours is left")
	}
}
