package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A fake is a Backend that answers with the samples of the documentation, and
// remembers what it was asked.
type fake struct {
	asked     []string
	explained []ExplainRequest
	drops     []DropsRequest
	busiest   []BusiestRequest
	objects   []string
	err       error
}

func (f *fake) Status() (Status, error) { return sampleStatus(), f.err }

func (f *fake) Connections(instance string, limit int) (Connections, error) {
	f.asked = append(f.asked, fmt.Sprintf("connections %q %d", instance, limit))
	return sampleConnections(), f.err
}

func (f *fake) Drops(r DropsRequest) (Drops, error) {
	f.drops = append(f.drops, r)
	return sampleDrops(), f.err
}

func (f *fake) Rules(object string) (Rules, error) {
	f.objects = append(f.objects, object)
	return sampleRules(), f.err
}

func (f *fake) Busiest(_ context.Context, r BusiestRequest) (Busiest, error) {
	f.busiest = append(f.busiest, r)
	return sampleBusiest(), f.err
}

func (f *fake) ResetRules(r RulesReset) (RulesResetReply, error) {
	f.objects = append(f.objects, r.Object)
	return RulesResetReply{Rules: 12}, f.err
}

func (f *fake) Explain(r ExplainRequest) (Explanation, error) {
	f.explained = append(f.explained, r)
	return sampleExplanation(), f.err
}

func (f *fake) Reload(r ReloadRequest) (ReloadReply, error) {
	f.asked = append(f.asked, fmt.Sprintf("reload %q %v", r.File, r.DryRun))
	return sampleReload(), f.err
}

func (f *fake) Events(_ context.Context, after uint64) (Events, error) {
	f.asked = append(f.asked, fmt.Sprintf("events %d", after))
	return sampleEvents(), f.err
}

func (f *fake) Stop() (StopReply, error) {
	f.asked = append(f.asked, "stop")
	return sampleStop(), f.err
}

// serve runs a Server for b on a socket of its own and returns its path.
func serve(t *testing.T, b Backend, deadline time.Duration) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, l, b, deadline)
	return path
}

func serveOn(t *testing.T, l net.Listener, b Backend, deadline time.Duration) {
	t.Helper()
	s := newServer(b, slog.New(slog.DiscardHandler), deadline)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func TestCalls(t *testing.T) {
	b := &fake{}
	c := NewClient(serve(t, b, clientDeadline))
	ctx := context.Background()

	status, err := c.Status(ctx)
	if diff := cmp.Diff(sampleStatus(), status); err != nil || diff != "" {
		t.Errorf("Status: %v\n%s", err, diff)
	}
	connections, err := c.Connections(ctx, "web1", 7)
	if diff := cmp.Diff(sampleConnections(), connections); err != nil || diff != "" {
		t.Errorf("Connections: %v\n%s", err, diff)
	}
	reload, err := c.Reload(ctx, ReloadRequest{File: "/a/vpc.toml", DryRun: true})
	if diff := cmp.Diff(sampleReload(), reload); err != nil || diff != "" {
		t.Errorf("Reload: %v\n%s", err, diff)
	}
	stop, err := c.Stop(ctx)
	if diff := cmp.Diff(sampleStop(), stop); err != nil || diff != "" {
		t.Errorf("Stop: %v\n%s", err, diff)
	}
	want := []string{`connections "web1" 7`, `reload "/a/vpc.toml" true`, "stop"}
	if diff := cmp.Diff(want, b.asked); diff != "" {
		t.Errorf("the backend was asked (-want +got):\n%s", diff)
	}
}

func TestErrorsKeepTheirKind(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Error
	}{
		{&Error{KindConfiguration, "vpc.toml:1:1: one\nvpc.toml:2:1: two"}, Error{KindConfiguration, "vpc.toml:1:1: one\nvpc.toml:2:1: two"}},
		{fmt.Errorf("in a wrapper: %w", &Error{KindConflict, "taken"}), Error{KindConflict, "taken"}},
		{&Error{KindNotFound, "no instance"}, Error{KindNotFound, "no instance"}},
		{&Error{KindStopping, "stopping"}, Error{KindStopping, "stopping"}},
		{errors.New("out of memory"), Error{KindInternal, "out of memory"}},
	} {
		client := NewClient(serve(t, &fake{err: c.err}, clientDeadline))
		_, err := client.Reload(context.Background(), ReloadRequest{})
		var got *Error
		if !errors.As(err, &got) || *got != c.want {
			t.Errorf("for %v: got %#v, want %#v", c.err, err, c.want)
		}
	}
}

