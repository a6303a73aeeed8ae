package port

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"vswitch/internal/wire"
)

// A TAP is one queue of a TAP interface. Frames carry the 12-byte
// virtio_net_hdr, little-endian, in front; the kernel hands over superframes
// whole and takes them whole. OpenTAP makes TAPs; they implement Device.
//
// The descriptor is non-blocking and unknown to Go's poller: reads and writes
// are plain system calls that never wait, never allocate and never enter the
// scheduler (transfer).
type TAP struct {
	// fd is the queue's descriptor, or -1 after Close. The kernel answers every
	// call on -1 with EBADF, so that a late Read or Write can never reach
	// whatever descriptor the kernel gives the same number to afterwards.
	fd       atomic.Int32
	name     string
	offloads Offloads
}

var _ Device = (*TAP)(nil)

// Read implements Device. Status Down does not occur: a TAP that is down
// delivers what it already held and is Empty then.
func (t *TAP) Read(b []byte) (int, Status) {
	_ = b[wire.MaxFrame-1] // a shorter buffer would cut frames off without a sign (reliability row V6)

	// Kernels before 6.15 leave the last field (num_buffers) as they find it: no
	// byte of an earlier frame may stay there (V7).
	b[wire.VirtioSize-2], b[wire.VirtioSize-1] = 0, 0
	for {
		switch n := transfer(unix.SYS_READ, uintptr(t.fd.Load()), unsafe.SliceData(b), len(b)); {
		case n >= 0:
			return n, OK
		case n != -int(unix.EINTR):
			return 0, status(unix.Errno(-n))
		}
	}
}

// Write implements Device. It is safe for concurrent use. A write to a TAP does
// not wait for room: the frame enters the instance's receive path inside the
// call.
func (t *TAP) Write(b []byte) Status {
	for {
		switch n := transfer(unix.SYS_WRITE, uintptr(t.fd.Load()), unsafe.SliceData(b), len(b)); {
		case n >= 0:
			return OK
		case n != -int(unix.EINTR):
			return written(unix.Errno(-n))
		}
	}
}

// WriteParts implements Device. It is safe for concurrent use, as Write is. It
// refuses a head without a whole virtio_net_hdr.
func (t *TAP) WriteParts(head, payload []byte) Status {
	if len(head) < wire.VirtioSize {
		return Refused // of an empty frame, writev would not tell the driver, and succeed
	}
	parts := [2]unix.Iovec{{Base: unsafe.SliceData(head)}, {Base: unsafe.SliceData(payload)}}
	parts[0].SetLen(len(head))
	parts[1].SetLen(len(payload))
	for {
		_, _, errno := syscall.RawSyscall6(unix.SYS_WRITEV, uintptr(t.fd.Load()), uintptr(unsafe.Pointer(&parts)), uintptr(len(parts)), 0, 0, 0)
		if errno != unix.EINTR {
			return written(errno)
		}
	}
}

// written translates what the tun driver answers to a write.
func written(errno unix.Errno) Status {
	switch errno {
	case 0:
		return OK
	case unix.EAGAIN:
		return Refused // no room for this frame: never Empty, which is a read's word
	}
	return status(errno)
}

// status translates what the tun driver answers to a read, and to a write but for
// what written knows better. Anything it does not name concerns one frame (EINVAL
// for a header it does not understand, ENOMEM).
func status(errno unix.Errno) Status {
	switch errno {
	case unix.EAGAIN:
		return Empty
	case unix.EIO:
		return Down
	case unix.EBADFD, unix.EBADF: // the interface was deleted, or its namespace; or Close was called
		return Gone
	}
	return Refused
}

// FD implements Device. It returns -1 after Close, which poll(2) ignores. When
// the interface is deleted the descriptor polls POLLERR, and Read returns Gone.
func (t *TAP) FD() int { return int(t.fd.Load()) }

// Offloads implements Device. Checksum, TSO4 and TSO6 are always set.
func (t *TAP) Offloads() Offloads { return t.offloads }

// Name returns the name that the interface had when it was opened.
func (t *TAP) Name() string { return t.name }

// A Place is where an interface is.
type Place struct {
	Name   string
	Device uint64 // with Inode, the identity of the network namespace, as stat(2) has it
	Inode  uint64
}

// Place returns where the interface is now: somebody may have renamed it, or moved
// it. It returns an error once the interface, its namespace, or the
// descriptor is gone. The namespace may have lost its names since.
func (t *TAP) Place() (Place, error) {
	fd := t.FD()
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return Place{}, err
	}
	if err := unix.IoctlIfreq(fd, unix.TUNGETIFF, ifr); err != nil {
		return Place{}, fmt.Errorf("tap %s: name: %w", t.name, err)
	}
	namespace, err := unix.IoctlRetInt(fd, unix.TUNGETDEVNETNS)
	if err != nil {
		return Place{}, fmt.Errorf("tap %s: namespace: %w", t.name, err)
	}
	var st unix.Stat_t
	if err := errors.Join(unix.Fstat(namespace, &st), unix.Close(namespace)); err != nil {
		return Place{}, fmt.Errorf("tap %s: namespace: %w", t.name, err)
	}
	return Place{ifr.Name(), st.Dev, st.Ino}, nil
}

// Close implements Device. The interface goes with its last queue; a child that
// is being started at that moment holds it until its exec is through, so whoever
// needs the name again at once deletes the link first. A second Close does
// nothing. Close must not be called while a Read or Write is under way; later
// ones return Gone.
func (t *TAP) Close() error {
	fd := t.fd.Swap(-1)
	if fd < 0 {
		return nil
	}
	if err := unix.Close(int(fd)); err != nil {
		return fmt.Errorf("tap %s: close: %w", t.name, err)
	}
	return nil
}
