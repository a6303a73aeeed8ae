package wire_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

// segments returns all segments of f, each in one piece.
func segments(t testing.TB, f *wire.Frame, finish bool) [][]byte {
	t.Helper()
	var all [][]byte
	before := bytes.Clone(f.Bytes)
	for i := range f.Segments {
		head := make([]byte, wire.MaxSegmentHeader)
		header, payload := f.Segment(i, head, finish)
		if len(header) > len(head) || &header[0] != &head[0] {
			t.Errorf("segment %d: the headers are not at the start of the caller's bytes", i)
		}
		if &payload[0] != &f.Bytes[f.Payload+i*f.GSOSize] {
			t.Errorf("segment %d: the payload was copied", i)
		}
		all = append(all, append(header, payload...))
	}
	if !bytes.Equal(f.Bytes, before) {
		t.Error("the superframe has changed")
	}
	size := 0
	for _, s := range all {
		size += len(s) - wire.VirtioSize - wire.EthernetSize
	}
	if size != f.WireLen() {
		t.Errorf("the segments have %d bytes, WireLen says %d", size, f.WireLen())
	}
	return all
}

// compareSegments compares frames byte by byte, and prints those that differ.
func compareSegments(t *testing.T, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d segments, want %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("segment %d:\n got %s\n     %x\nwant %s\n     %x", i, wiretest.Format(got[i]), got[i], wiretest.Format(want[i]), want[i])
		}
	}
}

// TestSegment compares what a superframe is cut into with frames that were built
// one by one. The payload of those repeats itself every 26 bytes.
func TestSegment(t *testing.T) {
	const from, to, six = "10.0.1.10:40000 > 10.0.2.20:22 tcp ", "10.0.1.10:5000 > 10.0.2.20:53 udp ", "[fd00::1]:40000 > [fd00::2]:"
	for _, c := range []struct {
		name, super string
		want        []string
	}{
		{"TCP: FIN and PSH on the last", from + "FAP seq=7 ack=9 win=512 len=600 gso=260 ipid=3 df ttl=63",
			[]string{"A seq=7 len=260 ipid=3", "A seq=267 len=260 ipid=4", "FAP seq=527 len=80 ipid=5"}},
		{"TCP: CWR on the first, ECE on all", from + "AEW seq=7 ack=9 win=512 len=520 gso=260 df ttl=63",
			[]string{"AEW seq=7 len=260", "AE seq=267 len=260 ipid=1"}},
		{"TCP: numbers wrap", from + "A seq=4294967290 ack=9 win=512 len=500 gso=260 ipid=65535 df ttl=63",
			[]string{"A seq=4294967290 len=260 ipid=65535", "A seq=254 len=240 ipid=0"}},
		{"TCP: one segment keeps all its flags", from + "FAPEW seq=7 ack=9 win=512 len=100 gso=260 df ttl=63",
			[]string{"FAPEW seq=7 len=100"}},
		{"TCP: a last byte", from + "AP seq=7 ack=9 win=512 len=261 gso=260 df ttl=63",
			[]string{"A seq=7 len=260", "AP seq=267 len=1 ipid=1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, csum := range []string{"", " csum=partial"} {
				var want [][]byte
				for _, w := range c.want {
					want = append(want, bytesOf(t, from+w+" ack=9 win=512 df ttl=63"+csum))
				}
				compareSegments(t, segments(t, parse(t, c.super), csum == ""), want)
			}
		})
	}
	for _, c := range []struct {
		name, prefix string
		want         []string // the words that differ
	}{
		{"UDP", to + "ttl=9 ", []string{"len=1300 ipid=0", "len=1300 ipid=1", "len=101 ipid=2"}},
		{"TCP over IPv6", six + "22 tcp A ack=5 ", []string{"seq=0 len=1300", "seq=1300 len=1300", "seq=2600 len=101"}},
		{"UDP over IPv6", six + "53 udp ttl=9 ", []string{"len=1300", "len=1300", "len=101"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, csum := range []string{"", " csum=partial"} {
				var want [][]byte
				for _, w := range c.want {
					want = append(want, bytesOf(t, c.prefix+w+csum))
				}
				compareSegments(t, segments(t, parse(t, c.prefix+"len=2701 gso=1300"), csum == ""), want)
			}
		})
	}
}

