package wire_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// TestParseExtensions holds I7: a chain of IPv6 extension headers is walked to its
// end, or refused.
func TestParseExtensions(t *testing.T) {
	const udp = "[fd00::1]:1 > [fd00::2]:2 udp"
	check(t, []refusal{
		{"hop-by-hop options", syn6 + " hbh", nil, policy.None},
		{"destination options, before and behind a routing header", syn6 + " hbh dst rh4 dst", nil, policy.None},
		{"the longest header", syn6 + " dst=2048 len=1", length6(2048 + 24), policy.FrameTooLong},
		{"UDP", udp + " dst", nil, policy.None},
		{"no next header", "fd00::1 > fd00::2 proto 59 dst len=7", nil, policy.None},

		{"I7 8 headers", syn6 + " dst dst dst dst dst dst dst dst", nil, policy.None},
		{"I7 9 headers", syn6 + " dst dst dst dst dst dst dst dst dst", nil, policy.IPHeader},
		{"I7 8 headers, one of them a fragment header", syn6 + " dst dst dst frag=0 dst dst dst dst", nil, policy.None},
		{"I7 9 headers, one of them a fragment header", syn6 + " dst dst dst frag=0 dst dst dst dst dst", nil, policy.IPHeader},
		{"I7 hop-by-hop options not first", syn6 + " dst hbh", nil, policy.IPHeader},
		{"I7 hop-by-hop options twice", syn6 + " hbh hbh", nil, policy.IPHeader},
		{"I7 hop-by-hop options in a fragment", udp + " frag=0,mf hbh", nil, policy.IPHeader},
		{"I7 hop-by-hop options in a later fragment", "fd00::1 > fd00::2 proto 0 frag=16 len=16", nil, policy.IPHeader},

		{"I7 length 255, past the end", syn6 + " dst", put(l4v6+1, 255), policy.IPHeader},
		{"I7 length 1, past the end", "fd00::1 > fd00::2 proto 59 dst", put(l4v6+1, 1), policy.IPHeader},
		{"I7 lengths that add up to 256 times 8", syn6 + " dst=1024 dst len=8", put(l4v6+1025, 127), policy.IPHeader},
		{"I7 nothing behind the fixed header", syn6 + " dst", ends6(0), policy.IPHeader},
		{"I7 7 bytes of a header", syn6 + " dst", ends6(7), policy.IPHeader},
		{"I7 the header, and nothing behind it", syn6 + " dst", ends6(8), policy.TransportHeader},
		{"I7 the second header past the end", syn6 + " dst dst", ends6(15), policy.IPHeader},
		{"I7 a jumbogram", syn6 + " hbh", length6(0), policy.IPHeader},

		{"I7 RH0", syn6 + " rh0", nil, policy.IPSourceRoute},
		{"I7 RH0 with no segments left", syn6 + " rh0", put(l4v6+3, 0), policy.IPSourceRoute},
		{"I7 RH0 without addresses", syn6 + " rh0=8", nil, policy.IPSourceRoute},
		{"I7 RH0 behind others", syn6 + " hbh dst rh4 rh0", nil, policy.IPSourceRoute},
		{"I7 RH0 in a fragment", udp + " frag=0,mf rh0", nil, policy.IPSourceRoute},
		{"I7 RH0 in a datagram in one fragment", udp + " frag=0 rh0", nil, policy.IPSourceRoute},
		{"I7 mobile IPv6's routing header passes", syn6 + " rh2", nil, policy.None},
		{"I7 segment routing passes", syn6 + " rh4=40", nil, policy.None},

		{"I7 two fragment headers", udp + " frag=0 frag=0", nil, policy.IPFragment},
		{"I7 two fragment headers, others between", udp + " frag=0,mf dst frag=0", nil, policy.IPFragment},
		{"I7 a fragment header in a later fragment", "fd00::1 > fd00::2 proto 44 frag=16 len=16", nil, policy.IPFragment},
		{"I7 hop-by-hop options behind two fragment headers", udp + " frag=0 frag=0 hbh", nil, policy.IPFragment},
		{"reserved byte of the fragment header", udp + " frag=0", put(l4v6+1, 1), policy.IPFragment},
		{"reserved bit of the fragment header", udp + " frag=0,mf", put(l4v6+3, 3), policy.IPFragment},
		{"the other reserved bit", udp + " frag=0", put(l4v6+3, 4), policy.IPFragment},
		{"7 bytes of a fragment header", udp + " frag=0", ends6(7), policy.IPHeader},
		{"ESP is opaque", "fd00::1 > fd00::2 proto 50 hbh len=16", nil, policy.None},
		{"T1 no flags, behind a header", syn6 + " dst", put(l4v6+8+13, 0), policy.TCPFlags},
	})
}

