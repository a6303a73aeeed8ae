package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	product "vswitch/switch"
)

// eni returns the id of an instance's network interface.
func (l *lab) eni(instance string) string { return product.ID("eni", l.name, instance) }

// The two-tier example with a flow log: a request that passes, one that a network
// ACL stops and one that a security group stops leave the records of SEM 6.7, and
// an idle instance one of NODATA.
func TestFlowLog(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile(filepath.Join(examples, "two-tier", "vpc.toml"))
	if err != nil {
		t.Fatal(err)
	}
	l := startLab(t, string(example)+`
[flow_log.all]
file   = "flow.log"
format = "${interface-id} ${flow-direction} ${srcaddr} ${dstaddr} ${dstport} ${protocol} ${action} ${log-status} ${vswitch-rule}"
`)
	eventually(t, "app1 listens", func() bool { return l.dial("web1", "tcp", l.ip("app1")+":8080") == "connected" })
	for _, to := range []struct{ from, address string }{{"web2", l.ip("app1") + ":8080"}, {"web1", l.ip("db1") + ":5432"}} {
		if got := l.dial(to.from, "tcp", to.address); got != "timeout" {
			t.Fatalf("%s to %s: %s, want timeout", to.from, to.address, got)
		}
	}
	if out := l.must("flows", "app1", "--rejected", "--format", "srcaddr dstport vswitch-rule"); !strings.HasPrefix(out, "10.0.1.66 8080 nacl:private/90\n") {
		t.Errorf("flows --rejected: %q", out)
	}
	l.edit(`file   = "flow.log"`, `file   = "other.log"`) // the old one ends, with what it has
	l.must("reload")

	path := filepath.Join(filepath.Dir(l.file), "flow.log")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for _, want := range []string{
		l.eni("web1") + " egress 10.0.1.10 10.0.2.10 8080 6 ACCEPT OK sg:web/sgr-web-app,nacl:public/100",
		l.eni("app1") + " ingress 10.0.1.10 10.0.2.10 8080 6 ACCEPT OK nacl:private/100,sg:app/sgr-app-web",
		l.eni("web2") + " egress 10.0.1.66 10.0.2.10 8080 6 ACCEPT OK sg:web/sgr-web-app,nacl:public/100",
		l.eni("app1") + " ingress 10.0.1.66 10.0.2.10 8080 6 REJECT OK nacl:private/90",
		l.eni("web1") + " egress 10.0.1.10 10.0.2.20 5432 6 REJECT OK -",
		l.eni("db1") + " - - - - - - NODATA -",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no record %q", want)
		}
	}
	for _, line := range lines {
		if strings.HasPrefix(line, l.eni("db1")+" ") && !strings.Contains(line, "NODATA") {
			t.Errorf("db1 saw nothing, and has the record %q", line)
		}
	}
	if t.Failed() {
		t.Logf("flow.log:\n%s", text)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v, want 0640", info.Mode(), err)
	}
}

// smallDisk returns a folder on a file system of so many bytes, which ends with the
// test. It is mounted in a mount namespace of its own, and reached through /proc.
func smallDisk(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("sh", "-c", fmt.Sprintf("mount -t tmpfs -o size=%d none '%s' && echo mounted && cat", bytes, dir))
	// No Pdeathsig, which fires at the end of the thread that started it: should the
	// test be killed, cat reads the end of its input and the file system goes with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", cmd, err)
		}
	})
	word := make([]byte, len("mounted\n"))
	if _, err := io.ReadFull(stdout, word); err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	return fmt.Sprintf("/proc/%d/root%s", cmd.Process.Pid, dir)
}

// A full disk costs records, which are counted and told, and no packet. What is
// written are whole lines.
func TestFlowLogOnAFullDisk(t *testing.T) {
	t.Parallel()
	needRoot(t)
	disk := smallDisk(t, 8<<10)
	example, err := os.ReadFile(filepath.Join(examples, "hello", "vpc.toml"))
	if err != nil {
		t.Fatal(err)
	}
	l := startLab(t, string(example)+"\n[flow_log.small]\nfile = \""+disk+"/flow.log\"\n")
	eventually(t, "bob listens", func() bool { return l.answers("alice", "bob", "tcp/8080") })
	l.must("ping", "alice", "bob", "tcp/8080", "--count", "40")
	l.edit("[flow_log.small]", "[flow_log.small]\ntraffic = \"reject\"") // the old one ends, with what it has
	l.must("reload")
	if out := l.must("logs"); !strings.Contains(out, "no space left on device") {
		t.Errorf("the log says nothing of the full disk:\n%s", out)
	}
	text, err := os.ReadFile(disk + "/flow.log")
	if err != nil {
		t.Fatal(err)
	}
	if len(text) < 6<<10 || len(text) > 8<<10 {
		t.Errorf("%d bytes on a disk of 8 KiB", len(text))
	}
	for line := range strings.Lines(string(text)) {
		if len(strings.Fields(line)) != 14 || !strings.HasSuffix(line, "OK\n") {
			t.Errorf("a torn line: %q", line)
		}
	}
	if !l.answers("alice", "bob", "tcp/8080") {
		t.Error("no answer after the disk was full")
	}
}