func TestWrongRequests(t *testing.T) {
	path := serve(t, &fake{}, clientDeadline)
	for _, c := range []struct{ request, want string }{
		{"GET /v1/nonsense HTTP/1.1", `400 GET "/v1/nonsense": no such call`},
		{"POST /v1/status HTTP/1.1", `400 POST "/v1/status": no such call`},
		{"GET /v1/connections?limit=0 HTTP/1.1", `400 limit "0": want 1 to 100000`},
		{"GET /v1/connections?limit=many HTTP/1.1", `400 limit "many": want 1 to 100000`},
		{"GET /v1/connections?limit=100001 HTTP/1.1", `400 limit "100001": want 1 to 100000`},
		{body("POST /v1/reload HTTP/1.1", `{"fiel": "x"}`), `400 request body: json: unknown field "fiel"`},
		{body("POST /v1/reload HTTP/1.1", `{} {}`), `400 request body: more than one document`},
		{body("POST /v1/reload HTTP/1.1", ``), `400 request body: EOF`},
		{body("POST /v1/reload HTTP/1.1", `{"file":"`+strings.Repeat("x", maxBody)+`"}`), `400 request body: http: request body too large`},
	} {
		answer := ask(t, path, c.request)
		var refused Error
		if err := json.NewDecoder(answer.Body).Decode(&refused); err != nil {
			t.Errorf("%.60q: %v", c.request, err)
		}
		if got := fmt.Sprintf("%d %s", answer.StatusCode, refused.Message); got != c.want {
			t.Errorf("%.60q: got %s, want %s", c.request, got, c.want)
		}
	}
}

// body adds a body to a request line.
func body(line, text string) string {
	return fmt.Sprintf("%s\r\nContent-Length: %d\r\n\r\n%s", line+"\r\nHost: x", len(text), text)
}

// ask sends raw bytes, to which it adds the end of a header if there is none.
func ask(t *testing.T, path, request string) *http.Response {
	t.Helper()
	if !strings.Contains(request, "\r\n\r\n") {
		request += "\r\nHost: x\r\n\r\n"
	}
	conn := dial(t, path)
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	return answer(t, conn)
}

// A connection closes with its answer, so a client cannot sit on a slot.
func TestOneCallAConnection(t *testing.T) {
	path := serve(t, &fake{}, clientDeadline)
	conn := dial(t, path)
	request := "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if a := answer(t, conn); !a.Close {
		t.Error("the answer leaves the connection open")
	}
}

func TestNobodyListens(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for _, path := range []string{filepath.Join(dir, "none.sock"), stale} {
		if _, err := NewClient(path).Status(context.Background()); !errors.Is(err, ErrNotRunning) {
			t.Errorf("%s: %v, want %v", filepath.Base(path), err, ErrNotRunning)
		}
	}
}

func TestASwitchThatHangsUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	if _, err := NewClient(path).Status(context.Background()); !errors.Is(err, ErrGone) {
		t.Errorf("got %v, want %v", err, ErrGone)
	}
	l.Close()
	<-ended
}

func TestShutdownLetsCallsEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	slow := &slowStop{asked: make(chan struct{}), release: make(chan struct{})}
	s := NewServer(slow, slog.New(slog.DiscardHandler))
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	stopped := make(chan error, 1)
	go func() {
		_, err := NewClient(path).Stop(context.Background())
		stopped <- err
	}()
	<-slow.asked
	shut := make(chan error, 1)
	go func() { shut <- s.Shutdown(context.Background()) }()
	if err := <-served; err != nil { // it no longer listens
		t.Errorf("Serve: %v", err)
	}
	close(slow.release)
	if err := <-stopped; err != nil {
		t.Errorf("the call under way: %v", err)
	}
	if err := <-shut; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// A slowStop is a Backend whose Stop takes until it is released.
type slowStop struct {
	fake
	asked, release chan struct{}
}

func (s *slowStop) Stop() (StopReply, error) {
	close(s.asked)
	<-s.release
	return StopReply{}, nil
}

func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// answer reads one HTTP answer whole.
func answer(t *testing.T, conn net.Conn) *http.Response {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	a, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	a.Body = io.NopCloser(bytes.NewReader(content))
	return a
}
