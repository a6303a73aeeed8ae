package explain_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"vswitch/internal/explain"
	"vswitch/internal/explain/explaintest"
)

// explainer returns an Explainer of a file.
func explainer(t testing.TB, text string) *explain.Explainer {
	t.Helper()
	return explaintest.Explainer(t, explaintest.Parse(t, text))
}

// ask reads "FROM TO SERVICE [PORT]" and asks it.
func ask(t *testing.T, x *explain.Explainer, text string) *explain.Explanation {
	t.Helper()
	words := strings.Fields(text)
	var q explain.Query
	var err error
	if q.From, err = x.Endpoint(words[0]); err == nil {
		if q.To, err = x.Endpoint(words[1]); err == nil {
			err = q.Service(words[2])
		}
	}
	if err == nil && len(words) > 3 {
		_, err = fmt.Sscan(words[3], &q.SourcePort)
	}
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	e, err := x.Explain(q)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return e
}

// paste puts a fix into the file as its words say.
func paste(t *testing.T, text string, f *explain.Fix) string {
	t.Helper()
	header := "[" + f.Table + "]\n"
	before, section, found := strings.Cut(text, header)
	if !found {
		if f.TOML == "" {
			t.Fatalf("the file has no table %s\n%s", f.Table, text)
		}
		return text + "\n" + header + f.TOML + "\n"
	}
	if f.TOML != "" {
		return before + header + f.TOML + "\n" + section
	}
	end := strings.Index(section, "\n[")
	if end < 0 {
		end = len(section)
	}
	list := regexp.MustCompile(`(?m)^` + f.Key + ` *= *\[`).FindStringIndex(section[:end])
	if list == nil {
		t.Fatalf("%s has no list %s\n%s", f.Table, f.Key, text)
	}
	return before + header + section[:list[1]] + f.Rule + ", " + section[list[1]:]
}

// A maker writes random VPCs as files: few addresses, ports and services, so that
// things meet.
type maker struct{ *rand.Rand }

