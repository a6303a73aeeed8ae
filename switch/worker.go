package vswitch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"vswitch/conntrack"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/port"
)

// A worker forwards the frames that it owns (steer.go). Its goroutine, locked to a
// thread, is the only one that touches the fields of the first group; whoever wants
// to look at them or to change them hands the worker a function (do), which runs
// between two bursts. So the path of a frame takes no lock, and nobody sees half a
// frame's work. Before start and after stop, do runs the function itself.
type worker struct {
	index      int         // among the workers; of the queue that it reads of every device
	crew       []*worker   // all workers, by index; nil if there is only this one
	inboxes    []*handover // what the others hand over, by the giver's index; nil at its own
	quote      quote       // what another worker has said of the frame being forwarded
	plane      *plane
	clock      func() int64 // nanoseconds, never going back
	now        int64        // of the current burst
	conns      *conntrack.Tracker
	fragments  *conntrack.Fragments
	cache      flowCache
	frame      wire.Frame
	buffer     []byte        // the frame being forwarded: one buffer, always the last used
	nextBuffer []byte        // the frame behind it, if that has been read
	ahead      ahead         // what is known of that
	answer     []byte        // an answer of the platform
	head       []byte        // the headers of the segment being written
	segments   int           // segments cut in this burst
	counters   []Counters    // by interface handle
	current    []byte        // what was read, of the frame being forwarded
	pending    bool          // the current frame has not been counted as delivered, answered, held or dropped
	polled     []*eni        // the interfaces of which this worker reads a queue
	pollFDs    []unix.PollFd // their descriptors, behind wakeFD
	ready      []int         // those that may have more frames waiting, as places in polled, in the order of their turns
	spare      []int         // what ready was before
	wasReady   []bool        // by place in polled; only sleep sets it, and clears it again
	unpolled   int           // frames forwarded since the ports were looked at
	gone       map[*eni]bool // interfaces of this plane whose device was removed under us
	way        passage       // of the packet in hand, as far as it came
	panics     uint64
	handedOver uint64 // frames given to other workers
	failed     []FailedFrame
	watching   *watching // what is copied for captures; nil while there are none
	busy       int64     // when the last frame came in
	wait       int64     // how long the waits for frames were of late, in nanoseconds
	spins      bool      // the machine has processors to spare, for spinning and for naps in the middle of Go code
	swept      int64     // when idle state was last swept
	freed      int64     // when idle connections were last freed
	behind     bool      // then some were left
	stopping   bool
	active     activity // of all workers
	files      descriptors
	tally      tally // of what the flow cache does not count

	wakeFD  int
	asleep  atomic.Bool // frames that are handed over must wake the worker
	asked   atomic.Bool // queue is not empty
	mu      sync.Mutex  // guards the fields below, and the ones above while running is false
	queue   []func()
	running bool
	ended   chan struct{}
}

// maxFailed is how many frames are kept of those whose handling failed.
const maxFailed = 10

// newCrew returns the workers of a switch, without a plane. They share the
// capacity and the size of the flow cache.
func newCrew(o options) (crew []*worker, err error) {
	n := o.workers
	o.capacity = (o.capacity + n - 1) / n
	o.cacheSize = (o.cacheSize + n - 1) / n
	for i := range n {
		w, err := newWorker(o)
		if err != nil {
			for _, w := range crew {
				err = errors.Join(err, w.close())
			}
			return nil, err
		}
		w.index = i
		crew = append(crew, w)
	}
	if n == 1 {
		return crew, nil
	}
	for _, w := range crew {
		w.crew = crew
		w.inboxes = make([]*handover, n)
		for i := range n {
			if i != w.index {
				w.inboxes[i] = newHandover()
			}
		}
	}
	return crew, nil
}

// newWorker returns a worker without a plane, the only one.
func newWorker(o options) (*worker, error) {
	conns, err := conntrack.New(o.capacity)
	if err != nil {
		return nil, fmt.Errorf("connection table: %w", err)
	}
	cache, err := newFlowCache(o.cacheSize)
	if err != nil {
		return nil, errors.Join(err, conns.Close())
	}
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("eventfd: %w", err), cache.close(), conns.Close())
	}
	return &worker{
		clock:      o.now,
		conns:      conns,
		fragments:  conntrack.NewFragments(),
		cache:      cache,
		tally:      newTally(rand.Uint64()),
		buffer:     make([]byte, wire.MaxFrame),
		nextBuffer: make([]byte, wire.MaxFrame),
		answer:     make([]byte, 0, 256),
		head:       make([]byte, wire.MaxSegmentHeader),
		wakeFD:     fd,
		active:     o.active,
		files:      newDescriptors(),
		gone:       make(map[*eni]bool),
		spins:      min(runtime.NumCPU(), runtime.GOMAXPROCS(0)) > o.workers,
	}, nil
}

