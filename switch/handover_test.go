package vswitch_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/port"
)

// TestHandoverKeepsOrder holds a handover against a plain queue: frames of all
// lengths come out as they went in, and one is refused only if there is no room.
func TestHandoverKeepsOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	h := vswitch.NewHandover()
	type item struct {
		in    uint32
		frame []byte
	}
	var want []item
	used, refused := 0, 0
	size := func(frame []byte) int { return vswitch.ParcelSize + (len(frame)+7)&^7 }
	for i := range 20000 {
		if r.IntN(2) == 0 || i%4000 < 1000 { // now and then it fills up
			n := r.IntN(200)
			if r.IntN(4) == 0 {
				n = r.IntN(wire.MaxFrame)
			}
			frame := bytes.Repeat([]byte{byte(i)}, n)
			ok := h.Put(uint32(i), frame)
			switch {
			case ok:
				want = append(want, item{uint32(i), frame})
				used += size(frame)
			// The end of the ring may be too short for a frame, and is lost then.
			case used+size(frame)+vswitch.ParcelSize+wire.MaxFrame+8 <= vswitch.HandoverSize:
				t.Fatalf("frame of %d bytes refused with %d bytes in use", n, used)
			default:
				refused++
			}
			if used > vswitch.HandoverSize {
				t.Fatalf("%d bytes in use", used)
			}
			continue
		}
		ok := h.Take(func(in uint32, frame []byte) {
			if len(want) == 0 || in != want[0].in || !bytes.Equal(frame, want[0].frame) {
				t.Fatalf("step %d: took frame %d of %d bytes, which is not the oldest", i, in, len(frame))
			}
			clear(frame) // it is the taker's to change
			used -= size(want[0].frame)
			want = want[1:]
		})
		if !ok && len(want) > 0 {
			t.Fatalf("step %d: took nothing, but %d frames wait", i, len(want))
		}
	}
	if refused == 0 {
		t.Error("the handover was never full")
	}
}

// ownerOfPair returns the number of the worker that owns the traffic between two
// addresses.
func ownerOfPair(a, b netip.Addr, workers int) int {
	x, y := wire.AddrFrom(a), wire.AddrFrom(b)
	return int(port.Steer(&x, &y)) % workers
}

// pair returns two instances of the fixture whose traffic the numbered one of
// several workers owns.
func (v *vpc) pair(worker, workers int, among ...string) (a, b string) {
	v.t.Helper()
	for _, a := range among {
		for _, b := range among {
			if a != b && v.ownerOf(a, b, workers) == worker {
				return a, b
			}
		}
	}
	v.fatalf("no two of %v whose traffic worker %d owns", among, worker)
	return "", ""
}

// ownerOf returns the number of the worker that owns the IPv4 traffic between two
// instances.
func (v *vpc) ownerOf(a, b string, workers int) int {
	return ownerOfPair(v.iface(a).Addresses[0], v.iface(b).Addresses[0], workers)
}

// all are the instances of the fixture.
func all() (names []string) {
	for _, m := range members {
		names = append(names, m.name)
	}
	return names
}

// allowAll lets everything of the VPC in everywhere.
func (v *vpc) allowAll() {
	v.t.Helper()
	for _, m := range members {
		v.authorize(m.name, "in", []string{"all", "10.0.0.0/16"})
		v.authorize(m.name, "in", []string{"all", "2001:db8:a::/56"})
	}
	v.apply()
}

// datagram returns a UDP frame between two instances, with a number in it.
func (v *vpc) datagram(from, to string, port, n int) []byte {
	v.t.Helper()
	b := v.frame(from, v.iface(from).Addresses[0].String()+":"+itoa(port)+" > "+v.iface(to).Addresses[0].String()+":53 udp len=8 csum=partial")
	binary.BigEndian.PutUint64(b[len(b)-8:], uint64(n)) // which a partial checksum leaves out
	return b
}

// TestWatchOfAFrameHandedOver: a capture shows a frame once, as it came, although
// two workers saw it.
func TestWatchOfAFrameHandedOver(t *testing.T) {
	v := newCrew(t, 1<<10, 3, func(frame []byte) uint16 { return port.SteerFrame(frame) + 1 })
	v.open()
	x := v.watch(vswitch.WatchOptions{})
	b := append(v.frame("a1", "10.0.1.10:40000 > 10.0.2.20:53 udp len=5 csum=partial"), 1, 2, 3) // with padding
	b[10] = 7                                                                                    // num_buffers, which means nothing here, and which the switch clears
	v.play("a1", b)
	v.play("a1", v.frame("a1", "10.0.1.10:40000 > 10.0.2.20:54 udp len=5"))
	seen := v.read(x)
	if got, want := story(seen), "a1 >\n> b1\na1 > SG_INGRESS sg g-b1 ingress: no rule ((default))\n"; got != want {
		t.Fatalf("got\n%swant\n%s", got, want)
	}
	if !bytes.Equal(seen[0].Bytes, b) {
		t.Errorf("seen as\n%x, sent as\n%x", seen[0].Bytes, b)
	}
	if n := v.sw.Status().HandedOver; n != 2 {
		t.Errorf("%d frames handed over, want 2", n)
	}
}

