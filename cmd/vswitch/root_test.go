package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// twoInstances is a small valid file.
const twoInstances = `[vpc]
name = "vst-unit"
cidr = "10.9.0.0/16"

[subnet.main]
cidr = "10.9.1.0/24"

[security_group.server]
ingress = [{ proto = "tcp", ports = 8080, from = "alice" }]

[instance.alice]
subnet = "main"

[instance.bob]
subnet = "main"
sg     = ["server"]
`

// write writes a file into a new directory and makes that the current one.
func write(t *testing.T, name, text string) string {
	t.Helper()
	t.Setenv("VSWITCH_FILE", "")
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// What the command says to a wrong command line, and its exit code.
func TestErrors(t *testing.T) {
	write(t, "vpc.toml", twoInstances)
	if err := os.WriteFile("bad.toml", []byte(strings.ReplaceAll(twoInstances, `subnet = "main"`, `subnet = "mian"`)), 0o644); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	fill(t, root, "vst-one", "/lab/one.toml")
	fill(t, root, "vst-two", "/lab/two.toml")
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"sttus", 2, "vswitch: no command \"sttus\" (did you mean \"status\"?)\nsee 'vswitch --help'\n"},
		{"conntrack sl", 2, "vswitch: no command \"sl\" (did you mean \"ls\"?)\nsee 'vswitch conntrack --help'\n"},
		{"status --bogus", 2, "vswitch: unknown flag: --bogus\nsee 'vswitch status --help'\n"},
		{"status extra", 2, "vswitch: status takes no arguments, and got 1\nusage: vswitch status [flags]\n"},
		{"status -o xml", 2, "vswitch: -o xml: vswitch status prints table, wide, json, jsonl, name\n"},
		{"status -o jsno", 2, "vswitch: -o jsno: vswitch status prints table, wide, json, jsonl, name (did you mean \"json\"?)\n"},
		{"down -o json", 2, "vswitch: vswitch down prints text only: it has no -o\n"},
		{"status -j -o wide", 2, "vswitch: -j means -o json, and -o wide was asked for as well\n"},
		{"--vpc ../etc status", 2, "vswitch: --vpc \"../etc\": the name of a VPC matches ^[a-z0-9][a-z0-9-]{0,29}$\n"},
		{"--vpc vst-none status", 1, "vswitch: VPC vst-none: the switch is not running (start it with vswitch up)\n"},
		{"--vpc vst-one status", 1, "vswitch: VPC vst-one: the switch is not running, but what it made is still there: vswitch up takes it over, vswitch down removes it\n"},
		{"status", 2, "vswitch: several VPCs run here: say which one with --vpc NAME (vst-one, vst-two)\n"},
		{"status -f none.toml", 2, "vswitch: none.toml: no such file (name one with -f, or set VSWITCH_FILE)\n"},
		{"check -f none.toml", 2, "vswitch: none.toml: no such file (name one with -f, or set VSWITCH_FILE)\n"},
		{"check --vpc other", 2, "vswitch: --vpc other: vpc.toml describes the VPC vst-unit\n"},
		{"check -f bad.toml", 2, "bad.toml:12:10: instance.alice.subnet: no subnet \"mian\" (did you mean \"main\"?)\nbad.toml:15:10: instance.bob.subnet: no subnet \"mian\" (did you mean \"main\"?)\n"},
		{"--vpc vst-one exec web2 -- true", 2, "vswitch: no instance \"web2\" in VPC vst-one (did you mean \"web1\"?)\n"},
		{"--vpc vst-one exec web1", 2, "vswitch: no command\nusage: vswitch exec NAME -- CMD [ARG...]\n"},
		{"explain a b", 2, "vswitch: explain takes 3 arguments, and got 2\nusage: vswitch explain SRC DST PROTO[/PORT] [flags]\n"},
		{"ping a", 2, "vswitch: ping takes 2 to 3 arguments, and got 1\nusage: vswitch ping SRC DST [tcp/PORT|udp/PORT] [flags]\n"},
		{"explain a b 6 --from-port 70000", 2, "vswitch: invalid argument \"70000\" for \"--from-port\" flag: value out of range\nsee 'vswitch explain --help'\n"},
		{"why --last 1x", 2, "vswitch: invalid argument \"1x\" for \"--last\" flag: unknown unit \"x\" in duration \"1x\"\nsee 'vswitch why --help'\n"},
		{"exec", 2, "vswitch: exec takes at least 1 argument, and got 0\nusage: vswitch exec NAME -- CMD [ARG...]\n"},
		{"--vpc vst-one ping web1 nobody", 2, "vswitch: no instance \"nobody\" in VPC vst-one\n"},
		{"--vpc vst-one ping web1 app1 tcp", 2, "vswitch: \"tcp\": want tcp/PORT, udp/PORT or icmp\n"},
		{"--vpc vst-one ping web1 app1 tcp/0", 2, "vswitch: \"tcp/0\": the port must be 1 to 65535\n"},
		{"--vpc vst-one ping web1 app1 --count 0", 2, "vswitch: --count 0: want 1 to 100000\n"},
		{"--vpc vst-one ping web1 app1 --timeout 1h", 2, "vswitch: --timeout 1h0m0s: want 1ms to 1m\n"},
		{"--vpc vst-none ping web1 app1", 1, "vswitch: VPC vst-none: the switch is not running (start it with vswitch up)\n"},
		{"serve icmp", 2, "vswitch: \"icmp\": the kernel answers ICMP echoes by itself\n"},
		{"--vpc vst-one logs app1", 1, "vswitch: instance app1: no log: it has no command (run = in the file), or that has not started yet\n"},
		{"--vpc vst-one logs", 1, "vswitch: VPC vst-one: no log: a switch in the foreground (vswitch run) logs where it was started\n"},
		{"down --vpc vst-none", 0, "nothing was there: the VPC vst-none does not run\n"},
		{"down", 0, "nothing was there: the VPC vst-unit does not run\n"},
	} {
		got := invoke(t, root, strings.Fields(c.args)...)
		if got.code != c.code || got.err != c.want || got.out != "" {
			t.Errorf("vswitch %s: exit code %d, want %d\nstdout %q\nstderr %q\nwant   %q", c.args, got.code, c.code, got.out, got.err, c.want)
		}
	}
}

