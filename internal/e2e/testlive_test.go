package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A report is what these tests read of `test -o json`.
type report struct {
	Passed, Failed int
	Tests          []struct {
		Name, Status, Got string
		Probes            []struct {
			From, To, Service, Rules, Packets string
			Disagrees                         bool
		}
	}
	Live struct {
		Probes, Disagreed int
		Skipped           map[string]int
	}
}

// testLive runs `test --live` and returns its report and its exit code.
func (l *lab) testLive(args ...string) (report, int) {
	l.t.Helper()
	r := l.try(append([]string{"test", "--live", "-o", "json"}, args...)...)
	var doc report
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil {
		l.t.Fatalf("%v\n%v", err, r)
	}
	return doc, r.code
}

// parties returns the processes that test --live has in the lab's namespaces.
func (l *lab) parties() []int {
	l.t.Helper()
	inodes := l.namespaces()
	var pids []int
	for _, p := range processes() {
		for _, inode := range inodes {
			if p.namespace == inode && strings.HasSuffix(p.command, " party") {
				pids = append(pids, p.pid)
			}
		}
	}
	return pids
}

// The tests of the examples hold, by the rules and with packets.
func TestExamplesHoldTheirTests(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(examples, "*", "vpc.toml"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%v, %v", files, err)
	}
	tested := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "\n[[test]]\n") {
			continue
		}
		tested++
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, string(text))
			l.must("test")
			l.must("up")
			doc, code := l.testLive()
			if code != 0 || doc.Failed != 0 || doc.Passed == 0 || doc.Live.Disagreed != 0 || doc.Live.Probes == 0 {
				t.Errorf("exit code %d: %+v", code, doc)
			}
			for _, x := range doc.Tests {
				if len(x.Probes) == 0 {
					t.Errorf("%s: no packet was sent for it", x.Name)
				}
			}
			if left := l.parties(); len(left) > 0 {
				t.Errorf("processes %v are left", left)
			}
			l.must("exec", l.status().Instances[0].Name, "--", "true") // the lab goes on
		})
	}
	if tested < 3 {
		t.Errorf("%d examples have tests, want 3 at least", tested)
	}
}

// live is twoSubnets with tests of every protocol that is sent.
const live = twoSubnets + `
[[test]]
name = "echo"
from = "left"
to   = "right"
port = "tcp/9000-9001"
want = "allow"

[[test]]
name = "nothing else"
from = "left"
to   = ["right", "10.9.2.99", "internet"]
port = "udp"
want = "deny"

[[test]]
name = "ping back"
from = "right"
to   = "left"
port = "icmp/echo-request"
want = "deny"
`

