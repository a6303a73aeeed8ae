package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vswitch/internal/capture"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

// captureConfig is two instances in two subnets. The second's network ACL lets tcp
// 22 in, denies 23 by a rule and the rest by none, and lets all answers out.
const captureConfig = `[vpc]
name = "x"
cidr = "10.7.0.0/16"

[subnet.public]
cidr = "10.7.1.0/24"

[subnet.private]
cidr = "10.7.2.0/24"
nacl = "private"

[nacl.private]
ingress = [
  { rule = 90, action = "deny", proto = "tcp", ports = 23, from = "10.7.1.0/24" },
  { rule = 100, action = "allow", proto = "tcp", ports = 22, from = "10.7.1.0/24" },
]
egress = [{ rule = 100, action = "allow", proto = "all", to = "0.0.0.0/0" }]

[security_group.open]
ingress = [{ proto = "all", from = "0.0.0.0/0" }]

[instance.web1]
subnet = "public"
ip     = "10.7.1.10"
sg     = ["open"]

[instance.db1]
subnet = "private"
ip     = "10.7.2.20"
sg     = ["open"]
`

// tool returns the path of a program that ring 4 needs besides our own.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("the tests on real kernels need %s: apt-get install %s", name, name)
	}
	return path
}

// A capturing is `vswitch capture` under way; what it says is its standard error.
type capturing struct{ *program }

// capture starts a capture, and returns when it runs. Its standard output goes to
// out.
func (l *lab) capture(out io.Writer, args ...string) *capturing {
	l.t.Helper()
	c, line := l.tryCapture(out, args...)
	if !strings.HasPrefix(line, "capturing ") {
		l.t.Fatalf("capture says %q", line)
	}
	return c
}

// tryCapture starts a capture, and returns the first line that it says.
func (l *lab) tryCapture(out io.Writer, args ...string) (*capturing, string) {
	l.t.Helper()
	cmd := exec.Command(binary, append([]string{"-f", l.file, "capture"}, args...)...)
	cmd.Dir, cmd.Stdout = filepath.Dir(l.file), out
	stderr, err := cmd.StderrPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	c := &capturing{begin(l.t, "capture", cmd, stderr)}
	return c, c.line()
}

// end waits for the command and returns what it said last.
func (c *capturing) end() string {
	c.t.Helper()
	rest, code := c.program.end()
	if code != 0 || len(rest) == 0 {
		c.t.Fatalf("capture ends with exit code %d, saying %q", code, rest)
	}
	return rest[len(rest)-1]
}

// interrupt is Ctrl-C, and end.
func (c *capturing) interrupt() string {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
		c.t.Fatal(err)
	}
	return c.end()
}

// tsharkCommand is tshark, which reads a pcapng file from its standard input and
// prints the fields of its frames, separated by |, as they come.
func tsharkCommand(t *testing.T, file io.Reader, fields ...string) *exec.Cmd {
	t.Helper()
	args := []string{"-r", "-", "-l", "-n", "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-T", "fields", "-E", "separator=|"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	cmd := exec.Command(tool(t, "tshark"), args...)
	cmd.Stdin = file
	// Its settings would be ours to clean up.
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir())
	return cmd
}

// tshark reads a pcapng file and returns the fields of its frames.
func tshark(t *testing.T, file io.Reader, fields ...string) []string {
	t.Helper()
	r := finish(t, tsharkCommand(t, file, fields...))
	if r.code != 0 {
		t.Fatalf("tshark ends with %d: %s", r.code, r.stderr)
	}
	return strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
}

