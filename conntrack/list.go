package conntrack

import (
	"time"

	"vswitch/internal/wire"
)

// A Conn is a connection as it is listed.
type Conn struct {
	Tuple wire.FiveTuple // as its opener sees it
	State State
	Left  time.Duration // until it idles out, to the second
	ENI   uint32        // handle of the interface at which it lives
}

// slotsPerList bounds how long one call of List keeps the Tracker's owner from
// forwarding frames.
const slotsPerList = 1 << 14

// List copies connections of an interface into out, which must have room: those
// behind the place after, which is 0 at first. It returns how many it copied,
// perhaps none, and the place to go on from, which is 0 when there are no more.
func (t *Tracker) List(eni, after uint32, out []Conn, now int64) (n int, next uint32) {
	return t.list(after, out, now, func(r *record) bool { return uint32(r.eni) == eni })
}

// ListAll is List for all interfaces together.
func (t *Tracker) ListAll(after uint32, out []Conn, now int64) (n int, next uint32) {
	return t.list(after, out, now, func(*record) bool { return true })
}

func (t *Tracker) list(after uint32, out []Conn, now int64, wanted func(*record) bool) (n int, next uint32) {
	end := min(t.fresh, after+1+slotsPerList)
	for slot := after + 1; slot < end; slot++ {
		r := &t.records[slot]
		if r.state == stateFree || !wanted(r) || r.gone(now) {
			continue
		}
		if n == len(out) {
			return n, slot - 1
		}
		left := time.Duration(r.expires-ticks(now))<<tickShift - time.Duration(now&(1<<tickShift-1))
		out[n] = Conn{Tuple: t.tuple(slot), State: r.state, Left: left.Truncate(time.Second), ENI: uint32(r.eni)}
		n++
	}
	if end < t.fresh {
		return n, end - 1
	}
	return n, 0
}
