package main

import (
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A socket is a blocking socket whose calls Go's scheduler does not know of: they
// wait inside the kernel and hold their thread meanwhile, as in a C program. What
// the network poller adds to each wake-up would be measured otherwise, and its
// search for other work would take the processor from the switch.
//
// That is only for a process without a garbage collector, with a thread to spare
// for each socket: an agent.
type socket int

// tcpSocket returns a TCP socket for IPv4.
func tcpSocket() (socket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	return socket(fd), err
}

// inet returns the address in the kernel's form.
func inet(a netip.AddrPort) unix.RawSockaddrInet4 {
	raw := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: a.Addr().As4()}
	port := (*[2]byte)(unsafe.Pointer(&raw.Port)) // big-endian, whatever the machine
	port[0], port[1] = byte(a.Port()>>8), byte(a.Port())
	return raw
}

// connect opens a connection.
func (s socket) connect(to *unix.RawSockaddrInet4) error {
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(s), uintptr(unsafe.Pointer(to)), unsafe.Sizeof(*to))
	if errno != 0 {
		return fmt.Errorf("connect: %w", errno)
	}
	return nil
}

// accept waits for the next connection.
func (s socket) accept() (socket, error) {
	for {
		fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(s), 0, 0, unix.SOCK_CLOEXEC, 0, 0)
		switch errno {
		case 0:
			return socket(fd), nil
		case unix.EINTR, unix.ECONNABORTED:
			continue
		}
		return -1, fmt.Errorf("accept: %w", errno)
	}
}

// read waits for bytes. It returns 0 at the connection's end.
func (s socket) read(b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(s), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return 0, fmt.Errorf("read: %w", errno)
	}
}

// readFull fills b.
func (s socket) readFull(b []byte) error {
	for len(b) > 0 {
		n, err := s.read(b)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("read: the connection ended %d bytes early", len(b))
		}
		b = b[n:]
	}
	return nil
}

// write sends all of b.
func (s socket) write(b []byte) error {
	for len(b) > 0 {
		n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(s), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch errno {
		case 0:
			b = b[n:]
		case unix.EINTR:
		default:
			return fmt.Errorf("write: %w", errno)
		}
	}
	return nil
}

// noDelay has small writes leave at once (RFC 9293 section 3.7.4 lets them wait).
func (s socket) noDelay() error {
	return unix.SetsockoptInt(int(s), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
}

// close closes the socket.
func (s socket) close() error { return unix.Close(int(s)) }
