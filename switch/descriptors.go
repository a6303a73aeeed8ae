package vswitch

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"vswitch/port"
)

// descriptors is the table of open files that a worker's thread uses. The threads of
// a process share one table, and each system call on a descriptor then pays two
// atomic operations for the file; in a table that one thread has for itself it pays
// none. So a worker parts with the shared table when it starts.
//
// A descriptor has the same number in both tables, and nothing else need know that
// there are two. The worker's holds what the runtime and the workers need, and the
// devices of the worker's plane. It holds these open, so it must let go of a device
// before that is closed.
type descriptors struct {
	process int                 // a pidfd of this process, by which descriptors come out of the shared table; -1 if the kernel has none
	held    map[int]port.Device // by number; nil as long as the table is the shared one
}

// newDescriptors returns the shared table.
func newDescriptors() descriptors {
	process, err := unix.PidfdOpen(unix.Getpid(), 0)
	if err != nil {
		return descriptors{process: -1}
	}
	return descriptors{process: process}
}

// close gives back what newDescriptors has taken; it is for a thread with the shared
// table.
func (d *descriptors) close() error {
	if d.process < 0 {
		return nil
	}
	return unix.Close(d.process)
}

// part gives the calling thread a table of its own. The goroutine must be locked to
// the thread, and never be unlocked. The thread must not be the first of the process,
// whose table is the one that a pidfd leads to.
//
// An error, from a kernel before Linux 5.9 or from a sandbox around the process,
// leaves the thread with the shared table: nothing but speed depends on it.
func (d *descriptors) part() error {
	kept, err := permanent()
	if err != nil {
		return err
	}
	kept[d.process] = true
	copied, err := unix.PidfdGetfd(d.process, d.process, 0)
	if err != nil {
		return fmt.Errorf("pidfd_getfd: %w", err)
	}
	if err := errors.Join(unix.Close(copied), unix.CloseRange(math.MaxInt32, math.MaxInt32, 0)); err != nil {
		return fmt.Errorf("close_range: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_FILES); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	d.held = make(map[int]port.Device)
	from := uint(0)
	for _, fd := range slices.Sorted(maps.Keys(kept)) {
		if uint(fd) > from {
			_ = unix.CloseRange(from, uint(fd)-1, 0) // which worked a moment ago
		}
		from = uint(fd) + 1
	}
	_ = unix.CloseRange(from, math.MaxInt32, 0)
	return nil
}

// permanent returns the descriptors that any thread of this process may use at any
// time: standard error, on which the runtime dies, and its like; what the runtime's
// poller sleeps on and is woken by; and what wakes the workers.
func permanent() (map[int]bool, error) {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	kept := map[int]bool{unix.Stdin: true, unix.Stdout: true, unix.Stderr: true}
	for _, e := range entries {
		kind, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // closed meanwhile, as the one of ReadDir is
		}
		switch kind {
		case "anon_inode:[eventpoll]", "anon_inode:[eventfd]":
			fd, err := strconv.Atoi(e.Name())
			if err != nil {
				return nil, fmt.Errorf("%s: %w", dir, err)
			}
			kept[fd] = true
		}
	}
	return kept, nil
}

// hold makes the worker's table hold the given devices and no other. One whose
// descriptor cannot be had is not held, and so is Gone for the worker.
func (d *descriptors) hold(devices map[port.Device]bool) {
	if d.held == nil {
		return
	}
	for fd, device := range d.held {
		if !devices[device] || device.FD() != fd {
			_ = unix.Close(fd) // which was open, and had nothing to write back
			delete(d.held, fd)
		}
	}
	for device := range devices {
		fd := device.FD()
		if fd < 0 || d.held[fd] != nil {
			continue
		}
		if d.take(fd) == nil {
			d.held[fd] = device
		}
	}
}

// take copies a descriptor out of the shared table, to the same number.
func (d *descriptors) take(fd int) error {
	copied, err := unix.PidfdGetfd(d.process, fd, 0)
	if err != nil || copied == fd {
		return err
	}
	return errors.Join(unix.Dup3(copied, fd, unix.O_CLOEXEC), unix.Close(copied))
}