// tcpOptions inserts TCP options, whose number must be a multiple of four, into a
// frame over IPv4.
func tcpOptions(v ...byte) edit {
	return func(b []byte) []byte {
		at := l3 + int(b[l3]&15)*4
		b = append(b[:at+20:at+20], append(v, b[at+20:]...)...)
		b[at+12] += byte(len(v)/4) << 4
		return length(len(b) - l3)(b)
	}
}

// urgent sets the urgent pointer of a TCP segment over IPv4, and its flag.
func urgent(pointer int) edit {
	return func(b []byte) []byte {
		b[l4+13] |= wire.URG
		return put(l4+18, byte(pointer>>8), byte(pointer))(b)
	}
}

// TestSegmentHeaders cuts frames with everything that a header can have: each
// segment repeats all options, and the longest headers fit the caller's bytes.
func TestSegmentHeaders(t *testing.T) {
	stamps := []byte{1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8}
	for _, c := range []struct {
		name, text string
		edit       edit
		header     int // bytes of headers behind the Ethernet header
	}{
		{"timestamps", super, tcpOptions(stamps...), 20 + 32},
		{"the longest TCP header", super, tcpOptions(bytes.Repeat([]byte{1}, 40)...), 20 + 60},
		{"the longest headers", super, all(tcpOptions(bytes.Repeat([]byte{1}, 40)...), options(bytes.Repeat([]byte{1}, 40)...), csumStart(14+60)), 60 + 60},
		{"UDP behind IP options", superUDP, all(options(1, 1, 1, 0), csumStart(14+24)), 24 + 8},
		{"ECN", super, gsoType(0x81), 40},
		{"urgent data in the first segment", super, urgent(1), 40},
		{"urgent data up to the end of the first", super, urgent(1400), 40},
		{"urgent data up to the second", super, urgent(1401), 40},
		{"urgent data up to the last", super, urgent(14000), 40},
		{"an urgent pointer of zero", super, urgent(0), 40},
		{"an urgent pointer without its flag", super, put(l4+18, 5, 5), 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, finish := range []bool{true, false} {
				b := c.edit(bytesOf(t, c.text))
				var f wire.Frame
				if r := f.Parse(b, 2*mtu); r != policy.None {
					t.Fatal(r)
				}
				if got := f.Payload - l3; got != c.header {
					t.Fatalf("headers of %d bytes, want %d: the test is wrong", got, c.header)
				}
				compareSegments(t, segments(t, &f, finish), cutSlowly(b, finish))
			}
		})
	}
}

// TestSegmentUDPChecksumIsNeverZero holds RFC 768 for segments. The ports are
// chosen so that the sum comes out as zero.
func TestSegmentUDPChecksumIsNeverZero(t *testing.T) {
	seen := false
	for port := range 1 << 16 {
		f := parse(t, fmt.Sprintf("10.0.1.10:%d > 10.0.2.20:53 udp len=2 gso=1", port))
		header, _ := f.Segment(1, make([]byte, wire.MaxSegmentHeader), true)
		switch [2]byte(header[l4+6:]) {
		case [2]byte{0, 0}:
			t.Fatalf("port %d: checksum 0", port)
		case [2]byte{0xff, 0xff}:
			seen = true
		}
	}
	if !seen {
		t.Error("no port gives the checksum 0xffff")
	}
}

// cutSlowly cuts b, a superframe as Parse leaves it, field by field and with
// checksums summed a word at a time.
func cutSlowly(b []byte, finish bool) [][]byte {
	size := int(binary.LittleEndian.Uint16(b[4:]))
	at := wire.VirtioSize + int(binary.LittleEndian.Uint16(b[6:])) // the transport header
	field := at + int(binary.LittleEndian.Uint16(b[8:]))
	isTCP := b[1]&0x7f != 5
	front := at + 8
	if isTCP {
		front = at + int(b[at+12]>>4)*4
	}
	var all [][]byte
	for done := 0; done < len(b)-front; done += size {
		n := min(size, len(b)-front-done)
		s := append(bytes.Clone(b[:front]), b[front+done:front+done+n]...)
		if b[l3]>>4 == 4 {
			binary.BigEndian.PutUint16(s[l3+2:], uint16(len(s)-l3))
			binary.BigEndian.PutUint16(s[l3+4:], binary.BigEndian.Uint16(b[l3+4:])+uint16(len(all)))
			mend(s)
		} else {
			binary.BigEndian.PutUint16(s[l3+4:], uint16(len(s)-l4v6))
		}
		if isTCP {
			cutTCP(s[at:], done, done+n == len(b)-front)
		} else {
			binary.BigEndian.PutUint16(s[at+4:], uint16(len(s)-at))
		}
		pseudo := uint64(s[l3+9]) + uint64(len(s)-at)
		addrs := s[l3+12 : l3+20]
		if b[l3]>>4 == 6 {
			pseudo = uint64(s[l3+6]) + uint64(len(s)-at)
			addrs = s[l3+8 : l3+40]
		}
		binary.BigEndian.PutUint16(s[field:], addWords(addrs, pseudo))
		clear(s[:wire.VirtioSize])
		if finish {
			sum := ^addWords(s[at:], 0)
			if sum == 0 && !isTCP {
				sum = 0xffff
			}
			binary.BigEndian.PutUint16(s[field:], sum)
		} else {
			s[0] = 1
			copy(s[6:10], b[6:10])
		}
		all = append(all, s)
	}
	return all
}

