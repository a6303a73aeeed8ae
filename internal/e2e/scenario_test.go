package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A scenario is one numbered case of SEM 9, or one of ours, on real kernels. The
// files of testdata/scenarios hold them; each file has a lab of its own, which a
// reload makes the VPC of SEM 9.0 again before each scenario (fixture_test.go).
// Adding a case needs no Go: a heading "## SG-07 what it shows", and lines.
//
// Lines that change the VPC, as in the scenarios of package switch:
//
//	sg b1 in tcp 22 10.0.1.0/24         a rule for the group of b1 ("in" or "out"), or for one of that name
//	sg b1 out none                      no rules in that direction
//	revoke b1 in tcp 22 10.0.1.0/24     the rule goes
//	groups a1 g-a1 app                 the groups of an instance
//	acl B custom                        a network ACL of its own for subnet B, without rules
//	acl B in 100 allow tcp 22 0.0.0.0/0 a rule of it
//	acl B default                       the default one again
//	route A 10.0.2.0/24 m1              a route of a table of its own for subnet A, to an instance or "blackhole"
//	check m1 off                        no source/dest check, and m1's kernel forwards
//	address a1 10.0.1.50                a secondary address
//	prefixes 1 10.0.1.10/32 ...         the entries of prefix list pl-1
//	conntrack tcp = "strict"            a line of [conntrack]
//	mtu 9001                            of all instances
//	also NO_ROUTE                       frames may be dropped for that reason besides
//
// Lines that have the kernels of the instances do something:
//
//	serve b1 tcp 22                     an echo server on all addresses of b1
//	a1 > b1:22 tcp => answer            a1 connects
//	a1 > b1:22 tcp => SG_INGRESS        nothing comes back, and a frame is dropped for that reason
//	a1 > b1:22 tcp => refused           b1 itself refuses
//	a1 > b1 icmp len=df1400 => too long a1 itself does not send so long a packet to b1
//	a1:900 > b1:53 udp len=8000 => answer   a datagram from port 900, and its echo
//	a1 > b1 icmp id=7 len=100 => answer an echo request; "len=df1472" forbids fragments
//	a1 > b1:22 tcp name=c => answer     the connection stays:
//	c talks => answer                   a line goes to the server and comes back
//	c closes                            a1's FIN is the first
//	c ends                              b1's FIN is the first
//	a1 finds 10.0.1.11 => a2            the kernel resolves an address: to an instance, to "router" or to "nobody"
//	a1 claims a1.6 => unique            duplicate address detection finds nobody, or "duplicate"
//
// Lines with frames that no kernel would send, in the form of package wiretest:
//
//	a1 sends a1:40000 > b1:22 tcp S => b1       b1 gets it, to the byte, and nobody else does
//	a1 sends a1:40000 > b1:22 tcp S => SG_INGRESS   nobody gets it
//	a1 sends a1:40000 > b1:53 udp mf => held    nor does anybody get this, yet
//	a1 sends nd router-solicit from a1.ll => answered   nor this, which the VPC answers
//	b1 hears a1:40000 > b1:22 tcp S             such a frame has come to b1 since the scenario began
//	b1 hears no a1:40000 > b1:22 tcp S          or has not, though all that was sent has been judged
//
// "from=m1" names another instance that acts than the address does, "mac=b1"
// another next hop than the router, "src=b1" another source MAC; both may be
// addresses. "cut=1480" cuts the packet into fragments of that many bytes.
//
// Names in packets stand for addresses: a1 for the IPv4 one, a1.6 for the IPv6
// one, a1.ll for the link-local one, A.router and A.router.ll for those of a
// subnet's router.
type scenario struct {
	file  string
	line  int // of the heading
	name  string
	lines []string
}

// readScenarios reads a file of scenarios.
func readScenarios(t *testing.T, file string) []scenario {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []scenario
	for i, line := range strings.Split(string(text), "\n") {
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			all = append(all, scenario{file: file, line: i + 1, name: heading})
		} else if len(all) > 0 {
			s := &all[len(all)-1]
			s.lines = append(s.lines, line)
		} else if line != "" && !strings.HasPrefix(line, "#") {
			t.Fatalf("%s:%d: no heading before the first line", file, i+1)
		}
	}
	return all
}

// Every scenario of SEM 9 that real kernels can show in a moment holds on them.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		all := readScenarios(t, file)
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			v := startVPC(t)
			for _, s := range all {
				t.Run(s.name, func(t *testing.T) { v.play(t, s) })
			}
		})
	}
}

// comment is what follows a "#" behind white space, or a whole line.
var comment = regexp.MustCompile(`(^|\s)#.*$`)

