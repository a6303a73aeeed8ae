package main

import (
	"time"

	"vswitch/internal/event"
	vswitch "vswitch/switch"
)

// The rhythm in which a daemon looks at itself while there is traffic. A burst of
// new flows fills what the switch has room for within half a second; what is over
// that is counted, but no longer by flow. To write up the books takes a second for a
// million flows, so the more there is to write the rarer it is done; whoever reads a
// book has it written up before.
const (
	breath       = 50 * time.Millisecond  // between looks after reloads
	pause        = 250 * time.Millisecond // between looks, and between writings at least
	longestPause = 30 * time.Second       // between writings
	pausePerTime = 20                     // times as long as a writing from its beginning to that of the next
)

// watch looks at the daemon when something may have happened, until it has ended.
// A switch that is idle is not looked at, and the path of a frame knows nothing of
// events, books and flow logs.
func (d *daemon) watch() {
	defer close(d.events.ended)
	w := event.NewWatch(d.events.ring)
	var seen vswitch.Incidents // the zero Incidents are those of no switch: the first look is due
	var next time.Time         // when the books may be written up again
	for {
		began := time.Now()
		closes, open := d.flows.Due()
		write := writes(began, next, closes, open)
		seen = d.look(w, seen, began, write)
		at, is := d.due(w)
		if write {
			next = began.Add(pauseAfter(time.Since(began)))
		} else if !is || next.Before(at) {
			at, is = next, true // for what was seen meanwhile
		}
		var due <-chan time.Time
		if is {
			due = time.After(time.Until(at))
		}
		select {
		case <-d.sw.Activity():
			if !d.pause(pause - time.Since(began)) {
				return
			}
		case <-d.lab.Ended():
		case <-d.events.again:
			if !d.breathe(breath - time.Since(began)) {
				return
			}
		case <-due:
		case <-d.ended:
			return
		}
	}
}

// breathe waits until the next look is due while reload follows reload, and reports
// false if the daemon ends.
func (d *daemon) breathe(rest time.Duration) bool {
	if rest <= 0 {
		return true
	}
	select {
	case <-time.After(rest):
	case <-d.ended:
		return false
	}
	return true
}

// due returns when there is something to do although nothing happens: w keeps
// something back until then, or a window of a flow log closes. It reports false if
// there is nothing.
func (d *daemon) due(w *event.Watch) (at time.Time, is bool) {
	at, is = w.Owes()
	if closes, open := d.flows.Due(); open && (!is || closes.Before(at)) {
		return closes, true
	}
	return at, is
}

// writes reports whether the books are to be written up now: when their time has
// come, and when a window of a flow log that is open has to be closed.
func writes(now, next, closes time.Time, open bool) bool {
	return !now.Before(next) || open && !closes.After(now)
}

// pauseAfter returns how long after the beginning of a writing that took so long the
// next one may follow.
func pauseAfter(took time.Duration) time.Duration {
	return min(max(pause, pausePerTime*took), longestPause)
}

// pause waits until the next look is due while there is traffic, and reports false
// if the daemon ends.
func (d *daemon) pause(rest time.Duration) bool {
	if rest <= 0 {
		return true
	}
	select {
	case <-time.After(rest):
	case <-d.lab.Ended():
	case <-d.events.again:
	case <-d.ended:
		return false
	}
	return true
}
