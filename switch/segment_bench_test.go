package vswitch_test

import (
	"testing"

	"vswitch/port"
)

// A plainmill is a treadmill that does not take all kinds of superframes.
type plainmill struct {
	*treadmill
	offloads port.Offloads
}

func (d *plainmill) Offloads() port.Offloads { return d.offloads }

// bulk are frames of about 64 KB, one of each kind.
var bulk = []struct {
	name                string
	source, destination string
	packet              string
	segments            int
}{
	{"tso4", "10.0.1.10:40000", "10.0.2.20:22", "tcp A seq=101 ack=501 win=512 len=65160 gso=1448", 45},
	{"tso6", "[2001:db8:a:1::10]:40000", "[2001:db8:a:2::20]:22", "tcp A seq=101 ack=501 win=512 len=64260 gso=1428", 45},
	{"uso", "10.0.1.10:40000", "10.0.2.20:22", "udp len=65160 gso=1448", 45},
}

// BenchmarkSegment forwards a superframe, one operation, to a port that takes it
// whole, to one that takes no superframes, and to one that wants the checksums
// finished as well.
func BenchmarkSegment(b *testing.B) {
	for _, f := range bulk {
		for _, c := range []struct {
			name     string
			offloads port.Offloads
			frames   int
		}{
			{"whole", allOffloads, 1},
			{"checksums left", port.Offloads{Checksum: true}, f.segments},
			{"checksums finished", port.Offloads{}, f.segments},
		} {
			b.Run(f.name+"/"+c.name, func(b *testing.B) {
				sw, ports := benchSwitch(b, 10, 1<<10)
				to := &plainmill{ports["b1"], c.offloads}
				if err := sw.Attach("b1", to); err != nil {
					b.Fatal(err)
				}
				a1 := ports["a1"]
				handshake(b, sw, a1, to.treadmill, f.source, f.destination)
				sent := routed(b, sw, "a1", f.source+" > "+f.destination+" "+f.packet)
				a1.frames, a1.left, to.taken = [][]byte{sent}, b.N, 0
				b.SetBytes(int64(len(sent)))
				b.ReportAllocs()
				b.ResetTimer()
				sw.Step()
				b.StopTimer()
				if to.taken != b.N*c.frames {
					b.Fatalf("%d frames arrived, want %d", to.taken, b.N*c.frames)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*f.segments), "ns/segment")
			})
		}
	}
}

var _ port.Device = (*plainmill)(nil)
