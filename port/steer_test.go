package port

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"vswitch/internal/wire"
)

// packet4 and packet6 return frames without payload, as far as steering looks.
func packet4(src, dst wire.Addr) []byte {
	f := plain(wire.VirtioSize+addresses4End, 0)
	binary.BigEndian.PutUint16(f[wire.VirtioSize+etherTypeAt:], etherTypeIPv4)
	copy(f[wire.VirtioSize+source4At:], src[12:])
	copy(f[wire.VirtioSize+destination4At:], dst[12:])
	return f
}

func packet6(src, dst wire.Addr) []byte {
	f := plain(wire.VirtioSize+addresses6End, 0)
	binary.BigEndian.PutUint16(f[wire.VirtioSize+etherTypeAt:], etherTypeIPv6)
	copy(f[wire.VirtioSize+source6At:], src[:])
	copy(f[wire.VirtioSize+destination6At:], dst[:])
	return f
}

func random4(r *rand.Rand) wire.Addr {
	return wire.AddrFrom4(binary.BigEndian.AppendUint32(nil, r.Uint32()))
}

func random6(r *rand.Rand) (a wire.Addr) {
	binary.BigEndian.PutUint64(a[:], r.Uint64())
	binary.BigEndian.PutUint64(a[8:], r.Uint64())
	return a
}

func TestSteerIsTheSameInBothDirections(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		for _, random := range []func(*rand.Rand) wire.Addr{random4, random6} {
			a, b := random(r), random(r)
			if x, y := Steer(&a, &b), Steer(&b, &a); x != y {
				t.Fatalf("%v and %v: %#x one way, %#x the other", a, b, x, y)
			}
		}
	}
}

// A frame is steered by its addresses and by nothing else of it; one that is cut
// off before their end, or that is neither IPv4 nor IPv6, goes to queue 0.
func TestSteerFrame(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		a, b := random4(r), random4(r)
		c, d := random6(r), random6(r)
		for _, frame := range []struct {
			bytes []byte
			want  uint16
		}{{packet4(a, b), Steer(&a, &b)}, {packet6(c, d), Steer(&c, &d)}} {
			if got := SteerFrame(frame.bytes); got != frame.want {
				t.Fatalf("% x: %#x, want %#x", frame.bytes, got, frame.want)
			}
			for n := range len(frame.bytes) {
				if got := SteerFrame(frame.bytes[:n]); got != 0 {
					t.Fatalf("the first %d bytes of % x: %#x, want 0", n, frame.bytes, got)
				}
			}
		}
	}
	arp := packet4(random4(r), random4(r))
	binary.BigEndian.PutUint16(arp[wire.VirtioSize+etherTypeAt:], 0x0806)
	if got := SteerFrame(arp); got != 0 {
		t.Errorf("ARP: %#x, want 0", got)
	}
}

// Pairs of addresses as VPCs have them are spread over the queues: no queue gets
// more than twice its share.
func TestSteerSpreads(t *testing.T) {
	host := func(subnet, n int) wire.Addr {
		return wire.AddrFrom(netip.AddrFrom4([4]byte{10, 0, byte(subnet), byte(n)}))
	}
	host6 := func(subnet, n int) wire.Addr {
		return wire.AddrFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8:a:%x::%x", subnet, n)))
	}
	const hosts = 240
	for name, pair := range map[string]func(i int) (a, b wire.Addr){
		"many clients of one server":        func(i int) (a, b wire.Addr) { return host(1, 4+i), host(2, 10) },
		"many clients of one server, IPv6":  func(i int) (a, b wire.Addr) { return host6(1, 4+i), host6(2, 10) },
		"each with its like in a subnet":    func(i int) (a, b wire.Addr) { return host(1, 4+i), host(2, 4+i) },
		"each with its like in IPv6":        func(i int) (a, b wire.Addr) { return host6(1, 4+i), host6(2, 4+i) },
		"each with its neighbour":           func(i int) (a, b wire.Addr) { return host(1, 4+i), host(1, 5+i) },
		"one host and its like in a subnet": func(i int) (a, b wire.Addr) { return host(i, 10), host(i+1, 10) },
		"mirrored in one subnet":            func(i int) (a, b wire.Addr) { return host(1, 4+i), host(1, 250-i) },
	} {
		for _, queues := range []int{2, 3, 4, 8} {
			var count [8]int
			for i := range hosts {
				a, b := pair(i)
				count[int(Steer(&a, &b))%queues]++
			}
			for q, n := range count[:queues] {
				if n > 2*hosts/queues {
					t.Errorf("%s: queue %d of %d has %d of %d pairs: %v", name, q, queues, n, hosts, count[:queues])
				}
			}
		}
	}
}
