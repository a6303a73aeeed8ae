package conntrack_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"vswitch/conntrack"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

// SEM 2.8, 3.8: a datagram is judged once, and forwarded whole or not at all.
// Names are rows of the threat model; the notation is that of part and holder.
func TestFragments(t *testing.T) {
	for _, c := range []struct {
		name   string
		script []string
	}{
		{"I5 in order", []string{"0-24+ = held", "24-48+ = held", "48-55 = complete [0-24+] 24-48+ 48-55"}},
		{"I5 in reverse order, given out as it came", []string{"48-55 = held", "24-48+ = held", "0-24+ = complete 48-55 24-48+ [0-24+]"}},
		{"I5 the middle last", []string{"0-24+ = held", "48-55 = held", "24-48+ = complete [0-24+] 48-55 24-48+"}},
		{"I5 the next datagram with the same key begins anew", []string{
			"0-24+ = held", "24-32 = complete [0-24+] 24-32",
			"24-40 = held", "0-24+ = complete 24-40 [0-24+]"}},
		{"I5 a later fragment alone is never let through", []string{"24-32 = held", "after 30s = port 1: 1"}},
		{"I5 the key: port", []string{"0-24+ = held", "port=2 24-32 = held", "24-32 = complete [0-24+] 24-32"}},
		{"I5 the key: source", []string{"0-24+ = held", "from=10.0.1.11 24-32 = held", "24-32 = complete [0-24+] 24-32"}},
		{"I5 the key: destination", []string{"0-24+ = held", "to=10.0.2.21 24-32 = held", "24-32 = complete [0-24+] 24-32"}},
		{"I5 the key: protocol", []string{"0-24+ = held", "proto=6 24-32 = held", "24-32 = complete [0-24+] 24-32"}},
		{"I5 the key of IPv6 has no protocol (RFC 8200 section 4.5)", []string{
			"from=fd00::1 proto=58 0-24+ = held", "from=fd00::1 proto=60 24-32 = complete [0-24+] 24-32"}},
		{"I5 the key: identification", []string{"0-24+ = held", "id=2 24-32 = held", "24-32 = complete [0-24+] 24-32"}},
		{"a whole datagram in one fragment", []string{"from=fd00::1 0-24 = complete [0-24]"}},

		{"I3 a tiny first fragment is refused by the parser, and the rest waits in vain", []string{
			"8-16+ = held", "16-24 = held", "after 30s = port 1: 2"}},

		{"I4 an exact duplicate is dropped alone", []string{
			"0-24+ = held", "0-24+ = FRAGMENT_OVERLAP", "24-32 = complete [0-24+] 24-32"}},
		{"I4 an exact duplicate of the last fragment", []string{
			"24-32 = held", "24-32 = FRAGMENT_OVERLAP", "0-24+ = complete 24-32 [0-24+]"}},
		{"I4 an exact duplicate over several blocks of memory", []string{
			"0-1480+ = held", "1480-2960+ = held", "1480-2960+ = FRAGMENT_OVERLAP", "2960-3000 = complete [0-1480+] 1480-2960+ 2960-3000"}},
		{"I4 the header of a duplicate may differ", []string{
			"0-24+ = held", "header=24 0-24+ = FRAGMENT_OVERLAP", "24-32 = complete [0-24+] 24-32"}},
		{"I4 a duplicate that comes after the datagram waits for its own", []string{
			"0-24+ = held", "24-32 = complete [0-24+] 24-32", "24-32 = held", "after 30s = port 1: 1"}},
		{"I4 the same range with other bytes kills", []string{
			"0-24+ = held", "0-24+! = FRAGMENT_OVERLAP kills 1", "24-32 = FRAGMENT_OVERLAP"}},
		{"I4 other bytes in the last block only kill", []string{
			"0-1480+ = held", "1480-2960+ = held", "1480-2960+! = FRAGMENT_OVERLAP kills 2"}},
		{"I4 the same range, once as the last, kills", []string{"24-32+ = held", "24-32 = FRAGMENT_OVERLAP kills 1"}},
		{"I4 the same range, no longer as the last, kills", []string{"24-32 = held", "24-32+ = FRAGMENT_OVERLAP kills 1"}},
		{"I4 an overlap with the front kills (RFC 1858: ports rewritten)", []string{
			"0-24+ = held", "24-48+ = held", "8-16+ = FRAGMENT_OVERLAP kills 2", "48-55 = FRAGMENT_OVERLAP"}},
		{"I4 an overlap by 8 bytes at the end", []string{"0-24+ = held", "16-32 = FRAGMENT_OVERLAP kills 1"}},
		{"I4 an overlap by one byte", []string{"0-24+ = held", "32-33 = held", "24-40+ = FRAGMENT_OVERLAP kills 2"}},
		{"I4 an overlap that covers all", []string{"8-16+ = held", "0-24+ = FRAGMENT_OVERLAP kills 1"}},
		{"I4 equal bytes make no duplicate of an overlap", []string{"0-24+~ = held", "8-24+~ = FRAGMENT_OVERLAP kills 1"}},
		{"I4 an overlap in IPv6 (RFC 5722)", []string{"from=fd00::1 0-24+ = held", "from=fd00::1 16-32 = FRAGMENT_OVERLAP kills 1"}},
		{"I4 two last fragments, the second further back", []string{"24-32 = held", "40-48 = FRAGMENT_OVERLAP kills 1"}},
		{"I4 two last fragments, the second further front", []string{"40-48 = held", "24-32 = FRAGMENT_OVERLAP kills 1"}},
		{"I4 data behind the end", []string{"24-32 = held", "32-40+ = FRAGMENT_OVERLAP kills 1"}},
		{"I4 an end before data", []string{"32-40+ = held", "24-32 = FRAGMENT_OVERLAP kills 1"}},
		{"I4 a dead datagram stays dead until its time is over, not longer", []string{
			"0-24+ = held", "late 10s", "0-24+! = FRAGMENT_OVERLAP kills 1",
			"after 19s", "0-24+ = FRAGMENT_OVERLAP",
			"after 1s", "0-24+ = held", "24-32 = complete [0-24+] 24-32"}},

		{"I4 past 65,535 bytes, without the first fragment", []string{
			"65528-65535 = held", "after 30s = port 1: 1", "0-24+ = held", "65528-65536 = FRAGMENT_TOO_LONG kills 1"}},
		{"I4 65,535 bytes with the header of the first", []string{"0-24+ = held", "65512-65515 = held"}},
		{"I4 past 65,535 bytes with the header of the first", []string{"0-24+ = held", "65512-65516 = FRAGMENT_TOO_LONG kills 1"}},
		{"I4 past 65,535 bytes, the first later", []string{
			"header=24 65504-65512+ = held", "header=24 0-24+ = FRAGMENT_TOO_LONG kills 1", "24-48+ = FRAGMENT_TOO_LONG"}},
		{"I4 options of a later fragment do not count", []string{"0-24+ = held", "header=60 65512-65515 = held"}},
		{"I4 IPv6 counts extension headers, not the fixed and the fragment header", []string{
			"from=fd00::1 header=56 0-24+ = held", "from=fd00::1 65520-65527 = held",
			"from=fd00::1 id=2 header=56 0-24+ = held", "from=fd00::1 id=2 65520-65528 = FRAGMENT_TOO_LONG kills 1"}},

		{"I6 IPv4 waits for 30 s from the first arrival", []string{
			"0-24+ = held", "after 20s", "24-48+ = held", "after 9.999999999s", "after 1ns = port 1: 2", "48-55 = held"}},
		{"I6 IPv6 waits for 60 s", []string{
			"from=fd00::1 0-24+ = held", "after 59.999999999s", "from=fd00::1 24-48+ = held", "after 1ns = port 1: 2"}},
		{"I6 complete in the last nanosecond", []string{"0-24+ = held", "late 29.999999999s", "24-32 = complete [0-24+] 24-32"}},
		{"I6 too late, though Sweep has not come by", []string{
			"0-24+ = held", "late 30s", "24-32 = FRAGMENT_TIMEOUT kills 1", "24-32 = held", "0-24+ = complete 24-32 [0-24+]"}},
		{"I6 a tombstone ends, though Sweep has not come by", []string{
			"0-24+ = held", "16-32 = FRAGMENT_OVERLAP kills 1", "late 30s", "24-32 = held"}},
		{"I6 each datagram has its own time", []string{
			"0-24+ = held", "after 10s", "port=2 0-24+ = held", "port=2 24-48+ = held", "port=3 0-24+ = held",
			"after 20s = port 1: 1", "after 10s = port 2: 2, port 3: 1"}},
		{"a port is forgotten", []string{
			"0-24+ = held", "id=2 0-24+ = held", "port=2 0-24+ = held", "remove 1",
			"24-32 = held", "port=2 24-32 = complete [0-24+] 24-32", "after 30s = port 1: 1"}},
		{"a port's tombstones are forgotten", []string{
			"0-24+ = held", "0-24+! = FRAGMENT_OVERLAP kills 1", "remove 1", "0-24+ = held"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHolder(t)
			for _, line := range c.script {
				h.run(line)
			}
		})
	}
}

