package vswitch_test

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	vswitch "vswitch/switch"

	"vswitch/port"
)

// A scenario is one numbered case of SEM 9, or one of ours, from a file in
// testdata/scenarios. Adding a case needs no Go: a heading "## SG-07 what it
// shows", lines that set the VPC up, and lines that send a frame and say what
// becomes of it:
//
//	sg b1 in tcp 22 10.0.1.0/24         a rule for the group of b1 ("in" or "out")
//	sg b1 out none                      no rules in that direction
//	revoke b1 in tcp 22 10.0.1.0/24     the rule goes
//	groups a1 sg-a1 sg-x                the groups of an instance; unknown ones are made, empty
//	acl B custom                        a network ACL of its own for subnet B, without rules
//	acl B in 100 allow tcp 22 0.0.0.0/0 a rule of it
//	conntrack b1 udp=60s                a timeout of an instance (tcp_established, udp, udp_stream)
//	route A 10.0.2.0/24 m1              a route of a table of its own for subnet A, to an instance or "blackhole"
//	check m1 off                        no source/dest check
//	address a1 10.0.1.50                a secondary address
//	prefixes 1 10.0.1.10/32 ...         the entries of prefix list pl-1
//	vpc strict                          or: loose, nitrov6, max=10
//	block 100.64.0.0/16                 a secondary block of the VPC
//	subnet S 10.0.4.0/28                another subnet
//	instance c1 S [10.0.4.7]            another instance, without a device
//	repeat 19 LINE                      the line 19 times, with %d as 10, 11, 12 ...
//	refused TEXT while LINE             the configuration that the line makes is refused, and TEXT is in the message
//	timed-out a1 2                      that many held fragments of a1 were dropped for FRAGMENT_TIMEOUT
//	wait 29s                            the clock goes on
//	a1:40000 > b1:22 tcp S => b1        a1 sends; b1 gets it, to the byte
//	a1:40000 > b1:22 tcp S => SG_INGRESS   ... or it is dropped for that reason
//	a1 > b1 icmp echo-request => b1
//
//	fragments 1480 a1:40000 > b1:53 udp len=4000 => b1
//	                                    the packet in fragments of that much data; "reversed", "twice" (each one
//	                                    twice), "but-last" or "but-first" behind the size change what is sent
//
// Names in a packet stand for addresses: a1 for the IPv4 one, a1.6 for the IPv6
// one, a1.ll for the link-local one. "from=m1" names another sender than
// the source address does, "mac=b1" another next hop than the router, or
// "mac=xx:xx:xx:xx:xx:xx", and "smac=" another source MAC than the sender's.
// "ethertype=88cc" overwrites the EtherType, and "vlan=5" puts a tag in front of it.
type scenario struct {
	file  string
	line  int
	name  string
	lines []string
}

