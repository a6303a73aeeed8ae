package wire_test

import (
	"testing"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// TestParseEthernet holds the rows about the frame itself: V6, L6, L7.
func TestParseEthernet(t *testing.T) {
	check(t, []refusal{
		{"V6 nothing at all", syn, to(0), policy.FrameTruncated},
		{"V6 no virtio header", syn, to(11), policy.FrameTruncated},
		{"V6 13 bytes of Ethernet", syn, to(eth + 13), policy.FrameTruncated},
		{"V6 the buffer is full, so the frame may go on", ack, grow(wire.MaxFrame - l4 - 120), policy.FrameTruncated},
		{"V6 one byte less is too long", ack, grow(wire.MaxFrame - l4 - 121), policy.FrameTooLong},
		{"V6 as long as the MTU allows", "10.0.1.10:1 > 10.0.2.20:2 udp len=1472", nil, policy.None},
		{"V6 one byte longer", "10.0.1.10:1 > 10.0.2.20:2 udp len=1473", nil, policy.FrameTooLong},
		{"V6 one byte of padding longer", "10.0.1.10:1 > 10.0.2.20:2 udp len=1472 pad=1", nil, policy.FrameTooLong},

		{"L6 802.1Q", syn, put(eth+12, 0x81, 0x00), policy.EtherTypeTagged},
		{"L6 priority tag, VLAN 0", syn, put(eth+12, 0x81, 0x00, 0, 0, 0x08, 0x00), policy.EtherTypeTagged},
		{"L6 802.1ad", syn, put(eth+12, 0x88, 0xa8), policy.EtherTypeTagged},
		{"L6 QinQ of old", syn, put(eth+12, 0x91, 0x00), policy.EtherTypeTagged},
		{"L6 802.3 length with LLC and SNAP", syn, put(eth+12, 0, 40, 0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0), policy.EtherTypeUnknown},
		{"L6 802.3 length 1500", syn, put(eth+12, 0x05, 0xdc), policy.EtherTypeUnknown},
		{"L7 LLDP", syn, put(eth+12, 0x88, 0xcc), policy.EtherTypeUnknown},
		{"L7 EAPOL", syn, put(eth+12, 0x88, 0x8e), policy.EtherTypeUnknown},
		{"L7 MACsec", syn, put(eth+12, 0x88, 0xe5), policy.EtherTypeUnknown},
		{"L7 PTP", syn, put(eth+12, 0x88, 0xf7), policy.EtherTypeUnknown},
		{"L7 LACP", syn, put(eth+12, 0x88, 0x09), policy.EtherTypeUnknown},
		{"L8 MPLS", syn, put(eth+12, 0x88, 0x47), policy.EtherTypeUnknown},
		{"L7 ethertype 0", syn, put(eth+12, 0, 0), policy.EtherTypeUnknown},
		{"L7 ethertype 0xffff", syn, put(eth+12, 0xff, 0xff), policy.EtherTypeUnknown},
	})
}

// TestParseIPv4 holds the rows about the IPv4 header: I1, I2, I4, I8, V5.
func TestParseIPv4(t *testing.T) {
	check(t, []refusal{
		{"I1 no IP header", syn, to(l3), policy.IPHeader},
		{"I1 19 bytes", syn, to(l3 + 19), policy.IPHeader},
		{"I1 version 5", syn, ip(0, 0x55), policy.IPHeader},
		{"I1 version 6 under the EtherType of IPv4", syn, ip(0, 0x65), policy.IPHeader},
		{"I1 header of 16 bytes", syn, ip(0, 0x44), policy.IPHeader},
		{"I1 header of 0 bytes", syn, put(l3, 0x40), policy.IPHeader},
		{"I1 header of 60 bytes, past the end", "10.0.1.10 > 10.0.2.20 proto 47 len=20", ip(0, 0x4f), policy.IPHeader},
		{"I1 header of 24 bytes, past the end", "10.0.1.10 > 10.0.2.20 proto 47", put(l3, 0x46), policy.IPHeader},
		{"I1 total length 0", ack, length(0), policy.IPLength},
		{"I1 total length less than the header", ack, length(19), policy.IPLength},
		{"I1 total length past the frame", ack, length(141), policy.IPLength},
		{"I1 the frame cut by one byte", ack, cut(1), policy.IPLength},
		{"V5 padding", ack + " pad=6", nil, policy.None},
		{"I8 wrong header checksum", ack + " ipcsum=bad", nil, policy.IPChecksum},
		{"I8 header checksum zero", ack, put(l3+10, 0, 0), policy.IPChecksum},
		{"I8 one bit of an address", ack, put(l3+15, 11), policy.IPChecksum},
		{"I1 TTL 0", ack + " ttl=0", nil, policy.IPTTL},
		{"I1 TTL 1 is the receiver's business", ack + " ttl=1", nil, policy.None},
		{"I1 protocol 0", "10.0.1.10 > 10.0.2.20 proto 0 len=20", nil, policy.IPProtocol},
		{"I1 protocol 0 in a fragment", "10.0.1.10 > 10.0.2.20 proto 0 len=16 frag=16", nil, policy.IPProtocol},
		{"L8 GRE is opaque", "10.0.1.10 > 10.0.2.20 proto 47", nil, policy.None},

		{"I2 loose source routing", ack, options(131, 7, 4, 10, 0, 9, 9, 0), policy.IPSourceRoute},
		{"I2 strict source routing", ack, options(137, 7, 4, 10, 0, 9, 9, 0), policy.IPSourceRoute},
		{"I2 source routing behind other options", ack, options(1, 148, 4, 0, 0, 131, 3, 4), policy.IPSourceRoute},
		{"I2 source routing behind the end of the list", ack, options(0, 131, 7, 4), policy.None},
		{"I2 record route passes", ack, options(7, 7, 4, 0, 0, 0, 0, 0), policy.None},
		{"I2 router alert passes", ack, options(148, 4, 0, 0), policy.None},
		{"I2 nothing but padding passes", ack, options(1, 1, 1, 1), policy.None},
		{"I2 option of length 0", ack, options(7, 0, 0, 0), policy.IPHeader},
		{"I2 option of length 1", ack, options(7, 1, 0, 0), policy.IPHeader},
		{"I2 option past the header", ack, options(7, 5, 0, 0), policy.IPHeader},
		{"I2 option without its length", ack, options(1, 1, 1, 7), policy.IPHeader},
	})
}

// TestParseFragment holds the rows about fragments that one fragment alone can
// break: I3 and I4.
func TestParseFragment(t *testing.T) {
	check(t, []refusal{
		{"DF", datagram + " df", nil, policy.None},
		{"DF and MF together pass, as in Linux", datagram + " df mf len=24", nil, policy.None},
		{"reserved bit passes, as in Linux", datagram, ip(6, 0x80, 0), policy.None},
		{"first fragment", datagram + " mf len=24", nil, policy.None},
		{"later fragment", "10.0.1.10 > 10.0.2.20 udp frag=1480 mf len=24", nil, policy.None},
		{"last fragment, of any length", "10.0.1.10 > 10.0.2.20 udp frag=1480 len=1", nil, policy.None},
		{"first fragment of what has no ports", "10.0.1.10 > 10.0.2.20 proto 47 mf len=8", nil, policy.None},
		{"I4 MF, not a multiple of 8", datagram + " mf len=25", nil, policy.IPFragment},
		{"I4 later MF, not a multiple of 8", "10.0.1.10 > 10.0.2.20 udp frag=1480 mf len=7", nil, policy.IPFragment},
		{"I4 MF without data", "10.0.1.10 > 10.0.2.20 proto 47 mf", nil, policy.IPFragment},
		{"I4 last fragment without data", "10.0.1.10 > 10.0.2.20 udp frag=1480", nil, policy.IPFragment},
		{"I4 the datagram ends at 65,535", "10.0.1.10 > 10.0.2.20 udp frag=65504 len=11", nil, policy.None},
		{"I4 the datagram ends past 65,535", "10.0.1.10 > 10.0.2.20 udp frag=65504 len=12", nil, policy.FragmentTooLong},
		{"I4 the greatest offset", "10.0.1.10 > 10.0.2.20 udp frag=65528 len=1", nil, policy.FragmentTooLong},
		{"I3 TCP in 16 bytes", ack + " mf len=4", ends(36), policy.FragmentTiny},
		{"I3 TCP in 24 bytes", ack + " mf len=4", nil, policy.None},
		{"I3 TCP in 24 bytes of a header of 28", ack + " mf len=4", put(l4+12, 0x70), policy.FragmentTiny},
		{"I3 UDP in 8 bytes", datagram + " mf len=0", nil, policy.None},
		{"first fragment of a longer UDP datagram", datagram + " mf len=24", put(l4+4, 0x05, 0xdc), policy.None},
		{"first fragment with UDP length 7", datagram + " mf len=24", put(l4+4, 0, 7), policy.TransportHeader},
		{"I3 UDP in 4 bytes, alone", datagram, ends(24), policy.TransportHeader},
		{"I3 ICMP in 8 bytes", request + " mf len=0", nil, policy.None},
	})
	t.Run("I3 what a first fragment carries is the reason, not its length", func(t *testing.T) {
		// Less than 8 bytes cannot be a first fragment's, so I4 comes before I3.
		check(t, []refusal{{"UDP in 4 bytes", datagram + " mf", ends(24), policy.IPFragment}})
	})
}

// TestParseTransport holds I1 and T1 behind the IP header.
func TestParseTransport(t *testing.T) {
	check(t, []refusal{
		{"I1 TCP of 19 bytes", syn, ends(39), policy.TransportHeader},
		{"I1 TCP of 0 bytes", syn, ends(20), policy.TransportHeader},
		{"I1 TCP header of 16 bytes", syn, put(l4+12, 0x40), policy.TransportHeader},
		{"I1 TCP header of 28 bytes, past the end", syn, put(l4+12, 0x70), policy.TransportHeader},
		{"I1 SYN with an option of length 0", syn, put(l4+20, 3, 0, 0, 0), policy.TransportHeader},
		{"I1 SYN with an option of length 1", syn, put(l4+20, 3, 1, 0, 0), policy.TransportHeader},
		{"I1 SYN with an option past the header", syn, put(l4+20, 8, 10, 0, 0), policy.TransportHeader},
		{"I1 SYN with an option without its length", syn, put(l4+20, 1, 1, 1, 2), policy.TransportHeader},
		{"I1 SYN with a window scale of 4 bytes", syn, put(l4+20, 3, 4, 0, 0), policy.TransportHeader},
		{"options of other segments are the receiver's business", "10.0.1.10:1 > 10.0.2.20:2 tcp A wscale=1", put(l4+20, 3, 0), policy.None},

		{"I1 UDP of 7 bytes", datagram, ends(27), policy.TransportHeader},
		{"I1 UDP length 7", datagram, put(l4+4, 0, 7), policy.TransportHeader},
		{"I1 UDP length past the packet", datagram, put(l4+4, 0, 109), policy.TransportHeader},
		{"I1 UDP length past the packet, in padding", datagram + " pad=9", put(l4+4, 0, 109), policy.TransportHeader},
		{"UDP length less than the packet", datagram, put(l4+4, 0, 50), policy.None},
		{"UDP without payload", "10.0.1.10:1 > 10.0.2.20:2 udp", nil, policy.None},

		{"I1 ICMP of 3 bytes", request, ends(23), policy.TransportHeader},
		{"I1 echo request of 7 bytes", request, ends(27), policy.TransportHeader},
		{"I1 echo reply of 7 bytes", request, all(put(l4, 0), ends(27)), policy.TransportHeader},
		{"I1 timestamp of 7 bytes", request, all(put(l4, 13), ends(27)), policy.TransportHeader},
		{"router solicitation of 4 bytes", request, all(put(l4, 10), ends(24)), policy.None},
		{"ICMPv6 over IPv4 is opaque", "10.0.1.10 > 10.0.2.20 proto 58 len=1", nil, policy.None},
	})
}

// TestParseTCPFlags tries all 256 combinations: T1 lists the legal ones.
func TestParseTCPFlags(t *testing.T) {
	const ignored = wire.PSH | wire.ECE | wire.CWR
	legal := map[uint8]bool{
		wire.SYN: true, wire.SYN | wire.URG: true, wire.SYN | wire.ACK: true,
		wire.RST: true, wire.RST | wire.ACK: true,
		wire.FIN | wire.ACK: true, wire.FIN | wire.ACK | wire.URG: true,
		wire.ACK: true, wire.ACK | wire.URG: true,
	}
	for flags := range 256 {
		want := policy.TCPFlags
		if legal[uint8(flags)&^ignored] {
			want = policy.None
		}
		b := put(l4+13, uint8(flags))(bytesOf(t, syn))
		if got := new(wire.Frame).Parse(b, mtu); got != want {
			t.Errorf("flags %08b: %v, want %v", flags, got, want)
		}
	}
}

// TestParseIPv6 holds I1, L2 and T1 over IPv6 without extension headers.
func TestParseIPv6(t *testing.T) {
	check(t, []refusal{
		{"TCP", syn6, nil, policy.None},
		{"padding", syn6 + " pad=4", nil, policy.None},
		{"no next header", "fd00::1 > fd00::2 proto 59", nil, policy.None},
		{"ICMP over IPv6 is opaque", "fd00::1 > fd00::2 proto 1 len=1", nil, policy.None},
		{"I1 39 bytes", syn6, to(l3 + 39), policy.IPHeader},
		{"I1 version 4", syn6, put(l3, 0x40), policy.IPHeader},
		{"I1 payload length past the frame", syn6, cut(1), policy.IPLength},
		{"I1 payload length less than the frame", syn6, length6(23), policy.TransportHeader},
		{"I1 payload length 0", "fd00::1 > fd00::2 proto 59", nil, policy.None},
		{"I1 hop limit 0", syn6 + " ttl=0", nil, policy.IPTTL},
		{"I1 hop limit 1 is the receiver's business", syn6 + " ttl=1", nil, policy.None},
		{"traffic class and flow label", syn6, put(l3, 0x6f, 0xff, 0xff, 0xff), policy.None},
		{"L8 IPv4 in IPv6 is opaque", "fd00::1 > fd00::2 proto 4", nil, policy.None},
		{"I1 UDP length 0, as in a jumbogram", "[fd00::1]:1 > [fd00::2]:2 udp len=9", put(l4v6+4, 0, 0), policy.TransportHeader},
		{"I1 ICMPv6 of 3 bytes", request6, ends6(3), policy.TransportHeader},
		{"I1 echo request of 7 bytes", request6, ends6(7), policy.TransportHeader},
		{"MLD of 4 bytes is the receiver's business", request6, all(put(l4v6, 131), ends6(4)), policy.None},
		{"L2 IPv4-mapped source", syn6, put(l3+8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff), policy.IPHeader},
		{"L2 IPv4-mapped destination", syn6, put(l3+24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff), policy.IPHeader},
		{"I1 TCP header cut", syn6, put(l3+4, 0, 19), policy.TransportHeader},
		{"T1 no flags", syn6, put(l4v6+13, 0), policy.TCPFlags},
	})
}

// TestParseARP holds L3: only ARP for IPv4 over Ethernet.
func TestParseARP(t *testing.T) {
	check(t, []refusal{
		{"request", whoHas, nil, policy.None},
		{"reply", "arp reply 10.0.1.1 is-at 02:00:00:00:00:01 tell 10.0.1.10", nil, policy.None},
		{"padding", whoHas, grow(18), policy.None},
		{"L3 27 bytes", whoHas, cut(1), policy.ARPInvalid},
		{"L3 hardware type 6", whoHas, put(l3, 0, 6), policy.ARPInvalid},
		{"L3 protocol type IPv6", whoHas, put(l3+2, 0x86, 0xdd), policy.ARPInvalid},
		{"L3 hardware address of 8 bytes", whoHas, put(l3+4, 8), policy.ARPInvalid},
		{"L3 protocol address of 16 bytes", whoHas, put(l3+5, 16), policy.ARPInvalid},
	})
}
