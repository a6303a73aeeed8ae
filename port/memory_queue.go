package port

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"vswitch/internal/wire"
)

// An inbox is what waits for the switch at one queue of a Memory. The Memory's
// mutex guards it.
type inbox struct {
	frames queue
	event  int     // an eventfd, readable iff frames is not empty; -1 after close
	count  [8]byte // what is written to event or read from it; here, because a local one would be allocated
}

// newInbox returns an inbox for depth frames. It panics if the process has no
// descriptor left.
func newInbox(depth int) inbox {
	event, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		panic(fmt.Sprintf("port: eventfd of an in-memory device: %v", err))
	}
	return inbox{frames: newQueue(depth), event: event}
}

// add appends a copy of a frame. It returns false if the inbox is full or closed.
func (i *inbox) add(frame []byte) bool {
	if i.event < 0 || !i.frames.push(frame, nil) {
		return false
	}
	if i.frames.n == 1 {
		binary.NativeEndian.PutUint64(i.count[:], 1)
		if _, err := unix.Write(i.event, i.count[:]); err != nil {
			panic(fmt.Sprintf("unreachable: an eventfd takes 1 while it is 0: %v", err))
		}
	}
	return true
}

// read is Device's Read.
func (i *inbox) read(b []byte) (int, Status) {
	_ = b[wire.MaxFrame-1] // the contract of Device, for a short frame too
	if i.event < 0 {
		return 0, Gone
	}
	n, ok := i.frames.pop(b)
	if !ok {
		return 0, Empty
	}
	if i.frames.n == 0 {
		if _, err := unix.Read(i.event, i.count[:]); err != nil {
			panic(fmt.Sprintf("unreachable: an armed eventfd gives its count: %v", err))
		}
	}
	return n, OK
}

// close releases the descriptor. Whoever polls a copy of it sees it readable, and
// finds out by Read. A second one does nothing.
func (i *inbox) close() error {
	if i.event < 0 {
		return nil
	}
	binary.NativeEndian.PutUint64(i.count[:], 1)
	_, err := unix.Write(i.event, i.count[:])
	err = errors.Join(err, unix.Close(i.event))
	i.event = -1
	return err
}

// A memoryQueue is one more queue between the switch and the instance of a
// Memory: it has frames of its own for the switch, and all else in common.
type memoryQueue struct {
	*Memory
	inbox inbox
}

var _ Device = (*memoryQueue)(nil)

// Read implements Device.
func (q *memoryQueue) Read(b []byte) (int, Status) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.inbox.read(b)
}

// FD implements Device. It returns -1 after Close.
func (q *memoryQueue) FD() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.inbox.event
}

// Queues gives the instance n queues, as OpenTAP does, and returns them: m itself
// and n-1 others, each for as many frames as m. Send gives a frame to the queue of
// the number that steer returns for it, modulo n: SteerFrame is what the kernel
// does. Closing one of them closes all. Queues must be called at most once, before
// the first frame is sent.
func (m *Memory) Queues(n int, steer func(frame []byte) uint16) []Device {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.steer = steer
	devices := []Device{m}
	for range n - 1 {
		q := &memoryQueue{Memory: m, inbox: newInbox(len(m.toSwitch.frames.waiting))}
		m.others = append(m.others, q)
		devices = append(devices, q)
	}
	return devices
}
