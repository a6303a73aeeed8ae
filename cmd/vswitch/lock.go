package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// makeStateRoot makes the directory of all state directories, and refuses one
// that somebody else could write to (reliability row C3).
func makeStateRoot(root string) error {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(root, &st); err != nil {
		return fmt.Errorf("state directory %s: %w", root, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return fmt.Errorf("state directory %s: must be a directory of user %d that nobody else can write to", root, os.Geteuid())
	}
	return nil
}

// An operation is the right to change one VPC's lab. up, reload and down hold it
// while they work, and run while it starts, so that they queue up. The kernel
// frees it when its process ends, however it ends.
type operation struct {
	state stateDir
	lock  *os.File
}

func (s stateDir) operationLock() string { return s.path() + ".lock" }

// begin waits until no other operation is under way on the VPC. ctx ends the
// wait. waiting is called before the wait, if there is anything to wait for; an
// error of it is returned instead.
func (s stateDir) begin(ctx context.Context, waiting func() error) (*operation, error) {
	if err := makeStateRoot(s.root); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(s.operationLock(), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			if err = waiting(); err == nil {
				err = flock(ctx, f)
			}
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", s.operationLock(), err)
		}
		if leadsTo(s.operationLock(), f) {
			return &operation{s, f}, nil
		}
		f.Close() // the operation before us removed the file: another one has its name now
	}
}

// end lets the next operation begin. The lock goes with the state directory, so
// that a VPC that was removed leaves nothing. A second call does nothing.
func (o *operation) end() {
	if o.lock == nil {
		return
	}
	if !o.state.exists() {
		os.Remove(o.state.operationLock())
	}
	o.lock.Close()
	o.lock = nil
}

// flock waits for the exclusive lock of f until ctx ends. The wait itself cannot
// be interrupted: when ctx ends first, a goroutine stays behind with f until it
// has the lock, and lets it go then.
func flock(ctx context.Context, f *os.File) error {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	got := make(chan error, 1)
	go func() {
		err := unix.Flock(fd, unix.LOCK_EX)
		for err == unix.EINTR {
			err = unix.Flock(fd, unix.LOCK_EX)
		}
		unix.Close(fd)
		got <- err
	}()
	select {
	case err := <-got:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// leadsTo reports whether path is the name of f.
func leadsTo(path string, f *os.File) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}

// A runner is the process of a daemon, held by a descriptor that no other process
// can come to mean.
type runner struct {
	pid int
	fd  int
}

// runner returns the daemon that holds the state directory, or nil if none does.
// The caller has begun an operation: the look at the lock would be in the way of
// a daemon that starts.
func (s stateDir) runner() (*runner, error) {
	for {
		held, err := s.held()
		if err != nil || !held {
			return nil, err
		}
		pid := s.daemonPID()
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) || pid == 0 {
			continue // it ended, or took the lock, just now
		}
		if err != nil {
			return nil, fmt.Errorf("process %d: %w", pid, err)
		}
		if again := s.daemonPID(); again == pid {
			return &runner{pid, fd}, nil
		}
		unix.Close(fd)
	}
}

// held reports whether a process holds the lock of the state directory.
func (s stateDir) held() (bool, error) {
	f, err := os.OpenFile(s.daemonLock(), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock: %w", err)
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", s.daemonLock(), err)
	}
	return false, nil
}

// release lets go of the process.
func (r *runner) release() { unix.Close(r.fd) }

// stuck adds to the error of a call that got no answer in time what to do then.
func (r *runner) stuck(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the switch, process %d, does not answer: end it with kill -9 %d, then run vswitch up or down: %w", r.pid, r.pid, err)
	}
	return err
}

// await waits until the process has ended, and lets go of it.
func (r *runner) await(timeout time.Duration) error {
	defer r.release()
	deadline := time.Now().Add(timeout)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("process %d has not ended after %v", r.pid, timeout)
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("process %d: %w", r.pid, err)
		}
		if n > 0 {
			return nil
		}
	}
}