// I5: what the parser accepts of a real datagram is put together whatever its
// order, and comes out as it went in.
func TestFragmentsOfParsedFrames(t *testing.T) {
	src, dst := wire.MAC{2, 0, 0, 0, 0, 1}, wire.MAC{2, 0, 0, 0, 0, 2}
	for _, text := range []string{
		"10.0.1.10:5353 > 10.0.2.20:53 udp len=4000 ipid=7",
		"10.0.1.10 > 10.0.2.20 icmp echo-request id=7 len=65507",
		"10.0.1.10:40000 > 10.0.2.20:22 tcp A len=3000",
		"10.0.1.10 > 10.0.2.20 proto 47 len=2000",
		"[fd00::1]:5353 > [fd00::2]:53 udp len=4000",
		"[fd00::1]:5353 > [fd00::2]:53 udp len=4000 hbh rh4 dst=16",
		"fd00::1 > fd00::2 icmpv6 echo-request id=7 len=4000 dst=24",
	} {
		frames := wiretest.Fragments(wiretest.Bytes(t, src, dst, text), 1400)
		first := len(frames) - 1
		slices.Reverse(frames)
		h := conntrack.NewFragments()
		for i, b := range frames {
			var f wire.Frame
			if r := f.Parse(bytes.Clone(b), 1500); r != policy.None {
				t.Fatalf("%s: fragment refused: %v", text, r)
			}
			v := h.Add(1, &f, 0)
			if i < len(frames)-1 {
				if v.State != conntrack.FragmentHeld || h.Len() != i+1 {
					t.Fatalf("%s: fragment %d: %+v, %d held", text, i, v, h.Len())
				}
				continue
			}
			if v.State != conntrack.FragmentsComplete || v.First != first || h.Len() != 0 || !slices.EqualFunc(v.Complete, frames, bytes.Equal) {
				t.Fatalf("%s: the fragments that came out are not those that went in: %+v", text, v)
			}
		}
	}
}

