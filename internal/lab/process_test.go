package lab_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vswitch/internal/lab"
	vswitch "vswitch/switch"
)

func log(t *testing.T, l *lab.Lab, instance string) string {
	t.Helper()
	data, err := os.ReadFile(l.LogPath(instance))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(data)
}

func TestCommandRunsInItsInstance(t *testing.T) {
	requireRoot(t)
	const name = "vst-run"
	t.Setenv("NOTIFY_SOCKET", "/nowhere")
	l := open(t, stateDir(t))
	up(t, l, vpc(name,
		vswitch.Instance{Name: "one", Run: `echo "$VSWITCH_VPC/$VSWITCH_INSTANCE ${PATH%%:*} [$NOTIFY_SOCKET$VSWITCH_GATE]"; ls /sys/class/net; echo problem >&2; exit 7`},
		vswitch.Instance{Name: "two", Run: "exec sleep 1000"},
		vswitch.Instance{Name: "three", Run: "kill -9 $$"},
		vswitch.Instance{Name: "four"}))
	eventually(t, "the commands end", func() bool {
		return !processOf(t, l, "one").Running && !processOf(t, l, "three").Running
	})
	if p := processOf(t, l, "one"); p.Code != 7 || time.Since(p.Since) > time.Minute {
		t.Errorf("one: %+v, want exit code 7", p)
	}
	if p := processOf(t, l, "three"); p.Code != 128+9 {
		t.Errorf("three: %+v, want 137 for signal 9", p)
	}
	want := name + "/one " + filepath.Dir(self(t)) + " []\neth0\nlo\nproblem\n"
	if got := log(t, l, "one"); got != want {
		t.Errorf("log:\n%s\nwant:\n%s", got, want)
	}
	if info, err := os.Stat(l.LogPath("one")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("log: %v, %v", info, err)
	}
	two := processOf(t, l, "two")
	if !two.Running {
		t.Fatalf("two: %+v", two)
	}
	eventually(t, "the command has taken the place of what started it", func() bool {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", two.PID))
		return err == nil && string(line) == "sleep\x001000\x00"
	})
	for link, want := range map[string]string{"ns/net": fmt.Sprintf("net:[%d]", inode(t, name+"-two")), "fd/0": "/dev/null"} {
		if got, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", two.PID, link)); err != nil || got != want {
			t.Errorf("%s of the command is %s, %v; want %s", link, got, err, want)
		}
	}
	if entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", two.PID)); err != nil || len(entries) != 3 {
		t.Errorf("the command has %d descriptors, %v; want the standard streams", len(entries), err)
	}
	if len(l.Processes()) != 3 {
		t.Errorf("processes: %v", l.Processes())
	}
}

func TestReloadStartsAndStopsCommands(t *testing.T) {
	requireRoot(t)
	l := open(t, stateDir(t))
	up(t, l, vpc("vst-runs",
		vswitch.Instance{Name: "stays", Run: "sleep 1000"},
		vswitch.Instance{Name: "changes", Run: "sleep 1001"},
		vswitch.Instance{Name: "ended", Run: "echo once"},
		vswitch.Instance{Name: "sees", Run: "while ! grep -q newcomer /etc/hosts; do sleep 0.01; done; echo seen"}))
	eventually(t, "a command ends", func() bool { return !processOf(t, l, "ended").Running })
	stays, changes := processOf(t, l, "stays"), processOf(t, l, "changes")
	up(t, l, vpc("vst-runs",
		vswitch.Instance{Name: "stays", Run: "sleep 1000"},
		vswitch.Instance{Name: "changes", Run: "sleep 1002"},
		vswitch.Instance{Name: "ended", Run: "echo once"},
		vswitch.Instance{Name: "sees", Run: "while ! grep -q newcomer /etc/hosts; do sleep 0.01; done; echo seen"},
		vswitch.Instance{Name: "newcomer", Run: "sleep 1000"}))
	if p := processOf(t, l, "stays"); p != stays {
		t.Errorf("stays: %+v, was %+v", p, stays)
	}
	if p := processOf(t, l, "changes"); p.PID == changes.PID || !p.Running || alive(changes.PID) {
		t.Errorf("changes: %+v, was %+v", p, changes)
	}
	if p := processOf(t, l, "newcomer"); !p.Running {
		t.Errorf("newcomer: %+v", p)
	}
	// A running command sees the names that a reload brings.
	eventually(t, "a command sees the new name", func() bool { return !processOf(t, l, "sees").Running })
	if got := log(t, l, "sees") + log(t, l, "ended"); got != "seen\nonce\n" {
		t.Errorf("logs: %q", got)
	}
}

