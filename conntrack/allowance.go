package conntrack

import "sync/atomic"

// An Allowance counts the connections that one network interface has in all the
// Trackers that serve it, where there are several: SEM 2.5 knows one number for
// the interface. All its methods may be called by several goroutines at once. The
// zero Allowance counts none.
type Allowance struct{ used atomic.Int64 }

// take uses one of max, and reports false if all are used.
func (a *Allowance) take(max int) bool {
	if a.used.Add(1) <= int64(max) {
		return true
	}
	a.used.Add(-1)
	return false
}

// give returns one that was taken.
func (a *Allowance) give() { a.used.Add(-1) }

// Share makes the connections of an interface count together with those that
// other Trackers have of it. It must be called while there are none; Remove ends
// it. What has idled out counts until the Tracker that has it sweeps it.
func (t *Tracker) Share(eni uint32, a *Allowance) {
	if n := t.configured(eni); n != nil {
		n.shared = a
	}
}

// admit reports whether the interface may have one connection more, and counts it
// among the shared ones.
func (n *interfaceState) admit() bool {
	if n.shared != nil {
		return n.shared.take(n.limits.Max)
	}
	return n.count < n.limits.Max
}

// dismiss takes back what admit has counted.
func (n *interfaceState) dismiss() {
	if n.shared != nil {
		n.shared.give()
	}
}
