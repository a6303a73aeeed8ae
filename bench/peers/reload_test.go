package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"vswitch/internal/api"
)

// A control has the switch read a file that is another one each time, and tells when
// the switch refuses it, or did not get round to it.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	file, socket := filepath.Join(dir, "vpc.toml"), filepath.Join(dir, "api.sock")
	var mu sync.Mutex // guards the variables below
	var read []string
	status := api.Status{PID: 4711}
	deaf := false
	signalled := make(chan struct{}, 1000) // room for all that may come while nobody waits
	c := &control{client: api.NewClient(socket), file: file, contents: [2][]byte{[]byte("old"), []byte("new")}}
	c.signal = func(pid int) error {
		mu.Lock()
		defer mu.Unlock()
		content, err := os.ReadFile(file)
		if pid != status.PID {
			err = fmt.Errorf("a signal to process %d, want %d", pid, status.PID)
		}
		read = append(read, string(content))
		signalled <- struct{}{}
		if !deaf {
			status.Reloads.Succeeded++
		}
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+api.PathStatus, func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if err := json.NewEncoder(w).Encode(status); err != nil {
			t.Error(err)
		}
	})
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(l) }() // ends with an error when it is closed
	t.Cleanup(func() { server.Close() })

	three := func() (float64, error) {
		for range 3 {
			select {
			case <-signalled:
			case <-time.After(10 * time.Second):
				return 0, errors.New("three reloads did not come")
			}
		}
		return 7, nil
	}
	if value, err := c.amongReloads(t.Context(), three); value != 7 || err != nil {
		t.Errorf("got %v, %v", value, err)
	}
	if got := strings.Join(read, " "); !strings.HasPrefix(got, "new old new") {
		t.Errorf("the switch read %s, want new old new", got)
	}
	deaf, read = true, nil
	if _, err := c.amongReloads(t.Context(), three); !errors.Is(err, errShort) {
		t.Errorf("a switch that does not reload: %v", err)
	}
	status.Reloads = api.Reloads{Failed: 1, LastError: "vpc.toml:1: no"}
	if _, err := c.amongReloads(t.Context(), three); err == nil || !strings.Contains(err.Error(), "vpc.toml:1: no") {
		t.Errorf("a reload that was refused: %v", err)
	}
}

// Reloads keep their pace, and end with what they go along with.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		name   string
		takes  time.Duration // a reload
		fail   bool
		length time.Duration
		want   int
	}{
		{"quick", time.Millisecond, false, time.Second, 100},
		{"one that hangs is made up for", 0, false, time.Second, 100},
		{"slow", 25 * time.Millisecond, true, time.Second, 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				count := 0
				reload := func(context.Context) error {
					takes := c.takes
					if takes == 0 && count == 0 {
						takes = 300 * time.Millisecond
					}
					time.Sleep(takes) // of the bubble's clock
					count++
					return nil
				}
				done := make(chan struct{})
				time.AfterFunc(c.length+reloadPause/2, func() { close(done) })
				err := pace(t.Context(), done, reload)
				if errors.Is(err, errShort) != c.fail || err != nil && !c.fail {
					t.Errorf("error %v, want one: %v", err, c.fail)
				}
				if count < c.want || count > c.want+2 {
					t.Errorf("%d reloads, want %d", count, c.want)
				}
			})
		})
	}
}
