package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

const serveLong = `Run a small test server: over TCP it says who asked and then echoes, and it answers
an HTTP request with the same words; over UDP it returns who asked and the datagram.
It is meant for "run =" of an instance, and for demos. It runs until it is stopped.`

func newServe(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "serve tcp/PORT|udp/PORT ...",
		Short:   "Run a small test server",
		Long:    serveLong,
		Example: "  vswitch serve tcp/8080 udp/53\n  run = \"vswitch serve tcp/443\"          in an instance of vpc.toml",
		GroupID: groupInside,
		Args:    minArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			services := make([]service, len(args))
			for i, arg := range args {
				s, err := parseService(arg)
				if err != nil {
					return err
				}
				if s.protocol == "icmp" {
					return usagef("%q: the kernel answers ICMP echoes by itself", arg)
				}
				services[i] = s
			}
			ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer cancel()
			return c.serve(ctx, services)
		},
	}
}

// Bounds of the test server.
const (
	maxConversations = 1024                   // TCP connections at once; more wait in the kernel's queue
	firstWord        = 200 * time.Millisecond // a client that says nothing for so long is greeted
	maxLine          = 4096                   // bytes of an HTTP request's lines
)

// A server is the test server of one process.
type server struct {
	name  string // of the instance, or of the host
	log   func(format string, args ...any)
	slots chan struct{} // one token for each conversation
}

// serve serves until ctx ends or a socket fails.
func (c *cli) serve(ctx context.Context, services []service) error {
	name := os.Getenv("VSWITCH_INSTANCE")
	if name == "" {
		host, err := os.Hostname()
		if err != nil {
			return err
		}
		name = host
	}
	s := &server{name: name, slots: make(chan struct{}, maxConversations)}
	var mu sync.Mutex // one line at a time
	s.log = func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(c.out, format+"\n", args...)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var sockets sync.WaitGroup
	for _, svc := range services {
		run, socket, err := s.open(ctx, svc)
		if err != nil {
			cancel(err)
			break
		}
		context.AfterFunc(ctx, func() { socket.Close() })
		s.log("%s serves %s", s.name, svc)
		sockets.Go(func() { cancel(run()) })
	}
	<-ctx.Done()
	sockets.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil // conversations under way end with the process
}

// open opens the socket of one service and returns what serves it.
func (s *server) open(ctx context.Context, svc service) (run func() error, socket io.Closer, err error) {
	if svc.protocol == "udp" {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{Port: int(svc.port)})
		if err != nil {
			return nil, nil, err
		}
		return func() error { return s.serveUDP(svc, conn) }, conn, nil
	}
	listener, err := net.Listen("tcp", fmt.Sprintf(":%d", svc.port))
	if err != nil {
		return nil, nil, err
	}
	return func() error { return s.serveTCP(ctx, svc, listener) }, listener, nil
}

func (s *server) serveUDP(svc service, conn *net.UDPConn) error {
	buffer := make([]byte, 65535)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return err
		}
		peer := netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		s.log("%s %s: %d bytes", svc, peer, n)
		answer := append([]byte(s.hello(peer.String())), buffer[:n]...)
		if _, err := conn.WriteToUDPAddrPort(answer, from); err != nil {
			s.log("%s %s: %v", svc, peer, err) // such as a datagram that is too long now
		}
	}
}

func (s *server) serveTCP(ctx context.Context, svc service, listener net.Listener) error {
	for {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		s.log("%s %s", svc, conn.RemoteAddr())
		go func() {
			defer func() { <-s.slots }()
			defer conn.Close()
			s.converse(conn)
		}()
	}
}

// hello says who asked whom.
func (s *server) hello(peer string) string { return fmt.Sprintf("hello %s from %s\n", peer, s.name) }

// converse answers an HTTP request, and greets and echoes otherwise. A client
// that speaks no HTTP may well wait for us to begin.
func (s *server) converse(conn net.Conn) {
	hello := s.hello(conn.RemoteAddr().String())
	_ = conn.SetReadDeadline(time.Now().Add(firstWord))
	r := bufio.NewReaderSize(conn, maxLine)
	first, err := r.Peek(1)
	if len(first) > 0 {
		first, _ = r.Peek(len("OPTIONS "))
	}
	if err == io.EOF {
		return // a probe
	}
	_ = conn.SetReadDeadline(time.Time{})
	if isHTTP(first) {
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		answerHTTP(conn, r, hello)
		return
	}
	if _, err := io.WriteString(conn, hello); err != nil {
		return
	}
	_, _ = io.Copy(conn, r) // until the client has heard enough
}

// isHTTP reports whether a client's first bytes begin an HTTP request.
func isHTTP(first []byte) bool {
	for _, method := range []string{"GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS "} {
		if strings.HasPrefix(string(first), method) {
			return true
		}
	}
	return false
}

// answerHTTP reads the head of a request and answers it with one line of text.
func answerHTTP(conn net.Conn, r *bufio.Reader, body string) {
	head := false
	for n := 0; ; n++ {
		line, err := r.ReadSlice('\n')
		if err != nil || n > 100 {
			return
		}
		if n == 0 {
			head = strings.HasPrefix(string(line), "HEAD ")
		}
		if strings.TrimRight(string(line), "\r\n") == "" {
			break
		}
	}
	if _, err := fmt.Fprintf(conn, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", len(body)); err != nil || head {
		return
	}
	_, _ = io.WriteString(conn, body)
}