func TestCheck(t *testing.T) {
	write(t, "vpc.toml", twoInstances)
	want := "vpc.toml: OK  vst-unit  10.9.0.0/16  1 subnet  2 instances  1 security group (1 rule)  0 network ACLs  0 tests\n"
	if got := invoke(t, "", "check"); got.code != 0 || got.out != want || got.err != "" {
		t.Errorf("got %+v, want %q", got, want)
	}
	if got := invoke(t, "", "validate", "-j"); got.code != 0 {
		t.Errorf("got %+v", got)
	} else {
		golden(t, "check/ok", got.out)
	}
}

// A file with mistakes is a document, too.
func TestCheckJSONOfABadFile(t *testing.T) {
	write(t, "vpc.toml", strings.ReplaceAll(twoInstances, `subnet = "main"`, `subnet = "mian"`))
	got := invoke(t, "", "check", "-o", "json")
	if got.code != exitUsage || got.err != "" {
		t.Errorf("exit code %d, want %d; stderr %q", got.code, exitUsage, got.err)
	}
	golden(t, "check/bad", got.out)
	if !json.Valid([]byte(got.out)) {
		t.Error("no JSON")
	}
}

// $VSWITCH_FILE is -f, and shows in no help.
func TestFileFromTheEnvironment(t *testing.T) {
	path := write(t, "lab.toml", twoInstances)
	t.Setenv("VSWITCH_FILE", path)
	if got := invoke(t, "", "check"); got.code != 0 || !strings.HasPrefix(got.out, path+": OK") {
		t.Errorf("got %+v", got)
	}
	if got := invoke(t, "", "check", "--help"); strings.Contains(got.out, path) {
		t.Error("the help depends on the environment")
	}
}

func TestCompletion(t *testing.T) {
	write(t, "vpc.toml", twoInstances)
	root := t.TempDir()
	fill(t, root, "vst-one", "/lab/one.toml")
	for _, c := range []struct{ args, want string }{
		{"exec ", "web1\t10.0.1.10 app1\t10.0.2.10 :4"},
		{"ping web1 ", "web1\t10.0.1.10 app1\t10.0.2.10 :4"},
		{"ping web1 app1 ", "tcp/ udp/ icmp :6"},
		{"logs ", "web1\t10.0.1.10 app1\t10.0.2.10 :4"},
		{"--vpc ", "vst-one :4"},
		{"status -o ", "table wide json jsonl name :4"},
		{"up -o ", "table json :4"},
	} {
		args := strings.Split(c.args, " ")
		got := invoke(t, root, append([]string{"__complete"}, args...)...)
		lines := strings.Join(strings.Split(strings.TrimSpace(got.out), "\n"), " ")
		if lines != c.want {
			t.Errorf("%q: got %q, want %q", c.args, lines, c.want)
		}
	}
}
