package vswitch

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestSightRingIsAQueue holds a ring against a queue: what was published comes out
// as it was, in order and once, whatever its size and however full the ring is;
// what was refused does not; and what waits is never written over.
func TestSightRingIsAQueue(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{1 << 10, 1000, 4096} {
		r := newSightRing(size, make(chan struct{}, 1))
		var queue [][]byte // published
		var open [][]byte  // not yet
		refused, number := 0, uint32(0)
		for range 20_000 {
			switch random.IntN(5) {
			case 0, 1:
				b := make([]byte, random.IntN(size/3))
				for i := range b {
					b[i] = byte(number) + byte(i)
				}
				number++
				s := sight{kept: uint32(len(b)), port: number}
				if room := r.reserve(&s); room != nil {
					copy(room, b)
					s.port++
					r.amend(r.last, &s)
					open = append(open, b)
				} else {
					refused++
				}
			case 2:
				r.publish()
				queue, open = append(queue, open...), nil
			default:
				s, b, ok := r.front()
				if ok != (len(queue) > 0) {
					t.Fatalf("size %d: a record: %v, %d wait", size, ok, len(queue))
				}
				if !ok {
					break
				}
				if !bytes.Equal(b, queue[0]) || len(b) > 0 && b[0] != byte(s.port-2) {
					t.Fatalf("size %d: a record of %d bytes came out as %d others", size, len(queue[0]), len(b))
				}
				r.pop(&s)
				queue = queue[1:]
			}
		}
		if refused == 0 || number < 5000 {
			t.Errorf("size %d: %d of %d records were refused: the test does not try enough", size, refused, number)
		}
	}
}
