package main

import (
	"time"

	"vswitch/internal/event"
	vswitch "vswitch/switch"
)

// The rhythm in which a daemon looks at itself while there is traffic. A burst of
// new flows fills what the switch has room for within half a second; what is over
// that is counted, but no longer by flow.
const (
	shortestPause = 250 * time.Millisecond
	longestPause  = 5 * time.Second
	pausePerLook  = 20 // times as long as the look at its beginning, but for the limits
)

// watch looks at the daemon when something may have happened, until it has ended.
// A switch that is idle is not looked at, and the path of a frame knows nothing of
// events, books and flow logs.
func (d *daemon) watch() {
	defer close(d.events.ended)
	w := event.NewWatch(d.events.ring)
	var seen vswitch.Incidents // the zero Incidents are those of no switch: the first look is due
	for {
		began := time.Now()
		seen = d.look(w, seen, began)
		pause := pauseAfter(time.Since(began))
		var due <-chan time.Time
		if at, is := d.due(w); is {
			due = time.After(time.Until(at))
		}
		select {
		case <-d.sw.Activity():
			if !d.pause(pause - time.Since(began)) {
				return
			}
		case <-d.lab.Ended():
		case <-d.events.again:
		case <-due:
		case <-d.ended:
			return
		}
	}
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

// pauseAfter returns how long after the beginning of a look that took so long the
// next one may follow.
func pauseAfter(took time.Duration) time.Duration {
	return min(max(shortestPause, pausePerLook*took), longestPause)
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
