package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"vswitch/internal/api"
)

// A control has the switch read a file that is another one each time, and tells
// when the switch did not take it as that.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	file, socket := filepath.Join(dir, "vpc.toml"), filepath.Join(dir, "api.sock")
	c := &control{client: api.NewClient(socket), file: file, contents: [2][]byte{[]byte("old"), []byte("new")}}
	var read []string
	same := false
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+api.PathReload, func(w http.ResponseWriter, _ *http.Request) {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		}
		read = append(read, string(content))
		reply := api.ReloadReply{Changes: []api.Change{{Name: "g"}}}
		if same {
			reply.Changes = nil
		}
		if err := json.NewEncoder(w).Encode(reply); err != nil {
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

	for range 3 {
		if err := c.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(read, " "); got != "new old new" {
		t.Errorf("the switch read %s, want new old new", got)
	}
	same = true
	if err := c.reload(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing changed") {
		t.Errorf("a reload that changes nothing: %v", err)
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