// TestHandedOverFrameOfARemovedInstance: what a removed instance had sent is
// forgotten when Apply returns, and does not come back as something of the
// instance that gets its handle.
func TestHandedOverFrameOfARemovedInstance(t *testing.T) {
	v := newCrew(t, 1<<10, 2, port.SteerFrame)
	v.allowAll()
	from, to := v.pair(1, 2, all()...)
	b := v.datagram(from, to, 40000, 1)
	replace := func(old, name string) {
		t.Helper()
		v.config.Instances = slices.Clone(v.config.Instances)
		i := slices.IndexFunc(v.config.Instances, func(in vswitch.Instance) bool { return in.Name == old })
		if name == "" {
			v.config.Instances = slices.Delete(v.config.Instances, i, i+1)
		} else {
			v.config.Instances = append(v.config.Instances, vswitch.Instance{Name: name, Subnet: "M", IP: netip.MustParseAddr("10.0.3.77"), SecurityGroups: []string{"g-m1"}})
		}
		v.must(v.sw.Apply(v.config, nil))
	}
	before := v.sw.Status().Totals.Delivered
	v.sw.HandOver(0, 1, from, b, 0)
	replace(from, "")
	if got := v.sw.Status().Totals; got.Delivered != before || got.Dropped() != 0 {
		t.Errorf("the frame met something after its sender was removed: %s", describe(&got))
	}
	replace("", "other") // which gets the handle
	v.sw.Step()
	for _, p := range v.sw.Status().Ports {
		if p.Instance == "other" && (p.Counters != vswitch.Counters{}) {
			t.Errorf("the new instance is charged with the old one's frame: %s", describe(&p.Counters))
		}
	}
}

// TestHandedOverFramesAcrossApply: what has been handed over is forwarded by the
// time that Apply returns, by the new rules.
func TestHandedOverFramesAcrossApply(t *testing.T) {
	v := newCrew(t, 1<<10, 2, port.SteerFrame)
	v.allowAll()
	from, to := v.pair(1, 2, all()...)
	v.sw.HandOver(0, 1, from, v.datagram(from, to, 40000, 1), 0)
	v.must(v.sw.Apply(v.config, nil))
	if n := v.sw.Status().Totals.Delivered; n != 1 {
		t.Errorf("%d frames delivered when Apply has returned, want 1", n)
	}
	v.sw.HandOver(0, 1, from, v.datagram(from, to, 40001, 1), 0)
	*v.rules(to, "in") = nil
	v.apply()
	if n := v.sw.Status().Totals.Drops[policy.SGIngress]; n != 1 {
		t.Errorf("%d frames denied by the new rules, want 1", n)
	}
}

// TestHandedOverFrameOfANewerPlane: a frame waits until its owner has adopted the
// plane by which it was read, whose interfaces the owner may not know before.
func TestHandedOverFrameOfANewerPlane(t *testing.T) {
	v := newCrew(t, 1<<10, 2, port.SteerFrame)
	v.allowAll()
	from, to := v.pair(1, 2, all()...)
	v.sw.HandOver(0, 1, from, v.datagram(from, to, 40000, 1), 1)
	v.sw.HandOver(0, 1, from, v.datagram(from, to, 40000, 2), 0) // behind it
	v.sw.Step()
	if n := v.sw.Status().Totals.Delivered; n != 0 {
		t.Errorf("%d frames delivered before the owner has the plane, want 0", n)
	}
	v.must(v.sw.Apply(v.config, nil))
	if n := v.sw.Status().Totals.Delivered; n != 2 {
		t.Errorf("%d frames delivered then, want 2", n)
	}
}

// TestErrorOnItsWayAcrossApply: an ICMP error that has to change hands twice has
// met its fate when Apply returns, whichever of its workers comes first.
func TestErrorOnItsWayAcrossApply(t *testing.T) {
	const workers = 3
	v := newCrew(t, 1<<10, workers, port.SteerFrame)
	v.allowAll()
	sent := uint64(0)
	for _, a := range members {
		for _, b := range members {
			for _, c := range members {
				owner, witness := v.ownerOf(a.name, c.name, workers), v.ownerOf(a.name, b.name, workers)
				if a.name == b.name || a.name == c.name || b.name == c.name || owner == witness {
					continue
				}
				frame := v.frame(c.name, c.address+" > "+a.address+" icmp 3/1 about "+a.address+":40000 > "+b.address+":53 udp")
				v.sw.HandOver(owner, witness, c.name, frame, 0)
				v.must(v.sw.Apply(v.config, nil))
				if sent++; v.sw.Status().Totals.Delivered != sent {
					t.Fatalf("from worker %d to %d and back: not delivered when Apply had returned", owner, witness)
				}
				for _, p := range v.ports {
					p.Receive(make([]byte, wire.MaxFrame))
				}
			}
		}
	}
	if sent < 10 {
		t.Errorf("%d errors were sent: the test shows little", sent)
	}
}
