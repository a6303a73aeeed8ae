package config

import (
	"errors"
	"strings"
	"testing"
)

func TestMachineWorkers(t *testing.T) {
	for _, c := range []struct {
		table   string
		workers int
		refusal string
	}{
		{"", 0, ""},
		{"[machine]\n", 0, ""},
		{"[machine]\nworkers = 1\n", 1, ""},
		{"[machine]\nworkers = 16\n", 16, ""},
		{"[machine]\nworkers = 17\n", 0, "5:11: machine.workers: 17 is outside 1-16"},
		{"[machine]\nworkers = 0\n", 0, "5:11: machine.workers: 0 is less than 1"},
		{"[machine]\nworkers = \"2\"\n", 0, "5:11: machine.workers: want an integer, got a string"},
		{"[machine]\nworker = 2\n", 0, `5:1: machine.worker: unknown key (did you mean "workers"?)`},
		{"[[machine]]\nworkers = 2\n", 0, "machine: want a table, got a list"},
	} {
		f, err := loadText(t, tinyVPC+c.table)
		if c.refusal == "" {
			if err != nil || f.Machine.Workers != c.workers {
				t.Errorf("%q: got %+v, %v", c.table, f.Machine, err)
			}
			continue
		}
		var mistakes Errors
		if !errors.As(err, &mistakes) || len(mistakes) != 1 || !strings.Contains(err.Error(), c.refusal) {
			t.Errorf("%q: got %v, want one mistake: %s", c.table, err, c.refusal)
		}
	}
}
