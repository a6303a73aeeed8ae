package vswitch_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
	"vswitch/port"
)

// A tallied queue counts what is read from it, and holds every frame against the
// hash by which the kernel should have chosen it.
type tallied struct {
	*port.TAP
	queue, queues int
	read, wrong   atomic.Int64
}

func (d *tallied) Read(b []byte) (int, port.Status) {
	n, s := d.TAP.Read(b)
	if s == port.OK {
		d.read.Add(1)
		if int(port.SteerFrame(b[:n]))%d.queues != d.queue {
			d.wrong.Add(1)
		}
	}
	return n, s
}

// TestWorkersBetweenRealKernels runs two workers on TAPs of two queues: streams
// between four namespaces arrive unharmed, both workers read frames, and the
// kernels steer each to the one that owns it.
func TestWorkersBetweenRealKernels(t *testing.T) {
	const workers = 2
	names := []string{"a1", "a2", "b1", "b2"}
	c := fixture()
	c.VPC.MTU = 1500
	for i := range c.SecurityGroups {
		for _, block := range []string{"10.0.0.0/16", "2001:db8:a::/56"} {
			c.SecurityGroups[i].Ingress = append(c.SecurityGroups[i].Ingress,
				vswitch.SecurityGroupRule{Service: policy.AllTraffic, Peer: vswitch.Peer{Prefix: netip.MustParsePrefix(block)}})
		}
	}
	full, err := vswitch.Complete(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	kernels := map[string]*kernel{}
	var queues [workers][]*tallied
	devices := map[string][]port.Device{}
	for _, name := range names {
		k := newKernelOf(t, full.Interface(name), workers)
		kernels[name] = k
		for i, tap := range k.taps {
			d := &tallied{TAP: tap, queue: i, queues: workers}
			queues[i] = append(queues[i], d)
			devices[name] = append(devices[name], d)
		}
	}
	sw, err := vswitch.New(c, vswitch.WithWorkers(workers), vswitch.WithDevices(devices))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sw.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := sw.Start(); err != nil {
		t.Fatal(err)
	}

	const size = 4 << 20
	var wg sync.WaitGroup
	owned := [workers]bool{}
	listener := 5000
	for i, a := range names {
		for _, b := range names[i+1:] {
			for family := range 2 {
				from, to := full.Interface(a).Addresses[family], full.Interface(b).Addresses[family]
				owned[ownerOfPair(from, to, workers)] = true
				listener++
				address := netip.AddrPortFrom(to, uint16(listener)).String()
				wg.Go(func() { exchangeStream(t, kernels[a], kernels[b], address, size) })
			}
		}
	}
	wg.Wait()
	if slices.Contains(owned[:], false) {
		t.Fatalf("the streams belong to the workers %v: the test shows nothing", owned)
	}
	for i, all := range queues {
		read := int64(0)
		for _, d := range all {
			read += d.read.Load()
			if n := d.wrong.Load(); n > 0 {
				t.Errorf("queue %d: %d of %d frames should have come by another", i, n, d.read.Load())
			}
		}
		if read < 100 {
			t.Errorf("%d frames came by the queues %d", read, i)
		}
	}
	st := sw.Status()
	if st.HandedOver != 0 {
		t.Errorf("%d frames of %d were handed over", st.HandedOver, st.Totals.RxFrames)
	}
	for _, k := range kernels {
		if n := k.badSums(); n > 0 {
			t.Errorf("a kernel counted %d wrong checksums", n)
		}
	}
	conns, err := sw.Connections("")
	if err != nil || len(conns) == 0 {
		t.Errorf("%d connections, %v", len(conns), err)
	}
	var twice []string
	for _, c := range conns {
		twice = append(twice, fmt.Sprint(c.Instance, " ", c.Tuple))
	}
	slices.Sort(twice)
	if n := len(slices.Compact(slices.Clone(twice))); n != len(twice) {
		t.Errorf("connections are kept by several workers:\n%s", strings.Join(twice, "\n"))
	}
}
