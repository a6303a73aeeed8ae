package archtest

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// threats is how many rows each part of the threat table has: layer 2, virtio
// headers, IP, TCP and state.
var threats = map[string]int{"L": 11, "V": 7, "I": 8, "T": 10}

// Every threat that a hostile instance is to this switch has a test that bears
// the number of its row: in the name or a comment of a Go test, or in the heading
// of a scenario. (V8 is about the kernel's version, which no test of ours holds.)
func TestEveryThreatHasATest(t *testing.T) {
	row := regexp.MustCompile(`\b[LVIT][0-9]+\b`)
	tested := map[string]bool{}
	for _, f := range textFiles(t) {
		if strings.HasSuffix(f.name, "_test.go") && !strings.Contains(f.name, "archtest") || strings.HasPrefix(f.name, "switch/testdata/scenarios/") {
			for _, r := range row.FindAllString(string(f.text), -1) {
				tested[r] = true
			}
		}
	}
	for part, rows := range threats {
		for i := 1; i <= rows; i++ {
			if r := fmt.Sprintf("%s%d", part, i); !tested[r] {
				t.Errorf("no test names threat %s", r)
			}
		}
	}
}
