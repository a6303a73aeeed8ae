package e2e

import (
	"encoding/hex"
	"net"
	"strings"
	"testing"

	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

// arrived ends a watch and returns the frames it saw, as lines of wiretest.
func arrived(t *testing.T, watch *program) []string {
	t.Helper()
	lines, _ := watch.end()
	var frames []string
	for _, line := range lines {
		_, digits, _ := strings.Cut(line, " ")
		b, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatalf("watch says %q: %v", line, err)
		}
		frames = append(frames, wiretest.Format(append(make([]byte, wire.VirtioSize), b...)))
	}
	return frames
}

// mac returns the MAC address of an instance.
func (l *lab) mac(name string) wire.MAC {
	l.t.Helper()
	for _, i := range l.status().Instances {
		if i.Name == name {
			mac, err := net.ParseMAC(i.MAC)
			if err != nil || len(mac) != 6 {
				l.t.Fatalf("status gives %s the MAC %q", name, i.MAC)
			}
			return wire.MAC(mac)
		}
	}
	l.t.Fatalf("status lists no instance %s", name)
	return wire.MAC{}
}

// An instance that sends with another's MAC or address gets nothing through, nor
// does it with what no VPC carries; each frame is counted under its own reason.
// mallory's own honest frame, sent last, does arrive: it shows that the others
// would have.
func TestNothingSpoofedArrives(t *testing.T) {
	t.Parallel()
	const open = `
[vpc]
name = "test"
cidr = "10.8.0.0/16"

[subnet.main]
cidr = "10.8.0.0/24"

[security_group.open]
ingress = [{ proto = "all", from = "10.8.0.0/16" }]

[instance.alice]
subnet = "main"
ip     = "10.8.0.10"
sg     = ["open"]

[instance.bob]
subnet = "main"
ip     = "10.8.0.11"
sg     = ["open"]

[instance.mallory]
subnet = "main"
ip     = "10.8.0.66"
sg     = ["open"]
`
	l := startLab(t, open)
	alice, bob, mallory := l.mac("alice"), l.mac("bob"), l.mac("mallory")
	all := wire.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	watchers := map[string]*program{"alice": l.start("alice", "watch"), "bob": l.start("bob", "watch")}
	raw := l.start("mallory", "send")
	send := func(b []byte) {
		raw.say(hex.EncodeToString(b[wire.VirtioSize:]))
		raw.expect("sent")
	}
	tagged := wiretest.Bytes(t, mallory, bob, "10.8.0.66:4000 > 10.8.0.11:9000 udp len=20")
	tagged = append(tagged[:wire.VirtioSize+12:wire.VirtioSize+12], append([]byte{0x81, 0, 0, 0}, tagged[wire.VirtioSize+12:]...)...)

	for _, c := range []struct {
		name   string
		frame  []byte
		reason string
	}{
		{"alice's MAC", wiretest.Bytes(t, alice, bob, "10.8.0.66:4000 > 10.8.0.11:9000 udp len=20"), "SOURCE_MAC"},
		{"alice's address", wiretest.Bytes(t, mallory, bob, "10.8.0.10:4000 > 10.8.0.11:9000 udp len=20"), "SOURCE_ADDRESS"},
		{"alice's MAC and address", wiretest.Bytes(t, alice, bob, "10.8.0.10:4000 > 10.8.0.11:9000 udp len=20"), "SOURCE_MAC"},
		{"alice's address in a SYN", wiretest.Bytes(t, mallory, bob, "10.8.0.10:4000 > 10.8.0.11:9000 tcp S"), "SOURCE_ADDRESS"},
		{"the router's address", wiretest.Bytes(t, mallory, bob, "10.8.0.1 > 10.8.0.11 icmp echo-request id=7 seq=1"), "SOURCE_ADDRESS"},
		{"alice's address, announced", wiretest.Bytes(t, mallory, all, "arp who-has 10.8.0.10 tell 10.8.0.10"), "ARP_SPOOFED"},
		{"a broadcast", wiretest.Bytes(t, mallory, all, "10.8.0.66:4000 > 10.8.0.255:9000 udp len=20"), "BROADCAST"},
		{"a VLAN tag", tagged, "ETHERTYPE_TAGGED"},
	} {
		before := l.status().Drops
		send(c.frame)
		eventually(t, c.name+" is dropped for "+c.reason, func() bool { return l.status().Drops[c.reason] == before[c.reason]+1 })
		for reason, n := range l.status().Drops {
			if reason != c.reason && n != before[reason] {
				t.Errorf("%s: dropped for %s too", c.name, reason)
			}
		}
	}

	const honest = "10.8.0.66:4000 > 10.8.0.11:9001 udp"
	send(wiretest.Bytes(t, mallory, bob, honest+" len=20"))
	first := watchers["bob"].line()
	_, digits, _ := strings.Cut(first, " ")
	b, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatalf("watch says %q: %v", first, err)
	}
	if got := wiretest.Format(append(make([]byte, wire.VirtioSize), b...)); !strings.HasPrefix(got, honest) {
		t.Errorf("the first frame that bob sees is %s, want the honest %s", got, honest)
	}
	for name, watcher := range watchers {
		for _, frame := range arrived(t, watcher) {
			if !strings.HasPrefix(frame, "arp ") { // the switch's answers to questions of their own
				t.Errorf("%s sees %s", name, frame)
			}
		}
	}
}
