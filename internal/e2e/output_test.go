package e2e

import (
	"encoding/json"
	"strings"
	"testing"
)

// Every command that reads has -o json, and -j for short; what it prints is one
// JSON document and nothing else.
func TestReadingCommandsSpeakJSON(t *testing.T) {
	t.Parallel()
	l := startLab(t, oneSubnet)
	for _, command := range []string{"status", "ps", "conntrack ls", "check", "version"} {
		for _, flag := range []string{"-o json", "-j"} {
			text := l.must(strings.Fields(command + " " + flag)...)
			var document map[string]any
			if err := json.Unmarshal([]byte(text), &document); err != nil || len(document) == 0 {
				t.Errorf("%s %s prints no JSON object: %v\n%s", command, flag, err, text)
			}
		}
	}
}

// A flow between two instances has a record at each of them, from the opener's
// side (architecture: tables per ENI), until it ends.
func TestConntrackListsBothEnds(t *testing.T) {
	t.Parallel()
	l := startLab(t, twoSubnets)
	conn := l.talkTo("left", "right")
	type record struct {
		Instance string `json:"instance"`
		Source   string `json:"source"`
		Port     int    `json:"destination_port"`
		State    string `json:"state"`
	}
	list := func() map[record]int {
		var document struct {
			Connections []record `json:"connections"`
		}
		text := l.must("conntrack", "ls", "-o", "json")
		if err := json.Unmarshal([]byte(text), &document); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		count := map[record]int{}
		for _, r := range document.Connections {
			r.State = strings.ToLower(r.State)
			count[r]++
		}
		return count
	}
	left := record{"left", "10.9.1.10", 9000, "established"}
	right := record{"right", "10.9.1.10", 9000, "established"}
	if got := list(); len(got) != 2 || got[left] != 1 || got[right] != 1 {
		t.Errorf("records of one connection: %v, want %v and %v", got, left, right)
	}
	if _, code := conn.end(); code != 0 {
		t.Fatalf("the client ended with exit code %d", code)
	}
	eventually(t, "no record is established", func() bool {
		got := list()
		return got[left] == 0 && got[right] == 0
	})
}
