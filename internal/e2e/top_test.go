package e2e

import (
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/creack/pty"
)

// A screen is what a command has written to its terminal.
type screen struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// has reports whether something was written.
func (s *screen) has(what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), what)
}

// On a terminal, top shows what is going on, follows the terminal's size, obeys
// keys, and leaves the terminal as it was.
func TestTopOnATerminal(t *testing.T) {
	t.Parallel()
	l := startLab(t, oneSubnet)
	cmd := exec.Command(binary, "-f", l.file, "top")
	cmd.Env = append(cmd.Environ(), "TERM=xterm-256color", "NO_COLOR=1")
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 60, Rows: 20})
	if err != nil {
		t.Fatal(err)
	}
	var shown screen
	read := make(chan struct{})
	go func() {
		defer close(read)
		io.Copy(&shown, terminal) // ends with EIO when top has ended
	}()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		terminal.Close()
		<-read
		if t.Failed() {
			t.Logf("the terminal got %q", shown.text.String())
		}
	})
	press := func(keys string) {
		t.Helper()
		if _, err := io.WriteString(terminal, keys); err != nil {
			t.Fatal(err)
		}
	}
	await := func(what string) {
		t.Helper()
		eventually(t, "the terminal shows "+what, func() bool { return shown.has(what) })
	}

	await("\x1b[?1049h") // the alternate screen
	await("2 of 2 ports up")
	await("alice")
	await("sort: traffic")
	l.dial("alice", "tcp", "10.8.0.11:9001")
	await("SG_INGRESS")
	press("s")
	await("drops")
	press("p")
	await("PAUSED")
	if shown.has("10.8.0.11") {
		t.Error("60 columns have room for addresses")
	}
	if err := pty.Setsize(terminal, &pty.Winsize{Cols: 150, Rows: 40}); err != nil {
		t.Fatal(err)
	}
	await("10.8.0.11")
	press("q")
	var failed error
	eventually(t, "top ends", func() bool {
		select {
		case failed = <-ended:
			return true
		default:
			return false
		}
	})
	if failed != nil {
		t.Errorf("top ended with %v", failed)
	}
	await("\x1b[?1049l")
	for _, colour := range []string{"\x1b[31m", "\x1b[33m"} {
		if shown.has(colour) {
			t.Errorf("NO_COLOR, and the terminal got %q", colour)
		}
	}
}

func TestTopWithoutATerminal(t *testing.T) {
	t.Parallel()
	l := startLab(t, oneSubnet)
	if r := l.try("top"); r.code != 1 || !strings.Contains(r.stderr, "--once") {
		t.Errorf("want exit code 1 and a hint:\n%v", r)
	}
	got := l.must("top", "-n", "2")
	if strings.Count(got, "NAME ") != 2 || strings.Count(got, "\nalice ") != 2 || strings.Contains(got, "\x1b") {
		t.Errorf("got\n%s", got)
	}
}