func TestStopIsPoliteAndBounded(t *testing.T) {
	requireRoot(t)
	l := open(t, stateDir(t))
	up(t, l, vpc("vst-stop",
		vswitch.Instance{Name: "polite", Run: "trap 'echo bye; exit' TERM; echo ready; while :; do sleep 0.01; done"},
		vswitch.Instance{Name: "stubborn", Run: "trap '' TERM; echo ready; while :; do sleep 0.01; done"},
		vswitch.Instance{Name: "orphan", Run: "sleep 1000 & echo $!"}))
	var child int
	eventually(t, "the commands are ready", func() bool {
		_, err := fmt.Sscan(log(t, l, "orphan"), &child)
		return err == nil && log(t, l, "polite") == "ready\n" && log(t, l, "stubborn") == "ready\n" && !processOf(t, l, "orphan").Running
	})
	if !alive(child) {
		t.Fatal("the orphan has ended")
	}
	stubborn := processOf(t, l, "stubborn").PID
	polite := l.LogPath("polite")
	kept, err := os.Open(polite)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	begin := time.Now()
	if report, err := l.Down(); err != nil || report.Removed != 9 {
		t.Errorf("down: %+v, %v", report, err)
	}
	if took := time.Since(begin); took < 2*time.Second || took > 6*time.Second {
		t.Errorf("down took %v, want the 3 s that a stubborn command gets", took)
	}
	buffer := make([]byte, 100)
	if n, _ := kept.Read(buffer); !strings.HasSuffix(string(buffer[:n]), "bye\n") {
		t.Errorf("polite said %q", buffer[:n])
	}
	if alive(stubborn) || alive(child) {
		t.Error("a process is left")
	}
	if len(l.Processes()) != 0 || exists(filepath.Dir(polite)) {
		t.Error("the state directory still has them")
	}
}

func TestCommandPassesStreamsAndExitCode(t *testing.T) {
	requireRoot(t)
	l := open(t, stateDir(t))
	up(t, l, vpc("vst-exec", vswitch.Instance{Name: "one"}))
	cmd := lab.Command("vst-exec-one", "/bin/sh", "-c", "cat; exit 5")
	cmd.Stdin = strings.NewReader("through\n")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if string(out) != "through\n" || !errors.As(err, &exit) || exit.ExitCode() != 5 {
		t.Errorf("%q, %v", out, err)
	}
	for _, bad := range []string{"vst-exec-nobody", "..", "../vst-exec-one"} {
		if out, err := lab.Command(bad, "/bin/true").CombinedOutput(); err == nil || !strings.Contains(string(out), "namespace") {
			t.Errorf("namespace %q: %v, %q", bad, err, out)
		}
	}
	if out, err := lab.Command("vst-exec-one", "no-such-command").CombinedOutput(); err == nil || !strings.Contains(string(out), "not found") {
		t.Errorf("no such command: %v, %q", err, out)
	}
	if data, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(data), " /etc/hosts ") {
		t.Errorf("a mount of the instance reached the host: %v", err)
	}
}

// Whoever starts a command dies before the command is in the journal.
func TestCommandWhoseStarterDiesNeverRuns(t *testing.T) {
	requireRoot(t)
	l := open(t, stateDir(t))
	up(t, l, vpc("vst-gate", vswitch.Instance{Name: "one"}))
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	ran := filepath.Join(t.TempDir(), "ran")
	cmd := lab.Command("vst-gate-one", "/bin/sh", "-c", "echo ran > "+ran)
	cmd.ExtraFiles = []*os.File{read}
	cmd.Env = append(os.Environ(), "VSWITCH_GATE=3")
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := write.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || exists(ran) || !strings.Contains(said.String(), "vswitch ended before") {
		t.Errorf("%v, ran: %v, said %q", err, exists(ran), said.String())
	}
}
