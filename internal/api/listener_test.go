package api

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestListen(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale.sock")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	old.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(stale, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, want string }{
		{stale, ""},
		{file, "something else has this name"},
		{link, "something else has this name"},
		{filepath.Join(dir, strings.Repeat("x", 108)), "longer than the 107 bytes"},
		{filepath.Join(dir, "nowhere", "api.sock"), "no such file or directory"},
	} {
		l, err := Listen(c.path)
		if err == nil {
			l.Close()
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", filepath.Base(c.path), err, c.want)
		}
	}
}

func TestSocketIsPrivate(t *testing.T) {
	info, err := os.Stat(serve(t, &fake{}, clientDeadline))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode(), os.ModeSocket|0o600; got != want {
		t.Errorf("mode %v, want %v", got, want)
	}
}

// C3: whoever is neither the owner nor root is told so, and nothing else.
func TestOtherUsersAreRefused(t *testing.T) {
	const owner = 1000
	for _, c := range []struct {
		peer uint32
		fail error
		want int
	}{
		{owner, nil, http.StatusOK},
		{0, nil, http.StatusOK},
		{owner + 1, nil, http.StatusForbidden},
		{owner, errors.New("no credentials"), http.StatusForbidden},
	} {
		path := filepath.Join(t.TempDir(), "api.sock")
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		peer := func(*net.UnixConn) (uint32, error) { return c.peer, c.fail }
		serveOn(t, newListener(l, peer, owner), &fake{}, clientDeadline)
		if got := ask(t, path, "GET /v1/status HTTP/1.1").StatusCode; got != c.want {
			t.Errorf("peer %d (%v): status %d, want %d", c.peer, c.fail, got, c.want)
		}
	}
}

func TestPeerUIDIsOurs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dial(t, path)
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if uid, err := peerUID(conn); err != nil || int(uid) != os.Geteuid() {
		t.Errorf("peerUID = %d, %v; want %d", uid, err, os.Geteuid())
	}
}

// C5: clients that say nothing take the slots, but only until their deadline.
func TestMuteClients(t *testing.T) {
	path := serve(t, &fake{}, 300*time.Millisecond)
	for range maxClients {
		dial(t, path)
	}
	if got := ask(t, path, "GET /v1/status HTTP/1.1").StatusCode; got != http.StatusServiceUnavailable {
		t.Errorf("client %d: status %d, want %d", maxClients+1, got, http.StatusServiceUnavailable)
	}
	var busy *Error
	if _, err := NewClient(path).Status(context.Background()); !errors.As(err, &busy) || busy.Kind != KindBusy {
		t.Errorf("a client of ours: %v, want %s", err, KindBusy)
	}
	// Those who are refused cannot pile up either.
	for range maxClients {
		dial(t, path)
	}
	if _, err := NewClient(path).Status(context.Background()); !errors.Is(err, ErrGone) && !errors.As(err, &busy) {
		t.Errorf("a client above all bounds: %v, want %v", err, ErrGone)
	}
	awaitService(t, path)
}

// Half a request is no better than none.
func TestHalfARequest(t *testing.T) {
	path := serve(t, &fake{}, 300*time.Millisecond)
	for range maxClients {
		if _, err := io.WriteString(dial(t, path), "POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
	}
	awaitService(t, path)
}

// awaitService waits until the server answers again.
func awaitService(t *testing.T, path string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := NewClient(path).Status(context.Background())
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server never served again: %v", err)
		}
		<-tick.C
	}
}
