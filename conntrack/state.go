package conntrack

import "time"

// A State is where a connection stands. Per state, what its segments may do:
//
//	SynSent      the opener's SYN passed. The opener may repeat it; the other end
//	             may answer SYN-ACK, SYN (simultaneous open), RST, or a challenge
//	             ACK of a connection it still remembers. No data passes.
//	SynReceived  SYN-ACK, or a SYN from both ends. Segments inside the window pass;
//	             the opener's next acknowledgement of the other's SYN establishes.
//	Established  segments inside the window pass and refresh the timeout. A SYN
//	             passes without effect: the peer may have rebooted. The SYN-ACK that
//	             answers it begins a new connection in SynReceived.
//	Closing      a FIN passed. As Established, with the closing timeout, so that a
//	             half-closed connection lives as long as it is used.
//	Closed       both FINs were acknowledged, and what repeats the old connection's
//	             last words passes; or one end has reset and the other may not have
//	             noticed, and segments inside the window pass. Neither refreshes the
//	             timeout. A SYN begins a new connection. Nothing else passes.
//	Unreplied    UDP, or ICMP echo: nothing came back yet.
//	Replied      UDP: one answer came back. ICMP: at least one.
//	Stream       UDP: the opener sent again after an answer.
//	Active       any other protocol, between two addresses.
type State uint8

// The states. The zero State is that of a record that holds no connection.
const (
	stateFree State = iota
	SynSent
	SynReceived
	Established
	Closing
	Closed
	Unreplied
	Replied
	Stream
	Active
)

var stateNames = [...]string{"free", "syn-sent", "syn-received", "established", "closing", "closed", "unreplied", "replied", "stream", "active"}

// String returns the state in lower case: established, syn-sent.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "invalid"
}

// Idle timeouts. AWS documents those of Limits and otherProtocols; the others
// are this program's choice where AWS is silent (SEM 2.3).
const (
	defaultEstablished = 432000 * time.Second // SEM 2.3, five days
	defaultUDP         = 30 * time.Second     // SEM 2.3
	defaultUDPStream   = 180 * time.Second    // SEM 2.3
	synTimeout         = 60 * time.Second     // before established
	closingTimeout     = 120 * time.Second    // after a FIN, and the linger of a closed connection
	icmpTimeout        = 30 * time.Second
	otherProtocols     = 600 * time.Second // SEM 2.3, fixed
)

// DefaultMax is the connection allowance of an interface whose Limits name none.
const DefaultMax = 1 << 20

// Limits are what one network interface may track, and for how long. Zero fields
// mean AWS's defaults of the profile "nitro" (SEM 2.3) and DefaultMax.
type Limits struct {
	Max            int           // connections
	TCPEstablished time.Duration // idle timeout of an established TCP connection
	UDP            time.Duration // of UDP with one request and at most one answer
	UDPStream      time.Duration // of UDP beyond that
	Strict         bool          // only a SYN opens a TCP connection (SEM 2.4)
}

// complete returns l with the defaults filled in.
func (l Limits) complete() Limits {
	if l.Max == 0 {
		l.Max = DefaultMax
	}
	if l.TCPEstablished == 0 {
		l.TCPEstablished = defaultEstablished
	}
	if l.UDP == 0 {
		l.UDP = defaultUDP
	}
	if l.UDPStream == 0 {
		l.UDPStream = defaultUDPStream
	}
	return l
}

// timeout returns how long a connection in state s may be idle. Unreplied and
// Replied are states of UDP and of ICMP, which icmp tells apart.
func (l *Limits) timeout(s State, icmp bool) time.Duration {
	switch s {
	case SynSent, SynReceived:
		return synTimeout
	case Established:
		return l.TCPEstablished
	case Closing, Closed:
		return closingTimeout
	case Stream:
		return l.UDPStream
	case Active:
		return otherProtocols
	}
	if icmp {
		return icmpTimeout
	}
	return l.UDP
}
