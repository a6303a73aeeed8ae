package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Bounds of the server (reliability rows C3, C5).
const (
	maxClients     = 32              // connections at once; one more is told so and closed
	maxBody        = 64 << 10        // bytes of a request's body
	maxHeader      = 16 << 10        // bytes of a request's header
	clientDeadline = 5 * time.Second // for a client to send its request, and to take its answer

	refusalDeadline = time.Second // for one that is not served to send its request

	// DefaultConnections is how many connections one answer lists unless asked.
	DefaultConnections = 10_000
	// MaxConnections is how many it lists at most.
	MaxConnections = 100_000
)

// A Backend is what the server speaks for: the daemon. Its methods may be
// called by several goroutines at once. An *Error is passed on as it is; any
// other error becomes one of KindInternal.
type Backend interface {
	Status() (Status, error)
	// Connections lists at most limit connections of one instance, "" for all.
	Connections(instance string, limit int) (Connections, error)
	Explain(ExplainRequest) (Explanation, error)
	Reload(ReloadRequest) (ReloadReply, error)
	EventSource
	FlowSource
	DropSource
	RuleSource
	BusiestSource
	Capturer
	Drawer
	Planner
	Surveyor
	// Stop removes what the daemon made and makes it end after this answer.
	Stop() (StopReply, error)
}

// A Server answers the API.
type Server struct {
	http     http.Server
	backend  Backend
	log      *slog.Logger
	deadline time.Duration // for a client, each way
}

// NewServer returns a Server that speaks for b.
func NewServer(b Backend, log *slog.Logger) *Server { return newServer(b, log, clientDeadline) }

func newServer(b Backend, log *slog.Logger, deadline time.Duration) *Server {
	s := &Server{backend: b, log: log, deadline: deadline}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+PathStatus, s.answer(s.status))
	mux.HandleFunc("GET "+PathConnections, s.answer(s.connections))
	mux.HandleFunc("GET "+PathEvents, s.answer(s.events))
	mux.HandleFunc("GET "+PathFlows, s.answer(s.flows))
	mux.HandleFunc("GET "+PathDrops, s.answer(s.drops))
	mux.HandleFunc("GET "+PathRules, s.answer(s.rules))
	mux.HandleFunc("GET "+PathBusiest, s.answer(s.busiest))
	mux.HandleFunc("POST "+PathRulesReset, s.answer(s.resetRules))
	mux.HandleFunc("GET "+PathExplain, s.answer(s.explain))
	mux.HandleFunc("GET "+PathReach, s.answer(s.reach))
	mux.HandleFunc("GET "+PathCapture, s.capture)
	mux.HandleFunc("GET "+PathGraph, s.answer(s.graph))
	mux.HandleFunc("GET "+PathPlan, s.answer(s.plan))
	mux.HandleFunc("POST "+PathReload, s.answer(s.reload))
	mux.HandleFunc("POST "+PathStop, s.answer(s.stop))
	mux.HandleFunc("/", s.answer(func(r *http.Request) (any, error) {
		return nil, &Error{KindUsage, fmt.Sprintf("%s %q: no such call", r.Method, r.URL.Path)}
	}))
	s.http = http.Server{
		Handler:           mux,
		ReadTimeout:       deadline,
		ReadHeaderTimeout: deadline,
		IdleTimeout:       deadline,
		MaxHeaderBytes:    maxHeader,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if client, ok := c.(*client); ok && client.refusal != nil {
				return context.WithValue(ctx, refusalKey{}, client.refusal)
			}
			return ctx
		},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	s.http.SetKeepAlivesEnabled(false) // a slot of the 32 is held for one call only
	return s
}

// Serve answers the clients of l until Shutdown or Close. It owns l.
func (s *Server) Serve(l net.Listener) error {
	err := s.http.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown stops listening and waits for the calls under way, until ctx ends;
// what is still connected then is cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

// answer turns a call into an HTTP handler. The whole answer is encoded before
// its first byte is written, and its deadline counts from there: the call may
// take its time, the client may not.
func (s *Server) answer(call func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		reply, err := admitted(call)(r)
		status := http.StatusOK
		if err != nil {
			var known *Error
			if !errors.As(err, &known) {
				known = &Error{KindInternal, err.Error()}
			}
			status, reply = statusOf(known.Kind), known
		}
		var body bytes.Buffer
		if err := Encode(&body, reply); err != nil {
			s.log.Error("answer cannot be encoded", "path", r.URL.Path, "error", err)
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.deadline)); err != nil {
			s.log.Debug("client gone", "path", r.URL.Path, "error", err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
		w.WriteHeader(status)
		if _, err := w.Write(body.Bytes()); err != nil {
			s.log.Debug("client gone", "path", r.URL.Path, "error", err)
		}
	}
}

// refusalKey is the key under which a request's context holds the *Error that is
// its answer, if its client is not served.
type refusalKey struct{}

// admitted returns call for those who are served.
func admitted(call func(*http.Request) (any, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		if refusal, ok := r.Context().Value(refusalKey{}).(*Error); ok {
			return nil, refusal
		}
		return call(r)
	}
}

// Encode writes a document as the API and the command print it: indented, one
// newline at the end, no HTML escapes.
func Encode(w io.Writer, document any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(document)
}

// statusOf returns the HTTP status of an error.
func statusOf(k Kind) int {
	switch k {
	case KindUsage:
		return http.StatusBadRequest
	case KindConfiguration:
		return http.StatusUnprocessableEntity
	case KindForbidden:
		return http.StatusForbidden
	case KindNotFound:
		return http.StatusNotFound
	case KindConflict, KindStopping:
		return http.StatusConflict
	case KindBusy:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

func (s *Server) status(*http.Request) (any, error) { return s.backend.Status() }

func (s *Server) connections(r *http.Request) (any, error) {
	limit := DefaultConnections
	if text := r.FormValue("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > MaxConnections {
			return nil, &Error{KindUsage, fmt.Sprintf("limit %q: want 1 to %d", text, MaxConnections)}
		}
		limit = n
	}
	return s.backend.Connections(r.FormValue("instance"), limit)
}

func (s *Server) reload(r *http.Request) (any, error) {
	var req ReloadRequest
	if err := decode(r.Body, &req); err != nil {
		return nil, err
	}
	return s.backend.Reload(req)
}

func (s *Server) stop(*http.Request) (any, error) { return s.backend.Stop() }

// decode reads one document strictly: an unknown field, a second document or
// too many bytes are mistakes of the client's.
func decode(body io.Reader, into any) error {
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil && d.More() {
		err = errors.New("more than one document")
	}
	if err != nil {
		return &Error{KindUsage, fmt.Sprintf("request body: %v", err)}
	}
	return nil
}
