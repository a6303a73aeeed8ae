package classify_test

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"vswitch/internal/classify"
	"vswitch/internal/classify/classifytest"
	"vswitch/internal/policy"
)

// slowFirst is the model of Table.First: it asks every rule in turn.
func slowFirst(rules []classify.Rule, p classify.Packet) int {
	for i, r := range rules {
		if slowContains(r.Prefixes, p.Remote) && r.Service.Contains(p.Protocol, p.Port, p.Type, p.Code) {
			return i
		}
	}
	return -1
}

// slowContains reports whether one of the prefixes contains a.
func slowContains(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}

// slowService is the model of Services.First.
func slowService(list []policy.Service, p classify.Packet) int {
	for i, s := range list {
		if s.Contains(p.Protocol, p.Port, p.Type, p.Code) {
			return i
		}
	}
	return -1
}

// A reporter is what *testing.T and *rapid.T have in common here.
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
}

// compare draws a list of rules and some packets, and asks both evaluators.
func compare(t reporter, pick classifytest.Pick) {
	t.Helper()
	rules := make([]classify.Rule, pick(24))
	services := make([]policy.Service, len(rules))
	for i := range rules {
		rules[i] = classify.Rule{Prefixes: pick.Prefixes(), Service: pick.Service()}
		services[i] = rules[i].Service
	}
	table, compiled := classify.Compile(rules), classify.CompileServices(services)
	for range 16 {
		p := pick.Packet()
		if got, want := table.First(&p), slowFirst(rules, p); got != want {
			t.Fatalf("rules %+v\npacket %+v\nTable.First = %d, the model says %d", rules, p, got, want)
		}
		if got, want := compiled.First(&p), slowService(services, p); got != want {
			t.Fatalf("services %+v\npacket %+v\nServices.First = %d, the model says %d", services, p, got, want)
		}
	}
}

func TestCompiledRulesMatchModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { compare(t, classifytest.FromRapid(t)) })
}

func FuzzCompiledRulesMatchModel(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x00\x03\x00\x01\x00\x01\x00\x00\x00\x06\x00\x00\x00\x02\x00\x03\x00\x01\x00\x00\x00\x09"))
	f.Fuzz(func(t *testing.T, data []byte) { compare(t, classifytest.FromBytes(data)) })
}
