package api

import (
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
// them at a time. It hands on others as well, marked to be told why they are not
// served, but no more than maxClients of those, and not for long; whoever comes
// on top of them is cut off.
type listener struct {
	*net.UnixListener
	peer  func(*net.UnixConn) (uint32, error)
	owner uint32

	served, refused chan struct{} // one token for each connection that is open
}

func newListener(l *net.UnixListener, peer func(*net.UnixConn) (uint32, error), owner uint32) *listener {
	return &listener{
		UnixListener: l, peer: peer, owner: owner,
		served: make(chan struct{}, maxClients), refused: make(chan struct{}, maxClients),
	}
}

// Accept returns the next connection.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		refusal := &Error{KindBusy, fmt.Sprintf("more than %d clients at once", maxClients)}
		uid, err := l.peer(c)
		if err != nil || (uid != l.owner && uid != 0) {
			refusal = &Error{KindForbidden, "this socket serves its owner alone"}
		} else if take(l.served) {
			return newClient(c, l.served, nil), nil
		}
		if take(l.refused) {
			return newClient(c, l.refused, refusal), nil
		}
		c.Close()
	}
}

// take puts a token into slots, and reports false if there is no room.
func take(slots chan struct{}) bool {
	select {
	case slots <- struct{}{}:
		return true
	default:
		return false
	}
}

// A client is one connection that holds one of the slots.
type client struct {
	*net.UnixConn
	free    func()
	refusal *Error    // nil for a client that is served
	until   time.Time // valid iff refusal is set: when its time is up
}

func newClient(c *net.UnixConn, slots chan struct{}, refusal *Error) *client {
	return &client{c, sync.OnceFunc(func() { <-slots }), refusal, time.Now().Add(refusalDeadline)}
}

// SetReadDeadline implements net.Conn. A client that is refused gets less time.
func (c *client) SetReadDeadline(t time.Time) error {
	if c.refusal != nil && (t.IsZero() || t.After(c.until)) {
		t = c.until
	}
	return c.UnixConn.SetReadDeadline(t)
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
