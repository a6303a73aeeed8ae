package classify

import "vswitch/internal/policy"

// Services is a compiled list of services: it finds the first one that a packet
// belongs to, wherever the packet comes from. The zero Services holds none. It
// is immutable, so any number of goroutines may use it.
type Services struct {
	intervals intervals
}

// CompileServices compiles the list. A service that no packet can belong to
// (ports upside down, a type above 255) is never found.
func CompileServices(list []policy.Service) Services {
	var p painter
	for i, s := range list {
		p.add(s, int32(i))
	}
	segments := p.paint(nil)
	return Services{newIntervals(segments, make([]uint32, indexSize(segments)))}
}

// First returns the index of the first service that the packet belongs to, or
// -1. It does not look at the packet's Remote.
func (s *Services) First(p *Packet) int {
	if len(s.intervals.segments) == 0 {
		return -1 // the zero Services
	}
	if r := s.intervals.first(p.key()); r != none {
		return int(r)
	}
	return -1
}
