package vswitch_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
	"vswitch/port"
)

// superframes are one of each kind from a1 to b1, and the frames that they stand
// for. The payload of frames that wiretest makes repeats itself every 26 bytes, so
// that a segment of 1300 has that of a frame of its own.
var superframes = []struct {
	name   string
	gso    wire.GSO
	prefix string
	cut    []string // the words that differ
}{
	{"TCP over IPv4", wire.GSOTCP4, "10.0.1.10:40000 > 10.0.2.20:22 tcp ",
		[]string{"AEW seq=101 len=1300 ipid=9", "AE seq=1401 len=1300 ipid=10", "AE seq=2701 len=1300 ipid=11", "FAPE seq=4001 len=77 ipid=12"}},
	{"TCP over IPv6", wire.GSOTCP6, "[2001:db8:a:1::10]:40000 > [2001:db8:a:2::20]:22 tcp ",
		[]string{"AEW seq=101 len=1300", "AE seq=1401 len=1300", "AE seq=2701 len=1300", "FAPE seq=4001 len=77"}},
	{"UDP over IPv4", wire.GSOUDP, "10.0.1.10:40000 > 10.0.2.20:53 udp ",
		[]string{"len=1300 ipid=9", "len=1300 ipid=10", "len=1300 ipid=11", "len=77 ipid=12"}},
	{"UDP over IPv6", wire.GSOUDP, "[2001:db8:a:1::10]:40000 > [2001:db8:a:2::20]:53 udp ",
		[]string{"len=1300", "len=1300", "len=1300", "len=77"}},
}

// superframeText returns the line of a superframe of superframes.
func superframeText(i int) string {
	s := superframes[i]
	text := s.prefix + "len=3977 gso=1300"
	if s.gso != wire.GSOUDP {
		text = s.prefix + "FAPEW seq=101 len=3977 gso=1300"
	}
	if strings.Contains(s.prefix, "10.0") {
		text += " ipid=9"
	}
	return text
}

// openBoth is open for both families.
func (v *vpc) openBoth() {
	v.t.Helper()
	v.authorize("b1", "in", []string{"tcp", "22", "2001:db8:a:1::/64"})
	v.authorize("b1", "in", []string{"udp", "53", "2001:db8:a:1::/64"})
	v.open()
}

// attach gives b1 a device, whose frames the test finds in m.
func (v *vpc) attach(d port.Device, m *port.Memory) {
	v.t.Helper()
	v.must(v.sw.Attach("b1", d))
	v.ports["b1"] = m
}

// superframe sends a superframe from a1 to b1. It checks that b1's port gets
// exactly these frames, byte for byte, and checks every counter of every port: as
// of one frame that was delivered, or dropped for the reason.
func (v *vpc) superframe(text string, reason policy.Reason, want ...[]byte) {
	v.t.Helper()
	const segments = 4
	sent := v.frame("a1", text)
	expect := v.sw.Status()
	for i := range expect.Ports {
		switch c := &expect.Ports[i].Counters; expect.Ports[i].Instance {
		case "a1":
			c.RxFrames++
			c.RxPackets += segments
			c.RxBytes += uint64(len(sent) - wire.VirtioSize)
			if reason == policy.None {
				c.Delivered++
			} else {
				c.Drops[reason]++
			}
		case "b1":
			for _, b := range want {
				var f wire.Frame
				if r := f.Parse(bytes.Clone(b), 9001); r != policy.None {
					v.fatalf("the test expects a frame that is refused: %v", r)
				}
				c.TxFrames++
				c.TxPackets += uint64(f.Segments)
				c.TxBytes += uint64(len(b) - wire.VirtioSize)
			}
		}
	}
	if !v.ports["a1"].Send(sent) || v.sw.Step() != 1 {
		v.fatalf("%s: not taken in", text)
	}
	b := make([]byte, wire.MaxFrame)
	for i := 0; ; i++ {
		n, ok := v.ports["b1"].Receive(b)
		if !ok {
			if i != len(want) {
				v.t.Errorf("%s: b1 received %d frames, want %d", text, i, len(want))
			}
			break
		}
		if i >= len(want) || !bytes.Equal(b[:n], want[i]) {
			v.t.Errorf("%s: frame %d is not the wanted one: %s\n%x", text, i, wiretest.Format(b[:n]), b[:n])
		}
	}
	for i, after := range v.sw.Status().Ports {
		if after.Counters != expect.Ports[i].Counters {
			v.t.Errorf("%s: counters of %s\n got %v\nwant %v", text, after.Instance, describe(&after.Counters), describe(&expect.Ports[i].Counters))
		}
	}
}

