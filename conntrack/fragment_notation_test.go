package conntrack_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"vswitch/conntrack"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// A reporter is what *testing.T and *rapid.T have in common here.
type reporter interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// A part is a fragment in the notation of these tests: where its data lies in
// the datagram, in bytes, with "+" if more fragments follow, "!" if its data
// is not what other parts have at that place, and "~" if all of it is zero. The
// options in front, in any order, where they are not at their default:
//
//	port=1 id=1 proto=17 from=10.0.1.10 to=10.0.2.20 header=20 0-24+
//
// from= an IPv6 address makes it IPv6; header= is then that of all headers
// (48), the fragment header included.
type part struct {
	port, id        uint32
	proto           uint8
	from, to        netip.Addr
	header          int
	offset, end     int
	more            bool
	different, zero bool
}

// defaultPart is a part as far as its options go that a line leaves out.
func defaultPart() part {
	return part{port: 1, id: 1, proto: 17, header: 20,
		from: netip.MustParseAddr("10.0.1.10"), to: netip.MustParseAddr("10.0.2.20")}
}

// parsePart reads the notation.
func parsePart(t reporter, text string) part {
	t.Helper()
	p := defaultPart()
	for _, word := range strings.Fields(text) {
		key, value, option := strings.Cut(word, "=")
		var err error
		if option {
			err = p.set(key, value)
		} else {
			p.different, p.zero = strings.HasSuffix(word, "!"), strings.HasSuffix(word, "~")
			word = strings.TrimRight(word, "!~")
			p.more = strings.HasSuffix(word, "+")
			_, err = fmt.Sscanf(strings.TrimSuffix(word, "+"), "%d-%d", &p.offset, &p.end)
		}
		if err != nil {
			t.Fatalf("part %q: %s: %v", text, word, err)
		}
	}
	return p
}

func (p *part) set(key, value string) (err error) {
	switch key {
	case "from":
		p.from, err = netip.ParseAddr(value)
		if p.from.Is6() && p.header == 20 {
			p.header = 48
		}
		return err
	case "to":
		p.to, err = netip.ParseAddr(value)
		return err
	}
	n, err := strconv.ParseUint(value, 10, 16)
	switch key {
	case "port":
		p.port = uint32(n)
	case "id":
		p.id = uint32(n)
	case "proto":
		p.proto = uint8(n)
	case "header":
		p.header = int(n)
	default:
		return fmt.Errorf("no such option")
	}
	return err
}

// String returns the place of the part, without its options.
func (p part) String() string {
	s := fmt.Sprintf("%d-%d", p.offset, p.end)
	if p.more {
		s += "+"
	}
	if p.different {
		s += "!"
	}
	if p.zero {
		s += "~"
	}
	return s
}

// frame returns the part as wire.Parse would return it, with serial in front of
// its bytes, where a real frame has other things that differ.
func (p part) frame(serial int) *wire.Frame {
	l3 := wire.VirtioSize + wire.EthernetSize
	f := &wire.Frame{Kind: wire.KindIPv4, L3: l3, L4: l3 + p.header, Data: l3 + p.header, Fragment: true, Segments: 1,
		Later: p.offset != 0, More: p.more, Offset: p.offset, ID: p.id}
	if p.from.Is6() {
		f.Kind = wire.KindIPv6
	}
	f.Tuple = wire.FiveTuple{Src: p.from.As16(), Dst: p.to.As16(), Protocol: p.proto}
	if p.offset == 0 {
		f.Tuple.SrcPort, f.Tuple.DstPort = 5353, 53
	}
	f.Bytes = make([]byte, f.Data+p.end-p.offset)
	for i := range f.Bytes {
		at := p.offset + i - f.Data
		f.Bytes[i] = byte(at*31 + at>>8)
		if p.different {
			f.Bytes[i]++
		}
	}
	if p.zero {
		clear(f.Bytes[f.Data:])
	}
	binary.BigEndian.PutUint32(f.Bytes, uint32(serial))
	return f
}

// A holder is a Fragments under test. It knows what it was given, and checks
// after each step that every fragment is accounted for, once.
type holder struct {
	t     reporter
	h     *conntrack.Fragments
	now   int64
	given []part
	bytes [][]byte // of given
	gone  int      // dropped, complete or forgotten
}