// I6: the bounds, exactly.
func TestFragmentBounds(t *testing.T) {
	const limit = "FRAGMENT_LIMIT"

	t.Run("I6 64 fragments of a datagram", func(t *testing.T) {
		h := newHolder(t)
		for i := range 64 {
			h.run(fmt.Sprintf("%d-%d+ = held", 8*i, 8*i+8))
		}
		h.run("0-8+ = FRAGMENT_OVERLAP") // a duplicate is not held
		h.run("512-513 = FRAGMENT_LIMIT kills 64")
		h.run("0-8+ = " + limit)

		for i := range 63 {
			h.run(fmt.Sprintf("id=2 %d-%d+ = held", 8*i, 8*i+8))
		}
		if got := h.add(parsePart(t, "id=2 504-505")); h.h.Len() != 0 {
			t.Errorf("the 64th fragment completes the datagram: %s", got)
		}
	})

	t.Run("I6 64 datagrams of a port", func(t *testing.T) {
		h := newHolder(t)
		for id := range 64 {
			h.run(fmt.Sprintf("id=%d 0-24+ = held", id))
		}
		h.run("id=64 0-24+ = " + limit)
		h.run("id=64 24-32 = " + limit)
		h.run("port=2 id=64 0-24+ = held") // others go on
		h.run("id=9 24-32 = complete [0-24+] 24-32")
		h.run("id=64 24-32 = held") // in the place of 9
		h.run("id=8 0-24+! = FRAGMENT_OVERLAP kills 1")
		h.run("id=65 0-24+ = " + limit) // the tombstone of 8 keeps its place
		h.now += int64(30 * time.Second)
		h.sweep()
		h.run("id=65 0-24+ = held")
	})

	t.Run("I6 1,000 datagrams in all", func(t *testing.T) {
		h := newHolder(t)
		for range 2 {
			for i := range 1000 {
				h.run(fmt.Sprintf("port=%d id=%d 0-24+ = held", i/50, i))
			}
			h.run("port=77 0-24+ = " + limit)
			h.run("port=0 id=9999 0-24+ = " + limit)
			h.now += int64(30 * time.Second)
			h.sweep()
			if h.h.Len() != 0 {
				t.Errorf("%d fragments held after their time", h.h.Len())
			}
		}
	})

	// A frame with 4,048 bytes of data has 4,094 and takes 8 of the 512 blocks of a
	// port; one with 8,144 has 8,190 and takes 16.
	fill := func(h *holder, port, datagrams, bytes int) {
		for id := range datagrams {
			h.run(fmt.Sprintf("port=%d id=%d 0-%d+ = held", port, id, bytes))
		}
	}

	t.Run("I6 256 KiB of a port", func(t *testing.T) {
		h := newHolder(t)
		for range 2 {
			fill(h, 1, 32, 8144)
			h.run("id=99 0-8+ = " + limit) // begins nothing, so it leaves no tombstone
			h.run("port=2 id=99 0-8+ = held")
			h.run("id=0 8144-8152 = complete [0-8144+] 8144-8152") // the last needs no room
			h.run("id=99 0-8+ = held")
			h.run("id=99 16-24+ = held")         // in the same block
			h.run("id=99 24-7632+ = held")       // up to the last but one
			h.run("id=99 7632-7640+ = held")     // in the last
			h.run("id=98 0-8+ = FRAGMENT_LIMIT") // 0 left
			h.run("id=1 8144-8152+ = FRAGMENT_LIMIT kills 1")
			h.run("id=1 8144-8152+ = FRAGMENT_LIMIT") // a tombstone, which holds nothing:
			h.run("id=98 0-8+ = held")
			h.now += int64(30 * time.Second)
			h.sweep()
		}
	})

	t.Run("I6 4 MiB in all", func(t *testing.T) {
		h := newHolder(t)
		for range 2 {
			for port := range 16 {
				fill(h, port, 32, 8144)
			}
			if got := h.h.Copies(); got != 4<<20 {
				t.Errorf("4 MiB of fragments take %d bytes", got)
			}
			h.run("port=16 0-8+ = " + limit)
			h.run("port=15 id=3 8144-8152 = complete [0-8144+] 8144-8152")
			fill(h, 16, 1, 8144)
			h.run("port=16 id=3 0-8+ = " + limit)
			h.now += int64(30 * time.Second)
			h.sweep()
			if got := h.h.Copies(); got != 0 {
				t.Errorf("%d bytes of memory kept after all have timed out", got)
			}
		}
	})
}

