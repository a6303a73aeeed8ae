package vswitch

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"vswitch/port"
)

// A Switch runs one VPC on any ports. New makes one; Attach gives the instances
// their devices; Start sets the worker going. All methods may be called by
// several goroutines at once, Step excepted.
type Switch struct {
	plane  atomic.Pointer[plane] // what is running, for readers; a worker holds its own copy
	worker *worker

	epoch     time.Time    // when the workers' time was 0
	observing sync.Mutex   // guards records
	records   []flowRecord // what Observations reads into; nil before the first call

	mu      sync.Mutex // serialises Apply, Attach, Detach, Start and Close; guards the fields below
	started bool
	closed  atomic.Bool // written under mu
	watches []*Watch    // that were not closed
}

// ErrClosed is returned by the methods of a Switch after Close.
var ErrClosed = errors.New("the switch is closed")

// An Option changes how a Switch runs, not what it enforces.
type Option func(*options)

type options struct {
	now       func() int64
	cacheSize int
	capacity  int
	devices   map[string]port.Device
}

// Defaults of the options.
const (
	defaultCacheSize = 1 << 21 // flows; a cache entry takes 64 bytes
	defaultCapacity  = 1 << 22 // tracked connections of all ports; pages that were never used cost nothing
)

// WithClock makes the switch read the time from now: nanoseconds that never go
// back, as the tests of timeouts need it. Without it, the monotonic clock counts.
func WithClock(now func() int64) Option { return func(o *options) { o.now = now } }

// WithFlowCache sets the number of flows to which the flow cache of a worker may
// grow, rounded up to a power of two; 0 turns the cache off, which changes no
// verdict.
func WithFlowCache(entries int) Option { return func(o *options) { o.cacheSize = entries } }

// WithCapacity sets how many tracked connections all ports together may hold.
func WithCapacity(connections int) Option { return func(o *options) { o.capacity = connections } }

// WithDevices gives the instances their devices from the start, by name, as
// Attach does one by one. If New fails, they are the caller's.
func WithDevices(d map[string]port.Device) Option { return func(o *options) { o.devices = d } }

// New returns a Switch that enforces c. Frames to an instance that has no device
// are dropped as PORT_DOWN until Attach. It completes c as Complete
// does, and returns *InvalidError for a configuration with mistakes.
func New(c Config, opts ...Option) (*Switch, error) {
	o := options{cacheSize: defaultCacheSize, capacity: defaultCapacity}
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
	s := &Switch{epoch: time.Now().Add(-time.Duration(o.now()))}
	w, err := newWorker(o)
	if err != nil {
		return nil, err
	}
	s.worker = w
	p := compile(full, nil, o.devices)
	s.plane.Store(p)
	w.adopt(p)
	return s, nil
}

// Start sets the worker going. From then on the Switch forwards until Close.
func (s *Switch) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return ErrClosed
	}
	if !s.started {
		s.started = true
		s.worker.start()
	}
	return nil
}

// Close stops forwarding and closes all devices. It returns after the worker
// has ended.
func (s *Switch) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return nil
	}
	s.closed.Store(true)
	s.worker.stop()
	for _, x := range s.watches {
		close(x.ended)
	}
	s.watches = nil
	var errs []error
	for _, e := range s.plane.Load().enis {
		if e != nil && e.device != nil {
			if err := e.device.Close(); err != nil {
				errs = append(errs, fmt.Errorf("port of %s: %w", e.name, err))
			}
		}
	}
	errs = append(errs, s.worker.close())
	return errors.Join(errs...)
}

// Step forwards all frames that wait, in the caller's goroutine, and returns how
// many it took in. It is for programs and tests that drive a Switch themselves:
// it must not be called after Start.
func (s *Switch) Step() int { return s.worker.drain() }

// Config returns the configuration that is running, completed.
func (s *Switch) Config() Config { return s.plane.Load().config }
