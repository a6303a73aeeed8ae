package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vswitch/internal/api"
)

// deleted is the two-tier example without the line that says "delete me".
func deleted(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testdata, "../../../examples/two-tier/vpc.toml"))
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "delete me") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// What explain prints of the file alone. The first ones are those of the README.
func TestExplainPrints(t *testing.T) {
	write(t, "vpc.toml", deleted(t))
	for _, c := range []struct {
		name, args string
		code       int
	}{
		{"reply", "web1 app1 tcp/8080 --exit-code", exitDenied},
		{"request", "web1 db1 tcp/5432 --exit-code", exitDenied},
		{"number", "web2 app1 tcp/8080", exitOK},
		{"allowed", "app1 db1 tcp/5432 --exit-code", exitOK},
		{"from-port", "web1 app1 tcp/8080 --from-port 500", exitOK},
		{"internet", "web1 internet tcp/8080", exitOK},
		{"from-internet", "internet web1 tcp/443", exitOK},
		{"router", "web1 10.0.1.1 icmp", exitOK},
		{"dns", "web1 10.0.0.2 udp/53", exitOK},
		{"itself", "web1 web1 tcp/443", exitOK},
		{"icmp", "app1 web1 icmp", exitOK},
	} {
		got := invoke(t, t.TempDir(), append([]string{"explain"}, strings.Fields(c.args)...)...)
		if got.code != c.code || got.err != "" {
			t.Errorf("%s: exit code %d, %q", c.name, got.code, got.err)
		}
		golden(t, filepath.Join("explain", c.name), got.out)
	}
	got := invoke(t, t.TempDir(), "explain", "web1", "app1", "tcp/8080", "-o", "json")
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("explain", "json"), strings.ReplaceAll(got.out, here+"/", "/lab/"))
}

// A route, an untracked flow, source ports of which some fare differently, and an
// instance that forwards.
func TestExplainPrintsRoutes(t *testing.T) {
	write(t, "vpc.toml", relayed)
	for name, args := range map[string]string{
		"relayed":   "alice bob tcp/80",
		"partial":   "alice bob tcp/8080",
		"blackhole": "alice 203.0.113.7 tcp/443",
		"untracked": "carol alice tcp/22",
	} {
		golden(t, filepath.Join("explain", name), invoke(t, t.TempDir(), append([]string{"explain"}, strings.Fields(args)...)...).out)
	}
}

const relayed = `[vpc]
name = "vst-unit"
cidr = "10.9.0.0/16"

[subnet.left]
cidr  = "10.9.1.0/24"
route = "through"
nacl  = "left"

[subnet.right]
cidr  = "10.9.2.0/24"

[subnet.middle]
cidr  = "10.9.3.0/24"

[route.through]
"10.9.2.0/24"    = "relay"
"203.0.113.0/24" = "blackhole"

[nacl.left]
egress  = [{ rule = 100, action = "allow", proto = "all", to = "0.0.0.0/0" }]
ingress = [
  { rule = 90, action = "deny", proto = "tcp", ports = "5000-6000", from = "10.9.2.0/24" },
  { rule = 100, action = "allow", proto = "all", from = "0.0.0.0/0" },
]

[security_group.open]
ingress = [{ proto = "all", from = "0.0.0.0/0" }]

[security_group.server]
ingress = [
  { proto = "tcp", ports = 80, from = "sg:open" },
  { proto = "tcp", ports = 8080, from = "10.9.1.0/24" },
]

[instance.alice]
subnet = "left"
sg     = ["open"]

[instance.carol]
subnet = "left"
sg     = ["open"]

[instance.relay]
subnet = "middle"
sg     = ["open"]
source_dest_check = false

[instance.bob]
subnet = "right"
sg     = ["server"]
`

// Mistakes exit with 2, whether a flow would be denied or not.
func TestExplainRefuses(t *testing.T) {
	write(t, "vpc.toml", twoInstances)
	for _, c := range []struct{ args, want string }{
		{"alcie bob tcp/80", `vswitch: no instance "alcie" in VPC vst-unit (did you mean "alice"?)` + "\n"},
		{"alice bob tcp", "vswitch: tcp needs a port, as in tcp/443\n"},
		{"alice bob icmp --from-port 7", "vswitch: icmp has no ports: a source port means nothing\n"},
		{"alice bob tcp/80 --from-port 0", "vswitch: --from-port 0: want 1 to 65535\n"},
		{"alice bob tcp/80 -f gone.toml", "vswitch: gone.toml: no such file (name one with -f, or set VSWITCH_FILE)\n"},
		{"alice bob tcp/80 --vpc other", "vswitch: VPC other: the switch is not running (start it with vswitch up)\n"},
	} {
		if got := invoke(t, t.TempDir(), append([]string{"explain"}, strings.Fields(c.args)...)...); got.code != exitUsage && got.code != exitFailure || got.err != c.want || got.out != "" {
			t.Errorf("%s: exit code %d\n%s%s", c.args, got.code, got.err, got.out)
		}
	}
	t.Chdir(t.TempDir())
	if got := invoke(t, t.TempDir(), "explain", "alice", "bob", "tcp/80"); got.code == exitOK || !strings.Contains(got.err, "vpc.toml") {
		t.Errorf("without a file: exit code %d, %s", got.code, got.err)
	}
}

// Instances are completed for both ends, without a running VPC from the file.
func TestExplainCompletes(t *testing.T) {
	write(t, "vpc.toml", twoInstances)
	for args, want := range map[string]string{"": "alice\nbob\ninternet\n", "alice ": "alice\nbob\ninternet\n", "alice bob ": "tcp/\nudp/\nicmp\nicmpv6\n"} {
		words := append([]string{"__complete", "explain"}, strings.Fields(args)...)
		got := invoke(t, t.TempDir(), append(words, "")...)
		if !strings.HasPrefix(got.out, want+":") {
			t.Errorf("%q: %s", args, got.out)
		}
	}
}

// The JSON of the file alone is the API's document.
func TestExplainJSON(t *testing.T) {
	write(t, "vpc.toml", deleted(t))
	got := invoke(t, t.TempDir(), "explain", "web1", "app1", "tcp/8080", "-j", "--exit-code")
	var e api.Explanation
	if err := json.Unmarshal([]byte(got.out), &e); err != nil || got.code != exitDenied {
		t.Fatalf("exit code %d, %v\n%s", got.code, err, got.out)
	}
	if e.Verdict != api.VerdictDeny || e.Generation != 0 || len(e.Fixes) != 1 || e.Fixes[0].Table != "nacl.private" {
		t.Errorf("%+v", e)
	}
}