func newHolder(t reporter) *holder {
	return &holder{t: t, h: conntrack.NewFragments(), now: int64(time.Hour)}
}

// add gives one fragment to the Fragments, and returns the verdict in words:
// "held", "complete 24-32 [0-24+]" with the first fragment in brackets,
// "FRAGMENT_OVERLAP", or "FRAGMENT_OVERLAP kills 2" for two that had been held.
func (h *holder) add(p part) string {
	h.t.Helper()
	f := p.frame(len(h.given))
	h.given = append(h.given, p)
	h.bytes = append(h.bytes, bytes.Clone(f.Bytes))
	v := h.h.Add(p.port, f, h.now)
	clear(f.Bytes) // Add keeps nothing of it
	h.gone += v.Dropped + len(v.Complete)
	words := "held"
	switch v.State {
	case conntrack.FragmentDropped:
		h.gone++
		words = v.Reason.String()
		if v.Dropped > 0 {
			words += fmt.Sprintf(" kills %d", v.Dropped)
		}
	case conntrack.FragmentsComplete:
		words = h.complete(v)
	}
	if v.State != conntrack.FragmentDropped && (v.Reason != policy.None || v.Dropped != 0) ||
		v.State != conntrack.FragmentsComplete && (v.Complete != nil || v.First != 0) {
		h.t.Fatalf("%s: %s, with contradictory fields: %+v", p, words, v)
	}
	h.account()
	return words
}

// complete returns the words for a complete datagram, whose frames must be
// exactly as they were given.
func (h *holder) complete(v conntrack.Verdict) string {
	words := "complete"
	for i, b := range v.Complete {
		serial := int(binary.BigEndian.Uint32(b))
		if serial >= len(h.given) || !bytes.Equal(b, h.bytes[serial]) {
			h.t.Fatalf("Complete[%d] is not a frame that was given", i)
		}
		if len(b) != cap(b) {
			h.t.Fatalf("Complete[%d] reaches into the frame behind it", i)
		}
		word := h.given[serial].String()
		if i == v.First {
			word = "[" + word + "]"
		}
		words += " " + word
	}
	return words
}

// sweep ends what is too old, and returns how many frames of which port died, as
// "port 1: 2, port 7: 1", a datagram each, in the order of ports.
func (h *holder) sweep() string {
	h.t.Helper()
	var died []string
	h.h.Sweep(h.now, func(port uint32, frames int) {
		died = append(died, fmt.Sprintf("port %d: %d", port, frames))
		h.gone += frames
	})
	h.account()
	slices.Sort(died)
	return strings.Join(died, ", ")
}

// remove forgets a port.
func (h *holder) remove(port uint32) {
	h.t.Helper()
	before := h.h.Len()
	h.h.Remove(port)
	h.gone += before - h.h.Len()
	h.account()
}

// account holds what was given against what became of it.
func (h *holder) account() {
	h.t.Helper()
	if n := h.h.Len() + h.gone; n != len(h.given) {
		h.t.Fatalf("%d fragments given, but %d held and %d gone", len(h.given), h.h.Len(), h.gone)
	}
}

// run takes one line of a script, "STEP = WORDS": a part, which add takes;
// "after 10s", which moves the clock and sweeps; or "remove 2", a port.
func (h *holder) run(line string) {
	h.t.Helper()
	step, want, _ := strings.Cut(line, " = ")
	got := ""
	switch word, value, _ := strings.Cut(step, " "); word {
	case "after", "late": // "late" is "after" with a Sweep that has not come by
		d, err := time.ParseDuration(value)
		if err != nil {
			h.t.Fatal(err)
		}
		if h.now += int64(d); word == "after" {
			got = h.sweep()
		}
	case "remove":
		port, err := strconv.Atoi(value)
		if err != nil {
			h.t.Fatal(err)
		}
		h.remove(uint32(port))
	default:
		got = h.add(parsePart(h.t, step))
	}
	if got != want {
		h.t.Fatalf("%s: %q, want %q", step, got, want)
	}
}