// Where packets fare otherwise than the rules say, that is a failure of its own:
// here of a host that does not answer, though the rules would let it.
func TestLiveDisagreement(t *testing.T) {
	t.Parallel()
	l := newLab(t, strings.Replace(live, `{ id = "sgr-echo",`, `{ proto = "icmp", from = "sg:left" }, { id = "sgr-echo",`, 1))
	l.edit(`proto = "tcp", from = "10.9.1.0/24" },`, `proto = "all", from = "10.9.1.0/24" },`)
	l.edit(`proto = "tcp", ports = "1024-65535", to = "10.9.1.0/24" },`, `proto = "all", to = "10.9.1.0/24" },`)
	l.write(l.config() + "\n[[test]]\nname = \"ping\"\nfrom = \"left\"\nto = \"right\"\nport = \"icmp/echo-request\"\nwant = \"allow\"\n")
	l.must("up")
	if doc, code := l.testLive("--run", "^(echo|nothing else|ping)$"); code != 0 || doc.Live.Disagreed != 0 {
		t.Fatalf("exit code %d: %+v", code, doc)
	}
	l.must("exec", "right", "--", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all")
	doc, code := l.testLive("--run", "^ping$")
	if code != 3 || doc.Live.Disagreed != 1 || doc.Tests[0].Status != "disagree" || doc.Tests[0].Probes[0].Packets != "silence" {
		t.Errorf("exit code %d: %+v", code, doc)
	}
	r := l.try("test", "--live", "--run", "^ping$")
	if r.code != 3 || !strings.HasPrefix(r.stdout, "DISAGREE  ping  rules allow, packets got silence  left -> right icmp  ") {
		t.Errorf("%v", r)
	}
}

// A server of the instance's own is used and stays; one of UDP that says nothing
// proves nothing.
func TestLiveUsesWhatListens(t *testing.T) {
	t.Parallel()
	l := startLab(t, live)
	conn := l.talkTo("left", "right") // at 9000
	doc, code := l.testLive()
	if code != 0 || doc.Live.Disagreed != 0 {
		t.Errorf("exit code %d: %+v", code, doc)
	}
	for _, p := range doc.Tests[0].Probes {
		if p.Packets != "open" { // one is the instance's, one a listener of the run
			t.Errorf("%+v", p)
		}
	}
	conn.say("after")
	conn.expect("echo")
	if got := l.dial("left", "tcp", l.ip("right")+":9001"); got != "refused" {
		t.Errorf("port 9001 after the run: %s, want refused", got)
	}
}

// Whatever becomes of the command, nobody is left to listen or to send.
func TestLiveLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	l := startLab(t, live)
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT} {
		cmd := exec.Command(binary, "-f", l.file, "test", "--live", "--timeout", "15s")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		eventually(t, "the parties are there", func() bool { return len(l.parties()) == 2 })
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := cmd.Wait(); err == nil {
			t.Errorf("%v: the command succeeds", signal)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%v: the command ends after %v", signal, took)
		}
		eventually(t, fmt.Sprintf("no party is left after %v", signal), func() bool { return len(l.parties()) == 0 })
	}
	if doc, code := l.testLive(); code != 0 {
		t.Errorf("a run afterwards: exit code %d: %+v", code, doc)
	}
}

// Packets go by what runs, so a file that says otherwise is refused.
func TestLiveWantsTheFileThatRuns(t *testing.T) {
	t.Parallel()
	l := newLab(t, live)
	if r := l.try("test", "--live"); r.code != 1 || !strings.Contains(r.stderr, "not running") {
		t.Errorf("nothing runs: %v", r)
	}
	l.must("up")
	l.edit(`name = "echo"`, `name = "the echo"`) // a test changes nothing
	l.must("test", "--live", "--run", "the echo")
	l.edit("ports = 9001", "ports = 9002")
	if r := l.try("test", "--live"); r.code != 1 || !strings.Contains(r.stderr, "vpc.toml differs from what runs (security_group right): vswitch reload first") {
		t.Errorf("another file: %v", r)
	}
	if r := l.try("test"); r.code != 3 { // by the file alone
		t.Errorf("by the rules: %v", r)
	}
}

// IPv6 and secondary addresses are sent from and to as well.
func TestLiveOverIPv6(t *testing.T) {
	t.Parallel()
	l := startLab(t, `
[vpc]
name = "test"
cidr = "10.9.0.0/16"
cidr6 = "fd00:9::/56"
[subnet.one]
cidr = "10.9.1.0/24"
cidr6 = "fd00:9::/64"
[subnet.two]
cidr = "10.9.2.0/24"
cidr6 = "fd00:9:0:1::/64"
[instance.a]
subnet = "one"
ip6 = "fd00:9::10"
extra_ips = ["10.9.1.77"]
[instance.b]
subnet = "two"
ip6 = "fd00:9:0:1::10"
[[test]]
name = "everything"
from = "a"
to = "b"
port = "all"
want = "allow"
[[test]]
name = "a block"
from = "10.9.1.0/24"
to = "b"
port = "icmp/echo-request"
want = "allow"
`)
	doc, code := l.testLive()
	if code != 0 || doc.Live.Disagreed != 0 {
		t.Errorf("exit code %d: %+v", code, doc)
	}
	var services []string
	for _, p := range doc.Tests[0].Probes {
		services = append(services, p.Service)
	}
	for _, want := range []string{"icmp", "icmpv6", "tcp/1", "tcp/65535", "udp/1", "udp/65535"} {
		if !slices.Contains(services, want) {
			t.Errorf("no probe of %s: %v", want, services)
		}
	}
	if n := len(doc.Tests[1].Probes); n != 2 { // from the primary and from the secondary address
		t.Errorf("%d probes from a block with two addresses", n)
	}
}
