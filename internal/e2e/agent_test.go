package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An agent is the hand of a scenario inside an instance: it holds sockets of the
// instance's own kernel, and does what its input says, one line after the other.
// To each it answers with one line. "error ..." means that the request itself
// went wrong, which no scenario expects.
type agent struct {
	packets int // a packet socket on eth0
	eth0    int // its index

	mu     sync.Mutex            // guards the fields below
	conns  map[string]*agentConn // those that a scenario has named
	closed []io.Closer           // what reset closes besides
	heard  []string              // the frames that arrived, in hexadecimal, since the last request for them
}

// An agentConn is a TCP connection to an echo server.
type agentConn struct {
	net.Conn
	echoes *bufio.Reader
}

// runAgent serves its standard input, and ends with it.
func runAgent([]string) error {
	fd, eth0, err := packetSocket(unix.ETH_P_ALL)
	if err != nil {
		return err
	}
	a := &agent{packets: fd, eth0: eth0, conns: map[string]*agentConn{}}
	go a.listen()
	requests := map[string]func(*agent, []string) (string, error){
		"serve": (*agent).serve,
		"dial":  (*agent).dial,
		"talk":  (*agent).talk,
		"close": (*agent).close,
		"ends":  (*agent).ends,
		"reset": (*agent).reset,
		"ping":  (*agent).ping,
		"send":  (*agent).send,
		"heard": (*agent).report,
		"find":  (*agent).find,
		"claim": (*agent).claim,
		"links": (*agent).links,
	}
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		request := requests[words[0]]
		if request == nil {
			return fmt.Errorf("no such request: %s", words[0])
		}
		answer, err := request(a, words[1:])
		if err != nil {
			answer = "error " + err.Error()
		}
		fmt.Println(answer)
	}
	return lines.Err()
}

// serve NETWORK PORT is an echo server on all addresses. A TCP connection on
// which the line "end" comes is closed by the server.
func (a *agent) serve(args []string) (string, error) {
	if args[0] == "udp" {
		conn, err := net.ListenPacket("udp", ":"+args[1])
		if err != nil {
			return "", err
		}
		a.toClose(conn)
		go echoDatagrams(conn)
		return "ready", nil
	}
	listener, err := net.Listen("tcp", ":"+args[1])
	if err != nil {
		return "", err
	}
	a.toClose(listener)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // reset
			}
			a.toClose(aborting{conn})
			go echoLines(conn)
		}
	}()
	return "ready", nil
}

func (a *agent) toClose(c io.Closer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = append(a.closed, c)
}

// An aborting connection ends with a RST, and leaves nothing that the kernel
// would repeat.
type aborting struct{ net.Conn }

func (c aborting) Close() error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	return c.Conn.Close()
}

func echoDatagrams(conn net.PacketConn) {
	buffer := make([]byte, 1<<16)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			conn.WriteTo(buffer[:n], from)
		}
	}
}

func echoLines(conn net.Conn) {
	defer conn.Close()
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadString('\n')
		if err != nil || line == "end\n" {
			return
		}
		if _, err := io.WriteString(conn, line); err != nil {
			return
		}
	}
}

