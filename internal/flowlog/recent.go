package flowlog

import (
	"cmp"
	"slices"
	"time"

	vswitch "vswitch/switch"
)

// maxClosed is how many records of closed windows are kept in memory: about 20 MB.
// The fullest window fits.
const maxClosed = maxFlows

// recent is the log in memory: of all interfaces and both actions, in windows of
// 60 s, whether there are flow logs or not. It has no NODATA records: silence is
// not worth the room. It has one user at a time, the Collector.
type recent struct {
	window window
	closed []Record // a ring once it is full: the oldest is at first
	first  int
	limit  int // of closed
	last   uint64
	gone   uint64 // the highest closed of the records that were overwritten
	lost   uint64 // records that found no place in their window
}

func newRecent(now time.Time) recent {
	return recent{window: newWindow(now, vswitch.ShortInterval, maxFlows), limit: maxClosed}
}

// record counts sightings, and closes the window when it is time. It reports
// whether there is something to tell those who follow.
func (m *recent) record(now time.Time, all []sighting) (news bool) {
	before := m.last
	m.window.take(now, all, m.count, func() {
		m.close(now)
		m.window = nextWindow(&m.window, now, vswitch.ShortInterval)
	})
	return m.last != before
}

func (m *recent) count(s *sighting) {
	if r := m.window.add(s); r != nil {
		m.last++
		r.opened = m.last
	}
}

// close moves the records of the window to those that are closed.
func (m *recent) close(now time.Time) {
	m.lost += m.window.lost
	records := m.window.close(now, nil)
	m.window.skipped = make(map[*Interface]span)
	for i := range records {
		m.last++
		records[i].closed = m.last
		if len(m.closed) < m.limit {
			m.closed = append(m.closed, records[i])
			continue
		}
		m.gone = m.closed[m.first].closed
		m.closed[m.first] = records[i]
		m.first = (m.first + 1) % m.limit
	}
}

// A Query chooses records of the log in memory.
type Query struct {
	Instance string // a name; "" for all
	Rejected bool   // only those with Reject
	Limit    int    // records at most; the newest, or with After the oldest

	// After makes it what happened behind a Reply's Next: records that were begun
	// since then, as they are now, and records whose window has closed since then.
	// Without Follow it is ignored.
	Follow bool
	After  uint64
}

// A Reply is what a Query found.
type Reply struct {
	Records []Record // closed windows before open ones, by time; with Follow in the order of what happened
	Total   int      // how many there are; more than len(Records) where the limit cut them
	Next    uint64   // for After
	Missed  bool     // with Follow: something happened that is forgotten already
}

// find answers a query.
func (m *recent) find(q *Query) Reply {
	var found []Record
	for i := range m.closed {
		r := &m.closed[(m.first+i)%len(m.closed)]
		if q.matches(r, r.closed) {
			found = append(found, *r)
		}
	}
	closed := len(found)
	for _, r := range m.window.flows {
		if q.matches(r, r.opened) {
			found = append(found, *r)
		}
	}
	if !q.Follow {
		slices.SortFunc(found[closed:], compare)
		return Reply{Records: found[max(0, len(found)-q.Limit):], Total: len(found), Next: m.last}
	}
	slices.SortFunc(found, func(a, b Record) int { return cmp.Compare(a.sequence(), b.sequence()) })
	reply := Reply{Records: found, Total: len(found), Next: m.last, Missed: q.After < m.gone}
	if len(found) > q.Limit {
		reply.Records = found[:q.Limit]
		reply.Next = reply.Records[q.Limit-1].sequence()
	}
	return reply
}

// sequence returns when what happened last to a record did.
func (r *Record) sequence() uint64 { return max(r.opened, r.closed) }

// matches reports whether a record is asked for.
func (q *Query) matches(r *Record, sequence uint64) bool {
	return (q.Instance == "" || q.Instance == r.Interface.Instance) &&
		(!q.Rejected || r.Status == OK && r.Action == Reject) &&
		(!q.Follow || sequence > q.After)
}
