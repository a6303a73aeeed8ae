package wire_test

import (
	"bytes"
	"testing"
	"time"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// BenchmarkParse measures one frame of each kind, and refused ones.
func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, text string }{
		{"tcp", pending},
		{"syn", syn},
		{"super", super},
		{"udp", datagram},
		{"echo", request},
		{"fragment", "10.0.1.10 > 10.0.2.20 udp frag=1480 len=24"},
		{"tcp6", "[fd00::1]:40000 > [fd00::2]:22 tcp A seq=1 len=100"},
		{"tcp6-options", "[fd00::1]:40000 > [fd00::2]:22 tcp A seq=1 len=100 hbh dst"},
		{"fragment6", "fd00::1 > fd00::2 udp frag=1480 len=24"},
		{"nd", neighbor},
		{"arp", whoHas},
		{"refused-checksum", ack + " ipcsum=bad"},
		{"refused-flags", "10.0.1.10:40000 > 10.0.2.20:22 tcp FS"},
	} {
		b.Run(c.name, func(b *testing.B) {
			frame := bytesOf(b, c.text)
			f := new(wire.Frame)
			want := f.Parse(frame, mtu)
			b.ReportAllocs()
			for b.Loop() {
				if f.Parse(frame, mtu) != want {
					b.Fatal("the frame has changed")
				}
			}
		})
	}
}

// BenchmarkParseMalformed prints what frames that look for the most expensive way
// to be refused cost, as a multiple of a good frame of their kind: it should not be
// above 2. Neighbor discovery of 1,440 bytes is the exception, since its checksum is
// verified; as long a frame of any other kind costs as much once it opens a flow.
func BenchmarkParseMalformed(b *testing.B) {
	const headers = "dst dst dst dst dst dst dst dst"
	for _, c := range []struct {
		name, bad string
		edit      edit
		good      string
	}{
		{"ipv4-checksum", ack + " ipcsum=bad", nil, ack},
		{"ipv4-options", ack, options(append(bytes.Repeat([]byte{1}, 38), 7, 40)...), ack},
		{"tcp-flags", "10.0.1.10:40000 > 10.0.2.20:22 tcp FS", nil, syn},
		{"tcp-options", syn, put(l4+20, 1, 1, 1, 2), syn},
		{"nine-extensions", syn6 + " dst " + headers, nil, syn6 + " " + headers},
		{"source-route-last", syn6 + " dst dst dst dst dst dst dst rh0", nil, syn6 + " " + headers},
		{"cut-in-last-extension", syn6 + " " + headers, put(l4v6+7*8+1, 255), syn6 + " " + headers},
		{"tiny-fragment", "[fd00::1]:1 > [fd00::2]:2 udp frag=0,mf " + headers[4:], ends6(8 + 7*8), syn6 + " " + headers},
		{"nd-checksum", neighbor + " csum=bad", nil, neighbor},
		{"nd-17-options", neighbor, moreND(bytes.Repeat([]byte{14, 1, 0, 0, 0, 0, 0, 0}, 16)...), neighbor},
		{"nd-1440-bytes", neighbor, all(moreND(append([]byte{14, 176}, make([]byte, 1406)...)...), put(l4v6+2, 0, 0)), neighbor},
	} {
		b.Run(c.name, func(b *testing.B) {
			bad := bytesOf(b, c.bad)
			if c.edit != nil {
				bad = c.edit(bad)
			}
			good := bytesOf(b, c.good)
			var f wire.Frame
			if r := f.Parse(good, mtu); r != policy.None {
				b.Fatalf("%s: %v", c.good, r)
			}
			if f.Parse(bad, mtu) == policy.None {
				b.Fatal("not refused")
			}
			const rounds = 1000
			var spent [2]time.Duration
			for b.Loop() {
				for i, frame := range [][]byte{bad, good} {
					start := time.Now()
					for range rounds {
						f.Parse(frame, mtu)
					}
					spent[i] += time.Since(start)
				}
			}
			b.ReportMetric(float64(spent[0])/rounds/float64(b.N), "ns/bad")
			b.ReportMetric(float64(spent[1])/rounds/float64(b.N), "ns/good")
			b.ReportMetric(float64(spent[0])/float64(spent[1]), "bad/good")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func BenchmarkTransportChecksumOK(b *testing.B) {
	f := parse(b, "10.0.1.10:1 > 10.0.2.20:2 tcp A len=1448")
	for b.Loop() {
		if !f.TransportChecksumOK() {
			b.Fatal("wrong checksum")
		}
	}
}

func BenchmarkAppendARPReply(b *testing.B) {
	f := parse(b, whoHas)
	buf := make([]byte, 0, 128)
	b.ReportAllocs()
	for b.Loop() {
		buf = wire.AppendARPReply(buf[:0], f, macB)
	}
}

func BenchmarkAppendNeighborAdvertisement(b *testing.B) {
	f := parse(b, neighbor)
	buf := make([]byte, 0, 128)
	b.ReportAllocs()
	for b.Loop() {
		buf = wire.AppendNeighborAdvertisement(buf[:0], f, macB, true)
	}
}

func BenchmarkEchoReply(b *testing.B) {
	frame := bytesOf(b, request)
	f := new(wire.Frame)
	b.ReportAllocs()
	for b.Loop() {
		if f.Parse(frame, mtu) != policy.None {
			b.Fatal("the frame has changed")
		}
		wire.EchoReply(f)
	}
}