// arrives returns a frame as b1's port gets it from the router.
func (v *vpc) arrives(text string) []byte {
	v.t.Helper()
	to := v.iface("b1")
	return wiretest.Bytes(v.t, to.RouterMAC, to.MAC, text)
}

// cut returns the segments of a superframe as b1's port gets them.
func (v *vpc) cut(i int, words string) (frames [][]byte) {
	v.t.Helper()
	for _, s := range superframes[i].cut {
		frames = append(frames, v.arrives(superframes[i].prefix+s+words))
	}
	return frames
}

// TestSuperframesForEveryPort sends superframes of all kinds to ports that take
// every combination of offloads: whole, or in segments with their checksums left
// to the port, or with all finished (V3: each segment is counted).
func TestSuperframesForEveryPort(t *testing.T) {
	for _, cache := range []int{0, 1 << 10} {
		v := newVPC(t, cache)
		v.openBoth()
		for bits := range 16 {
			o := port.Offloads{Checksum: bits&1 != 0, TSO4: bits&2 != 0, TSO6: bits&4 != 0, USO: bits&8 != 0}
			m := port.NewMemory(8, o)
			v.attach(m, m)
			for i, s := range superframes {
				v.where = fmt.Sprintf("cache %d, %+v, %s", cache, o, s.name)
				takes := o.Checksum && map[wire.GSO]bool{wire.GSOTCP4: o.TSO4, wire.GSOTCP6: o.TSO6, wire.GSOUDP: o.USO}[s.gso]
				text := superframeText(i)
				switch {
				case takes:
					v.superframe(text, policy.None, v.arrives(text))
				case o.Checksum:
					v.superframe(text, policy.None, v.cut(i, " csum=partial")...)
				default:
					v.superframe(text, policy.None, v.cut(i, "")...)
				}
				if t.Failed() {
					t.Fatal(v.where)
				}
			}
		}
	}
}

// A moody device answers the segments that it is given in the order of its moods,
// and OK after them. Panic is none of port's: it panics.
type moody struct {
	*port.Memory
	moods []port.Status
	tried int
}

const panics = port.Status(255)

func (d *moody) WriteParts(head, payload []byte) port.Status {
	d.tried++
	if d.tried > len(d.moods) || d.moods[d.tried-1] == port.OK {
		return d.Memory.WriteParts(head, payload)
	}
	if d.moods[d.tried-1] == panics {
		panic("injected")
	}
	return d.moods[d.tried-1]
}

