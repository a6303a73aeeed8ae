package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A process is a line of the machine's process table.
type process struct {
	pid       int
	namespace uint64 // inode of its network namespace; 0 if it ended meanwhile
	command   string // with its arguments
}

// processes lists what runs on this machine, zombies left out.
func processes() []process {
	var found []process
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		command, err := os.ReadFile(dir + "/cmdline")
		if err != nil || len(command) == 0 { // ended, a zombie, or a kernel thread
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		p := process{pid: pid, command: strings.TrimSpace(string(bytes.ReplaceAll(command, []byte{0}, []byte{' '})))}
		var st syscall.Stat_t
		if syscall.Stat(dir+"/ns/net", &st) == nil {
			p.namespace = st.Ino
		}
		found = append(found, p)
	}
	return found
}

// in returns the processes whose network namespace has that inode.
func in(namespace uint64) []process {
	var found []process
	for _, p := range processes() {
		if p.namespace == namespace {
			found = append(found, p)
		}
	}
	return found
}

// alive reports whether the process runs, zombies left out.
func alive(pid int) bool {
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && len(command) > 0
}

// A program runs beside the test, most of them inside an instance by `vswitch exec`,
// and talks in lines.
type program struct {
	t     *testing.T
	what  string
	cmd   *exec.Cmd
	stdin io.WriteCloser // nil if it is told nothing
	lines chan string    // closed when its output ends
	ended bool
}

// follow starts a command that talks until it is ended or what it is about ends.
func (l *lab) follow(args ...string) *program {
	l.t.Helper()
	cmd := exec.Command(binary, append([]string{"-f", l.file}, args...)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	return begin(l.t, strings.Join(args, " "), cmd, stdout)
}

// begin starts a command, which is told nothing, as a program that talks by output,
// one of its pipes.
func begin(t *testing.T, what string, cmd *exec.Cmd, output io.Reader) *program {
	t.Helper()
	p := &program{t: t, what: what, cmd: cmd, lines: make(chan string, 1024)}
	p.start(output)
	return p
}

// start starts the command of p. It is killed at the end of the test if it still
// runs.
func (p *program) start(output io.Reader) {
	p.t.Helper()
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		scanner := bufio.NewScanner(output)
		scanner.Buffer(nil, 1<<25) // an agent's report of what it has heard
		for scanner.Scan() {
			p.lines <- scanner.Text()
		}
		close(p.lines)
	}()
	p.t.Cleanup(func() {
		if p.ended {
			return
		}
		p.cmd.Process.Kill()
		for range p.lines { // Wait closes the pipe, so it comes after the last line
		}
		p.cmd.Wait()
	})
}

// program starts one of the programs of inside_test.go in an instance.
func (l *lab) program(instance, name string, args ...string) *program {
	l.t.Helper()
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	p := &program{t: l.t, what: name + " in " + instance, lines: make(chan string, 1024)}
	p.cmd = exec.Command(binary, append([]string{"-f", l.file, "exec", instance, "--", self, "inside", name}, args...)...)
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		l.t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	p.start(stdout)
	return p
}

// start is program for one that says "ready" when it is.
func (l *lab) start(instance, name string, args ...string) *program {
	l.t.Helper()
	p := l.program(instance, name, args...)
	p.expect("ready")
	return p
}

// line returns the next line of the program's output. It fails the test if none
// comes within ten seconds.
func (p *program) line() string {
	p.t.Helper()
	return p.await(10 * time.Second)
}

// await is line with patience of its own.
func (p *program) await(patience time.Duration) string {
	p.t.Helper()
	select {
	case line, more := <-p.lines:
		if !more {
			p.t.Fatalf("%s ended", p.what)
		}
		return line
	case <-time.After(patience):
		p.t.Fatalf("%s has said nothing for %v", p.what, patience)
	}
	panic("unreachable: Fatalf does not return")
}

// expect fails the test unless the next line is want.
func (p *program) expect(want string) {
	p.t.Helper()
	if got := p.line(); got != want {
		p.t.Fatalf("%s says %q, want %q", p.what, got, want)
	}
}

// say writes a line to the program's input.
func (p *program) say(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		p.t.Fatalf("%s: %v", p.what, err)
	}
}

// end closes the program's input, waits for it, and returns what it still said
// and its exit code.
func (p *program) end() (rest []string, code int) {
	p.t.Helper()
	if p.stdin != nil {
		p.stdin.Close()
	}
	deadline := time.After(10 * time.Second)
	for {
		select {
		case line, more := <-p.lines:
			if more {
				rest = append(rest, line)
				continue
			}
			p.ended = true
			p.cmd.Wait()
			return rest, p.cmd.ProcessState.ExitCode()
		case <-deadline:
			p.t.Fatalf("%s does not end", p.what)
		}
	}
}

// dial returns the fate of one attempt from an instance to connect to an address
// and port: connected, refused, unreachable, or timeout after 300 ms, in which
// the kernel sends one SYN.
func (l *lab) dial(instance, network, address string) string {
	l.t.Helper()
	p := l.program(instance, "dial", network, address)
	fate := p.line()
	p.end()
	return fate
}
