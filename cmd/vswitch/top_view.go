package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"vswitch/internal/api"
)

// A topView is what top shows: one look, and what happened each second since the
// one before it.
type topView struct {
	look   *topLook
	status *api.Status // of it
	ports  []topPort   // in the order of the file
	drops  []topDrop   // the most frequent first
	rx, tx topRate     // of all ports
	lost   topRate
}

// A topPort is one instance with its rates, as the instance sees them: RX is what
// it received.
type topPort struct {
	*api.Instance
	rx, tx topRate
	lost   topRate // what it sent and the switch dropped
}

// A topDrop is one reason.
type topDrop struct {
	reason string
	frames uint64 // so far
	rate   topRate
}

// A topRate is what happens each second. The zero topRate is not known.
type topRate struct {
	known         bool
	packets, bits float64 // bits count the Ethernet header
}

// plus returns the sum of two rates.
func (r topRate) plus(o topRate) topRate {
	return topRate{r.known || o.known, r.packets + o.packets, r.bits + o.bits}
}

// newTopView compares two looks. The one before is nil for the first one, and is
// ignored if it is of another run of the switch.
func newTopView(before, look *topLook) *topView {
	now := &look.status
	v := &topView{look: look, status: now}
	var old *api.Status
	if before != nil {
		old = &before.status
	}
	seconds := 0.0
	earlier := map[string]*api.Instance{}
	if old != nil && old.PID == now.PID {
		seconds = now.UptimeSeconds - old.UptimeSeconds
		for i := range old.Instances {
			earlier[old.Instances[i].Name] = &old.Instances[i]
		}
	}
	rate := func(packets, packetsBefore, bytes, bytesBefore uint64) topRate {
		if seconds <= 0 || packets < packetsBefore || bytes < bytesBefore { // or another instance of that name
			return topRate{}
		}
		return topRate{true, float64(packets-packetsBefore) / seconds, 8 * float64(bytes-bytesBefore) / seconds}
	}
	for i := range now.Instances {
		p := topPort{Instance: &now.Instances[i]}
		if b := earlier[p.Name]; b != nil {
			c, o := &p.Counters, &b.Counters
			p.rx = rate(c.TxPackets, o.TxPackets, c.TxBytes, o.TxBytes)
			p.tx = rate(c.RxPackets, o.RxPackets, c.RxBytes, o.RxBytes)
			p.lost = rate(c.Dropped, o.Dropped, 0, 0)
		}
		v.rx, v.tx, v.lost = v.rx.plus(p.rx), v.tx.plus(p.tx), v.lost.plus(p.lost)
		v.ports = append(v.ports, p)
	}
	for _, reason := range slices.Sorted(maps.Keys(now.Drops)) {
		d := topDrop{reason: reason, frames: now.Drops[reason]}
		if old != nil {
			d.rate = rate(d.frames, old.Drops[reason], 0, 0)
		}
		v.drops = append(v.drops, d)
	}
	slices.SortStableFunc(v.drops, func(a, b topDrop) int {
		return cmp.Or(cmp.Compare(b.rate.packets, a.rate.packets), cmp.Compare(b.frames, a.frames))
	})
	return v
}

// A topOrder is how top sorts the ports.
type topOrder uint8

// The orders, as the key s goes through them.
const (
	byTraffic topOrder = iota // the busiest first
	byDrops                   // those that lose most first
	byName
	byFile // as the file has them

	topOrders = 4
)

func (o topOrder) String() string { return [topOrders]string{"traffic", "drops", "name", "file"}[o] }

// sorted returns the ports in an order. Those that are equal keep that of the file.
func (v *topView) sorted(o topOrder) []topPort {
	ports := slices.Clone(v.ports)
	slices.SortStableFunc(ports, func(a, b topPort) int {
		switch o {
		case byTraffic:
			return cmp.Or(cmp.Compare(b.rx.bits+b.tx.bits, a.rx.bits+a.tx.bits), cmp.Compare(b.Counters.RxBytes+b.Counters.TxBytes, a.Counters.RxBytes+a.Counters.TxBytes))
		case byDrops:
			return cmp.Or(cmp.Compare(b.lost.packets, a.lost.packets), cmp.Compare(b.Counters.Dropped, a.Counters.Dropped))
		case byName:
			return strings.Compare(a.Name, b.Name)
		}
		return 0
	})
	return ports
}

