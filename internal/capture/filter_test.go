package capture

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

var names = Names{
	Hosts: map[string][]netip.Prefix{
		"web1": {netip.MustParsePrefix("10.0.1.10/32"), netip.MustParsePrefix("2001:db8::10/128")},
		"app1": {netip.MustParsePrefix("10.0.2.10/32")},
	},
	Nets: map[string][]netip.Prefix{"private": {netip.MustParsePrefix("10.0.2.0/24")}},
}

var (
	senderMAC   = wire.MAC{2, 0, 0, 0, 0, 1}
	receiverMAC = wire.MAC{2, 0, 0, 0, 0, 2}
)

// frameOf returns a frame without its virtio header.
func frameOf(t testing.TB, text string) []byte {
	t.Helper()
	return wiretest.Bytes(t, senderMAC, receiverMAC, text)[wire.VirtioSize:]
}

const (
	syn    = "10.0.1.10:40000 > 10.0.2.10:443 tcp S seq=1"
	dns    = "10.0.2.10:5353 > 10.0.9.9:53 udp len=20"
	ping   = "10.0.1.10 > 10.0.2.10 icmp echo-request id=1"
	syn6   = "[2001:db8::10]:40000 > [2001:db8::20]:443 tcp S seq=1"
	ping6  = "2001:db8::10 > 2001:db8::20 icmpv6 echo-request id=1"
	whoHas = "arp who-has 10.0.1.1 tell 10.0.1.10"
	gre    = "10.0.1.10 > 10.0.2.10 proto 47"
)

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		filter   string
		yes, not []string
	}{
		{"", []string{syn, dns, ping, syn6, ping6, whoHas}, nil},
		{"tcp", []string{syn, syn6}, []string{dns, ping, ping6, whoHas}},
		{"udp", []string{dns}, []string{syn, ping}},
		{"icmp", []string{ping}, []string{ping6, syn}},
		{"icmp6", []string{ping6}, []string{ping, syn6}},
		{"arp", []string{whoHas}, []string{syn}},
		{"ip", []string{syn, dns, ping}, []string{syn6, whoHas}},
		{"ip6", []string{syn6, ping6}, []string{syn, whoHas}},
		{"host 10.0.1.10", []string{syn, ping, whoHas}, []string{dns, syn6}},
		{"10.0.1.10", []string{syn, ping, whoHas}, []string{dns}},
		{"host web1", []string{syn, ping, whoHas, syn6}, []string{dns}},
		{"web1 and app1", []string{syn, ping}, []string{dns, whoHas}},
		{"ip host web1", []string{syn}, []string{syn6, whoHas}},
		{"arp host 10.0.1.1", []string{whoHas}, []string{syn}},
		{"src host 10.0.2.10", []string{dns}, []string{syn}},
		{"dst app1", []string{syn, ping}, []string{dns}},
		{"src or dst host app1", []string{syn, dns}, []string{whoHas}},
		{"src and dst net 10.0.1.0/24", []string{whoHas}, []string{syn}},
		{"src net 10.0.1 and dst net 10.0.2", []string{syn, ping}, []string{dns, whoHas}},
		{"net 10", []string{syn, dns, whoHas}, []string{syn6}},
		{"net private", []string{syn, dns}, []string{whoHas, syn6}},
		{"net 2001:db8::/32", []string{syn6, ping6}, []string{syn}},
		{"port 443", []string{syn, syn6}, []string{dns, ping}},
		{"port https", []string{syn, syn6}, []string{dns}},
		{"src port 443", nil, []string{syn, syn6}},
		{"tcp port 53", nil, []string{dns, syn}},
		{"udp port domain", []string{dns}, []string{syn}},
		{"portrange 5000-6000", []string{dns}, []string{syn}},
		{"tcp dst portrange 443-400", []string{syn, syn6}, []string{dns}},
		{"dst port 443 or 53", []string{syn, dns}, []string{ping}},
		{"not port 443 or 53", []string{dns, ping}, []string{syn}}, // (not port 443) or port 53
		{"not (port 443 or 53)", []string{ping, whoHas}, []string{syn, dns}},
		{"not host web1 and app1", []string{dns}, []string{syn, whoHas}},
		{"udp or tcp and port 53", []string{dns}, []string{syn}}, // from left to right
		{"udp or (tcp and port 443)", []string{dns, syn}, []string{ping}},
		{"!tcp && !(udp||icmp)", []string{whoHas, ping6}, []string{syn, dns, ping}},
		{"proto 47", []string{gre}, []string{syn, whoHas}},
		{"ip proto tcp", []string{syn}, []string{syn6}},
		{"ether host 02:00:00:00:00:01", []string{syn, ping6}, nil},
		{"ether dst 02:00:00:00:00:01", nil, []string{syn}},
		{"less 60", []string{syn, ping, whoHas}, []string{dns, syn6}},
		{"greater 74", []string{syn6}, []string{syn, whoHas}},
	} {
		f, err := ParseFilter(c.filter, names)
		if err != nil {
			t.Errorf("%s: %v", c.filter, err)
			continue
		}
		for text, want := range set(c.yes, c.not) {
			b := frameOf(t, text)
			if got := f.Match(b, len(b)); got != want {
				t.Errorf("%q takes %q (%d bytes): %v, want %v", c.filter, text, len(b), got, want)
			}
		}
	}
}

func set(yes, not []string) map[string]bool {
	all := map[string]bool{}
	for _, s := range yes {
		all[s] = true
	}
	for _, s := range not {
		all[s] = false
	}
	return all
}

