package explain_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"vswitch/internal/policy"
)

// fixture returns the VPC of SEM 9.0 with the keys of some tables.
func fixture(tables map[string]string) string {
	var b strings.Builder
	fmt.Fprint(&b, "[vpc]\nname = \"fixture\"\ncidr = \"10.0.0.0/16\"\n")
	table := func(name, keys string) {
		fmt.Fprintf(&b, "\n[%s]\n%s%s\n", name, keys, tables[name])
		delete(tables, name)
	}
	for i, s := range []string{"P", "A", "B", "M"} {
		table("subnet."+s, fmt.Sprintf("cidr = \"10.0.%d.0/24\"\n", i))
	}
	for _, in := range []struct{ name, subnet, ip string }{
		{"p1", "P", "10.0.0.30"}, {"a1", "A", "10.0.1.10"}, {"a2", "A", "10.0.1.11"}, {"b1", "B", "10.0.2.20"}, {"b2", "B", "10.0.2.21"}, {"m1", "M", "10.0.3.5"},
	} {
		table("instance."+in.name, fmt.Sprintf("subnet = %q\nip = %q\nsg = [\"g-%s\"]\n", in.subnet, in.ip, in.name))
		table("security_group.g-"+in.name, "")
	}
	for name := range tables {
		table(name, "")
	}
	return b.String()
}

// The scenarios of SEM 9.8: the code that AWS's Reachability Analyzer gives, the
// component, and the leg.
func TestReachabilityScenarios(t *testing.T) {
	const twentyTwo = `ingress = [{ proto = "tcp", ports = 22, from = "10.0.1.0/24" }]`
	relayed := map[string]string{
		"subnet.A": `route = "a"`, "subnet.B": `route = "b"`, "route.a": `"10.0.2.0/24" = "m1"`, "route.b": `"10.0.1.0/24" = "m1"`,
		"instance.m1": `source_dest_check = false`, "security_group.g-m1": `ingress = [{ proto = "all", from = "10.0.0.0/16" }]`,
	}
	with := func(tables map[string]string, more ...string) map[string]string {
		all := map[string]string{}
		for k, v := range tables {
			all[k] = v
		}
		for i := 0; i < len(more); i += 2 {
			all[more[i]] = more[i+1]
		}
		return all
	}
	run := map[string]bool{}
	for _, c := range []struct {
		number, query       string
		reply               bool
		check, object, rule string
		direction           policy.Direction
		code, instance      string
		file                map[string]string
	}{
		{number: "RA-01", query: "a1 b1 tcp/22", check: "sg", object: "g-b1", direction: policy.Ingress, code: "SG_HAS_NO_RULES", instance: "b1"},
		{number: "RA-01", query: "a1 b1 tcp/23", check: "sg", object: "g-b1", direction: policy.Ingress, code: "ENI_SG_RULES_MISMATCH", instance: "b1",
			file: map[string]string{"security_group.g-b1": twentyTwo}},
		{number: "RA-02", query: "a1 b1 tcp/22", check: "nacl", object: "b", rule: "100", direction: policy.Ingress, code: "SUBNET_ACL_RESTRICTION",
			file: map[string]string{"security_group.g-b1": twentyTwo, "subnet.B": `nacl = "b"`, "nacl.b": `ingress = [
				{ rule = 100, action = "deny", proto = "tcp", ports = 22, from = "10.0.1.0/24" },
				{ rule = 110, action = "allow", proto = "all", from = "0.0.0.0/0" } ]`}},
		{number: "RA-03", query: "a1 b1 tcp/22", reply: true, check: "nacl", object: "b", rule: "*", direction: policy.Egress, code: "SUBNET_ACL_RESTRICTION",
			file: map[string]string{"security_group.g-b1": twentyTwo, "subnet.B": `nacl = "b"`, "nacl.b": `ingress = [
				{ rule = 100, action = "allow", proto = "tcp", ports = 22, from = "0.0.0.0/0" } ]`}},
		{number: "RA-04", query: "b1 internet tcp/443", check: "route", object: "B", code: "NO_ROUTE_TO_DESTINATION"},
		{number: "RA-06", query: "a1 b1 tcp/80", check: "source/dest check", object: "m1", code: "ENI_SOURCE_DEST_CHECK_RESTRICTION", instance: "m1",
			file: with(relayed, "instance.m1", "")},
		{number: "RA-07", query: "a1 b1 tcp/80", check: "sg", object: "g-b1", direction: policy.Ingress, code: "SG_REFERENCES_NOT_PRESERVED", instance: "b1",
			file: with(relayed, "security_group.g-b1", `ingress = [{ proto = "tcp", ports = 80, from = "sg:g-a1" }]`)},
		{number: "RA-08", query: "a1 203.0.113.12 tcp/443", check: "route", object: "A", code: "BAD_STATE_ROUTE",
			file: map[string]string{"subnet.A": `route = "a"`, "route.a": `"203.0.113.0/24" = "blackhole"`}},
	} {
		run[c.number] = true
		t.Run(c.number, func(t *testing.T) {
			if c.file == nil {
				c.file = map[string]string{}
			}
			e := ask(t, explainer(t, fixture(c.file)), c.query)
			l := e.Denied()
			if l == nil {
				t.Fatalf("allowed: %+v", e)
			}
			s := l.Steps[len(l.Steps)-1]
			if l.Reply != c.reply || string(s.Check) != c.check || s.Object != c.object || s.Rule != c.rule || s.Code != c.code || s.Instance != c.instance || s.Direction != c.direction {
				t.Errorf("reply %v, step %+v", l.Reply, s)
			}
		})
	}
	// SG-20, the other half of RA-07: an address passes the appliance.
	e := ask(t, explainer(t, fixture(with(relayed, "security_group.g-b1", `ingress = [{ proto = "tcp", ports = 80, from = "10.0.1.0/24" }]`))), "a1 b1 tcp/80")
	if want := "a1 A router M m1 M router B b1"; e.Verdict != policy.Allow || strings.Join(e.Request.Path, " ") != want || len(e.Notes) != 1 {
		t.Errorf("SG-20: %v by %v, notes %q; want %s", e.Verdict, e.Request.Path, e.Notes, want)
	}
	everyNumber(t, "RA", 10, run)
}

