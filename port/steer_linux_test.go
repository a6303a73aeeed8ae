package port

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"vswitch/internal/wire"
)

// The kernel's queue is ours for every frame: the program computes what SteerFrame
// does, and the queues come out of OpenTAP in the driver's order.
func TestTAPSteersAsSteerFrameDoes(t *testing.T) {
	const frames = 300
	for _, queues := range []int{2, 3, 5} {
		isolated := t.Run("", func(t *testing.T) {
			isolate(t)
			taps := openUp(t, "vst-port-0", queues)
			vm := newInstance(t, "vst-port-0")
			r := rand.New(rand.NewPCG(5, uint64(queues)))
			perQueue := make([]int, queues)
			for i := range frames {
				var f []byte
				switch i % 4 {
				case 0, 1:
					f = append(packet4(random4(r), random4(r)), make([]byte, r.IntN(1400))...)
				case 2:
					f = append(packet6(random6(r), random6(r)), make([]byte, r.IntN(1400))...)
				case 3: // neither, with something where the addresses would be
					f = packet6(random6(r), random6(r))
					binary.BigEndian.PutUint16(f[wire.VirtioSize+etherTypeAt:], 0x88b5)
				}
				f[wire.VirtioSize] = 0x02 // a unicast destination
				vm.send(t, f)
				want := int(SteerFrame(f)) % queues
				read(t, taps[want])
				perQueue[want]++
				for q, tap := range taps {
					if _, s := tap.Read(make([]byte, wire.MaxFrame)); s != Empty {
						t.Fatalf("queue %d has a frame more, that queue %d had", q, want)
					}
				}
			}
			for q, n := range perQueue {
				if n == 0 {
					t.Errorf("queue %d of %d got nothing: %v", q, queues, perQueue)
				}
			}
		})
		if !isolated {
			return
		}
	}
}

func TestCheckSteering(t *testing.T) {
	requireRoot(t)
	if err := CheckSteering(); err != nil {
		t.Error(err)
	}
}
