package flowlog

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	vswitch "vswitch/switch"
)

// A Collector keeps all flow logs of a VPC: those of its configuration, in files,
// and one in memory. It is told what the switch has observed, and never waits for
// a disk or a reader. All methods may be called by several goroutines at once.
type Collector struct {
	failed func(name string, err error)

	mu         sync.Mutex            // guards the fields below
	interfaces map[string]*Interface // by the names of their instances
	departed   map[string]*Interface // those that the latest change has removed
	recent     recent
	logs       []*log
	sightings  []sighting    // scratch
	news       chan struct{} // closed and replaced when the log in memory has news
	closed     bool
}

// New returns the Collector of a completed configuration. failed is told, on
// goroutines of their own, when records of the flow log of that name cannot be
// written. It returns an error if a file cannot be opened.
func New(c *vswitch.Config, now time.Time, failed func(name string, err error)) (*Collector, error) {
	k := &Collector{failed: failed, news: make(chan struct{}), recent: newRecent(now)}
	change, err := k.Prepare(c)
	if err != nil {
		return nil, err
	}
	return k, change.Commit(context.Background(), now)
}

// A Change is another configuration that a Collector is about to take over: either
// Commit or Rollback must be called, once, before the next Prepare.
type Change struct {
	k      *Collector
	config *vswitch.Config
	opened map[string]*log // by name: what is new, or is replaced
}

// Prepare opens the files that c asks for besides those that are open. A flow log
// that c changes in any way is another one (SEM 6.1: they are immutable).
func (k *Collector) Prepare(c *vswitch.Config) (*Change, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change := &Change{k, c, make(map[string]*log)}
	for i := range c.FlowLogs {
		spec := &c.FlowLogs[i]
		if k.log(spec) != nil {
			continue
		}
		l, err := openLog(*spec, k.failed)
		if err != nil {
			return nil, errors.Join(err, change.Rollback())
		}
		change.opened[spec.Name] = l
	}
	return change, nil
}

// log returns the log that does what spec asks for, or nil. k.mu is held.
func (k *Collector) log(spec *vswitch.FlowLog) *log {
	for _, l := range k.logs {
		if l.follows(spec) {
			return l
		}
	}
	return nil
}

// Rollback closes what Prepare has opened. Files that it made stay, empty.
func (c *Change) Rollback() error {
	var errs []error
	for _, l := range c.opened {
		l.writer.end()
		errs = append(errs, l.wait(context.Background()))
	}
	return errors.Join(errs...)
}

// Commit takes the configuration over: new windows for what is new, and the last
// records for what is gone: it waits until they are written, or ctx ends. The
// caller has recorded what was observed before.
func (c *Change) Commit(ctx context.Context, now time.Time) error {
	var errs []error
	for _, l := range c.commit(now) {
		errs = append(errs, l.wait(ctx))
	}
	return errors.Join(errs...)
}

// commit is Commit without the wait. It returns the logs that have ended.
func (c *Change) commit(now time.Time) (ended []*log) {
	k := c.k
	k.mu.Lock()
	defer k.mu.Unlock()
	before := k.interfaces
	k.interfaces = interfaces(c.config, before)
	k.departed = make(map[string]*Interface)
	for name, at := range before {
		if k.interfaces[name] == nil {
			k.departed[name] = at
		}
	}
	var logs, kept []*log
	for i := range c.config.FlowLogs {
		spec := &c.config.FlowLogs[i]
		l := c.opened[spec.Name]
		if l == nil {
			l = k.log(spec)
			kept = append(kept, l)
		}
		logs = append(logs, l)
	}
	for _, l := range k.logs {
		if !slices.Contains(kept, l) {
			l.end(now)
			ended = append(ended, l)
		}
	}
	for _, l := range logs {
		if !slices.Contains(kept, l) {
			l.begin(now)
		}
		l.cover(k.interfaces, now)
	}
	k.logs = logs
	return ended
}

// lookup returns the interface of an instance; nil if there is none. k.mu is held.
func (k *Collector) lookup(instance string) *Interface {
	if at := k.interfaces[instance]; at != nil {
		return at
	}
	return k.departed[instance]
}

// Record takes in what the switch has observed since the last time, and closes
// the windows that are over. It is to be called soon after there was traffic, and
// at the time that Due tells.
func (k *Collector) Record(now time.Time, observed []vswitch.Observation) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return
	}
	k.sightings = k.sightings[:0]
	for i := range observed {
		k.sightings = k.sight(k.sightings, &observed[i])
	}
	if k.recent.record(now, k.sightings) {
		close(k.news)
		k.news = make(chan struct{})
	}
	for _, l := range k.logs {
		l.record(now, k.sightings)
	}
}

// Due returns when the next window ends that has something to tell: each one of a
// flow log, which tells of silence too, and that of the log in memory if there is a
// record in it. It reports false if there is none.
func (k *Collector) Due() (at time.Time, due bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return at, false
	}
	if w := &k.recent.window; len(w.flows)+len(w.skipped) > 0 {
		at, due = w.end, true
	}
	for _, l := range k.logs {
		if !due || l.window.end.Before(at) {
			at, due = l.window.end, true
		}
	}
	return at, due
}

// Flows looks into the log in memory. With q.Follow it waits for something to tell,
// until ctx ends or the Collector is closed; the reply may then be empty.
func (k *Collector) Flows(ctx context.Context, q Query) Reply {
	for {
		k.mu.Lock()
		reply, news, closed := k.recent.find(&q), k.news, k.closed
		k.mu.Unlock()
		if !q.Follow || closed || len(reply.Records) > 0 || reply.Missed {
			return reply
		}
		select {
		case <-news:
		case <-ctx.Done():
			return reply
		}
	}
}

// Figures are those of one flow log since it began.
type Figures struct {
	Name    string
	File    string
	Written uint64 // records
	Lost    uint64 // records for which there was no room, or that could not be written; at least so many
	Error   error  // why the latest window could not be written whole; nil if it was
}

// Figures returns those of all flow logs, in the order of the configuration, and
// how many records the log in memory had no room for.
func (k *Collector) Figures() (logs []Figures, lost uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, l := range k.logs {
		f := Figures{Name: l.spec.Name, File: l.spec.File}
		f.Written, f.Lost, f.Error = l.writer.figures()
		f.Lost += l.lost + l.window.lost
		logs = append(logs, f)
	}
	return logs, k.recent.lost + k.recent.window.lost
}

// Close closes all windows and files, and wakes those who wait for flows. It
// waits for the last records until ctx ends.
func (k *Collector) Close(ctx context.Context, now time.Time) error {
	var errs []error
	for _, l := range k.close(now) {
		errs = append(errs, l.wait(ctx))
	}
	return errors.Join(errs...)
}

// close is Close without the wait. It returns the logs that have ended.
func (k *Collector) close(now time.Time) []*log {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil
	}
	k.closed = true
	close(k.news)
	for _, l := range k.logs {
		l.end(now)
	}
	return k.logs
}