// TestSuperframeLostInPart checks that one received frame is either delivered or
// dropped, whatever the port makes of its segments.
func TestSuperframeLostInPart(t *testing.T) {
	const ok, refused, down, gone = port.OK, port.Refused, port.Down, port.Gone
	for _, c := range []struct {
		name   string
		moods  []port.Status
		reason policy.Reason
		taken  []int // the segments that arrive
		tried  int
	}{
		{"all refused", []port.Status{refused, refused, refused, refused}, policy.PortRefused, nil, 4},
		{"the first refused", []port.Status{refused}, policy.None, []int{1, 2, 3}, 4},
		{"the last refused", []port.Status{ok, ok, ok, refused}, policy.None, []int{0, 1, 2}, 4},
		{"all but one refused", []port.Status{refused, refused, ok, refused}, policy.None, []int{2}, 4},
		{"down", []port.Status{down}, policy.PortDown, nil, 1},
		{"refused, then down", []port.Status{refused, down}, policy.PortDown, nil, 2},
		{"down in the middle", []port.Status{ok, ok, down}, policy.None, []int{0, 1}, 3},
		{"gone in the middle", []port.Status{ok, gone}, policy.None, []int{0}, 2},
		{"a failure in the middle", []port.Status{ok, panics}, policy.Panic, []int{0}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newVPC(t, 1<<10)
			v.openBoth()
			d := &moody{Memory: port.NewMemory(8, port.Offloads{}), moods: c.moods}
			v.attach(d, d.Memory)
			all := v.cut(0, "")
			var want [][]byte
			for _, i := range c.taken {
				want = append(want, all[i])
			}
			v.superframe(superframeText(0), c.reason, want...)
			if d.tried != c.tried {
				t.Errorf("%d segments tried, want %d", d.tried, c.tried)
			}
			for i, f := range v.sw.Status().Captured { // the frame is kept as it came
				if sent := v.frame("a1", superframeText(0)); i > 0 || !bytes.Equal(f.Bytes[wire.VirtioSize+12:], sent[wire.VirtioSize+12:]) {
					t.Errorf("kept %x\nsent %x", f.Bytes, sent)
				}
			}
		})
	}
}

// TestSegmentationKeepsTurns holds V3: whoever sends superframes of many small
// segments to a port that takes none does not keep the others waiting.
func TestSegmentationKeepsTurns(t *testing.T) {
	v := newVPC(t, 1<<10)
	v.open()
	const frames, segments = 20, 128
	m := port.NewMemory(frames*segments+1, port.Offloads{})
	v.attach(m, m)
	for range frames {
		v.ports["a1"].Send(v.frame("a1", fmt.Sprintf("10.0.1.10:40000 > 10.0.2.20:53 udp len=%d gso=1", segments)))
	}
	i := v.iface("a2")
	v.ports["a2"].Send(wiretest.Bytes(t, i.MAC, i.RouterMAC, "10.0.1.11:40000 > 10.0.2.20:53 udp len=7"))
	v.sw.Step()
	b := make([]byte, wire.MaxFrame)
	at, n := -1, 0
	for ; ; n++ {
		size, ok := m.Receive(b)
		if !ok {
			break
		}
		var f wire.Frame
		if f.Parse(b[:size], 9001) == policy.None && f.Tuple.Src.String() == "10.0.1.11" {
			at = n
		}
	}
	if n != frames*segments+1 {
		t.Fatalf("%d frames arrived, want %d", n, frames*segments+1)
	}
	if at < 0 || at > 5*segments {
		t.Errorf("a2's frame waited for %d segments of a1's, want its turn after about 512", at)
	}
}

// TestSegmentationAllocatesNothing holds the promise of 0 allocations a frame.
func TestSegmentationAllocatesNothing(t *testing.T) {
	for _, o := range []port.Offloads{{}, {Checksum: true}} {
		v := newVPC(t, 1<<10)
		v.openBoth()
		m := port.NewMemory(8, o)
		v.attach(m, m)
		out := make([]byte, wire.MaxFrame)
		for i, s := range superframes {
			b := v.frame("a1", superframeText(i))
			if n := testing.AllocsPerRun(200, func() {
				v.ports["a1"].Send(b)
				v.sw.Step()
				for range s.cut {
					if _, ok := m.Receive(out); !ok {
						t.Fatal("a segment is missing")
					}
				}
			}); n != 0 {
				t.Errorf("%s, %+v: %v allocations a superframe, want 0", s.name, o, n)
			}
		}
	}
}

var _ port.Device = (*moody)(nil)
