package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// maxAtOnce bounds how many probes of one party wait for their answers at once.
const maxAtOnce = 64

// tries is how often a datagram or an echo request is sent before its answer is
// given up. TCP repeats its SYN by itself.
const tries = 3

// newParty returns the half of test --live that runs inside.
func newParty(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:    "party",
		Short:  "Listen and send what test --live asks for, in the namespace one is in",
		Hidden: true,
		Args:   noArgs(),
		RunE:   func(*cobra.Command, []string) error { return attend(c.in, c.out) },
	}
}

// attend does what the plan on in says: it listens, says on out that it does,
// waits for a second word, sends, and says what became of each probe. It ends
// when in does, and nothing that it opened is left.
func attend(in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	words := json.NewDecoder(in)
	var plan partyPlan
	if err := words.Decode(&plan); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	ready, closers, err := plan.listen()
	defer func() {
		for _, l := range closers {
			_ = l.Close()
		}
	}()
	if err != nil {
		return err
	}
	answers := json.NewEncoder(out)
	if err := answers.Encode(ready); err != nil {
		return err
	}
	var begin bool
	if err := words.Decode(&begin); err != nil {
		return orEnd(err)
	}
	go func() { // whoever gave the plan may be gone at any time
		_, _ = io.Copy(io.Discard, io.MultiReader(words.Buffered(), in))
		cancel()
	}()
	for r := range plan.send(ctx) {
		if err := answers.Encode(r); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

// orEnd returns nil for the end of the input, and any other error as it is.
func orEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// listen opens the listeners. TCP connections are accepted and closed, datagrams
// sent back.
func (p *partyPlan) listen() (ready partyReady, closers []io.Closer, err error) {
	ready.Taken = []int{}
	for i, l := range p.Listen {
		closer, err := l.open()
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			ready.Taken = append(ready.Taken, i)
		case err != nil:
			return ready, closers, fmt.Errorf("listen at %s/%s: %w", l.Protocol, l.At, err)
		default:
			closers = append(closers, closer)
		}
	}
	return ready, closers, nil
}

// open opens a listener, which serves until it is closed.
func (l *partyListener) open() (io.Closer, error) {
	if l.Protocol == "udp" {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(l.At))
		if err != nil {
			return nil, err
		}
		go echo(conn)
		return conn, nil
	}
	listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(l.At))
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	return listener, nil
}

// echo sends datagrams back until conn is closed.
func echo(conn *net.UDPConn) {
	buffer := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_, _ = conn.WriteToUDPAddrPort(buffer[:n], from) // what the sender does not get, it misses
		}
	}
}

// send sends all probes, and yields what became of each. It ends early with ctx.
func (p *partyPlan) send(ctx context.Context) <-chan partyResult {
	results := make(chan partyResult)
	slots := make(chan struct{}, maxAtOnce)
	var wait sync.WaitGroup
	go func() {
		defer close(results)
		defer wait.Wait()
		for i := range p.Probes {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			wait.Go(func() {
				r := p.Probes[i].send(ctx, p.Timeout)
				<-slots
				r.Probe = i
				select {
				case results <- r:
				case <-ctx.Done():
				}
			})
		}
	}()
	return results
}

// send sends one probe and waits for what comes back.
func (p *partyProbe) send(ctx context.Context, timeout time.Duration) partyResult {
	if p.Protocol == "tcp" {
		return p.connect(ctx, timeout)
	}
	prober, port, err := p.prober()
	if err != nil {
		return partyResult{Outcome: outcomeError, Error: err.Error()}
	}
	defer prober.Close()
	r := partyResult{SourcePort: port, Outcome: outcomeSilence}
	for n := 1; n <= tries && r.Outcome == outcomeSilence && ctx.Err() == nil; n++ {
		a := attemptOf(n, prober.probe(n, timeout/tries), outcomeReply, 0)
		r.Outcome, r.Error = a.Outcome, a.Error
	}
	return r
}

// prober returns what sends datagrams or echo requests, and its port.
func (p *partyProbe) prober() (prober, uint16, error) {
	if p.Protocol != "udp" {
		icmp, err := newICMPProber(p.From, p.To.Addr())
		return icmp, 0, err
	}
	from := net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.From, 0))
	conn, err := net.DialUDP("udp", from, net.UDPAddrFromAddrPort(p.To))
	if err != nil {
		return nil, 0, err
	}
	return newUDPProber(conn), conn.LocalAddr().(*net.UDPAddr).AddrPort().Port(), nil
}

// connect makes a TCP connection from a port that is known even if nothing comes
// back.
func (p *partyProbe) connect(ctx context.Context, timeout time.Duration) partyResult {
	var r partyResult
	dialer := net.Dialer{Timeout: timeout, Control: func(_, _ string, raw syscall.RawConn) error {
		var bound error
		err := raw.Control(func(fd uintptr) { r.SourcePort, bound = bindTo(int(fd), p.From) })
		return errors.Join(err, bound)
	}}
	conn, err := dialer.DialContext(ctx, "tcp", p.To.String())
	if err == nil {
		_ = conn.Close()
	}
	a := attemptOf(1, err, outcomeOpen, 0)
	r.Outcome, r.Error = a.Outcome, a.Error
	return r
}

// bindTo binds a socket to an address and a free port, which it returns.
func bindTo(fd int, a netip.Addr) (uint16, error) {
	if err := unix.Bind(fd, sockaddr(a)); err != nil {
		return 0, fmt.Errorf("address %s: %w", a, err)
	}
	name, err := unix.Getsockname(fd)
	switch at := name.(type) {
	case *unix.SockaddrInet4:
		return uint16(at.Port), err
	case *unix.SockaddrInet6:
		return uint16(at.Port), err
	}
	return 0, err
}

// sockaddr returns an address with port 0.
func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Addr: a.As16()}
}
