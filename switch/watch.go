package vswitch

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"vswitch/internal/policy"
)

// Bounds of what captures may cost.
const (
	maxWatches  = 4
	watchMemory = 8 << 20 // bytes for each Watch; 6 ms at 10 Gbit/s
	ringMemory  = 1 << 20 // bytes for each Watch and worker at least: some of the longest frames
	keptPlanes  = 8       // configurations that a reader may be behind
)

// ErrWatches is returned by Watch when there are too many already.
var ErrWatches = fmt.Errorf("%d captures run already", maxWatches)

// WatchOptions say which frames a Watch shows.
type WatchOptions struct {
	// Instances are the names of the instances whose ports are watched; none means
	// all, those that a reload adds included.
	Instances []string

	// Match chooses among the frames of these ports; nil takes all. It is called by
	// the worker for each frame, so it must be quick, must not allocate, and must be
	// safe for several goroutines. frame begins with the Ethernet header and holds at
	// least all headers of the packet, if it has them; length is that of the whole
	// frame in bytes.
	Match func(frame []byte, length int) bool

	Snap    int  // bytes of a frame that are kept, from its Ethernet header on; 0 means all
	Dropped bool // only frames that the switch dropped
	Memory  int  // bytes for frames that wait to be read, for each worker; 0 means 8 MiB for all, and 1 MiB for each at least. Frames longer than half of it may all be lost
}

// A Watch shows copies of the frames that pass some ports. It holds nothing up:
// what is not read in time is lost, and counted. Its methods may be called by
// several goroutines at once, but Read by one at a time.
type Watch struct {
	sw      *Switch
	options WatchOptions
	rings   []*sightRing // by worker
	crowded chan struct{}
	ended   chan struct{}
	wall    int64 // the time of day minus the workers' time, in nanoseconds

	mu     sync.Mutex // guards the fields below
	ports  []WatchedPort
	index  map[uint32]uint32 // into ports, by handle
	planes []*plane          // the latest ones, oldest first
}

// A WatchedPort is one port of a Watch. It stays one of the Watch's when its
// instance is removed.
type WatchedPort struct {
	Interface Interface
	lost      *atomic.Uint64
}

// Lost returns how many of the port's frames were not read in time.
func (p *WatchedPort) Lost() uint64 { return p.lost.Load() }

// Watch begins to copy frames. It returns ErrWatches if there are too many, and
// ErrClosed after Close. The caller must Close the Watch.
func (s *Switch) Watch(o WatchOptions) (*Watch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return nil, ErrClosed
	}
	if len(s.watches) == maxWatches {
		return nil, ErrWatches
	}
	p := s.plane.Load()
	for _, name := range o.Instances {
		if p.byName[name] == nil {
			return nil, fmt.Errorf("instance %s: not in the configuration", name)
		}
	}
	if o.Memory == 0 {
		o.Memory = max(watchMemory/len(s.workers), ringMemory)
	}
	x := &Watch{
		sw:      s,
		options: o,
		crowded: make(chan struct{}, 1),
		ended:   make(chan struct{}),
		index:   make(map[uint32]uint32),
	}
	x.options.Instances = slices.Clone(o.Instances)
	for range s.workers {
		x.rings = append(x.rings, newSightRing(o.Memory&^7, x.crowded))
	}
	x.adopt(p)
	s.watches = append(s.watches, x)
	x.wall = time.Now().UnixNano() - s.workers[0].clock()
	s.distribute(p)
	return x, nil
}

// Close ends the copying. What was copied before can still be read. Closing the
// Switch does the same.
func (x *Watch) Close() {
	s := x.sw
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.watches, x); i >= 0 {
		s.watches = slices.Delete(s.watches, i, i+1)
		s.distribute(s.plane.Load())
		close(x.ended)
	}
}

// Crowded receives a token when frames should be read soon. Frames that come
// slowly cause none: they are to be read from time to time.
func (x *Watch) Crowded() <-chan struct{} { return x.crowded }