// TestParseExtensionBytes holds the bound of I7 on the length of a chain.
func TestParseExtensionBytes(t *testing.T) {
	for _, c := range []struct {
		chain string
		want  policy.Reason
	}{
		{"dst=2048", policy.None},
		{"hbh=1024 dst=1024", policy.None},
		{"hbh=1024 dst=1024 dst", policy.IPHeader},
		{"dst=8 dst=2048", policy.IPHeader},
		{"frag=0 dst=2040", policy.None},
		{"frag=0 dst=2048", policy.IPHeader},
		{"dst=2048 rh0", policy.IPSourceRoute},
	} {
		b := bytesOf(t, syn6+" "+c.chain)
		if got := new(wire.Frame).Parse(b, wire.MaxDatagram); got != c.want {
			t.Errorf("%s: %v, want %v", c.chain, got, c.want)
		}
	}
}

// TestParseExtensionEnds checks which numbers end a chain, and are the protocol.
func TestParseExtensionEnds(t *testing.T) {
	for number := range 256 {
		switch number {
		case 0, 43, 44, 60, int(policy.TCP), int(policy.UDP), int(policy.ICMPv6):
			continue // go on, or have a header of their own
		}
		f := parse(t, fmt.Sprintf("fd00::1 > fd00::2 proto %d hbh len=11", number))
		if int(f.Tuple.Protocol) != number || f.L4 != l4v6+8 || f.Payload != f.L4 {
			t.Errorf("%d: protocol %d, L4 %d, payload %d", number, f.Tuple.Protocol, f.L4, f.Payload)
		}
	}
}

// TestParseFragment6 holds I3 and I4 over IPv6.
func TestParseFragment6(t *testing.T) {
	const (
		tcp = "[fd00::1]:1 > [fd00::2]:2 tcp A"
		udp = "[fd00::1]:1 > [fd00::2]:2 udp"
	)
	check(t, []refusal{
		{"first", udp + " len=16 frag=0,mf", nil, policy.None},
		{"first, the chain goes on in it", udp + " len=16 frag=0,mf dst rh4 dst", nil, policy.None},
		{"later", "fd00::1 > fd00::2 udp frag=1480,mf len=8", nil, policy.None},
		{"last, of any length", "fd00::1 > fd00::2 udp frag=1480 len=1", nil, policy.None},
		{"later, of a datagram that begins with options", "fd00::1 > fd00::2 proto 60 frag=1480 len=1", nil, policy.None},
		{"RFC 6946 a datagram in one fragment", udp + " len=3 frag=0", nil, policy.None},
		{"RFC 6946 without data", "fd00::1 > fd00::2 proto 47 frag=0", nil, policy.None},
		{"I4 not a multiple of 8", udp + " len=1 frag=0,mf", nil, policy.IPFragment},
		{"I4 later, not a multiple of 8", "fd00::1 > fd00::2 udp frag=16,mf len=7", nil, policy.IPFragment},
		{"I4 without data", "fd00::1 > fd00::2 proto 47 frag=0,mf", nil, policy.IPFragment},
		{"I4 last without data", "fd00::1 > fd00::2 udp frag=16", nil, policy.IPFragment},
		{"I4 the datagram ends at 65,535", "fd00::1 > fd00::2 udp frag=65528 len=7", nil, policy.None},
		{"I4 the datagram ends past 65,535", "fd00::1 > fd00::2 udp frag=65528 len=8", nil, policy.FragmentTooLong},
		{"I4 the datagram ends at 65,535 with its extension headers", "fd00::1 > fd00::2 udp hbh frag=65520 len=7", nil, policy.None},
		{"I4 the datagram ends past 65,535 with its extension headers", "fd00::1 > fd00::2 udp hbh frag=65520 len=8", nil, policy.FragmentTooLong},
		{"I3 TCP in 16 bytes", tcp + " frag=0,mf", ends6(24), policy.FragmentTiny},
		{"I3 TCP in 24 bytes", tcp + " len=4 frag=0,mf", nil, policy.None},
		{"I3 TCP in 24 bytes of a header of 28", tcp + " len=4 frag=0,mf", put(l4v6+8+12, 0x70), policy.FragmentTiny},
		{"RFC 7112 options and nothing of TCP", tcp + " frag=0,mf dst", ends6(16), policy.FragmentTiny},
		{"RFC 7112 options and nothing of UDP", udp + " frag=0,mf dst", ends6(16), policy.FragmentTiny},
		{"RFC 7112 options and nothing of ICMPv6", request6 + " frag=0,mf dst", ends6(16), policy.FragmentTiny},
		{"RFC 7112 options and nothing of GRE", "fd00::1 > fd00::2 proto 47 frag=0,mf dst", nil, policy.FragmentTiny},
		{"RFC 7112 options, and no header that could follow", "fd00::1 > fd00::2 proto 59 frag=0,mf dst", nil, policy.None},
		{"RFC 7112 half of the options", udp + " frag=0,mf dst=16", ends6(16), policy.FragmentTiny},
		{"RFC 7112 one of two headers with options", udp + " frag=0,mf dst dst", ends6(16), policy.FragmentTiny},
		{"options that end in a datagram in one fragment", udp + " frag=0 dst=16", ends6(16), policy.IPHeader},
		{"L4 neighbor discovery in a fragment", neighbor + " frag=0,mf", nil, policy.NDInvalid},
	})
}