// play runs one scenario.
func (v *vpc) play(t *testing.T, s scenario) {
	v.begin(t)
	steps := 0
	for i, line := range s.lines {
		line = strings.TrimSpace(comment.ReplaceAllString(line, ""))
		if line == "" {
			continue
		}
		v.where = fmt.Sprintf("%s:%d: %s", s.file, s.line+1+i, line)
		if !v.change(strings.Fields(line)) {
			v.apply()
			v.step(line)
			steps++
		}
	}
	if steps == 0 {
		t.Fatalf("%s:%d: the scenario does nothing", s.file, s.line)
	}
}

// changes are the lines that change the VPC, with the words that they need.
var changes = map[string]int{"sg": 4, "revoke": 5, "groups": 3, "acl": 3, "route": 4, "check": 3, "address": 3, "prefixes": 3, "conntrack": 4, "mtu": 2, "also": 2}

// change carries out a line that changes the VPC. It reports false if the line is
// another one.
func (v *vpc) change(w []string) bool {
	v.t.Helper()
	switch n, ok := changes[w[0]]; {
	case !ok:
		return false
	case len(w) < n:
		v.fatalf("want %d words or more", n)
	}
	f := v.fixture
	switch {
	case w[0] == "sg":
		list := v.list(f.group(w[1]), w[2])
		if *list = append(*list, ""); w[3] == "none" {
			*list = []string{}
		} else {
			(*list)[len(*list)-1] = f.groupRule(w[2], w[3:])
		}
	case w[0] == "revoke":
		list, rule := v.list(f.group(w[1]), w[2]), f.groupRule(w[2], w[3:])
		at := slices.Index(*list, rule)
		if at < 0 {
			v.fatalf("no such rule in %q", *list)
		}
		*list = slices.Delete(*list, at, at+1)
	case w[0] == "groups":
		v.member(w[1]).groups = w[2:]
		for _, g := range w[2:] {
			if g != "default" {
				f.group(g)
			}
		}
	case w[0] == "acl" && w[2] == "custom":
		f.acl(w[1])
	case w[0] == "acl" && w[2] == "default":
		delete(f.acls, w[1])
	case w[0] == "acl" && len(w) > 5:
		list := v.list(f.acl(w[1]), w[2])
		*list = append(*list, aclRule(w[2], w[3:]))
	case w[0] == "route":
		f.routes[w[1]] = append(f.routes[w[1]], fmt.Sprintf("%q = %q", w[2], w[3]))
	case w[0] == "check":
		v.member(w[1]).unchecked = w[2] == "off"
	case w[0] == "address":
		m := v.member(w[1])
		m.extra = append(m.extra, w[2])
	case w[0] == "prefixes":
		f.lists[w[1]] = w[2:]
	case w[0] == "conntrack":
		f.conntrack = append(f.conntrack, strings.Join(w[1:], " "))
	case w[0] == "also":
		v.named = append(v.named, w[1])
		return true
	case w[0] == "mtu":
		f.mtu = v.number(w[1])
	default:
		v.fatalf("no such line")
	}
	v.dirty = true
	return true
}

func (v *vpc) member(name string) *member {
	v.t.Helper()
	m := v.fixture.instances[name]
	if m == nil {
		v.fatalf("%q is no instance", name)
	}
	return m
}

func (v *vpc) list(r *rules, direction string) *[]string {
	v.t.Helper()
	list, err := r.list(direction)
	v.must(err)
	return list
}

// step carries out any other line.
func (v *vpc) step(line string) {
	v.t.Helper()
	does, want, _ := strings.Cut(line, "=>")
	w, want := strings.Fields(does), strings.TrimSpace(want)
	if len(w) < 2 {
		v.fatalf("no such line")
	}
	switch {
	case w[0] == "serve" && len(w) == 4:
		v.expect(v.ask(w[1], "serve", w[2], w[3]), "ready")
	case w[1] == "talks":
		v.outcome(v.ask(v.conns[w[0]], "talk", w[0], v.patience(want), v.unique()), want)
	case w[1] == "closes":
		v.expect(v.ask(v.conns[w[0]], "close", w[0]), "closed")
	case w[1] == "ends":
		v.expect(v.ask(v.conns[w[0]], "ends", w[0]), "closed")
	case len(w) < 3:
		v.fatalf("no such line")
	case w[1] == "finds":
		v.finds(w[0], w[2], want)
	case w[1] == "claims":
		v.expect(v.ask(w[0], "claim", v.address(w[2])), want)
		v.settle("", 0)
	case w[1] == "sends":
		v.sends(w[0], w[2:], want)
	case w[1] == "hears" && w[2] == "no":
		v.hearsNo(w[0], w[3:])
	case w[1] == "hears":
		v.hears(w[0], w[2:])
	case w[1] == ">" && len(w) > 3 && w[3] == "icmp":
		v.pings(w, want)
	case w[1] == ">" && len(w) > 3:
		v.dials(w, want)
	default:
		v.fatalf("no such line")
	}
}
