package vswitch

// Incidents are counts of what an operator is told about. They are cheap to ask
// for, and two that are equal mean that nothing of it happened in between: Status
// then has nothing new to say but for what was forwarded and dropped by the rules.
type Incidents struct {
	Generation uint32 // of the configuration that is in force
	Panics     uint64 // frames whose handling failed inside the switch
	Down       int    // ports without a device that works
	Exceeded   uint64 // new flows refused because an allowance was used up
}

// Incidents returns what has happened up to now.
func (s *Switch) Incidents() Incidents {
	var seen Incidents
	down := map[uint32]bool{} // by handle
	for _, w := range s.workers {
		w.do(func() {
			if s.closed.Load() {
				return // the connections are gone, and the memory they were in
			}
			seen.Generation = w.plane.generation
			seen.Panics += w.panics
			for _, e := range w.plane.enis {
				if e == nil {
					continue
				}
				seen.Exceeded += w.conns.Usage(e.handle).Exceeded
				if !w.live(e) {
					down[e.handle] = true
				}
			}
		})
	}
	seen.Down = len(down)
	return seen
}