func (m maker) one(n int) bool           { return m.IntN(n) == 0 }
func (m maker) pick(of ...string) string { return of[m.IntN(len(of))] }
func (m maker) number(of ...int) int     { return of[m.IntN(len(of))] }
func (m maker) rules(n int, rule func(i int) string) string {
	var all []string
	for i := range m.IntN(n + 1) {
		all = append(all, rule(i))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// service returns the keys of a rule, and the family of its packets: 4, 6, or 0
// for both.
func (m maker) service() (keys string, family int) {
	switch m.IntN(9) {
	case 0, 1:
		return `proto = "all"`, 0
	case 2, 3, 4:
		return `proto = "tcp", ports = "` + m.pick("22", "443", "8080", "0-65535", "1024-65535", "1-1023", "32768-60999", "2000-3000") + `"`, 0
	case 5:
		return `proto = "udp", ports = "` + m.pick("53", "0-65535", "1024-65535", "5000-6000") + `"`, 0
	case 6:
		return `proto = "icmp"` + m.pick("", `, type = "echo-request"`, `, type = 0`), 4
	case 7:
		return `proto = "icmpv6"` + m.pick("", `, type = 128`), 6
	}
	return `proto = 47`, 0
}

func (m maker) block(family int) string {
	four := []string{"0.0.0.0/0", "0.0.0.0/0", "10.0.0.0/16", "10.0.1.0/24", "10.0.2.0/24", "10.0.1.10/32", "10.0.2.20/32"}
	if family == 6 || family == 0 && m.one(4) {
		return m.pick("::/0", "::/0", "fd00:10::/56", "fd00:10:0:1::/64", "fd00:10:0:2::20/128")
	}
	return m.pick(four...)
}

func (m maker) groupRule(key string) string {
	keys, family := m.service()
	peer := m.block(family)
	if family != 6 && m.one(3) {
		peer = m.pick("sg:g1", "sg:g2", "sg:g3", "A", "B", "a1", "b1", "internet")
	}
	return fmt.Sprintf("{ %s, %s = %q }", keys, key, peer)
}

func (m maker) entry(key string, i int) string {
	keys, family := m.service()
	return fmt.Sprintf("{ rule = %d, action = %q, %s, %s = %q }", 1+i*m.number(1, 7, 10)*3, m.pick("allow", "allow", "deny"), keys, key, m.block(family))
}

// vpc returns a file.
func (m maker) vpc() string {
	var b strings.Builder
	fmt.Fprint(&b, "[vpc]\nname = \"random\"\ncidr = \"10.0.0.0/16\"\ncidr6 = \"fd00:10::/56\"\n")
	if m.one(4) {
		fmt.Fprint(&b, "\n[conntrack]\ntcp = \"strict\"\n")
	}
	if m.one(3) {
		fmt.Fprintf(&b, "\n[quotas]\nrules_per_network_acl = %d\nrules_per_security_group = %d\n", m.number(7, 8, 20), m.number(5, 6, 20))
	}
	open := m.one(2) // much is allowed, so that there is something to take away
	for i, s := range []string{"A", "B"} {
		fmt.Fprintf(&b, "\n[subnet.%s]\ncidr = \"10.0.%d.0/24\"\ncidr6 = \"fd00:10:0:%d::/64\"\n", s, i+1, i+1)
		fmt.Fprint(&b, m.pick("", "nacl = \"x\"\n", "nacl = \"y\"\n", "nacl = \"default\"\n"))
	}
	for _, acl := range []string{"x", "y", "default"} {
		if acl == "default" && m.one(2) {
			continue
		}
		fmt.Fprintf(&b, "\n[nacl.%s]\n", acl)
		for _, list := range [][2]string{{"ingress", "from"}, {"egress", "to"}} {
			if m.one(6) {
				continue
			}
			rules := m.rules(5, func(i int) string { return m.entry(list[1], i) })
			if open {
				rules = m.rules(3, func(i int) string {
					return fmt.Sprintf(`{ rule = %d, action = "deny", proto = %q, ports = %q, %s = %q }`, 10+i*10, m.pick("tcp", "udp"),
						m.pick("2000-3000", "32768-60999", "22", "1-1500"), list[1], m.pick("0.0.0.0/0", "10.0.1.10/32", "10.0.2.0/24"))
				})
				rules = fmt.Sprintf("[{ rule = 900, action = \"allow\", proto = \"all\", %s = \"0.0.0.0/0\" }, %s", list[1], rules[1:])
			}
			fmt.Fprintf(&b, "%s = %s\n", list[0], rules)
		}
	}
	for _, g := range []string{"g1", "g2", "g3", "default"} {
		if g == "default" && m.one(2) {
			continue
		}
		fmt.Fprintf(&b, "\n[security_group.%s]\n", g)
		for _, list := range [][2]string{{"ingress", "from"}, {"egress", "to"}} {
			if m.one(3) {
				continue
			}
			seen := map[string]bool{}
			fmt.Fprintf(&b, "%s = [", list[0])
			if open {
				r := fmt.Sprintf("{ %s, %s = \"10.0.0.0/16\" }", m.pick(`proto = "all"`, `proto = "tcp", ports = "0-65535"`, `proto = "udp", ports = "0-65535"`), list[1])
				seen[r] = true
				fmt.Fprint(&b, r, ", ")
			}
			for range m.IntN(4) {
				if r := m.groupRule(list[1]); !seen[r] {
					seen[r] = true
					fmt.Fprint(&b, r, ", ")
				}
			}
			fmt.Fprint(&b, "]\n")
		}
	}
	if m.one(3) {
		fmt.Fprintf(&b, "\n[route.main]\n")
		for _, line := range []string{`"10.0.2.0/24" = "m1"`, `"10.0.1.0/24" = "m1"`, `"0.0.0.0/0" = "m1"`, `"203.0.113.0/24" = "blackhole"`} {
			if m.one(2) {
				fmt.Fprintln(&b, line)
			}
		}
	}
	for _, in := range []struct{ name, subnet, ip, ip6 string }{
		{"a1", "A", "10.0.1.10", "fd00:10:0:1::10"}, {"a2", "A", "10.0.1.11", "fd00:10:0:1::11"},
		{"b1", "B", "10.0.2.20", "fd00:10:0:2::20"}, {"b2", "B", "10.0.2.21", "fd00:10:0:2::21"}, {"m1", "B", "10.0.2.5", "fd00:10:0:2::5"},
	} {
		fmt.Fprintf(&b, "\n[instance.%s]\nsubnet = %q\nip = %q\nip6 = %q\n", in.name, in.subnet, in.ip, in.ip6)
		if !m.one(5) {
			groups := []string{`"g1"`, `"g2"`, `"g3"`}
			m.Shuffle(3, func(i, j int) { groups[i], groups[j] = groups[j], groups[i] })
			fmt.Fprintf(&b, "sg = [%s]\n", strings.Join(groups[:1+m.IntN(2)], ", "))
		}
		if in.name == "m1" && !m.one(3) {
			fmt.Fprintln(&b, "source_dest_check = false")
		}
	}
	return b.String()
}

// query returns a question.
func (m maker) query() string {
	ends := []string{"a1", "a2", "b1", "b2", "m1"}
	from, to := m.pick(ends...), m.pick(append(ends, "b1", "a1", "b2", "a2", "internet", "203.0.113.9", "10.0.2.99", "10.0.1.1")...)
	if m.one(4) {
		from, to = from+":"+map[string]string{"a1": "fd00:10:0:1::10", "a2": "fd00:10:0:1::11", "b1": "fd00:10:0:2::20", "b2": "fd00:10:0:2::21", "m1": "fd00:10:0:2::5"}[from], m.pick(ends...)
	}
	service := m.pick("tcp/22", "tcp/443", "tcp/8080", "tcp/8080", "udp/53", "udp/5353", "icmp", "icmp/3:4", "47")
	if strings.Contains(from, ":") {
		service = strings.ReplaceAll(service, "icmp/3:4", "icmpv6")
		service = strings.ReplaceAll(service, "icmp", "icmpv6")
		service = strings.ReplaceAll(service, "icmpv6v6", "icmpv6")
	}
	if strings.HasPrefix(service, "icmpv6") && !strings.Contains(from, ":") {
		service = "icmp"
	}
	return from + " " + to + " " + service
}