// TestCaptureIntoLivePipes pipes a capture into tshark and another one into tcpdump:
// both show each frame while the capture goes on, and end when it does.
func TestCaptureIntoLivePipes(t *testing.T) {
	l := startLab(t, captureConfig)
	l.start("db1", "serve", ":22")
	tcpdump := exec.Command(tool(t, "tcpdump"), "-r", "-", "-l", "-n", "-t", "-q")
	for _, c := range []struct {
		reader          *exec.Cmd
		passed, dropped string // how the lines begin that it prints of two SYNs
	}{
		{tsharkCommand(t, nil, "frame.interface_name", "ip.src", "tcp.dstport", "frame.comment"),
			"web1|10.7.1.10|22|", "web1|10.7.1.10|23|dropped: NACL_INGRESS nacl private ingress 90 tcp 23 <- 10.7.1.0/24 (vpc.toml:14)"},
		{tcpdump, "IP 10.7.1.10.", "IP 10.7.1.10."},
	} {
		from, to, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		writer := l.capture(to, "web1", "-w", "-", "--filter", "tcp and src host web1")
		c.reader.Stdin = from
		stdout, err := c.reader.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		reader := begin(t, filepath.Base(c.reader.Path), c.reader, stdout)
		if err := errors.Join(from.Close(), to.Close()); err != nil { // the two have them
			t.Fatal(err)
		}
		for _, step := range []struct{ port, fate, line string }{{"22", "connected", c.passed}, {"23", "timeout", c.dropped}} {
			if got := l.dial("web1", "tcp", "10.7.2.20:"+step.port); got != step.fate {
				t.Errorf("port %s: %s, want %s", step.port, got, step.fate)
			}
			for {
				line := reader.line()
				if strings.HasPrefix(line, step.line) && (c.reader != tcpdump || strings.Contains(line, " > 10.7.2.20."+step.port+": tcp 0")) {
					break
				}
			}
			if !alive(writer.cmd.Process.Pid) {
				t.Errorf("%s shows port %s when the capture has ended", reader.what, step.port)
			}
		}
		if last := writer.interrupt(); !strings.HasSuffix(last, " captured, 0 lost") {
			t.Errorf("capture says %q", last)
		}
		if rest, code := reader.end(); code != 0 {
			t.Errorf("%s ends with exit code %d, saying %q", reader.what, code, rest)
		}
	}
}