// scenarios reads all files of testdata/scenarios.
func scenarios(t *testing.T) []scenario {
	t.Helper()
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	var all []scenario
	for _, name := range files {
		if filepath.Base(name) == "absent.txt" {
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewScanner(f)
		for n := 1; in.Scan(); n++ {
			line := strings.TrimSpace(in.Text())
			heading, isHeading := strings.CutPrefix(line, "## ")
			switch {
			case isHeading:
				all = append(all, scenario{file: name, line: n, name: heading})
			case len(all) == 0 || all[len(all)-1].file != name:
				if line != "" && !strings.HasPrefix(line, "#") {
					t.Fatalf("%s:%d: no heading before the first line", name, n)
				}
			default:
				s := &all[len(all)-1]
				s.lines = append(s.lines, line)
			}
		}
		if err := in.Err(); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestScenarios runs every scenario with the flow cache and without it, with one
// worker and with three, and with frames that reach their worker at once and by
// way of another: nothing of that may be visible.
func TestScenarios(t *testing.T) {
	for _, s := range scenarios(t) {
		for _, mode := range []struct {
			name    string
			cache   int
			ahead   bool
			workers int
			steer   func(frame []byte) uint16
		}{
			{"cached", 1 << 10, false, 1, port.SteerFrame},
			{"cached, reading ahead", 1 << 10, true, 1, port.SteerFrame},
			{"uncached", 0, false, 1, port.SteerFrame},
			{"cached, 3 workers", 1 << 10, false, 3, port.SteerFrame},
			{"uncached, 3 workers", 0, false, 3, port.SteerFrame},
			{"cached, 3 workers, frames astray", 1 << 10, true, 3, astray},
		} {
			t.Run(s.name+"/"+mode.name, func(t *testing.T) {
				t.Parallel()
				v := newCrew(t, mode.cache, mode.workers, mode.steer)
				if mode.ahead {
					vswitch.ReadAhead(v.sw)
				}
				for i, line := range s.lines {
					if line == "" || strings.HasPrefix(line, "#") {
						continue
					}
					v.where = s.file + ":" + itoa(s.line+1+i)
					v.run(line)
				}
				if v.frames == 0 {
					t.Fatalf("%s:%d: the scenario sends nothing", s.file, s.line)
				}
			})
		}
	}
}

// comment is what follows a "#" behind white space.
var comment = regexp.MustCompile(`\s#.*$`)

// run executes one line of a scenario.
func (v *vpc) run(line string) {
	v.t.Helper()
	line = strings.TrimSpace(comment.ReplaceAllString(line, ""))
	if packet, want, ok := strings.Cut(line, "=>"); ok {
		if words := strings.Fields(packet); words[0] == "fragments" {
			v.sendFragments(words[1:], strings.TrimSpace(want))
			return
		}
		v.send(strings.Fields(packet), strings.TrimSpace(want))
		return
	}
	words := strings.Fields(line)
	switch words[0] {
	case "repeat":
		for i := range v.number(words[1]) {
			v.run(strings.ReplaceAll(strings.Join(words[2:], " "), "%d", itoa(10+i)))
		}
	case "timed-out":
		v.timedOut(words[1], uint64(v.number(words[2])))
	case "refused":
		v.refused(words[1], strings.Join(words[3:], " "))
	case "block":
		v.dirty = true
		v.config.VPC.CIDRs = append(slices.Clone(v.config.VPC.CIDRs), netip.MustParsePrefix(words[1]))
	case "subnet":
		v.dirty = true
		v.config.Subnets = append(slices.Clone(v.config.Subnets), vswitch.Subnet{Name: words[1], CIDR: netip.MustParsePrefix(words[2])})
	case "instance":
		v.dirty = true
		in := vswitch.Instance{Name: words[1], Subnet: words[2]}
		if len(words) > 3 {
			in.IP = netip.MustParseAddr(words[3])
		}
		v.config.Instances = append(slices.Clone(v.config.Instances), in)
	case "sg":
		v.authorize(words[1], words[2], words[3:])
	case "revoke":
		v.revoke(words[1], words[2], words[3:])
	case "groups":
		v.groups(words[1], words[2:])
	case "acl":
		v.acl(words[1], words[2:])
	case "route":
		v.route(words[1], words[2], words[3])
	case "check":
		v.dirty = true
		v.config.Instance(words[1]).DisableSourceDestCheck = words[2] == "off"
	case "address":
		v.dirty = true
		in := v.config.Instance(words[1])
		in.ExtraIPs = append(slices.Clone(in.ExtraIPs), netip.MustParseAddr(words[2]))
	case "prefixes":
		v.prefixes(words[1], words[2:])
	case "conntrack":
		v.timeouts(words[1], words[2:])
	case "vpc":
		v.properties(words[1:])
	case "wait":
		d, err := time.ParseDuration(words[1])
		v.must(err)
		v.now += int64(d)
	default:
		v.fatalf("no such line: %q", line)
	}
}

// numbered is how many scenarios SEM 9.1 to 9.4 have of each kind.
var numbered = map[string]int{"SG": 26, "CT": 23, "NA": 22, "RT": 35}

// TestNoScenarioIsSkipped holds that each numbered scenario of SEM 9.1 to 9.4 is
// either run or listed as absent, with a reason, and not both.
func TestNoScenarioIsSkipped(t *testing.T) {
	number := regexp.MustCompile(`^(SG|CT|NA|RT)-\d\d\b`)
	run := map[string]bool{}
	for _, s := range scenarios(t) {
		if n := number.FindString(s.name); n != "" {
			run[n] = true
		}
	}
	text, err := os.ReadFile("testdata/scenarios/absent.txt")
	if err != nil {
		t.Fatal(err)
	}
	absent := map[string]bool{}
	for _, line := range strings.Split(string(text), "\n") {
		if n, reason, _ := strings.Cut(line, " "); number.MatchString(line) {
			absent[n] = true
			if reason == "" || run[n] {
				t.Errorf("absent.txt: %q: it has no reason, or is run after all", line)
			}
		}
	}
	for kind, count := range numbered {
		for i := 1; i <= count; i++ {
			if n := fmt.Sprintf("%s-%02d", kind, i); !run[n] && !absent[n] {
				t.Errorf("%s is neither run nor listed as absent", n)
			}
		}
	}
}
