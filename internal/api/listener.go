package api

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Listen makes the control socket at path, for the owner alone. Its directory
// must be closed to others already: between bind and chmod the socket has the
// process's default mode. A socket that a dead daemon left is replaced, anything
// else at path is an error; the caller holds the lock that says nobody listens.
func Listen(path string) (net.Listener, error) {
	if len(path) > 107 { // sun_path of unix(7), with its final NUL
		return nil, fmt.Errorf("socket %s: longer than the 107 bytes that the kernel takes", path)
	}
	switch info, err := os.Lstat(path); {
	case err == nil && info.Mode().Type() == fs.ModeSocket:
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	case err == nil:
		return nil, fmt.Errorf("socket %s: something else has this name", path)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return newListener(l, peerUID, uint32(os.Geteuid())), nil
}

// A listener hands on the connections of the owner and of root, maxClients of
// them at a time. The others are told why in one HTTP answer and closed.
type listener struct {
	*net.UnixListener
	peer  func(*net.UnixConn) (uint32, error)
	owner uint32

	slots chan struct{} // one token for each connection that is open
}

func newListener(l *net.UnixListener, peer func(*net.UnixConn) (uint32, error), owner uint32) *listener {
	return &listener{UnixListener: l, peer: peer, owner: owner, slots: make(chan struct{}, maxClients)}
}

// Accept returns the next connection that may speak to us.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		uid, err := l.peer(c)
		if err != nil || (uid != l.owner && uid != 0) {
			refuse(c, "403 Forbidden", &Error{KindUsage, "this socket serves its owner alone"})
			continue
		}
		select {
		case l.slots <- struct{}{}:
			return &client{UnixConn: c, free: sync.OnceFunc(func() { <-l.slots })}, nil
		default:
			refuse(c, "503 Service Unavailable", &Error{KindBusy, fmt.Sprintf("more than %d clients at once", maxClients)})
		}
	}
}

// refuse tells a client why it is not served, and closes. It never waits: what
// does not fit into the socket's buffer is not said.
func refuse(c *net.UnixConn, status string, reason *Error) {
	var body bytes.Buffer
	if Encode(&body, reason) == nil && c.SetWriteDeadline(time.Now().Add(50*time.Millisecond)) == nil {
		fmt.Fprintf(c, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, body.Len(), body.Bytes())
	}
	c.Close()
}

// A client is one connection that holds one of the slots.
type client struct {
	*net.UnixConn
	free func()
}

// Close closes the connection and gives its slot back, once.
func (c *client) Close() error {
	err := c.UnixConn.Close()
	c.free()
	return err
}

// peerUID returns the user at the other end (SO_PEERCRED of unix(7)).
func peerUID(c *net.UnixConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, failed); err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