// TestCaptureIntoTshark pipes a capture of two ports into tshark: interfaces,
// directions, checksums and comments are what Wireshark understands.
func TestCaptureIntoTshark(t *testing.T) {
	l := startLab(t, captureConfig)
	tool(t, "tshark")
	l.start("db1", "serve", ":22")
	file, err := os.Create(filepath.Join(t.TempDir(), "out.pcapng"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	all := l.capture(file, "--all", "-w", "-", "--filter", "tcp and host web1 and net private")
	drops := l.capture(nil, "web1", "--dropped", "-w", "drops.pcapng", "-s", "60")
	for port, want := range map[string]string{"22": "connected", "23": "timeout", "24": "timeout"} {
		if got := l.dial("web1", "tcp", "10.7.2.20:"+port); got != want {
			t.Errorf("port %s: %s, want %s", port, got, want)
		}
	}
	if last := all.interrupt(); !strings.HasSuffix(last, " captured, 0 lost") {
		t.Errorf("capture says %q", last)
	}
	drops.interrupt()

	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	lines := tshark(t, file, "frame.interface_name", "frame.packet_flags_direction", "ip.src", "tcp.dstport", "tcp.flags.syn", "tcp.checksum.status", "frame.comment")
	for _, want := range []string{
		"web1|0x00000001|10.7.1.10|22|1|1|",
		"db1|0x00000002|10.7.1.10|22|1|1|",
		"db1|0x00000001|10.7.2.20|",
		"web1|0x00000001|10.7.1.10|23|1|1|dropped: NACL_INGRESS nacl private ingress 90 tcp 23 <- 10.7.1.0/24 (vpc.toml:14)",
		"web1|0x00000001|10.7.1.10|24|1|1|dropped: NACL_INGRESS nacl private ingress * (implicit deny)",
	} {
		if !slices.ContainsFunc(lines, func(line string) bool {
			return line == want || strings.HasSuffix(want, "|") && strings.HasPrefix(line, want)
		}) {
			t.Errorf("tshark has no %q in\n%s", want, strings.Join(lines, "\n"))
		}
	}
	for _, line := range lines {
		if strings.HasPrefix(line, "db1|") && (strings.Contains(line, "|23|") || strings.Contains(line, "dropped")) || strings.Split(line, "|")[5] != "1" {
			t.Errorf("tshark has %q", line)
		}
	}

	dropped, err := os.Open(filepath.Join(filepath.Dir(l.file), "drops.pcapng"))
	if err != nil {
		t.Fatal(err)
	}
	defer dropped.Close()
	for _, line := range tshark(t, dropped, "frame.interface_name", "frame.cap_len", "frame.comment") {
		if !strings.HasPrefix(line, "web1|60|dropped: NACL_INGRESS ") && !strings.HasPrefix(line, "web1|60|dropped: MULTICAST") && !strings.Contains(line, "|dropped: ") {
			t.Errorf("among the dropped frames: %q", line)
		}
	}
}

// TestCaptureEnds: a capture ends by its count, by a client that goes away, by
// `down`, and its files are complete.
func TestCaptureEnds(t *testing.T) {
	l := startLab(t, captureConfig)
	l.start("db1", "serve", ":22")
	var out bytes.Buffer
	counted := l.capture(&out, "db1", "-c", "3", "-w", "three.pcapng", "-o", "json")
	whole := l.capture(nil, "--all", "-w", "whole.pcapng")
	gone := l.capture(nil, "--all", "-w", "gone.pcapng")
	if got := l.dial("web1", "tcp", "10.7.2.20:22"); got != "connected" {
		t.Fatal(got)
	}
	counted.end()
	var summary struct {
		Files          []string
		Captured, Lost uint64
	}
	if err := json.Unmarshal(out.Bytes(), &summary); err != nil || fmt.Sprint(summary) != "{[three.pcapng] 3 0}" {
		t.Errorf("the summary is %s (%v)", out.String(), err)
	}
	if n := packets(t, filepath.Join(filepath.Dir(l.file), "three.pcapng")); n != 3 {
		t.Errorf("%d frames, want 3", n)
	}

	// Four at once: the places of those that have ended, or were killed, are free.
	for i := range 2 {
		l.capture(nil, "--all", "-w", fmt.Sprintf("more%d.pcapng", i))
	}
	if r := l.try("capture", "--all", "-w", "five.pcapng"); r.code != 1 || !strings.Contains(r.stderr, "4 captures run already") {
		t.Errorf("a fifth capture:\n%v", r)
	}
	gone.cmd.Process.Kill()
	gone.cmd.Wait()
	eventually(t, "the place of a killed client is not free", func() bool {
		again, line := l.tryCapture(nil, "--all", "-w", "again.pcapng")
		if !strings.HasPrefix(line, "capturing ") {
			again.cmd.Wait()
			return false
		}
		again.interrupt()
		return true
	})
	l.must("down")
	whole.end()
	if n := packets(t, filepath.Join(filepath.Dir(l.file), "whole.pcapng")); n < 6 {
		t.Errorf("a capture that was ended by down has %d frames", n)
	}
}

// packets returns how many frames a complete pcapng file has.
func packets(t *testing.T, name string) (n int) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := capture.NewReader(f)
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if b.IsPacket() {
			n++
		}
	}
}

// TestCaptureRefusals: what is wrong with a command line, in one line or with a
// mark under the word.
func TestCaptureRefusals(t *testing.T) {
	l := startLab(t, captureConfig)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"wbe1"}, `no instance "wbe1"`},
		{[]string{"web1", "--filter", "tcp prt 80"}, "  tcp prt 80\n      ^^^"},
		{nil, "name the instances to capture, or say --all"},
		{[]string{"--all", "web1"}, "--all means all instances"},
		{[]string{"--all", "-W", "3"}, "say with -C"},
		{[]string{"--all", "-w", "-", "-C", "1"}, "-w - is standard output"},
		{[]string{"--all", "-w", "-", "-j"}, "both want standard output"},
		{[]string{"--all", "-s", "-1"}, "-s -1"},
	} {
		if r := l.try(append([]string{"capture"}, c.args...)...); r.code != 2 || !strings.Contains(r.stderr, c.want) || r.stdout != "" {
			t.Errorf("want exit code 2 and %q:\n%v", c.want, r)
		}
	}
}

