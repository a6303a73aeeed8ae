package flowlog

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"time"

	vswitch "vswitch/switch"
)

// A log is one configured flow log: a window that is filling, and a writer. It has
// one user at a time, the Collector.
type log struct {
	spec   vswitch.FlowLog
	window window
	writer *writer
	scope  map[*Interface]time.Time // the interfaces that it is about, and since when
	lost   uint64                   // records that neither the window nor the writer had room for
}

// openLog opens the file of a flow log. failed is told, on another goroutine, when
// records cannot be written.
func openLog(spec vswitch.FlowLog, failed func(name string, err error)) (*log, error) {
	format, err := NewFormat(spec.Format)
	if err != nil {
		return nil, fmt.Errorf("flow_log %s: %w", spec.Name, err)
	}
	path, err := filepath.Abs(spec.File)
	if err != nil {
		return nil, fmt.Errorf("flow_log %s: %w", spec.Name, err)
	}
	f := &file{path: path, limit: int64(spec.RotateSize) << 20, keep: spec.Keep}
	if spec.Header {
		f.header = format.Header() + "\n"
	}
	if err := f.open(); err != nil {
		return nil, fmt.Errorf("flow_log %s: %w", spec.Name, err)
	}
	l := &log{spec: spec, scope: make(map[*Interface]time.Time)}
	l.writer = newWriter(f, format, func(err error) { failed(spec.Name, err) })
	return l, nil
}

// begin opens the first window.
func (l *log) begin(now time.Time) { l.window = newWindow(now, l.spec.Interval, maxFlows) }

// follows reports whether l does what spec asks for. Where that is written does
// not matter.
func (l *log) follows(spec *vswitch.FlowLog) bool {
	same := *spec
	same.Origin = l.spec.Origin
	return reflect.DeepEqual(same, l.spec)
}

// cover makes the log be about the interfaces of its scope among all.
func (l *log) cover(all map[string]*Interface, now time.Time) {
	scope := make(map[*Interface]time.Time, len(all))
	for _, at := range all {
		if l.covers(at) {
			since, known := l.scope[at]
			if !known {
				since = now
			}
			scope[at] = since
		}
	}
	l.scope = scope
}

// covers reports whether an interface is in the log's scope.
func (l *log) covers(at *Interface) bool {
	for _, name := range l.spec.Scope {
		if name == vswitch.ScopeVPC || name == at.Subnet || name == at.Instance {
			return true
		}
	}
	return false
}

// record counts sightings, and closes the window when it is time.
func (l *log) record(now time.Time, all []sighting) {
	l.window.take(now, all, l.count, func() {
		l.close(now)
		l.window = nextWindow(&l.window, now, l.spec.Interval)
	})
}

// count counts one sighting, if it is one of an interface in scope.
func (l *log) count(s *sighting) {
	if !l.covers(s.at) {
		return
	}
	if l.spec.Traffic == vswitch.TrafficAccept && s.action != Accept || l.spec.Traffic == vswitch.TrafficReject && s.action != Reject {
		l.window.busy[s.at] = true
		return
	}
	l.window.add(s)
}

// close hands the records of the window to the writer. What that has no room for
// is lost, and told in the next window.
func (l *log) close(now time.Time) {
	l.lost += l.window.lost
	records := l.window.close(now, l.scope)
	l.window.skipped = make(map[*Interface]span)
	if len(records) == 0 || l.writer.offer(records) {
		return
	}
	for i := range records {
		r := &records[i]
		if r.Status == OK {
			l.lost++
		}
		l.window.skip(r.Interface, span{r.Start, r.End})
	}
}

// nextWindow returns the window that follows w and holds now. It takes over what w
// still has to say about records that were lost.
func nextWindow(w *window, now time.Time, interval time.Duration) window {
	next := newWindow(now.Truncate(interval), interval, w.limit)
	next.skipped = w.skipped
	return next
}

// end closes the last window. Nothing may be recorded after it.
func (l *log) end(now time.Time) {
	l.close(now)
	l.writer.end()
}

// wait waits until all of the log is in its file, or ctx ends.
func (l *log) wait(ctx context.Context) error {
	select {
	case <-l.writer.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("flow_log %s: %s is not written to its end: %w", l.spec.Name, l.spec.File, context.Cause(ctx))
	}
}
