package nacl_test

import (
	"testing"

	"pgregory.net/rapid"

	"vswitch/internal/classify"
	"vswitch/internal/classify/classifytest"
	"vswitch/internal/policy"
	"vswitch/nacl"
)

// slowJudge is the model of Table.Judge: for every number in ascending order
// it looks for an entry that has the number and matches (SEM 3.3).
func slowJudge(entries []nacl.Entry, p classify.Packet) (policy.Verdict, int) {
	for number := 1; number <= maxNumber; number++ {
		for _, e := range entries {
			if e.Number == number && slowMatches(e, p) {
				return e.Action, number
			}
		}
	}
	return policy.Deny, implicit
}

// slowMatches reports whether the entry speaks of the packet.
func slowMatches(e nacl.Entry, p classify.Packet) bool {
	if !e.Prefix.Contains(p.Remote.Unmap()) {
		return false
	}
	if e.Service.Protocol == policy.ICMPv6 && e.Prefix.Addr().Is4() {
		return p.Protocol == uint8(policy.ICMPv6)
	}
	return e.Service.Contains(p.Protocol, p.Port, p.Type, p.Code)
}

// maxNumber is the largest number of an entry here: small, so that the model
// stays quick and entries often come in descending order.
const maxNumber = 64

// drawEntries draws a list whose numbers are distinct.
func drawEntries(pick classifytest.Pick) []nacl.Entry {
	var list []nacl.Entry
	used := make(map[int]bool)
	for range pick(16) {
		e := nacl.Entry{Number: 1 + pick(maxNumber), Action: policy.Verdict(pick(2)), Service: pick.Service(), Prefix: pick.Prefix()}
		if !used[e.Number] {
			used[e.Number] = true
			list = append(list, e)
		}
	}
	return list
}

// compare draws an ACL and some packets, and asks both evaluators.
func compare(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, pick classifytest.Pick) {
	t.Helper()
	lists := [2][]nacl.Entry{drawEntries(pick), drawEntries(pick)}
	table := nacl.Compile(lists[policy.Ingress], lists[policy.Egress])
	for range 16 {
		p := pick.Packet()
		for d, entries := range lists {
			got := table.Judge(policy.Direction(d), &p)
			number := implicit
			if got.Entry != nil {
				number = got.Entry.Number
			}
			if verdict, want := slowJudge(entries, p); got.Verdict != verdict || number != want {
				t.Fatalf("entries %+v\npacket %+v\n%s by entry %d; the model says %s by %d", entries, p, got.Verdict, number, verdict, want)
			}
		}
	}
}

func TestTableMatchesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { compare(t, classifytest.FromRapid(t)) })
}

func FuzzTableMatchesModel(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x00\x02\x00\x09\x00\x01\x00\x00\x00\x02\x00\x02\x00\x00\x00\x01\x00\x00\x00\x04\x00\x01\x00\x02"))
	f.Fuzz(func(t *testing.T, data []byte) { compare(t, classifytest.FromBytes(data)) })
}