// Done is closed when the Watch has ended: no more frames come.
func (x *Watch) Done() <-chan struct{} { return x.ended }

// Ports returns the ports that were watched so far. Those that it has returned
// once keep their places.
func (x *Watch) Ports() []WatchedPort {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.ports)
}

// adopt makes the interfaces of p that are to be watched ports of x.
func (x *Watch) adopt(p *plane) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.planes) == keptPlanes {
		x.planes = slices.Delete(x.planes, 0, 1)
	}
	x.planes = append(x.planes, p)
	// In the order of the configuration, which is that of status.
	for i := range p.config.Instances {
		e := p.byName[p.config.Instances[i].Name]
		if len(x.options.Instances) > 0 && !slices.Contains(x.options.Instances, e.name) {
			continue
		}
		if _, known := x.index[e.handle]; !known {
			x.index[e.handle] = uint32(len(x.ports))
			x.ports = append(x.ports, WatchedPort{e.iface, &atomic.Uint64{}})
		}
	}
}

// planeOf returns the plane of a generation; nil if x is too far behind to have it.
func (x *Watch) planeOf(generation uint32) *plane {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range x.planes {
		if p.generation == generation {
			return p
		}
	}
	return nil
}

// A WatchedFrame is a copy of one frame as a port saw it.
type WatchedFrame struct {
	Port int // index into Watch.Ports
	// Sent tells the frames that were written to the port from those that were read
	// from it. What is written is watched once the device has taken it.
	Sent bool
	Held bool // a fragment that waits for the rest of its datagram
	Time time.Time
	// Bytes are the virtio_net_hdr and the frame, cut to the snap length: of a frame
	// read from the port just as it came. They may be changed, and are valid until
	// the function returns that was given them.
	Bytes  []byte
	Length int // of the frame from its Ethernet header on, before it was cut, in bytes

	// Reason says why the frame was dropped; None if it was not. Only what was read
	// from a port is dropped.
	Reason policy.Reason
	Denial *Denial // what denied it; nil unless Reason is that of a security group or a network ACL
}

// Read calls each with the frames that wait, oldest first, until none waits or
// each returns an error, which it returns. The frame at which each has failed is
// not read again.
func (x *Watch) Read(each func(*WatchedFrame) error) error {
	for {
		var first *sightRing
		var s sight
		var b []byte
		for _, r := range x.rings {
			if t, c, ok := r.front(); ok && (first == nil || t.stamp < s.stamp) {
				first, s, b = r, t, c
			}
		}
		if first == nil {
			return nil
		}
		f := WatchedFrame{
			Port: int(s.port), Sent: s.flags&sightSent != 0, Held: s.flags&sightHeld != 0,
			Time: time.Unix(0, x.wall+s.stamp), Bytes: b, Length: int(s.length), Reason: s.reason,
		}
		if p := x.planeOf(s.plane); p != nil && s.reason != policy.None {
			f.Denial = p.denial(s.reason, s.gate, s.rule)
		}
		err := each(&f)
		first.pop(&s)
		if err != nil {
			return err
		}
	}
}

// distribute tells the workers what to copy from now on. s.mu is held.
func (s *Switch) distribute(p *plane) {
	for _, w := range s.workers {
		views := s.views(p, w)
		w.do(func() { w.watching = views })
	}
}

// views returns what a worker has to copy for whom; nil for nothing. s.mu is held.
func (s *Switch) views(p *plane, w *worker) *watching {
	if len(s.watches) == 0 {
		return nil
	}
	g := &watching{clock: w.clock, views: make([][]view, len(p.enis))}
	for _, x := range s.watches {
		g.rings = append(g.rings, x.rings[w.index])
		for handle, port := range x.index {
			if int(handle) < len(p.enis) && p.enis[handle] != nil {
				g.views[handle] = append(g.views[handle], view{
					ring: x.rings[w.index], port: port, match: x.options.Match, snap: x.options.Snap, dropped: x.options.Dropped, lost: x.ports[port].lost,
				})
			}
		}
	}
	return g
}
