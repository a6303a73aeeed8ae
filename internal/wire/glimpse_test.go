package wire_test

import (
	"testing"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// Glimpse of the frames of these tests, and of each of their beginnings, which it must
// survive.
func TestGlimpse(t *testing.T) {
	for text, usual := range map[string]bool{
		"10.0.1.10:40000 > 10.0.2.20:53 udp len=3":     true,
		"10.0.1.10:40000 > 10.0.2.20:22 tcp A len=100": true,
		syn6:                                true,
		"[fd00::1]:1 > [fd00::2]:2 udp hbh": false,
		"10.0.1.10 > 10.0.2.20 udp frag=1480 mf len=8": false,
		"10.0.1.10 > 10.0.2.20 icmp echo-request id=7": false,
		"10.0.1.10 > 10.0.2.20 proto 47 len=8":         false,
		whoHas:                                         false,
	} {
		b := bytesOf(t, text)
		for n := range b {
			wire.Glimpse(b[:n])
		}
		got, ok := wire.Glimpse(b)
		var f wire.Frame
		if r := f.Parse(b, mtu); r != policy.None {
			t.Fatalf("%s: %v", text, r)
		}
		if ok != usual || ok && got != f.Tuple {
			t.Errorf("%s: %v, %v", text, got, ok)
		}
	}
}