// TestFragmentsAgree checks that the fragments of a packet say of it what the whole
// packet says.
func TestFragmentsAgree(t *testing.T) {
	for _, text := range []string{datagram, ack, request, syn6 + " len=90", "[fd00::1]:1 > [fd00::2]:2 udp hbh rh4 dst=24 len=90", request6 + " dst"} {
		whole := parse(t, text)
		for i, b := range fragmentsOf(t, text, 48) {
			var f wire.Frame
			if r := f.Parse(b, mtu); r != policy.None {
				t.Fatal(text, r)
			}
			if f.Tuple.Src != whole.Tuple.Src || f.Tuple.Dst != whole.Tuple.Dst || !f.Fragment || f.Later != (i > 0) {
				t.Errorf("%s: fragment %d: %+v", text, i, f)
			}
			if i == 0 && (f.Tuple != whole.Tuple || f.Type != whole.Type || f.TCP.Flags != whole.TCP.Flags) {
				t.Errorf("%s: the first fragment says %v", text, f.Tuple)
			}
		}
	}
}

// A header is one IPv6 extension header, as headersOf finds it.
type header struct {
	number   int
	at, size int // bytes, from the end of the fixed header
	b        []byte
}

// headersOf lists the extension headers of a packet as far as they are whole: the
// slow way, without any rule. number is that of the first; it returns that of what
// follows the list, and where that is.
func headersOf(number int, b []byte) (list []header, next, end int) {
	if !slices.Contains([]int{0, 43, 44, 60}, number) || len(b) < 8 {
		return nil, number, 0
	}
	h := header{number: number, size: 8 * (int(b[1]) + 1)}
	if number == 44 {
		h.size = 8
	}
	if h.size > len(b) {
		return nil, number, 0
	}
	h.b = b[:h.size]
	if number == 44 && binary.BigEndian.Uint16(b[2:])>>3 != 0 {
		return []header{h}, int(b[0]), h.size
	}
	list, next, end = headersOf(int(b[0]), b[h.size:])
	for i := range list {
		list[i].at += h.size
	}
	return append([]header{h}, list...), next, end + h.size
}

