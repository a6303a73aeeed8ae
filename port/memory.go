package port

import (
	"errors"
	"fmt"
	"sync"

	"vswitch/internal/wire"
)

// Bits of the virtio_net_hdr (virtio 1.0 section 5.1.6).
const (
	needsChecksum = 0x01 // flags: the checksum is still to be filled in
	ecn           = 0x80 // gso_type: a TCP superframe that carries CWR
)

// A Memory is a Device inside the process: one end is the switch's, the other
// end is held by a test, or by a program that has the switch as a library and
// plays the instance. It behaves as a TAP does, but for its speed.
//
// All methods of both ends are safe for concurrent use, Close included.
type Memory struct {
	offloads Offloads
	ready    chan struct{} // holds a token iff toInstance may have gone from empty to not empty

	mu         sync.Mutex // guards the fields below, and those of all inboxes
	toSwitch   inbox
	others     []*memoryQueue            // the switch's other queues
	steer      func(frame []byte) uint16 // chooses among the queues, modulo their number; valid iff there are others
	toInstance queue
	down       bool
}

var _ Device = (*Memory)(nil)

// NewMemory returns a Memory that is up and holds depth frames in each
// direction. o says what the instance's end can finish. NewMemory panics if the
// process has no descriptor left.
func NewMemory(depth int, o Offloads) *Memory {
	return &Memory{
		offloads:   o,
		ready:      make(chan struct{}, 1),
		toSwitch:   newInbox(depth),
		toInstance: newQueue(depth),
	}
}

// Read implements Device: it takes what Send gave. Status Down does not occur,
// as with a TAP.
func (m *Memory) Read(b []byte) (int, Status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.toSwitch.read(b)
}

// Write implements Device: Receive gets the frame. It refuses a frame that
// Offloads does not list, which the instance could not finish.
func (m *Memory) Write(b []byte) Status { return m.WriteParts(b, nil) }

// WriteParts implements Device: Receive gets the two parts as one frame. It
// refuses what Write refuses, and a head without a whole virtio_net_hdr.
func (m *Memory) WriteParts(head, payload []byte) Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.toSwitch.event < 0:
		return Gone
	case m.down:
		return Down
	case len(head) < wire.VirtioSize || len(head)+len(payload) > wire.MaxFrame:
		return Refused
	case !m.offloads.take(head) || !m.toInstance.push(head, payload):
		return Refused
	}
	if m.toInstance.n == 1 {
		select {
		case m.ready <- struct{}{}:
		default: // the token of an earlier frame is still there
		}
	}
	return OK
}

// Send gives the switch a frame, with its virtio_net_hdr, as the instance would.
// It does not keep the frame, nor look into it: an instance may lie in every
// field. It returns false if the queue is full, if the device is down or closed,
// or if the frame has fewer than wire.VirtioSize or more than wire.MaxFrame bytes.
func (m *Memory) Send(frame []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down || len(frame) < wire.VirtioSize || len(frame) > wire.MaxFrame {
		return false
	}
	if len(m.others) > 0 {
		if q := int(m.steer(frame)) % (len(m.others) + 1); q > 0 {
			return m.others[q-1].inbox.add(frame)
		}
	}
	return m.toSwitch.add(frame)
}

// Receive copies the next frame from the switch, with its virtio_net_hdr, into b
// and returns its length, or false if none waits. It panics if b is shorter than
// the frame; wire.MaxFrame bytes are always enough. Frames written before Close
// can still be received.
func (m *Memory) Receive(b []byte) (int, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.toInstance.pop(b)
}

// Ready returns a channel that delivers a value after a frame has come for an
// instance that had none. One value may stand for many frames, and for frames
// that Receive has already returned: receive until there is none, then wait.
func (m *Memory) Ready() <-chan struct{} { return m.ready }

// SetDown takes the device down or up again, as the instance's administrator
// would. While it is down, Send fails and Write returns Down; frames that were
// under way can still be read.
func (m *Memory) SetDown(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = down
}

// FD implements Device. It returns -1 after Close.
func (m *Memory) FD() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.toSwitch.event
}

// Offloads implements Device.
func (m *Memory) Offloads() Offloads { return m.offloads }

// Close implements Device, for all queues of the instance. Frames that the
// switch has not read are lost. A second Close does nothing.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.toSwitch.close()
	for _, q := range m.others {
		err = errors.Join(err, q.inbox.close())
	}
	if err != nil {
		return fmt.Errorf("in-memory device: close: %w", err)
	}
	return nil
}

// take reports whether o lists the kind of frame b, which starts with a whole
// virtio_net_hdr. A superframe always needs its checksums filled in too.
func (o Offloads) take(b []byte) bool {
	if b[0]&needsChecksum != 0 && !o.Checksum {
		return false
	}
	switch wire.GSO(b[1] &^ ecn) {
	case wire.GSONone:
		return true
	case wire.GSOTCP4:
		return o.TSO4
	case wire.GSOTCP6:
		return o.TSO6
	case wire.GSOUDP:
		return o.USO
	}
	return false
}
