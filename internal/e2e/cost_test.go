package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The switch of the two-tier example, left alone, uses less than 40 MB and next to
// no CPU: nothing in it wakes up by itself, but for Go's runtime.
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

	// The kernel's own chatter on fresh links comes through at first.
	const span, limit = 2 * time.Second, 500 * time.Microsecond
	var used time.Duration
	for range 10 {
		before := cpuTime(t, pid)
		<-time.After(span)
		if used = cpuTime(t, pid) - before; used <= limit {
			break
		}
	}
	t.Logf("CPU: %v in %v", used, span)
	if used > limit {
		t.Errorf("the idle switch used %v of CPU in %v, want %v at most", used, span, limit)
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

// cpuTime returns how long the threads of a process have run (proc(5), the first
// field of schedstat).
func cpuTime(t *testing.T, pid int) (sum time.Duration) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("no threads of process %d: %v", pid, err)
	}
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has ended
		}
		if err != nil {
			t.Fatal(err)
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}