// cutTCP makes the TCP header of a superframe that of the segment behind which
// done bytes of payload lie.
func cutTCP(tcp []byte, done int, last bool) {
	seq := binary.BigEndian.Uint32(tcp[4:])
	binary.BigEndian.PutUint32(tcp[4:], seq+uint32(done))
	if done > 0 {
		tcp[13] &= 0x7f // CWR
	}
	if !last {
		tcp[13] &= 0xf6 // PSH, FIN
	}
	if tcp[13]&0x20 == 0 || done == 0 {
		return
	}
	if up := int(binary.BigEndian.Uint16(tcp[18:])); up > done {
		binary.BigEndian.PutUint16(tcp[18:], uint16(up-done))
	} else {
		tcp[13] &= 0xdf // URG
		tcp[18], tcp[19] = 0, 0
	}
}

// addWords adds 16-bit words in ones' complement (RFC 1071).
func addWords(b []byte, sum uint64) uint16 {
	for i, x := range b {
		sum += uint64(x) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// FuzzSegment cuts superframes of all kinds. The segments must be those of the
// slow way, and packets that Parse accepts, in order, with nothing left out.
func FuzzSegment(f *testing.F) {
	f.Add([]byte("abcdefghijklmnopqrstuvwxyz"), uint16(10), uint32(1), uint16(0xffff), uint16(12), uint8(0xff), uint8(3), true, true)
	f.Add(make([]byte, 128), uint16(1), uint32(0xfffffff0), uint16(0), uint16(0), uint8(0x10), uint8(0), false, true)
	f.Add([]byte("odd"), uint16(2), uint32(0), uint16(1), uint16(0), uint8(0), uint8(10), true, false)
	f.Add([]byte{0xff}, uint16(9), uint32(0), uint16(1), uint16(0), uint8(0), uint8(0), false, false)
	f.Fuzz(func(t *testing.T, payload []byte, size uint16, seq uint32, id, urg uint16, flags, optionWords uint8, four, isTCP bool) {
		b := superframe(t, payload, size, seq, id, urg, flags, optionWords, four, isTCP)
		var whole wire.Frame
		if whole.Parse(b, mtu) != policy.None || whole.GSO == wire.GSONone {
			return // too many segments, none at all, or too long ones; no superframe
		}
		finished, partial := segments(t, &whole, true), segments(t, &whole, false)
		compareSegments(t, finished, cutSlowly(b, true))
		compareSegments(t, partial, cutSlowly(b, false))
		var joined []byte
		for i, b := range finished {
			var s, p wire.Frame
			if r := s.Parse(b, mtu); r != policy.None {
				t.Fatalf("segment %d: %v\n%s", i, r, wiretest.Format(b))
			}
			if s.Tuple != whole.Tuple || isTCP && s.TCP.Seq != seq+uint32(len(joined)) || s.Segments != 1 || !s.TransportChecksumOK() {
				t.Errorf("segment %d: %s", i, wiretest.Format(b))
			}
			joined = append(joined, s.Bytes[s.Payload:]...)
			if r := p.Parse(partial[i], mtu); r != policy.None {
				t.Fatalf("segment %d, unfinished: %v\n%s", i, r, wiretest.Format(partial[i]))
			}
			p.FinishChecksum()
			if !bytes.Equal(p.Bytes, b) {
				t.Errorf("segment %d: finished later it is\n%x, at once\n%x", i, p.Bytes, b)
			}
		}
		if !bytes.Equal(joined, payload[:min(len(payload), maxPayload)]) {
			t.Errorf("the segments carry other data than the superframe")
		}
	})
}

const maxPayload = 60000 // bytes of a superframe of the fuzzer

// superframe returns a superframe of the payload, over IPv4 or IPv6, TCP or UDP.
// TCP headers over IPv4 have up to ten words of options.
func superframe(t testing.TB, payload []byte, size uint16, seq uint32, id, urg uint16, flags, optionWords uint8, four, isTCP bool) []byte {
	ends := [2]string{"[fd00::1]:40000", "[fd00::2]:22"}
	if four {
		ends = [2]string{"10.0.1.10:40000", "10.0.2.20:22"}
	}
	protocol := "udp"
	if isTCP {
		protocol = fmt.Sprintf("tcp A seq=%d", seq)
	}
	if len(payload) > maxPayload {
		payload = payload[:maxPayload]
	}
	b := bytesOf(t, fmt.Sprintf("%s > %s %s len=%d gso=%d csum=partial", ends[0], ends[1], protocol, len(payload), size))
	copy(b[len(b)-len(payload):], payload)
	if four {
		ip(4, byte(id>>8), byte(id))(b)
	}
	if isTCP {
		tcp := b[wire.VirtioSize+int(binary.LittleEndian.Uint16(b[6:])):]
		tcp[13] |= flags &^ (wire.SYN | wire.RST)
		binary.BigEndian.PutUint16(tcp[18:], urg)
		if four {
			b = tcpOptions(bytes.Repeat([]byte{1}, int(optionWords%11)*4)...)(b)
		}
	}
	return b
}

// TestSegmentAllocatesNothing holds the promise of 0 allocations a frame.
func TestSegmentAllocatesNothing(t *testing.T) {
	f := parse(t, super)
	head := make([]byte, wire.MaxSegmentHeader)
	if n := testing.AllocsPerRun(100, func() {
		for i := range f.Segments {
			f.Segment(i, head, true)
			f.Segment(i, head, false)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// BenchmarkSegment cuts a superframe of 64 KB: all of its segments are one
// operation.
func BenchmarkSegment(b *testing.B) {
	for _, c := range []struct{ name, text string }{
		{"tcp4", "10.0.1.10:40000 > 10.0.2.20:22 tcp A len=65160 gso=1448"},
		{"tcp6", "[fd00::1]:40000 > [fd00::2]:22 tcp A len=65160 gso=1448"},
		{"udp4", "10.0.1.10:40000 > 10.0.2.20:53 udp len=65400 gso=1200"},
		{"tcp4-jumbo", "10.0.1.10:40000 > 10.0.2.20:22 tcp A len=65160 gso=8949"},
	} {
		for _, finish := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/finish=%v", c.name, finish), func(b *testing.B) {
				f := parse(b, c.text)
				head := make([]byte, wire.MaxSegmentHeader)
				b.SetBytes(int64(len(f.Bytes)))
				b.ReportAllocs()
				for b.Loop() {
					for i := range f.Segments {
						f.Segment(i, head, finish)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*f.Segments), "ns/segment")
			})
		}
	}
}

// A superframe made one packet has the checksum that a packet of its length would.
func TestFinishChecksumOfASuperframe(t *testing.T) {
	for _, text := range []string{
		"10.0.1.10:40000 > 10.0.2.20:22 tcp A seq=101 ack=501 win=512 len=20001 gso=1448",
		"[2001:db8::1]:40000 > [2001:db8::2]:53 udp len=9000 gso=1000",
	} {
		whole, _, _ := strings.Cut(text, " gso=")
		want := wiretest.Bytes(t, wire.MAC{2}, wire.MAC{4}, whole)
		got := wiretest.Bytes(t, wire.MAC{2}, wire.MAC{4}, text)
		var f wire.Frame
		if r := f.Parse(got, 9001); r != policy.None {
			t.Fatalf("%s: %s", text, r)
		}
		f.FinishChecksum()
		if !bytes.Equal(f.Bytes, want) {
			t.Errorf("%s: got\n%x\nwant\n%x", text, f.Bytes[:80], want[:80])
		}
	}
}
