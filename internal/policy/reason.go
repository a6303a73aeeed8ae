package policy

// A Reason says why a frame was not delivered. Every cause has a Reason of its
// own, with a name for counters and a sentence for people. The zero Reason,
// None, means the frame was not dropped.
type Reason uint8

// The reasons, in the order in which a frame can meet them. The table in
// ARCHITECTURE.md lists the same; a test compares the two.
const (
	None Reason = iota

	// The frame itself (reliability rows V1-V6, L6, L7, I1, I2, T1).
	FrameTruncated      // shorter than an Ethernet header, or cut short by the device
	FrameTooLong        // longer than the MTU of its port allows without segmentation offload
	VirtioChecksum      // checksum offload fields do not point at the checksum of the packet
	VirtioGSO           // segmentation offload fields contradict the packet
	VirtioSegments      // a superframe of more than 128 segments
	EtherTypeTagged     // an 802.1Q or 802.1ad tag: a VPC carries none
	EtherTypeUnknown    // neither IPv4, IPv6 nor ARP
	IPHeader            // version, header length or the fixed header itself is wrong
	IPLength            // the total length contradicts the frame
	IPChecksum          // the header checksum is wrong
	IPTTL               // a TTL of zero
	IPSourceRoute       // a source-routing option
	IPFragment          // fragment fields that no legal fragment has
	IPProtocol          // protocol number 0, which carries no upper layer
	TransportHeader     // the TCP, UDP or ICMP header is truncated or contradicts the packet
	TransportChecksum   // the TCP, UDP or ICMP checksum is wrong in a packet that would create state
	TCPFlags            // a combination of TCP flags that no legal segment has
	ARPInvalid          // an ARP packet that is not Ethernet/IPv4, or is truncated
	NDInvalid           // a neighbor discovery message that RFC 4861 has every receiver discard, in a fragment or behind extension headers too
	SourceMAC           // the source MAC is not that of the network interface
	SourceAddress       // the source address is not one of the network interface
	ARPSpoofed          // the sender in an ARP packet is not the network interface
	ARPUnanswered       // an ARP question about an address nobody here answers for, or an ARP reply
	NDSpoofed           // a neighbor discovery message that speaks for another than the network interface, as a router's does
	NDUnanswered        // a neighbor discovery question that nobody here answers, or an advertisement
	Broadcast           // the destination is a broadcast address: a VPC has none
	Multicast           // the destination is a multicast address
	MulticastMembership // a host's word that it listens to a multicast group (IGMP, MLD)
	WorkerBusy          // the worker that owns the traffic between these addresses is too far behind
	UnknownMAC          // the destination MAC is neither the router's nor a neighbour's
	Hairpin             // the destination is the sender itself
	RouterService       // addressed to the subnet's router, which only answers echo requests
	PlatformService     // addressed to a platform service that this VPC does not run
	DHCPSpoofed         // an answer of a DHCP server: only the platform serves addresses
	ConntrackClosed     // a late segment of a connection that has closed
	ConntrackWindow     // a TCP segment outside the connection's window
	ConntrackState      // a TCP segment that the state of its connection does not allow
	ConntrackStrict     // in strict mode, a segment without a connection that is not a SYN
	SGEgress            // no egress rule of the sender's security groups allows it
	EgressAllowance     // the sender's connection allowance is used up
	NACLEgress          // the network ACL of the sender's subnet denies it outbound
	NoRoute             // no route to the destination
	Blackhole           // the route to the destination leads nowhere
	Unassigned          // the destination is inside the VPC, but no network interface has it
	NACLIngress         // the network ACL of the receiver's subnet denies it inbound
	DestinationCheck    // the destination address is not one of the receiving network interface
	SGIngress           // no ingress rule of the receiver's security groups allows it
	IngressAllowance    // the receiver's connection allowance is used up
	FragmentTimeout     // the rest of the datagram did not arrive in time
	FragmentOverlap     // a fragment overlaps another one of its datagram
	FragmentTiny        // the first fragment does not hold the whole transport header
	FragmentTooLong     // the datagram would be longer than 65,535 bytes
	FragmentLimit       // too many fragments or datagrams are waiting
	PortDown            // the receiving port is down or has no device
	PortRefused         // the receiving device refused the frame
	Panic               // the switch failed while it handled the frame; the frame was kept for diagnosis

	NumReasons // how many there are, None included
)

