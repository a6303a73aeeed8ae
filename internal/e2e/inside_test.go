package e2e

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// inside runs one of the programs that tests start inside an instance. Each
// says what it sees in lines on its standard output, and ends when its input
// does. It returns the exit code.
func inside(name string, args []string) int {
	programs := map[string]func(args []string) error{
		"agent":     runAgent,
		"dial":      dial,
		"talk":      talk,
		"serve":     serve,
		"send":      send,
		"watch":     watch,
		"signal":    awaitSignal,
		"tty":       tty,
		"bulk":      bulk,
		"sink":      sink,
		"segments":  segments,
		"datagrams": datagrams,
	}
	program := programs[name]
	if program == nil {
		fmt.Fprintf(os.Stderr, "inside: no program %q\n", name)
		return 2
	}
	var code exitCode
	if err := program(args); errors.As(err, &code) {
		return int(code)
	} else if err != nil {
		fmt.Fprintf(os.Stderr, "inside %s: %v\n", name, err)
		return 1
	}
	return 0
}

// An exitCode ends a program with that code.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// dial NETWORK ADDRESS tries to connect (tcp) or sends a datagram and waits for
// an answer (udp), and says what came of it.
func dial(args []string) error {
	const patience = 300 * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, args[0], args[1])
	if err == nil && args[0] == "udp" {
		conn.SetDeadline(time.Now().Add(patience))
		if _, err = io.WriteString(conn, "anybody there?\n"); err == nil {
			_, err = conn.Read(make([]byte, 1500))
		}
	}
	if err == nil {
		conn.Close()
	}
	fmt.Println(fate(err))
	return nil
}

// fate puts the outcome of a connection attempt into a word.
func fate(err error) string {
	var timeout net.Error
	switch {
	case err == nil:
		return "connected"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EACCES):
		return "unreachable"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "no address" // to connect from
	case errors.Is(err, syscall.EMSGSIZE):
		return "too long"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return err.Error()
}

// serve ADDRESS accepts TCP connections and echoes what comes in.
func serve(args []string) error {
	listener, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println("ready")
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			io.Copy(conn, conn)
		}()
	}
}

// talk ADDRESS connects to an echo server; then it sends every line of its input
// there and says "echo", or "silence" if the echo has not come within 700 ms, in
// which TCP sends the line again at least once.
func talk(args []string) error {
	conn, err := net.DialTimeout("tcp", args[0], 3*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Println("ready")
	echoes := bufio.NewReader(conn)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		conn.SetDeadline(time.Now().Add(700 * time.Millisecond))
		_, err := io.WriteString(conn, lines.Text()+"\n")
		var echo string
		for err == nil && echo != lines.Text()+"\n" { // an earlier line's echo may still come
			echo, err = echoes.ReadString('\n')
		}
		var timeout net.Error
		switch {
		case err == nil:
			fmt.Println("echo")
		case errors.As(err, &timeout) && timeout.Timeout():
			fmt.Println("silence")
		default:
			fmt.Println(err)
		}
	}
	return nil
}

// send puts the frames that its input holds, one hexadecimal line each, on the
// wire as they are, and says "sent".
func send([]string) error {
	fd, eth0, err := packetSocket(0)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		frame, err := hex.DecodeString(lines.Text())
		if err != nil {
			return err
		}
		if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: eth0, Halen: 6}); err != nil {
			return err
		}
		fmt.Println("sent")
	}
	return nil
}

// watch says every frame that arrives at eth0 (not those that leave): its length
// and its first 128 bytes in hexadecimal. `watch longest` keeps count instead,
// and says when its input ends how long the longest was.
func watch(args []string) error {
	fd, _, err := packetSocket(unix.ETH_P_ALL)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	count := len(args) > 0 && args[0] == "longest"
	longest := 0
	buffer := make([]byte, 1<<17)
	for ended := false; !ended; {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: 0, Events: unix.POLLIN}}
		if _, err := unix.Poll(ready, -1); err != nil && err != unix.EINTR {
			return fmt.Errorf("poll: %w", err)
		}
		ended = ready[1].Revents != 0 // nothing is ever written there, so this is its end
		for {
			n, from, err := unix.Recvfrom(fd, buffer, unix.MSG_TRUNC|unix.MSG_DONTWAIT)
			if err == unix.EAGAIN {
				break
			}
			if err != nil {
				return fmt.Errorf("receive: %w", err)
			}
			if link, ok := from.(*unix.SockaddrLinklayer); ok && link.Pkttype == unix.PACKET_OUTGOING {
				continue
			}
			longest = max(longest, n)
			if !count {
				fmt.Printf("%d %s\n", n, hex.EncodeToString(buffer[:min(n, 128)]))
			}
		}
	}
	if count {
		fmt.Println(longest)
	}
	return nil
}

// packetSocket opens a raw socket on eth0 for frames of that type (0: to send
// only). It returns the descriptor and the index of eth0.
func packetSocket(etherType uint16) (fd, eth0 int, err error) {
	link, err := net.InterfaceByName("eth0")
	if err != nil {
		return 0, 0, err
	}
	wire := etherType<<8 | etherType>>8 // network byte order
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(wire))
	if err != nil {
		return 0, 0, fmt.Errorf("packet socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: wire, Ifindex: link.Index}); err != nil {
		return 0, 0, fmt.Errorf("bind to eth0: %w", err)
	}
	return fd, link.Index, nil
}

// awaitSignal says "ready", and ends with exit code 41 when SIGTERM comes.
func awaitSignal([]string) error {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM, syscall.SIGINT)
	fmt.Println("ready")
	s := <-terminated
	fmt.Println(s)
	return exitCode(41)
}

// tty says whether standard input, output and error are a terminal, and its
// size; then it waits for Ctrl-C.
func tty([]string) error {
	var kinds []string
	for fd := range 3 {
		size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
		if err != nil {
			kinds = append(kinds, "no terminal")
			continue
		}
		kinds = append(kinds, fmt.Sprintf("terminal %dx%d", size.Col, size.Row))
	}
	fmt.Println(strings.Join(kinds, ", "))
	return awaitSignal(nil)
}
