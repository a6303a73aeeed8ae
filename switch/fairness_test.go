package vswitch_test

import (
	"testing"

	"vswitch/port"
)

// burstFrames is how many frames a port may send in one turn.
const burstFrames = 64

// A flooder is a Device that always has another thousand frames waiting. It counts
// what is read from it, and after every so many frames calls between, on the
// worker's goroutine.
type flooder struct {
	*port.Memory
	frame   []byte
	read    int
	between func(read int)
}

func (d *flooder) Read(b []byte) (int, port.Status) {
	n, s := d.Memory.Read(b)
	d.Send(d.frame)
	d.read++
	d.between(d.read)
	return n, s
}

// A patient device tells when a frame is read from it.
type patient struct {
	*port.Memory
	met func()
}

func (d *patient) Read(b []byte) (int, port.Status) {
	n, s := d.Memory.Read(b)
	if s == port.OK {
		d.met()
	}
	return n, s
}

// TestFloodLeavesOthersTheirShare: one port is never empty. A frame of another
// waits for one quantum of the flood at most, whether that port was idle before or
// has been sending all the time. What is asserted are counts, of a running worker.
func TestFloodLeavesOthersTheirShare(t *testing.T) {
	const others, rounds = 2, 500
	v := newVPC(t, 1<<10)
	v.allowAll()
	type sent struct{ at, met int } // how much of the flood had been read then
	var waits [others][]sent
	flood := &flooder{Memory: port.NewMemory(1001, allOffloads), frame: v.datagram("a1", "b1", 40000, 0)}
	for range 1000 {
		flood.Send(flood.frame)
	}
	names := [others]string{"a2", "b2"}
	frames := [others][]byte{v.datagram("a2", "m1", 40000, 0), v.datagram("b2", "m1", 40000, 0)}
	var ports [others]*patient
	for i, name := range names {
		ports[i] = &patient{port.NewMemory(64, allOffloads), func() { waits[i][len(waits[i])-1].met = flood.read }}
		v.must(v.sw.Attach(name, ports[i]))
	}
	// a2 has always one frame waiting. b2 sends now and then, after pauses in which
	// it is idle, of a length that no period of the worker divides.
	done := make(chan struct{})
	send := func(i, read int) {
		waits[i] = append(waits[i], sent{at: read})
		ports[i].Send(frames[i])
	}
	flood.between = func(read int) {
		if w := waits[0]; len(w) == 0 || w[len(w)-1].met > 0 {
			send(0, read)
		}
		if w := waits[1]; read%397 == 0 && len(w) < rounds && (len(w) == 0 || w[len(w)-1].met > 0) {
			if send(1, read); len(waits[1]) == rounds {
				close(done)
			}
		}
	}
	v.must(v.sw.Attach("a1", flood))
	v.must(v.sw.Start())
	<-done
	v.must(v.sw.Close()) // and with it, all of the above has happened
	for i, name := range names {
		longest := 0
		for _, s := range waits[i][:len(waits[i])-1] {
			if s.met == 0 {
				t.Fatalf("%s: a frame was never read", name)
			}
			longest = max(longest, s.met-s.at)
		}
		if longest > burstFrames {
			t.Errorf("%s: a frame waited for %d frames of the flood, want %d at most", name, longest, burstFrames)
		}
		if len(waits[i]) < rounds {
			t.Errorf("%s sent %d frames, want %d", name, len(waits[i]), rounds)
		}
	}
}
