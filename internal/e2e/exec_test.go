package e2e

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

func TestExecPassesInputAndOutput(t *testing.T) {
	t.Parallel()
	l := startLab(t, oneSubnet)
	const input = "one\ntwo \x00 three\n"
	r := l.tryWith(strings.NewReader(input), "exec", "alice", "--", "cat")
	if r.code != 0 || r.stdout != input || r.stderr != "" {
		t.Errorf("want the input back, and nothing else:\n%v", r)
	}
	r = l.try("exec", "alice", "--", "sh", "-c", "echo data; echo talk >&2")
	if r.stdout != "data\n" || r.stderr != "talk\n" {
		t.Errorf("want data on stdout and talk on stderr:\n%v", r)
	}
}

func TestExecPassesTheExitCode(t *testing.T) {
	t.Parallel()
	l := startLab(t, oneSubnet)
	if r := l.try("exec", "alice", "--", "sh", "-c", "exit 37"); r.code != 37 {
		t.Errorf("want exit code 37:\n%v", r)
	}
	if r := l.try("exec", "alice", "--", "/no/such/program"); r.code == 0 || !strings.Contains(r.stderr, "/no/such/program") {
		t.Errorf("want an error that names the program:\n%v", r)
	}
	if r := l.try("exec", "alise", "--", "true"); r.code == 0 || !strings.Contains(r.stderr, `"alice"`) {
		t.Errorf("want an error that suggests \"alice\":\n%v", r)
	}
}

func TestExecPassesSignals(t *testing.T) {
	t.Parallel()
	l := startLab(t, oneSubnet)
	p := l.start("alice", "signal")
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.expect("terminated")
	if _, code := p.end(); code != 41 {
		t.Errorf("exit code %d, want the program's own, 41", code)
	}
}

// On a terminal the program inside has that terminal, its size and its Ctrl-C.
func TestExecPassesTheTerminal(t *testing.T) {
	t.Parallel()
	l := startLab(t, oneSubnet)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-f", l.file, "exec", "alice", "--", self, "inside", "tty")
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 101, Rows: 33})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	ended := false
	defer func() {
		if !ended {
			cmd.Process.Kill()
			cmd.Wait()
		}
	}()
	if err := terminal.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(terminal)
	expect := func(want string) {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("the terminal says nothing more: %v; want %q", lines.Err(), want)
		}
		if got := strings.TrimRight(lines.Text(), "\r"); got != want {
			t.Fatalf("the terminal says %q, want %q", got, want)
		}
	}
	expect("terminal 101x33, terminal 101x33, terminal 101x33")
	expect("ready")
	if _, err := terminal.Write([]byte{3}); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	expect("^Cinterrupt")
	cmd.Wait()
	ended = true
	if code := cmd.ProcessState.ExitCode(); code != 41 {
		t.Errorf("exit code %d, want the program's own, 41", code)
	}
}

// Instances know each other by name, and a name that nobody has does not hang.
func TestNamesResolve(t *testing.T) {
	t.Parallel()
	l := startLab(t, oneSubnet)
	if got := l.must("exec", "alice", "--", "getent", "hosts", "bob"); !strings.HasPrefix(got, "10.8.0.11 ") {
		t.Errorf("bob resolves to %q, want 10.8.0.11", got)
	}
	r := l.try("exec", "alice", "--", "getent", "hosts", "nobody.example")
	if r.code == 0 {
		t.Errorf("a name that nobody has resolves:\n%v", r)
	}
	if r.took > 2*time.Second {
		t.Errorf("a name that nobody has took %v, want an answer at once", r.took)
	}
}

// What `run =` starts can be read in `logs`, and knows where it is.
func TestRunWritesLogs(t *testing.T) {
	t.Parallel()
	l := startLab(t, oneSubnet+`run    = "echo to stdout; echo to stderr >&2; exec vswitch serve tcp/9000"`+"\n")
	eventually(t, "the log of bob has both lines", func() bool {
		log := l.must("logs", "bob")
		return strings.Contains(log, "to stdout\n") && strings.Contains(log, "to stderr\n")
	})
	l.awaitRun()
}
