package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// commandTimeout bounds every command of the tests: the longest takes a few
// seconds, so whoever reaches it hangs.
const commandTimeout = 20 * time.Second

// A lab is one VPC under test: a folder with a vpc.toml, and what `vswitch up`
// has made of it. Its name is its own, so that labs neither meet each other nor
// one that was there before.
type lab struct {
	t    *testing.T
	name string            // of the VPC
	file string            // absolute
	seen map[string]uint64 // inode of each namespace of the VPC that a look has found, by name
}

// vpcName matches the line that names the VPC.
var vpcName = regexp.MustCompile(`(?m)^name( *)= "[a-z0-9-]+"`)

// newLab writes config to a file of its own, under a VPC name of its own, and
// takes down at the end of the test whatever it became.
func newLab(t *testing.T, config string) *lab {
	t.Helper()
	needRoot(t)
	l := &lab{
		t:    t,
		name: fmt.Sprintf("vst-%08x", rand.Uint32()),
		file: filepath.Join(t.TempDir(), "vpc.toml"),
		seen: map[string]uint64{},
	}
	if len(vpcName.FindAllString(config, -1)) == 0 {
		t.Fatalf("no line names the VPC in\n%s", config)
	}
	first := vpcName.FindStringIndex(config)
	l.write(config[:first[0]] + `name = "` + l.name + `"` + config[first[1]:])
	t.Cleanup(func() {
		if t.Failed() {
			l.dump()
		}
		if r := l.try("down"); r.code != 0 {
			t.Errorf("want exit code 0:\n%v", r)
			l.crash()
			l.try("down")
		}
		l.gone()
	})
	return l
}

// startLab is newLab and `up`.
func startLab(t *testing.T, config string) *lab {
	t.Helper()
	l := newLab(t, config)
	l.must("up")
	return l
}

// of returns the lab for a subtest, which is the one to fail then.
func (l *lab) of(t *testing.T) *lab {
	sub := *l
	sub.t = t
	return &sub
}

// config returns the text of the lab's file.
func (l *lab) config() string {
	l.t.Helper()
	text, err := os.ReadFile(l.file)
	if err != nil {
		l.t.Fatal(err)
	}
	return string(text)
}

// write replaces the lab's file.
func (l *lab) write(config string) {
	l.t.Helper()
	if err := os.WriteFile(l.file, []byte(config), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

// edit replaces old by new in the lab's file. old must be there once.
func (l *lab) edit(old, new string) {
	l.t.Helper()
	text := l.config()
	if n := strings.Count(text, old); n != 1 {
		l.t.Fatalf("%q is %d times in the lab's file, want once:\n%s", old, n, text)
	}
	l.write(strings.Replace(text, old, new, 1))
}

// A result is what a finished command left.
type result struct {
	args           []string
	stdout, stderr string
	code           int
	took           time.Duration
}

// String shows the command as a terminal would.
func (r result) String() string {
	return fmt.Sprintf("$ vswitch %s\n%s%s(exit code %d, %v)", strings.Join(r.args, " "), r.stdout, r.stderr, r.code, r.took.Round(time.Millisecond))
}

// try runs vswitch on the lab's file and returns what came of it, whatever that
// was. It fails the test only if the command does not end.
func (l *lab) try(args ...string) result {
	l.t.Helper()
	return l.tryWith(nil, args...)
}

// tryWith is try with a standard input.
func (l *lab) tryWith(stdin io.Reader, args ...string) result {
	l.t.Helper()
	return vswitch(l.t, filepath.Dir(l.file), stdin, append([]string{"-f", l.file}, args...)...)
}

// must is try for a command that has to succeed. It returns its standard output.
func (l *lab) must(args ...string) string {
	l.t.Helper()
	r := l.try(args...)
	if r.code != 0 {
		l.t.Fatalf("want exit code 0:\n%v", r)
	}
	return r.stdout
}

// vswitch runs the binary in dir.
func vswitch(t *testing.T, dir string, stdin io.Reader, args ...string) result {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Dir = dir
	cmd.Stdin = stdin
	return finish(t, cmd)
}

// finish runs a command to its end. One that cannot be run, or does not end,
// fails the test and has exit code -1. It may be called on any goroutine.
func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// A daemon that kept our pipes would keep Wait waiting; say so instead.
	cmd.WaitDelay = 5 * time.Second
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Errorf("%v: %v", cmd, err)
		return result{args: cmd.Args[1:], code: -1}
	}
	kill := time.AfterFunc(commandTimeout, func() { cmd.Process.Kill() })
	err := cmd.Wait()
	r := result{args: cmd.Args[1:], stdout: stdout.String(), stderr: stderr.String(), code: cmd.ProcessState.ExitCode(), took: time.Since(began)}
	var exit *exec.ExitError
	if !kill.Stop() {
		t.Errorf("does not end:\n%v", r)
	} else if err != nil && !errors.As(err, &exit) {
		t.Errorf("%v\n%v", err, r)
	}
	return r
}