func TestFilterErrors(t *testing.T) {
	for _, c := range []struct{ filter, message, marked string }{
		{"prt 80", `no word "prt" (did you mean "port"?)`, "prt"},
		{"tcp prot 80", `no address and no instance "prot" (did you mean "port"?)`, "prot"},
		{"host wbe1", `no address and no instance "wbe1" (did you mean "web1"?)`, "wbe1"},
		{"host 10.0.0.0/8", `"10.0.0.0/8" is a block, not a host: write net 10.0.0.0/8`, "10.0.0.0/8"},
		{"net 10.0.1.5/24", "10.0.1.5/24 has bits behind its mask: 10.0.1.0/24 is the block", "10.0.1.5/24"},
		{"net nowhere", `no block and no subnet "nowhere"`, "nowhere"},
		{"port 65536", `"65536" is no port`, "65536"},
		{"port -1", `"-1" is no port`, "-1"},
		{"portrange 80", `"80" is no range of ports: want 1024-65535`, "80"},
		{"icmp port 80", "icmp cannot be said of a port", "port"},
		{"ether net 10", "ether cannot be said of a net", "net"},
		{"src proto 6", "a proto has no src and dst", "proto"},
		{"ether host 10.0.0.1", `"10.0.0.1" is no MAC address`, "10.0.0.1"},
		{"tcp and", "something is missing at the end", ""},
		{"port", "a value is missing at the end", ""},
		{"less", "a length is missing at the end", ""},
		{"less x", `"x" is not a length`, "x"},
		{"port and tcp", `want a value before "and"`, "and"},
		{"tcp udp", `want and, or, or the end before "udp"`, "udp"},
		{"(tcp", "this ( is never closed", "("},
		{"(tcp udp)", `want and, or, or the end before "udp"`, "udp"},
		{"tcp)", "no ( before this )", ")"},
		{"or tcp", `"or" makes no sense here`, "or"},
		{"()", "no ( before this )", ")"},
		{strings.Repeat("(", 40), "more than 32 levels of ( and not", "("},
		{strings.Repeat("not ", 40) + "tcp", "more than 32 levels of ( and not", "not"},
		{"tcp" + strings.Repeat(" or tcp", 128), "more than 128 primitives", "tcp"},
		{strings.Repeat("tcp or ", 1000), "longer than 4096 bytes", ""},
	} {
		f, err := ParseFilter(c.filter, names)
		var mistake *FilterError
		if !errors.As(err, &mistake) || f != nil {
			t.Errorf("%.60q: %v, %v", c.filter, f, err)
			continue
		}
		if got := mistake.Filter[mistake.At : mistake.At+mistake.Len]; mistake.Message != c.message || got != c.marked {
			t.Errorf("%.60q: %q at %q, want %q at %q", c.filter, mistake.Message, got, c.message, c.marked)
		}
	}
}

func TestFilterErrorPointsAtTheWord(t *testing.T) {
	_, err := ParseFilter("port 80 and hots äb", names)
	want := "filter: \"hots\" is no port\n  port 80 and hots äb\n              ^^^^"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	_, err = ParseFilter("tcp\tand\n", names)
	if want := "filter: something is missing at the end\n  tcp and \n          ^"; err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// What stands behind the first fragment, or behind extension headers, is read as
// far as it is there.
func TestFilterReadsFragmentsAndExtensions(t *testing.T) {
	port, err := ParseFilter("udp port 53", names)
	if err != nil {
		t.Fatal(err)
	}
	udp, err := ParseFilter("udp", names)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"10.0.1.10:40000 > 10.0.2.10:53 udp len=2000 ipid=1", "[2001:db8::10]:40000 > [2001:db8::20]:53 udp len=2000"} {
		parts := wiretest.Fragments(wiretest.Bytes(t, senderMAC, receiverMAC, text), 800)
		for i, b := range parts {
			b = b[wire.VirtioSize:]
			if got := port.Match(b, len(b)); got != (i == 0) {
				t.Errorf("%s: fragment %d has the port: %v", text, i, got)
			}
			if !udp.Match(b, len(b)) {
				t.Errorf("%s: fragment %d is no udp", text, i)
			}
		}
	}
}

// A filter takes any bytes, and costs no allocation.
func FuzzMatch(f *testing.F) {
	for _, text := range []string{syn, dns, ping6, whoHas} {
		f.Add("tcp port 80 or host web1 and not net 10 or (greater 60)", frameOf(f, text))
	}
	f.Add("not", []byte{})
	f.Fuzz(func(t *testing.T, text string, b []byte) {
		filter, err := ParseFilter(text, names)
		if err != nil {
			var mistake *FilterError
			if !errors.As(err, &mistake) || err.Error() == "" {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		all, err := ParseFilter("not ("+text+")", names)
		if strings.TrimSpace(text) == "" || err != nil {
			return // too deep, or nothing to negate
		}
		if filter.Match(b, len(b)) == all.Match(b, len(b)) {
			t.Errorf("%q and its negation agree on %x", text, b)
		}
	})
}

func TestMatchAllocatesNothing(t *testing.T) {
	f, err := ParseFilter("tcp port 80 or (host 10.9.9.9 and not net 10.1) or ether host 02:00:00:00:00:09 or ip6 proto 47", names)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{syn, ping6, whoHas} {
		b := frameOf(t, text)
		if n := testing.AllocsPerRun(100, func() { f.Match(b, len(b)) }); n != 0 {
			t.Errorf("%s: %v allocations", text, n)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	f, err := ParseFilter("tcp port 80 and host web1", names)
	if err != nil {
		b.Fatal(err)
	}
	frame := frameOf(b, syn)
	b.ReportAllocs()
	for b.Loop() {
		f.Match(frame, len(frame))
	}
}
