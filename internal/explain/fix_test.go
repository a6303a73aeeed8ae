package explain_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"vswitch/internal/explain"
	"vswitch/internal/policy"
)

// repair asks, pastes all the rules among the fixes into the file, and asks again.
func repair(t *testing.T, text, query string) (before, after *explain.Explanation, fixes []explain.Fix, file string) {
	t.Helper()
	x := explainer(t, text)
	before = ask(t, x, query)
	fixes, err := x.Fixes(before)
	if err != nil {
		t.Fatal(err)
	}
	file = text
	for i := range fixes {
		if fixes[i].Table != "" {
			file = paste(t, file, &fixes[i])
		}
	}
	return before, ask(t, explainer(t, file), query), fixes, file
}

// Whatever rules deny, the fixes make it pass once they are in the file. What no
// rule can change says so, and nothing else is in the way then.
func TestFixesOfRandomVPCs(t *testing.T) {
	met := map[string]int{}
	for n := range 300 {
		m := maker{rand.New(rand.NewPCG(uint64(n), 5))}
		text, query := m.vpc(), m.query()
		before, after, fixes, file := repair(t, text, query)
		fail := func(format string, args ...any) {
			t.Helper()
			t.Fatalf("%d: %s: %s\nfixes %+v\nbefore %+v\nafter %+v\n%s", n, query, fmt.Sprintf(format, args...), fixes, before, after, file)
		}
		if before.Verdict == policy.Allow {
			met["allowed"]++
			if len(fixes) > 0 {
				fail("fixes for what is allowed")
			}
			continue
		}
		if len(fixes) == 0 {
			fail("no fix")
		}
		for i, f := range fixes {
			if (f.Table == "") != (f.Rule == "") || f.Words == "" || f.Table == "" && i < len(fixes)-1 {
				fail("fix %d is %+v", i, f)
			}
			if f.TOML != "" {
				met["a list of its own"]++
			}
		}
		met[fmt.Sprintf("%d fixes", len(fixes))]++
		last := fixes[len(fixes)-1]
		if last.Table != "" {
			if after.Verdict != policy.Allow {
				fail("denied after all fixes")
			}
			met["repaired "+before.Denied().Reason.String()]++
			continue
		}
		l := after.Denied()
		if l == nil {
			fail("allowed, although %q", last.Words)
		}
		switch l.Reason {
		case policy.SGEgress, policy.SGIngress, policy.NACLEgress, policy.NACLIngress:
			if !strings.Contains(last.Words, "no free") && !strings.Contains(last.Words, "takes no further") && !strings.Contains(last.Words, "take no further") || strings.HasSuffix(last.Words, " rule") {
				fail("a rule would help, but %q", last.Words)
			}
			met["no room"]++
		default:
			met["no rule helps"]++
		}
	}
	t.Log(met)
	for _, what := range []string{
		"allowed", "repaired SG_EGRESS", "repaired SG_INGRESS", "repaired NACL_EGRESS", "repaired NACL_INGRESS", "1 fixes", "2 fixes", "3 fixes", "4 fixes",
		"a list of its own", "no room", "no rule helps",
	} {
		if met[what] == 0 {
			t.Errorf("none of the VPCs was %q", what)
		}
	}
}

// A rule for all of a client's ports stands in front of every rule that denies
// some of them, where there is a number for it.
func TestFixNumbers(t *testing.T) {
	for _, c := range []struct{ entries, want string }{
		{`{ rule = 50, action = "deny", proto = "tcp", ports = "2000-3000", from = "10.0.2.20/32" }, { rule = 41, action = "deny", proto = "tcp", ports = "5000-6000", from = "10.0.2.0/24" }`, "rule = 40,"},
		{`{ rule = 41, action = "deny", proto = "tcp", ports = "2000-3000", from = "10.0.2.20/32" }, { rule = 50, action = "deny", proto = "tcp", ports = "5000-6000", from = "10.0.2.0/24" }`, "rule = 40,"},
		{`{ rule = 41, action = "deny", proto = "all", from = "10.0.2.0/24" }, { rule = 40, action = "allow", proto = "47", from = "10.0.2.0/24" }`, "rule = 39,"},
		{`{ rule = 5, action = "deny", proto = "all", from = "10.0.2.0/24" }`, "rule = 4,"},
		{`{ rule = 1, action = "deny", proto = "all", from = "10.0.2.0/24" }`, ""},
		{`{ rule = 32766, action = "allow", proto = "47", from = "10.0.2.0/24" }`, "rule = 32760,"},
		{`{ rule = 7, action = "allow", proto = "47", from = "10.0.2.0/24" }`, "rule = 10,"},
		{``, "rule = 100,"},
	} {
		file := fixture(map[string]string{
			"security_group.g-b1": `ingress = [{ proto = "tcp", ports = 80, from = "10.0.1.0/24" }]`,
			"subnet.A":            `nacl = "a"`,
			"nacl.a": fmt.Sprintf(`egress = [{ rule = 100, action = "allow", proto = "all", to = "0.0.0.0/0" }]
ingress = [%s]`, c.entries),
		})
		_, after, fixes, _ := repair(t, file, "a1 b1 tcp/80")
		switch {
		case len(fixes) != 1:
			t.Errorf("%s: %d fixes: %+v", c.entries, len(fixes), fixes)
		case c.want == "" && (fixes[0].Rule != "" || !strings.Contains(fixes[0].Words, "no free ingress number below")):
			t.Errorf("%s: %+v", c.entries, fixes[0])
		case !strings.Contains(fixes[0].Rule, c.want), c.want != "" && after.Verdict != policy.Allow:
			t.Errorf("%s: %s, want %s; then %s", c.entries, fixes[0].Rule, c.want, after.Verdict)
		}
	}
}