// dial NETWORK LOCAL REMOTE PATIENCE [name=NAME] [len=N] connects (tcp), or sends
// a datagram of N bytes and waits for its echo (udp), from a local address and
// port of which either may be zero. It answers with the fate of that. A
// connection with a name is kept.
func (a *agent) dial(args []string) (string, error) {
	local, err := netip.ParseAddrPort(args[1])
	if err != nil {
		return "", err
	}
	patience, err := time.ParseDuration(args[3])
	if err != nil {
		return "", err
	}
	name, size, err := dialOptions(args[4:])
	if err != nil {
		return "", err
	}
	dialer := net.Dialer{Control: reuseAddress, LocalAddr: net.TCPAddrFromAddrPort(local)}
	if args[0] == "udp" {
		dialer.LocalAddr = net.UDPAddrFromAddrPort(local)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := dialer.DialContext(ctx, args[0], args[2])
	if err != nil {
		return fate(err), nil
	}
	if args[0] == "udp" {
		defer conn.Close()
		return exchange(conn, size, patience)
	}
	if name == "" {
		return fate(nil), conn.Close()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conns[name] = &agentConn{conn, bufio.NewReader(conn)}
	return fate(nil), nil
}

func dialOptions(options []string) (name string, size int, err error) {
	size = 16
	for _, o := range options {
		key, value, _ := strings.Cut(o, "=")
		switch key {
		case "name":
			name = value
		case "len":
			size, err = strconv.Atoi(value)
		default:
			err = fmt.Errorf("no such option: %s", o)
		}
	}
	return name, size, err
}

// reuseAddress lets a connection have the port of one that has just ended.
func reuseAddress(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	})
	return errors.Join(err, failed)
}

// exchange sends a datagram and waits for its echo.
func exchange(conn net.Conn, size int, patience time.Duration) (string, error) {
	sent := slices.Repeat([]byte("datagram"), size/8+1)[:size]
	got := make([]byte, 1<<16)
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	n := 0
	_, err := conn.Write(sent)
	if err == nil {
		n, err = conn.Read(got)
	}
	if err == nil && string(got[:n]) != string(sent) {
		return "", fmt.Errorf("an echo of %d bytes that differ from the %d sent", n, size)
	}
	return fate(err), nil
}

// talk NAME PATIENCE LINE sends a line and waits for its echo.
func (a *agent) talk(args []string) (string, error) {
	c, err := a.named(args[0])
	if err != nil {
		return "", err
	}
	patience, err := time.ParseDuration(args[1])
	if err != nil {
		return "", err
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	_, err = io.WriteString(c, args[2]+"\n")
	for echo := ""; err == nil && echo != args[2]+"\n"; { // an earlier line's echo may still come
		echo, err = c.echoes.ReadString('\n')
	}
	return fate(err), nil
}

func (a *agent) named(name string) (*agentConn, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.conns[name]
	if c == nil {
		return nil, fmt.Errorf("no connection %s", name)
	}
	return c, nil
}

// close NAME ends a connection from this side: FIN first.
func (a *agent) close(args []string) (string, error) {
	c, err := a.named(args[0])
	if err != nil {
		return "", err
	}
	return "closed", c.Close()
}

// ends NAME has the server end a connection: its FIN comes first. So the server
// is the one that remembers the connection for a while (RFC 9293, TIME-WAIT), and
// this side has forgotten it when the answer comes.
func (a *agent) ends(args []string) (string, error) {
	c, err := a.named(args[0])
	if err != nil {
		return "", err
	}
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, "end\n"); err != nil {
		return "", err
	}
	if _, err := io.Copy(io.Discard, c.echoes); err != nil {
		return "", err
	}
	if err := c.Close(); err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(c.LocalAddr().String())
	if err != nil {
		return "", err
	}
	return "closed", poll(5*time.Second, func() (bool, error) {
		used, err := portInUse(port)
		return !used, err
	})
}

// portInUse reports whether the kernel still has a TCP connection from that port.
func portInUse(port string) (bool, error) {
	n, err := strconv.Atoi(port)
	if err != nil {
		return false, err
	}
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile("/proc/thread-self/net/" + table)
		if err != nil {
			return false, err
		}
		for line := range strings.Lines(string(text)) {
			if local := strings.Fields(line)[1]; strings.HasSuffix(local, fmt.Sprintf(":%04X", n)) {
				return true, nil
			}
		}
	}
	return false, nil
}

// reset ends everything that a scenario has begun, and forgets what was heard.
func (a *agent) reset([]string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.conns {
		aborting{c.Conn}.Close()
	}
	for _, c := range a.closed {
		c.Close()
	}
	clear(a.conns)
	a.closed, a.heard = nil, nil
	return "reset", nil
}