// Datagrams that come and go find the memory of those before them, also where
// their number and their sizes differ; so do the bookkeeping of ports and the
// tombstones.
func TestFragmentsDoNotAllocate(t *testing.T) {
	var frames []*wire.Frame
	for _, text := range []string{
		"id=1 0-1480+", "id=2 0-8152+", "port=2 1480-2960+", "port=2 0-1480+", "id=1 0-1480+", "id=3 0-24+", "id=3 8-24+",
		"id=1 1480-2960", "id=2 8152-8160", "port=2 2960-2968",
	} {
		p := parsePart(t, text)
		f := p.frame(0)
		f.Tuple.SrcPort = uint16(p.port)
		frames = append(frames, f)
	}
	h, now := conntrack.NewFragments(), int64(0)
	complete, died := 0, 0
	expired := func(uint32, int) { died++ }
	round := func() {
		for _, f := range frames {
			f.ID += 10
			if v := h.Add(uint32(f.Tuple.SrcPort), f, now); v.State == conntrack.FragmentsComplete {
				complete++
			}
		}
		now += int64(time.Second)
		h.Sweep(now, expired)
	}
	for range 40 {
		round() // until as many tombstones end as begin
	}
	complete = 0
	memory := h.Memory()
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations in a round of %d fragments", n, len(frames))
	}
	if complete != 3*101 || died != 0 || h.Len() != 0 {
		t.Errorf("%d datagrams complete, %d timed out, %d fragments held, want %d, 0, 0", complete, died, h.Len(), 3*101)
	}
	if h.Memory() != memory {
		t.Errorf("memory has grown from %d bytes to %d", memory, h.Memory())
	}
}

// What was handed out and what died leave nothing behind, also if that was a
// lot.
func TestFragmentMemoryGoesBack(t *testing.T) {
	h := newHolder(t)
	for id := range 60 {
		h.run(fmt.Sprintf("id=%d 0-2000+ = held", id))
		h.run(fmt.Sprintf("port=2 id=%d 0-24+ = held", id))
	}
	h.run("id=1 2000-2001 = complete [0-2000+] 2000-2001")
	h.remove(2)
	h.run("after 29s")
	if h.h.Memory() < 59*2000 {
		t.Errorf("%d bytes of memory hold 59 fragments of 2,000", h.h.Memory())
	}
	h.now += int64(time.Second)
	h.sweep()
	h.remove(1)
	if h.h.Memory() != 0 {
		t.Errorf("%d bytes of memory left", h.h.Memory())
	}
}

// A Fragments that holds nothing costs next to nothing.
func TestIdleFragmentsHaveNoMemory(t *testing.T) {
	h := conntrack.NewFragments()
	h.Sweep(int64(time.Hour), func(uint32, int) { t.Error("something expired") })
	h.Remove(1)
	if got := h.Memory(); got != 0 {
		t.Errorf("%d bytes, want none", got)
	}
}

func BenchmarkFragmentsOfTwo(b *testing.B) {
	first, last := parsePart(b, "0-1480+").frame(0), parsePart(b, "1480-2960").frame(1)
	h := conntrack.NewFragments()
	b.ReportAllocs()
	for b.Loop() {
		h.Add(1, first, 0)
		if v := h.Add(1, last, 0); v.State != conntrack.FragmentsComplete {
			b.Fatalf("%+v", v)
		}
	}
}