// TestFilterAgreesWithTcpdump: for expressions of all kinds, our filters take the
// frames that tcpdump takes.
func TestFilterAgreesWithTcpdump(t *testing.T) {
	needRoot(t)
	tcpdump := tool(t, "tcpdump")
	var frames [][]byte
	for _, text := range []string{
		"10.0.1.10:40000 > 10.0.2.10:443 tcp S seq=1", "10.0.2.10:443 > 10.0.1.10:40000 tcp SA seq=1 ack=2",
		"10.0.2.10:5353 > 10.0.9.9:53 udp len=20", "10.0.1.10:53 > 10.1.2.10:53 udp len=900",
		"10.0.1.10 > 10.0.2.10 icmp echo-request id=1", "10.0.1.10 > 10.0.2.10 proto 47", "10.0.1.10 > 10.0.2.10 proto 132 len=12",
		"[2001:db8::10]:40000 > [2001:db8::20]:443 tcp S seq=1", "[2001:db8::20]:53 > [2001:db8::10]:53 udp len=20",
		"2001:db8::10 > 2001:db8::20 icmpv6 echo-request id=1",
		"arp who-has 10.0.1.1 tell 10.0.1.10", "arp who-has 10.0.2.1 tell 10.0.2.10",
	} {
		frames = append(frames, wiretest.Bytes(t, wire.MAC{2, 0, 0, 0, 0, 1}, wire.MAC{2, 0, 0, 0, 0, 2}, text))
	}
	frames = append(frames, wiretest.Fragments(frames[3], 400)...)
	var file bytes.Buffer
	w, err := capture.NewWriter(&file, "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Interface(capture.Interface{Name: "x"}); err != nil {
		t.Fatal(err)
	}
	for i, b := range frames {
		b = b[wire.VirtioSize:]
		if err := w.Packet(&capture.Packet{Time: time.Unix(int64(i), 0), Data: b, Length: len(b)}); err != nil {
			t.Fatal(err)
		}
	}
	primitives := []string{
		"tcp", "udp", "icmp", "icmp6", "arp", "ip", "ip6", "host 10.0.1.10", "src host 10.0.1.10", "dst 10.0.1.10", "src and dst net 10.0.0.0/8",
		"src or dst net 10.1.0.0/16", "net 10.0.1", "ip6 host 2001:db8::10", "src net 2001:db8::/32", "arp host 10.0.1.1", "ip host 10.0.1.10",
		"port 53", "src port 443", "dst port 443", "tcp port 443", "udp port 53", "src and dst port 53", "portrange 400-500", "udp portrange 1-60", "ip proto 47", "ip6 proto 17",
		"proto 132", "ether host 02:00:00:00:00:01", "ether src 02:00:00:00:00:02", "less 60", "greater 100", "port https", "sctp",
	}
	expressions := slices.Clone(primitives)
	for i, p := range primitives {
		q, r := primitives[(i*7+3)%len(primitives)], primitives[(i*5+11)%len(primitives)]
		expressions = append(expressions, "not "+p, p+" and not "+q, p+" or "+q+" and "+r, "not ("+p+" or "+q+") || !"+r, p+" && ("+q+" or "+r+")")
	}
	expressions = append(expressions, "not host 10.0.1.10 and 10.0.2.10", "dst port 443 or 53", "udp dst port 53 or 443 or 80", "host 10.0.1.1 or 10.0.2.1 and not arp")
	for _, e := range expressions {
		cmd := exec.Command(tcpdump, "-r", "-", "-n", "-tt", "-q", e)
		cmd.Stdin = bytes.NewReader(file.Bytes())
		r := finish(t, cmd)
		f, err := capture.ParseFilter(e, capture.Names{Hosts: map[string][]netip.Prefix{}})
		if err != nil {
			t.Errorf("%s: %v", e, err)
			continue
		}
		if strings.Contains(r.stderr, "expression rejects all packets") {
			r.code, r.stdout = 0, ""
		}
		if r.code != 0 {
			t.Errorf("tcpdump %q: %s", e, r.stderr)
			continue
		}
		taken := map[string]bool{} // by second, which is the index
		for line := range strings.Lines(r.stdout) {
			second, _, _ := strings.Cut(line, ".")
			taken[second] = true
		}
		for i, b := range frames {
			b = b[wire.VirtioSize:]
			if got, want := f.Match(b, len(b)), taken[fmt.Sprint(i)]; got != want {
				t.Errorf("%q takes frame %d: %v, tcpdump: %v", e, i, got, want)
			}
		}
	}
}