// status is the part of `status -o json` that is promised to users.
type status struct {
	PID        int    `json:"pid"`
	Generation uint64 `json:"generation"`
	Instances  []struct {
		Name  string `json:"name"`
		IP    string `json:"ip"`
		MAC   string `json:"mac"`
		State string `json:"state"`
	} `json:"instances"`
	Drops map[string]uint64 `json:"drops"`
}

// status asks the running switch.
func (l *lab) status() status {
	l.t.Helper()
	var s status
	text := l.must("status", "-o", "json")
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		l.t.Fatalf("status -o json: %v\n%s", err, text)
	}
	if s.PID <= 0 || s.Generation == 0 || s.Drops == nil {
		l.t.Fatalf("status -o json: want pid, generation and drops:\n%s", text)
	}
	return s
}

// names returns the names of the instances that status lists.
func (s status) names() []string {
	var names []string
	for _, i := range s.Instances {
		names = append(names, i.Name)
	}
	return names
}

// ip returns the address of an instance.
func (l *lab) ip(name string) string {
	l.t.Helper()
	for _, i := range l.status().Instances {
		if i.Name == name {
			return i.IP
		}
	}
	l.t.Fatalf("status lists no instance %s", name)
	return ""
}

// answers reports whether a probe of `vswitch ping` from one instance to
// another brings something back within a second.
func (l *lab) answers(src, dst, service string) bool {
	l.t.Helper()
	args := []string{"ping", src, dst}
	if service != "icmp" {
		args = append(args, service)
	}
	r := l.try(append(args, "--count", "1", "--timeout", "1s")...)
	if r.code != 0 && r.code != 1 {
		l.t.Fatalf("want exit code 0 or 1:\n%v", r)
	}
	return r.code == 0
}

// namespaces returns the namespaces of the VPC that `ip netns` would list, with
// their inodes, and remembers them for gone.
func (l *lab) namespaces() map[string]uint64 {
	l.t.Helper()
	found := map[string]uint64{}
	paths, err := filepath.Glob("/run/netns/" + l.name + "-*")
	if err != nil {
		l.t.Fatal(err)
	}
	for _, p := range paths {
		var st syscall.Stat_t
		if err := syscall.Stat(p, &st); err == nil {
			found[filepath.Base(p)] = st.Ino
			l.seen[filepath.Base(p)] = st.Ino
		}
	}
	return found
}

// gone fails the test if anything of the VPC is left on this machine.
func (l *lab) gone() {
	l.t.Helper()
	for _, pattern := range []string{"/run/netns/", "/etc/netns/"} {
		left, _ := filepath.Glob(pattern + l.name + "-*")
		for _, p := range left {
			l.t.Errorf("left behind: %s", p)
		}
	}
	if entries, err := os.ReadDir(l.stateDir()); err == nil {
		l.t.Errorf("left behind: the state directory %s with %d entries", l.stateDir(), len(entries))
	}
	for _, p := range processes() {
		if p.namespace != 0 && slices.Contains(slices.Collect(maps.Values(l.seen)), p.namespace) {
			l.t.Errorf("left behind: process %d in a namespace of the VPC: %s", p.pid, p.command)
		}
		if strings.Contains(p.command, l.file) && p.pid != os.Getpid() {
			l.t.Errorf("left behind: process %d: %s", p.pid, p.command)
		}
	}
}

// stateDir is where root's switch keeps its socket, log and journal.
func (l *lab) stateDir() string { return "/run/vswitch/" + l.name }

// crash kills whatever works on the lab's file, so that what a broken switch
// holds can be taken down nevertheless.
func (l *lab) crash() {
	l.t.Helper()
	for _, p := range processes() {
		if strings.Contains(p.command, l.file) {
			syscall.Kill(p.pid, syscall.SIGKILL)
			eventually(l.t, "killed "+p.command, func() bool { return !alive(p.pid) })
		}
	}
}

// dump writes to the test's log what helps to understand a failure.
func (l *lab) dump() {
	l.t.Helper()
	l.t.Logf("vpc.toml:\n%s", l.config())
	l.t.Logf("%v", l.try("status"))
	log, _ := os.ReadFile(filepath.Join(l.stateDir(), "daemon.log"))
	if len(log) > 4096 {
		log = log[len(log)-4096:]
	}
	l.t.Logf("daemon.log:\n%s", log)
}

// eventually waits until done reports true, for ten seconds at most.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		<-tick.C
	}
}
