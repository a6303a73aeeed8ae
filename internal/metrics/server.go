package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"vswitch/internal/api"
)

// Path is where the metrics are.
const Path = "/metrics"

// Bounds of a Server: everybody on this machine may call it (reliability rows C5, C7).
const (
	maxClients = 16               // connections at once; the next one waits
	maxScrapes = 2                // snapshots at once; one more is answered 503
	maxHeader  = 16 << 10         // bytes of a request's header
	deadline   = 5 * time.Second  // for a client to send its request, and to take its answer
	idle       = 90 * time.Second // between two scrapes of one connection, more than the usual minute
	farewell   = time.Second      // for the answers under way when the server is closed
)

// A Server serves metrics at one address. Listen makes one.
type Server struct {
	address  netip.AddrPort
	listener *listener
	http     http.Server
	ended    chan error // gets what Serve returned
}

// Listen takes an address, which must be a loopback one. Serve makes it answer,
// Close gives it back.
func Listen(address netip.AddrPort) (*Server, error) {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(address))
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return &Server{address: address, listener: &listener{l, make(chan struct{}, maxClients), make(chan struct{})}}, nil
}

// Address returns the address that was given to Listen.
func (s *Server) Address() netip.AddrPort { return s.address }

// Serve answers scrapes with what source says, until Close. It returns at once,
// and must not be called twice.
func (s *Server) Serve(source Source, log *slog.Logger) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(newCollector(source), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET "+Path, promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            scrapeLog{log},
		ErrorHandling:       promhttp.HTTPErrorOnError,
		MaxRequestsInFlight: maxScrapes,
	}))
	s.http = http.Server{
		Handler:           mux,
		ReadTimeout:       deadline,
		ReadHeaderTimeout: deadline,
		WriteTimeout:      2 * deadline, // counts from the end of the request's header
		IdleTimeout:       idle,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	s.ended = make(chan error, 1)
	go func() { s.ended <- s.http.Serve(s.listener) }()
}

// Close gives the address back and returns when nobody is being answered any
// more. It may be called on a nil Server.
func (s *Server) Close() error {
	if s == nil {
		return nil
	}
	if s.ended == nil {
		return s.listener.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close() // a client that dawdles is no failure of ours
	}
	if served := <-s.ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// scrapeLog logs failed scrapes. That the switch is stopping is no failure.
type scrapeLog struct{ log *slog.Logger }

// Println implements promhttp.Logger.
func (l scrapeLog) Println(v ...any) {
	for _, x := range v {
		var known *api.Error
		if err, ok := x.(error); ok && errors.As(err, &known) && known.Kind == api.KindStopping {
			return
		}
	}
	l.log.Warn("metrics", "error", fmt.Sprint(v...))
}

// A listener hands on maxClients connections at a time.
type listener struct {
	*net.TCPListener
	slots  chan struct{} // one token for each connection that is open
	closed chan struct{} // closed by Close
}

// Accept returns the next connection once there is a slot for it.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.AcceptTCP()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &client{c, sync.OnceFunc(func() { <-l.slots })}, nil
}

// Close stops listening, and ends an Accept that waits for a slot.
func (l *listener) Close() error {
	close(l.closed)
	return l.TCPListener.Close()
}

// A client is one connection that holds a slot.
type client struct {
	*net.TCPConn
	free func()
}

// Close closes the connection and gives its slot back, once.
func (c *client) Close() error {
	err := c.TCPConn.Close()
	c.free()
	return err
}
