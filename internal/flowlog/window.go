package flowlog

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// maxFlows bounds the records of one window, in each log: about 20 MB. What finds
// no place is told by a SKIPDATA record of its interface.
const maxFlows = 1 << 16

// A flowKey is what makes two packets of a window part of one record (SEM 6.1).
type flowKey struct {
	at        *Interface
	tuple     wire.FiveTuple
	direction policy.Direction
	action    Action
}

// A span is a part of time.
type span struct{ start, end time.Time }

// join returns the shortest span that holds both.
func (s span) join(t span) span {
	if t.start.Before(s.start) {
		s.start = t.start
	}
	if t.end.After(s.end) {
		s.end = t.end
	}
	return s
}

// A window is one aggregation interval of one log. Windows begin and end at whole
// multiples of their interval in UTC, but for the first and the last of a log.
type window struct {
	span
	limit   int
	flows   map[flowKey]*Record
	busy    map[*Interface]bool // with traffic, of either action
	skipped map[*Interface]span // for which records were lost, and of when
	lost    uint64              // records that found no place, at least
}

// newWindow returns the window of an interval that holds now, and begins now.
func newWindow(now time.Time, interval time.Duration, limit int) window {
	return window{
		span:  span{now, now.Truncate(interval).Add(interval)},
		limit: limit,
		flows: make(map[flowKey]*Record), busy: make(map[*Interface]bool), skipped: make(map[*Interface]span),
	}
}

// past reports whether the window no longer holds now, which may also have been
// put back before its beginning.
func (w *window) past(now time.Time) bool { return !now.Before(w.end) || now.Before(w.start) }

// take has all sightings counted in the windows that they belong to. If the window
// is past, turn puts the next one in its place when those of this one are counted.
func (w *window) take(now time.Time, all []sighting, count func(*sighting), turn func()) {
	end, past := w.end, w.past(now)
	for i := range all {
		if s := &all[i]; s.first.Before(end) || !past {
			count(s)
		}
	}
	if !past {
		return
	}
	turn()
	for i := range all {
		if s := &all[i]; !s.first.Before(end) {
			count(s)
		}
	}
}

// add counts a sighting. It returns the record if that is new.
func (w *window) add(s *sighting) *Record {
	if s.many {
		w.lose(s)
		return nil
	}
	key := flowKey{s.at, s.tuple, s.direction, s.action}
	r := w.flows[key]
	fresh := r == nil
	if fresh {
		if len(w.flows) >= w.limit {
			w.lose(s)
			return nil
		}
		r = &Record{Interface: s.at, Direction: s.direction, Action: s.action, Tuple: s.tuple}
		w.flows[key] = r
		w.busy[s.at] = true
	}
	if s.first.Before(w.start) { // taken in before the window began, and collected after
		late := *s
		late.first, late.last = w.start, laterOf(s.last, w.start)
		s = &late
	}
	r.add(s)
	if fresh {
		return r
	}
	return nil
}

// lose counts a sighting for which there is no record.
func (w *window) lose(s *sighting) {
	w.busy[s.at] = true
	w.skip(s.at, span{w.start, w.lastSecond()})
	w.lost++
}

// skip notes that records of an interface were lost.
func (w *window) skip(at *Interface, of span) {
	if before, ok := w.skipped[at]; ok {
		of = before.join(of)
	}
	w.skipped[at] = of
}

// lastSecond returns the last second that belongs to the window.
func (w *window) lastSecond() time.Time { return w.end.Add(-time.Second) }

// close returns the records of the window: by interface and time, behind them a
// SKIPDATA for each interface of which records were lost, and a NODATA for each of
// those in scope that had no traffic. scope tells since when each is in it.
func (w *window) close(now time.Time, scope map[*Interface]time.Time) []Record {
	end := w.lastSecond()
	if now.Before(end) && !now.Before(w.start) {
		end = now
	}
	all := make([]Record, 0, len(w.flows)+len(w.skipped))
	for _, r := range w.flows {
		all = append(all, *r)
	}
	for at, of := range w.skipped {
		all = append(all, Record{Interface: at, Status: SkipData, Start: of.start, End: of.end})
	}
	for at, since := range scope {
		of, skipped := w.skipped[at]
		if w.busy[at] || skipped && !of.start.Before(w.start) || now.Equal(w.start) {
			continue
		}
		start := laterOf(w.start, since)
		all = append(all, Record{Interface: at, Status: NoData, Start: start, End: laterOf(start, end)})
	}
	slices.SortFunc(all, compare)
	return all
}

// compare orders records by what they stand for, time, interface and flow.
func compare(a, b Record) int {
	return cmp.Or(
		cmp.Compare(a.Status, b.Status),
		a.Start.Compare(b.Start),
		strings.Compare(a.Interface.Instance, b.Interface.Instance),
		slices.Compare(a.Tuple.Src[:], b.Tuple.Src[:]),
		slices.Compare(a.Tuple.Dst[:], b.Tuple.Dst[:]),
		cmp.Compare(a.Tuple.Protocol, b.Tuple.Protocol),
		cmp.Compare(a.Tuple.SrcPort, b.Tuple.SrcPort),
		cmp.Compare(a.Tuple.DstPort, b.Tuple.DstPort),
		cmp.Compare(b.Direction, a.Direction),
		cmp.Compare(a.Action, b.Action),
	)
}

func laterOf(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
