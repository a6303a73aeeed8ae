package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// A transcript is an output that a test may read while others write.
type transcript struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *transcript) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(b)
}

func (w *transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// await waits until the output holds text.
func (w *transcript) await(t *testing.T, text string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(w.String(), text) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %q in\n%s", text, w.String())
		}
		<-tick.C
	}
}

// serving runs the test server on a TCP and a UDP port of its own until the test
// ends.
func serving(t *testing.T) (tcp, udp service, log *transcript) {
	t.Helper()
	t.Setenv("VSWITCH_INSTANCE", "app1")
	tcp, udp = service{"tcp", freePort(t, "tcp")}, service{"udp", freePort(t, "udp")}
	log = &transcript{}
	c := &cli{out: log}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.serve(ctx, []service{tcp, udp}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	log.await(t, "app1 serves "+tcp.String())
	log.await(t, "app1 serves "+udp.String())
	return tcp, udp, log
}

// freePort returns a port that nobody listens on just now.
func freePort(t *testing.T, protocol string) uint16 {
	t.Helper()
	if protocol == "udp" {
		c, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return netip.MustParseAddrPort(c.LocalAddr().String()).Port()
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String()).Port()
}

func dialService(t *testing.T, s service) net.Conn {
	t.Helper()
	conn, err := net.Dial(s.protocol, fmt.Sprintf("127.0.0.1:%d", s.port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestServe(t *testing.T) {
	tcp, udp, log := serving(t)

	t.Run("greets a client that is silent, then echoes", func(t *testing.T) {
		conn := dialService(t, tcp)
		r := bufio.NewReader(conn)
		want := fmt.Sprintf("hello %s from app1\n", conn.LocalAddr())
		if got, err := r.ReadString('\n'); err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
		for _, line := range []string{"one\n", "GET / HTTP/1.0\n"} {
			if _, err := io.WriteString(conn, line); err != nil {
				t.Fatal(err)
			}
			if got, err := r.ReadString('\n'); err != nil || got != line {
				t.Errorf("got %q, %v; want %q", got, err, line)
			}
		}
		log.await(t, tcp.String()+" "+conn.LocalAddr().String())
	})
	t.Run("greets a client that speaks first", func(t *testing.T) {
		conn := dialService(t, tcp)
		if _, err := io.WriteString(conn, "anybody there?\n"); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		for _, want := range []string{fmt.Sprintf("hello %s from app1\n", conn.LocalAddr()), "anybody there?\n"} {
			if got, err := r.ReadString('\n'); err != nil || got != want {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		}
	})
	t.Run("answers HTTP", func(t *testing.T) {
		for _, method := range []string{"GET", "HEAD"} {
			conn := dialService(t, tcp)
			if _, err := io.WriteString(conn, method+" / HTTP/1.1\r\nHost: app1\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			body := fmt.Sprintf("hello %s from app1\n", conn.LocalAddr())
			want := fmt.Sprintf("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", len(body))
			if method == "GET" {
				want += body
			}
			if got, err := io.ReadAll(conn); err != nil || string(got) != want {
				t.Errorf("%s: got %q, %v; want %q", method, got, err, want)
			}
		}
	})
	t.Run("answers a datagram", func(t *testing.T) {
		conn := dialService(t, udp)
		if _, err := io.WriteString(conn, "one"); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("hello %s from app1\none", conn.LocalAddr())
		b := make([]byte, 100)
		if n, err := conn.Read(b); err != nil || string(b[:n]) != want {
			t.Errorf("got %q, %v; want %q", b[:n], err, want)
		}
		log.await(t, fmt.Sprintf("%s %s: 3 bytes", udp, conn.LocalAddr()))
	})
}

func TestServeOnAPortThatIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	free := service{"udp", freePort(t, "udp")}
	err = (&cli{out: io.Discard}).serve(context.Background(), []service{free, {"tcp", port}})
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v", err)
	}
	if c, err := net.ListenPacket("udp", fmt.Sprintf(":%d", free.port)); err != nil {
		t.Errorf("the other socket is still open: %v", err)
	} else {
		c.Close()
	}
}
