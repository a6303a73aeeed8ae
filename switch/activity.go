package vswitch

// An activity tells a listener that the switch does something. Telling costs some
// tens of nanoseconds and never waits.
type activity chan struct{}

func newActivity() activity { return make(activity, 1) }

// tell gives the listener a value, unless the last one has not been taken yet.
func (a activity) tell() {
	select {
	case a <- struct{}{}:
	default:
	}
}

// Activity returns a channel, for one receiver, that gets a value when frames came
// in or a device vanished: at most 20 times a second, and within a second. As long
// as it gets none, Incidents do not change but by Apply, Attach and Detach, nor do the
// counters of Status but for fragments that time out; so whoever follows them need
// not look at a switch that is idle.
func (s *Switch) Activity() <-chan struct{} { return s.workers[0].active }