// reasons holds the name and the sentence of each Reason.
var reasons = [NumReasons]struct{ name, sentence string }{
	None:                {"NONE", "not dropped"},
	FrameTruncated:      {"FRAME_TRUNCATED", "the frame is shorter than its headers"},
	FrameTooLong:        {"FRAME_TOO_LONG", "the frame is longer than the MTU of its port"},
	VirtioChecksum:      {"VIRTIO_CHECKSUM", "the checksum offload fields do not point at the packet's checksum"},
	VirtioGSO:           {"VIRTIO_GSO", "the segmentation offload fields contradict the packet"},
	VirtioSegments:      {"VIRTIO_SEGMENTS", "the superframe stands for more than 128 segments"},
	EtherTypeTagged:     {"ETHERTYPE_TAGGED", "the frame carries a VLAN tag; a VPC has none"},
	EtherTypeUnknown:    {"ETHERTYPE_UNKNOWN", "the frame is neither IPv4, IPv6 nor ARP"},
	IPHeader:            {"IP_HEADER", "the IP header is malformed"},
	IPLength:            {"IP_LENGTH", "the IP length contradicts the frame"},
	IPChecksum:          {"IP_CHECKSUM", "the IP header checksum is wrong"},
	IPTTL:               {"IP_TTL", "the TTL is zero"},
	IPSourceRoute:       {"IP_SOURCE_ROUTE", "the packet asks for source routing"},
	IPFragment:          {"IP_FRAGMENT", "the fragment fields are those of no legal fragment"},
	IPProtocol:          {"IP_PROTOCOL", "IP protocol 0 carries nothing that a rule could name"},
	TransportHeader:     {"TRANSPORT_HEADER", "the TCP, UDP or ICMP header is malformed"},
	TransportChecksum:   {"TRANSPORT_CHECKSUM", "the TCP, UDP or ICMP checksum is wrong"},
	TCPFlags:            {"TCP_FLAGS", "the TCP flags are those of no legal segment"},
	ARPInvalid:          {"ARP_INVALID", "the ARP packet is malformed"},
	NDInvalid:           {"ND_INVALID", "the neighbor discovery message is malformed or did not come straight from the link"},
	SourceMAC:           {"SOURCE_MAC", "the source MAC is not that of the instance"},
	SourceAddress:       {"SOURCE_ADDRESS", "the source address is not one of the instance (source/dest check)"},
	ARPSpoofed:          {"ARP_SPOOFED", "the ARP sender is not the instance"},
	ARPUnanswered:       {"ARP_UNANSWERED", "nobody answers for the address asked for"},
	NDSpoofed:           {"ND_SPOOFED", "the neighbor discovery message speaks for another than the instance"},
	NDUnanswered:        {"ND_UNANSWERED", "nobody answers the neighbor discovery message"},
	Broadcast:           {"BROADCAST", "a VPC carries no broadcast"},
	Multicast:           {"MULTICAST", "a VPC carries no multicast"},
	MulticastMembership: {"MULTICAST_MEMBERSHIP", "a VPC has no multicast groups to join (IGMP, MLD: hosts send it by themselves)"},
	WorkerBusy:          {"WORKER_BUSY", "the worker that owns the traffic between these addresses is too far behind"},
	UnknownMAC:          {"UNKNOWN_MAC", "the destination MAC is neither the router's nor a neighbour's"},
	Hairpin:             {"HAIRPIN", "the destination is the sender itself"},
	RouterService:       {"ROUTER_SERVICE", "the router answers nothing but echo requests to its own subnet's address"},
	PlatformService:     {"PLATFORM_SERVICE", "this VPC does not run that platform service"},
	DHCPSpoofed:         {"DHCP_SPOOFED", "it pretends to be a DHCP server, which only the platform is"},
	ConntrackClosed:     {"CONNTRACK_CLOSED", "the connection it belongs to has closed"},
	ConntrackWindow:     {"CONNTRACK_WINDOW", "the TCP segment lies outside the connection's window"},
	ConntrackState:      {"CONNTRACK_STATE", "the TCP segment does not fit the state of its connection"},
	ConntrackStrict:     {"CONNTRACK_STRICT", "strict tracking: only a SYN opens a connection"},
	SGEgress:            {"SG_EGRESS", "no egress rule of the sender's security groups allows it"},
	EgressAllowance:     {"CONNTRACK_ALLOWANCE_EGRESS", "the sender's connection tracking allowance is exceeded"},
	NACLEgress:          {"NACL_EGRESS", "the network ACL of the sender's subnet denies it outbound"},
	NoRoute:             {"NO_ROUTE", "the route table of the subnet has no route to the destination"},
	Blackhole:           {"BLACKHOLE", "the route to the destination leads nowhere"},
	Unassigned:          {"UNASSIGNED_ADDRESS", "no network interface of the VPC has the destination address"},
	NACLIngress:         {"NACL_INGRESS", "the network ACL of the receiver's subnet denies it inbound"},
	DestinationCheck:    {"DESTINATION_CHECK", "the destination address is not one of the receiving instance (source/dest check)"},
	SGIngress:           {"SG_INGRESS", "no ingress rule of the receiver's security groups allows it"},
	IngressAllowance:    {"CONNTRACK_ALLOWANCE_INGRESS", "the receiver's connection tracking allowance is exceeded"},
	FragmentTimeout:     {"FRAGMENT_TIMEOUT", "the other fragments of the datagram did not arrive in time"},
	FragmentOverlap:     {"FRAGMENT_OVERLAP", "fragments of the datagram overlap"},
	FragmentTiny:        {"FRAGMENT_TINY", "the first fragment does not hold the whole transport header"},
	FragmentTooLong:     {"FRAGMENT_TOO_LONG", "the fragments add up to more than 65,535 bytes"},
	FragmentLimit:       {"FRAGMENT_LIMIT", "too many fragments are waiting for the rest of their datagram"},
	PortDown:            {"PORT_DOWN", "the receiving port is down"},
	PortRefused:         {"PORT_REFUSED", "the receiving device refused the frame"},
	Panic:               {"PANIC", "the switch failed on the frame, and kept it for diagnosis"},
}

// String returns the reason's name as counters and JSON have it: SG_INGRESS.
func (r Reason) String() string {
	if r >= NumReasons {
		return "INVALID"
	}
	return reasons[r].name
}

// Sentence returns the reason in words, without a full stop.
func (r Reason) Sentence() string {
	if r >= NumReasons {
		return "not a reason"
	}
	return reasons[r].sentence
}

// Reasons returns all reasons but None, in order.
func Reasons() []Reason {
	all := make([]Reason, 0, NumReasons-1)
	for r := None + 1; r < NumReasons; r++ {
		all = append(all, r)
	}
	return all
}
