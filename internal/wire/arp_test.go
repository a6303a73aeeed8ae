package wire_test

import (
	"bytes"
	"testing"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

// TestAppendARPReply checks the answer byte for byte: it says no more than was
// asked, and holds nothing of what the buffer held before (V7).
func TestAppendARPReply(t *testing.T) {
	router := wire.MAC{0x02, 0, 0, 0, 0, 0x01}
	for _, c := range []struct{ ask, answer string }{
		{whoHas, "arp reply 10.0.1.1 is-at 02:00:00:00:00:01 tell 10.0.1.10"},
		{"arp who-has 10.0.1.1 tell 0.0.0.0", "arp reply 10.0.1.1 is-at 02:00:00:00:00:01 tell 0.0.0.0"},
	} {
		buf := bytes.Repeat([]byte{0xee}, 128)
		f := parse(t, c.ask)
		got := wire.AppendARPReply(buf[:0], f, router)
		want := append(wiretest.Bytes(t, router, macA, c.answer), make([]byte, 18)...)
		if !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", c.ask, got, want)
		}
		var reply wire.Frame
		if r := reply.Parse(got, mtu); r != policy.None || reply.ARP.Op != wire.ARPReply || reply.Dst != macA {
			t.Errorf("%s: the answer parses as %v, %+v", c.ask, r, reply.ARP)
		}
	}
}

// TestAppendARPReplyAppends checks that what dst holds stays.
func TestAppendARPReplyAppends(t *testing.T) {
	got := wire.AppendARPReply([]byte("before"), parse(t, whoHas), macB)
	if !bytes.HasPrefix(got, []byte("before")) || len(got) != len("before")+wire.VirtioSize+60 {
		t.Errorf("%d bytes: %x", len(got), got)
	}
}