// A topColumn is one column of the table of ports.
type topColumn struct {
	title string
	left  bool // its cells begin at the left
	rank  int  // where there is not room for all, those of the highest rank go first
	cell  func(p *topPort) string
}

// topColumns are the columns, the first one apart: the name.
var topColumns = []topColumn{
	{"IP", true, 8, func(p *topPort) string { return p.IP }},
	{"SUBNET", true, 10, func(p *topPort) string { return p.Subnet }},
	{"STATE", true, 4, func(p *topPort) string { return p.State }},
	{"RX pkt/s", false, 5, func(p *topPort) string { return p.rx.perSecond(p.rx.packets) }},
	{"RX bit/s", false, 1, func(p *topPort) string { return p.rx.perSecond(p.rx.bits) }},
	{"TX pkt/s", false, 6, func(p *topPort) string { return p.tx.perSecond(p.tx.packets) }},
	{"TX bit/s", false, 2, func(p *topPort) string { return p.tx.perSecond(p.tx.bits) }},
	{"DROP/s", false, 3, func(p *topPort) string { return p.lost.perSecond(p.lost.packets) }},
	{"DROPPED", false, 7, func(p *topPort) string { return strconv.FormatUint(p.Counters.Dropped, 10) }},
	{"TRACKED", false, 9, func(p *topPort) string { return strconv.Itoa(p.Connections.Tracked) }},
}

// perSecond returns a figure of a rate: "-" while it is not known.
func (r topRate) perSecond(n float64) string {
	if !r.known {
		return "-"
	}
	return short(n)
}

// short returns a figure in at most six characters: "0", "0.5", "999", "1.2k",
// "34.5M", "678G".
func short(n float64) string {
	if n < 9.95 && n != float64(int(n)) {
		return strconv.FormatFloat(n, 'f', 1, 64)
	}
	const units = " kMGTPE"
	i := 0
	for n >= 999.5 && i < len(units)-1 {
		n /= 1000
		i++
	}
	if i == 0 {
		return strconv.FormatFloat(n, 'f', 0, 64)
	}
	digits := 1
	if n >= 99.95 {
		digits = 0
	}
	return strconv.FormatFloat(n, 'f', digits, 64) + units[i:i+1]
}

// title returns the two lines at the top.
func (v *topView) title() []string {
	s := v.status
	up := 0
	for i := range v.ports {
		if v.ports[i].State == api.StateUp {
			up++
		}
	}
	age := (time.Duration(s.UptimeSeconds) * time.Second).String()
	first := fmt.Sprintf("%s  %d of %s up  generation %d  up %s", s.VPC, up, count(len(v.ports), "port"), s.Generation, age)
	if s.Panics > 0 {
		first += fmt.Sprintf("  %s failed inside the switch", count(int(s.Panics), "frame"))
	}
	second := fmt.Sprintf("%s pkt/s  %sbit/s  %s drops/s  %d connections  cache %s  %s",
		v.tx.perSecond(v.tx.packets), spaced(v.tx.perSecond(v.tx.bits)), v.lost.perSecond(v.lost.packets),
		s.Connections.Tracked, percent(s.FlowCache.Hits, s.FlowCache.Hits+s.FlowCache.Misses), mebibytes(s.Memory.RSS))
	return []string{first, second}
}

// spaced returns a figure with a space before its unit: "1.2 k", as in kbit.
func spaced(s string) string {
	if last := len(s) - 1; last >= 0 && strings.ContainsRune("kMGTPE", rune(s[last])) {
		return s[:last] + " " + s[last:]
	}
	return s + " "
}
