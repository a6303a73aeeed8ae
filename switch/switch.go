package vswitch

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"vswitch/conntrack"
	"vswitch/port"
)

// A Switch runs one VPC on any ports. New makes one; Attach gives the instances
// their devices; Start sets the worker going. All methods may be called by
// several goroutines at once, Step excepted.
type Switch struct {
	plane   atomic.Pointer[plane] // what is running, for readers; each worker holds its own copy
	workers []*worker

	epoch     time.Time  // when the workers' time was 0
	observing sync.Mutex // guards the two fields below; nil before the first call of Observations
	records   []flowRecord
	observed  []Observation

	mu         sync.Mutex // serialises Apply, Attach, Detach, Start and Close; guards the fields below
	started    bool
	closed     atomic.Bool            // written under mu
	allowances []*conntrack.Allowance // by handle, each made once; nil if there is one worker
	watches    []*Watch               // that were not closed
}

// ErrClosed is returned by the methods of a Switch after Close.
var ErrClosed = errors.New("the switch is closed")

// An Option changes how a Switch runs, not what it enforces.
type Option func(*options)

type options struct {
	now       func() int64
	cacheSize int
	capacity  int
	workers   int
	devices   map[string][]port.Device
	active    activity // what all workers tell
}

// Defaults of the options.
const (
	defaultCacheSize = 3 << 19 // flows; each takes 132 bytes of the cache
	defaultCapacity  = 1 << 22 // tracked connections of all ports; pages that were never used cost nothing
)

// WithClock makes the switch read the time from now: nanoseconds that never go
// back, as the tests of timeouts need it. Without it, the monotonic clock counts.
func WithClock(now func() int64) Option { return func(o *options) { o.now = now } }

// WithFlowCache sets the number of flows to which the flow cache of a worker may
// grow; 0 turns the cache off, which changes no verdict.
func WithFlowCache(entries int) Option { return func(o *options) { o.cacheSize = entries } }

// WithCapacity sets how many tracked connections all ports together may hold.
func WithCapacity(connections int) Option { return func(o *options) { o.capacity = connections } }

// MaxWorkers is the largest number of workers.
const MaxWorkers = 16

// WithWorkers sets how many workers, which are threads, share the traffic, 1 to
// MaxWorkers. It is divided among them by the addresses of packets, and so are the
// flow cache and the capacity. One worker is the default, and the best on a machine
// that has no processors to spare: see ARCHITECTURE.md.
func WithWorkers(n int) Option { return func(o *options) { o.workers = n } }

// WithDevices gives the instances their devices from the start, by name, as
// Attach does one by one. If New fails, they are the caller's.
func WithDevices(d map[string][]port.Device) Option { return func(o *options) { o.devices = d } }

// New returns a Switch that enforces c. Frames to an instance that has no device
// are dropped as PORT_DOWN until Attach. It completes c as Complete
// does, and returns *InvalidError for a configuration with mistakes.
func New(c Config, opts ...Option) (*Switch, error) {
	o := options{cacheSize: defaultCacheSize, capacity: defaultCapacity, workers: 1, active: newActivity()}
	for _, opt := range opts {
		opt(&o)
	}
	if o.now == nil {
		start := time.Now()
		o.now = func() int64 { return int64(time.Since(start)) }
	}
	full, err := Complete(c, nil)
	if err != nil {
		return nil, err
	}
	if o.workers < 1 || o.workers > MaxWorkers {
		return nil, fmt.Errorf("%d workers: want 1 to %d", o.workers, MaxWorkers)
	}
	s := &Switch{epoch: time.Now().Add(-time.Duration(o.now()))}
	if s.workers, err = newCrew(o); err != nil {
		return nil, err
	}
	if err := s.checkQueues(o.devices); err != nil {
		return nil, errors.Join(err, s.closeWorkers())
	}
	p := s.compile(full, nil, o.devices)
	s.plane.Store(p)
	s.adopt(p)
	return s, nil
}

// Start sets the workers going. From then on the Switch forwards until Close.
func (s *Switch) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return ErrClosed
	}
	if !s.started {
		s.started = true
		for _, w := range s.workers {
			w.start()
		}
	}
	return nil
}

// Close stops forwarding and closes all devices. It returns after the workers
// have ended. What they had handed over to each other is forwarded before.
func (s *Switch) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return nil
	}
	s.closed.Store(true)
	for _, w := range s.workers {
		w.stop()
	}
	s.forwardHandedOver()
	for _, x := range s.watches {
		close(x.ended)
	}
	s.watches = nil
	return errors.Join(closeDevices(s.plane.Load(), nil), s.closeWorkers())
}

// closeWorkers gives back what the workers hold, none of which runs.
func (s *Switch) closeWorkers() error {
	var errs []error
	for _, w := range s.workers {
		errs = append(errs, w.close())
	}
	return errors.Join(errs...)
}

// Step forwards all frames that wait, in the caller's goroutine, and returns how
// many it took in. It is for programs and tests that drive a Switch themselves:
// it must not be called after Start.
func (s *Switch) Step() (frames int) {
	if len(s.workers) > 1 {
		for _, w := range s.workers {
			w.expire()
		}
	}
	for moved := 1; moved > 0; {
		moved = 0
		for _, w := range s.workers {
			read, taken := w.step()
			frames += read
			moved += read + taken
		}
	}
	for _, w := range s.workers {
		w.rest()
	}
	return frames
}

// Config returns the configuration that is running, completed.
func (s *Switch) Config() Config { return s.plane.Load().config }

// Generation returns how many configurations have been published so far, from 1.
func (s *Switch) Generation() uint32 { return s.plane.Load().generation }
