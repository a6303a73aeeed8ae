package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The switch of the two-tier example, left alone, uses less than 40 MB and no
// measurable CPU: at most one tick of the kernel's clock (10 ms) in two seconds.
func TestIdleCost(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(examples, "two-tier", "vpc.toml"))
	if err != nil {
		t.Fatal(err)
	}
	l := startLab(t, string(text))
	pid := l.status().PID

	rss := residentKiB(t, pid)
	t.Logf("resident: %d KiB", rss)
	if rss > 40_000_000/1024 {
		t.Errorf("the idle switch has %d KiB resident, want less than 40 MB", rss)
	}

	// The kernel's own chatter on fresh links may still come through at first.
	const span = 2 * time.Second
	var ticks int
	for range 5 {
		before := cpuTicks(t, pid)
		<-time.After(span)
		if ticks = cpuTicks(t, pid) - before; ticks <= 1 {
			break
		}
	}
	t.Logf("CPU: %d ticks in %v", ticks, span)
	if ticks > 1 {
		t.Errorf("the idle switch used %d ticks of CPU in %v, want none", ticks, span)
	}
}

// residentKiB returns VmRSS of a process.
func residentKiB(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("no VmRSS in\n%s", text)
	}
	n, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// cpuTicks returns the user and system time of a process (proc(5), fields 14 and
// 15 of stat).
func cpuTicks(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the command may hold spaces
	fields := strings.Fields(rest)                // from field 3 on
	sum := 0
	for _, i := range []int{14, 15} {
		n, err := strconv.Atoi(fields[i-3])
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}