// brokenRules returns the reasons for which I7 refuses a chain, in no order; none,
// if it is legal. b is all that follows the fixed header.
func brokenRules(number int, b []byte) (reasons []policy.Reason) {
	list, next, end := headersOf(number, b)
	goesOn := slices.Contains([]int{0, 43, 44, 60}, next)
	var fragment []byte
	numbers := []int{}
	for _, h := range list {
		numbers = append(numbers, h.number)
		switch {
		case h.number == 43 && h.b[2] == 0:
			reasons = append(reasons, policy.IPSourceRoute)
		case h.number == 44 && (h.b[1] != 0 || h.b[3]&6 != 0):
			reasons = append(reasons, policy.IPFragment)
		case h.number == 44 && fragment == nil:
			fragment = b[h.at:]
		}
		if h.at+h.size > 2048 {
			reasons = append(reasons, policy.IPHeader)
		}
	}
	if goesOn {
		numbers = append(numbers, next)
	}
	if len(numbers) > 8 || slices.Index(numbers, 0) > 0 || len(numbers) > 0 && slices.Contains(numbers[1:], 0) {
		reasons = append(reasons, policy.IPHeader)
	}
	if strings.Count(fmt.Sprint(numbers), "44") > 1 {
		reasons = append(reasons, policy.IPFragment)
	}
	later, more := false, false
	if fragment != nil {
		bits := binary.BigEndian.Uint16(fragment[2:])
		later, more = bits>>3 != 0, bits&1 != 0
		data, front := len(fragment)-8, len(b)-len(fragment)
		if (later || more) && (data == 0 || more && data%8 != 0) {
			reasons = append(reasons, policy.IPFragment)
		}
		if later && front+int(bits>>3)*8+data > 65535 {
			reasons = append(reasons, policy.FragmentTooLong)
		}
		if more && !later && (goesOn || end == len(b) && next != 59) {
			reasons = append(reasons, policy.FragmentTiny)
		}
	}
	if goesOn && !later { // the packet ends inside the chain
		if !more {
			reasons = append(reasons, policy.IPHeader)
		}
		if rest := b[end:]; next == 43 && len(rest) >= 8 && rest[2] == 0 {
			reasons = append(reasons, policy.IPSourceRoute) // what is there says enough
		}
	}
	return reasons
}

// FuzzIPv6Chain gives Parse any chain of extension headers. It must refuse those
// that a plain statement of the rules refuses, for a reason that holds, and of the
// others find the end.
func FuzzIPv6Chain(f *testing.F) {
	for _, chain := range []string{"", "hbh", "hbh dst rh4 dst", "rh0", "frag=0,mf dst", "frag=0", "frag=0 frag=0", "dst hbh",
		"hbh frag=0,mf rh4", "dst dst dst dst dst dst dst dst dst"} {
		b := bytesOf(f, "[fd00::1]:1 > [fd00::2]:2 udp len=8 "+chain)
		f.Add(b[l3+6], b[l4v6:])
	}
	for _, chain := range []string{"frag=16", "hbh frag=65528,mf"} {
		b := bytesOf(f, "fd00::1 > fd00::2 udp len=8 "+chain)
		f.Add(b[l3+6], b[l4v6:])
	}
	fixed := bytesOf(f, "fd00::1 > fd00::2 proto 59")
	f.Fuzz(func(t *testing.T, number uint8, rest []byte) {
		if len(rest) > 4096 {
			return
		}
		b := length6(len(rest))(append(slices.Clip(fixed), rest...))
		b[l3+6] = number
		var got wire.Frame
		r := got.Parse(b, wire.MaxDatagram)
		broken := brokenRules(int(number), rest)
		switch r {
		case policy.TransportHeader, policy.TCPFlags, policy.NDInvalid:
			if len(broken) != 0 {
				t.Errorf("Parse = %v of a chain that breaks %v", r, broken)
			}
			return
		case policy.FragmentTiny: // perhaps of the transport header
			if len(broken) == 0 && got.Tuple.Protocol == uint8(policy.TCP) && got.Fragment && !got.Later {
				return
			}
		}
		if r != policy.None || len(broken) != 0 {
			if !slices.Contains(broken, r) {
				t.Errorf("Parse = %v of a chain that breaks %v", r, broken)
			}
			return
		}
		list, next, end := headersOf(int(number), rest)
		if int(got.Tuple.Protocol) != next || got.L4 != l4v6+end {
			t.Errorf("protocol %d at %d, want %d at %d", got.Tuple.Protocol, got.L4, next, l4v6+end)
		}
		at := slices.IndexFunc(list, func(h header) bool { return h.number == 44 && binary.BigEndian.Uint16(h.b[2:]) != 0 })
		if got.Fragment != (at >= 0) {
			t.Fatalf("fragment %v, of headers %v", got.Fragment, list)
		}
		if at >= 0 {
			h := list[at]
			bits := int(binary.BigEndian.Uint16(h.b[2:]))
			if got.Offset != bits&^7 || got.More != (bits&1 != 0) || got.ID != binary.BigEndian.Uint32(h.b[4:]) || got.Data != l4v6+h.at+8 {
				t.Errorf("offset %d, more %v, identification %d, data at %d; of %x", got.Offset, got.More, got.ID, got.Data, h.b)
			}
		}
	})
}