// everyNumber holds that each scenario is run, or listed as absent with a reason.
func everyNumber(t *testing.T, kind string, count int, run map[string]bool) {
	t.Helper()
	text, err := os.ReadFile("../../switch/testdata/scenarios/absent.txt")
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= count; i++ {
		n := fmt.Sprintf("%s-%02d", kind, i)
		absent := regexp.MustCompile(`(?m)^` + n + ` \S`).Match(text)
		if run[n] == absent {
			t.Errorf("%s: run %v, listed as absent %v", n, run[n], absent)
		}
	}
}

// The codes of what RA scenarios do not reach.
func TestExplanationCodes(t *testing.T) {
	open := map[string]string{"security_group.g-b1": `ingress = [{ proto = "all", from = "0.0.0.0/0" }]`}
	for _, c := range []struct{ query, code, check string }{
		{"internet b1 tcp/22", "NO_PATH", "source"},
		{"10.0.2.99 b1 tcp/22", "NO_SOURCE_OR_DESTINATION", "source"},
		{"a1 10.0.2.99 tcp/22", "NO_POSSIBLE_DESTINATION", "route"},
		{"a1 10.0.0.2 udp/53", "", "platform"},
		{"a1 169.254.169.254 tcp/80", "", "platform"},
		{"a1 224.0.0.5 udp/53", "", "identity"},
	} {
		l := ask(t, explainer(t, fixture(open)), c.query).Denied()
		if l == nil {
			t.Errorf("%s: allowed", c.query)
			continue
		}
		if s := l.Steps[len(l.Steps)-1]; s.Code != c.code || string(s.Check) != c.check {
			t.Errorf("%s: %q at %s, want %q at %s", c.query, s.Code, s.Check, c.code, c.check)
		}
	}
}