// start sets the worker's goroutine going.
func (w *worker) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running = true
	w.ended = make(chan struct{})
	go w.run()
}

// stop ends the worker's goroutine and waits for it.
func (w *worker) stop() {
	w.do(func() { w.stopping = true })
	w.mu.Lock()
	ended := w.ended
	w.mu.Unlock()
	if ended != nil {
		<-ended
	}
}

// close releases what the worker holds, after stop.
func (w *worker) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.conns.Close(), w.cache.close(), w.files.close(), unix.Close(w.wakeFD))
}

// do runs fn on the worker's goroutine, between two bursts, and returns when it
// has run. fn must be short: frames wait for it.
func (w *worker) do(fn func()) {
	w.mu.Lock()
	if !w.running {
		defer w.mu.Unlock()
		fn()
		return
	}
	done := make(chan struct{})
	w.queue = append(w.queue, func() { fn(); close(done) })
	w.asked.Store(true)
	w.mu.Unlock()
	w.wake()
	<-done
}

// wake ends the worker's sleep.
func (w *worker) wake() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	// The counter of an eventfd cannot overflow here: sleep empties it.
	_, _ = unix.Write(w.wakeFD, one[:])
}

// adopt makes p the plane of the following bursts: connections and counters of
// removed interfaces go, those of new ones begin. One of several workers gets the
// interfaces' allowances, by handle.
func (w *worker) adopt(p *plane, allowances []*conntrack.Allowance) {
	if old := w.plane; old != nil {
		for _, e := range old.enis {
			if e != nil && p.byName[e.name] == nil {
				w.conns.Remove(e.handle)
				w.fragments.Remove(e.handle)
				w.counters[e.handle] = Counters{}
			}
		}
		if p.generation < old.generation { // the number has begun anew
			w.cache.empty()
		}
	}
	for len(w.counters) < len(p.enis) {
		w.counters = append(w.counters, Counters{})
	}
	gone := make(map[*eni]bool)
	w.ready, w.polled, w.wasReady = w.ready[:0], w.polled[:0], w.wasReady[:0]
	w.pollFDs = append(w.pollFDs[:0], unix.PollFd{Fd: int32(w.wakeFD), Events: unix.POLLIN})
	for _, e := range p.enis {
		if e == nil {
			continue
		}
		w.conns.Configure(e.handle, e.limits)
		if allowances != nil {
			w.conns.Share(e.handle, allowances[e.handle])
		}
		if w.index >= e.read {
			continue
		}
		device := e.queues[w.index]
		if old := w.plane.eni(e.name); old != nil && w.index < old.read && old.queues[w.index] == device && w.gone[old] {
			gone[e] = true
			continue
		}
		w.polled = append(w.polled, e)
		w.wasReady = append(w.wasReady, false)
		w.pollFDs = append(w.pollFDs, unix.PollFd{Fd: int32(device.FD()), Events: unix.POLLIN})
	}
	w.gone = gone
	w.plane = p
	w.files.hold(w.devices())
}

// devices returns the devices of the worker's plane that it reads or writes.
func (w *worker) devices() map[port.Device]bool {
	devices := make(map[port.Device]bool)
	for _, e := range w.plane.enis {
		if e != nil && e.read > 0 {
			devices[e.queues[w.index]] = true
		}
	}
	return devices
}

// retire takes a port whose device was removed under us out of the loop. Its place
// stays, with a descriptor that ppoll ignores.
func (w *worker) retire(in *eni) {
	w.gone[in] = true
	w.active.tell()
	for i, e := range w.polled {
		if e == in {
			w.pollFDs[i+1].Fd = -1
		}
	}
}

// contain keeps a panic from costing more than the frame that caused it: the
// frame is counted and kept, and the worker goes on with the next burst.
func (w *worker) contain(in *eni) {
	cause := recover()
	if cause == nil {
		return
	}
	w.panics++
	w.quote = quote{}
	if w.pending {
		w.drop(in, policy.Panic)
	}
	if w.watching != nil {
		w.watching.publish()
	}
	if len(w.failed) < maxFailed {
		w.failed = append(w.failed, FailedFrame{
			Instance: in.name,
			Cause:    fmt.Sprintf("%v\n%s", cause, debug.Stack()),
			Bytes:    bytes.Clone(w.current),
		})
	}
	if b := w.ahead.frame; b != nil {
		w.ahead.frame = nil
		w.alone(in, b)
	}
}

// alone forwards one frame, which in sent, after the burst that had read it.
func (w *worker) alone(in *eni, b []byte) {
	defer w.contain(in)
	if w.watching != nil {
		w.watching.arrive(in, b)
	}
	if out := w.forward(in, b); out != nil {
		w.transmit(in, out, &w.frame)
	}
	if w.watching != nil {
		w.watching.publish()
	}
}

// live reports whether frames can be sent to an interface of the current plane.
func (w *worker) live(e *eni) bool { return e.read > 0 && !w.gone[e] }
