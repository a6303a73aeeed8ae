package wire_test

import (
	"testing"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// BenchmarkParse measures one frame of each kind, and refused ones: they must not
// cost more than twice an accepted one.
func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, text string }{
		{"tcp", pending},
		{"syn", syn},
		{"super", super},
		{"udp", datagram},
		{"echo", request},
		{"fragment", "10.0.1.10 > 10.0.2.20 udp frag=1480 len=24"},
		{"tcp6", "[fd00::1]:40000 > [fd00::2]:22 tcp A seq=1 len=100"},
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
