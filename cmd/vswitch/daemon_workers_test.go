package main

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"vswitch/internal/api"
	"vswitch/internal/config"
)

func TestWorkersForAMachine(t *testing.T) {
	for _, c := range []struct{ processors, want int }{{1, 1}, {2, 1}, {3, 1}, {4, 2}, {5, 2}, {6, 3}, {8, 4}, {64, 4}} {
		if got := workersFor(c.processors); got != c.want {
			t.Errorf("%d processors: %d workers, want %d", c.processors, got, c.want)
		}
	}
}

// Beside the workers there is a place for whoever controls them, however few
// processors there are, and none is taken away.
func TestWorkersLeaveAPlace(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, c := range []struct{ places, workers, want int }{{1, 1, 2}, {2, 1, 2}, {2, 2, 3}, {2, 3, 4}, {8, 3, 8}} {
		runtime.GOMAXPROCS(c.places)
		var d daemon
		d.chooseWorkers(config.Machine{Workers: c.workers})
		if got := runtime.GOMAXPROCS(0); got != c.want || d.workers != c.workers {
			t.Errorf("%d places: %d for %d workers, want %d", c.places, got, d.workers, c.want)
		}
	}
}

// A reload cannot change the number of workers, and says so, also as a dry run.
func TestReloadKeepsTheNumberOfWorkers(t *testing.T) {
	d, _ := standing(t)
	d.machine, d.workers = config.Machine{}, 2
	reload := func(section string) error {
		t.Helper()
		if err := os.WriteFile(d.file, []byte(twoInstances+section), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := d.Reload(api.ReloadRequest{DryRun: true})
		return err
	}
	for _, same := range []string{"", "\n[machine]\n", "\n[machine]\nworkers = 2\n"} {
		if err := reload(same); err != nil {
			t.Errorf("%q: %v", same, err)
		}
	}
	var refused *api.Error
	if err := reload("\n[machine]\nworkers = 3\n"); !errors.As(err, &refused) || refused.Kind != api.KindConflict ||
		!strings.HasSuffix(refused.Message, "[machine] workers is now 3, and the switch runs with 2: only a restart changes that (vswitch down, then up)") {
		t.Errorf("another number: %v", err)
	}
	d.machine.Workers = 2
	if err := reload(""); !errors.As(err, &refused) || !strings.Contains(refused.Message, "is now as many as suit the machine") {
		t.Errorf("no number any more: %v", err)
	}
}
