package conntrack

import "time"

// A State is where a connection stands. Per state, what its segments may do:
//
//	SynSent      the opener's SYN passed. The opener may repeat it; the other end
//	             may answer SYN-ACK, SYN (simultaneous open), RST, or a challenge
//	             ACK of a connection it still remembers. No data passes.
//	SynReceived  SYN-ACK, or a SYN from both ends. Segments inside the window pass;
//	             the opener's next acknowledgement establishes.
//	Established  segments inside the window pass and refresh the timeout. A SYN
//	             passes without effect: the peer may have rebooted.
//	Closing      a FIN passed. As Established, with the closing timeout, so that a
//	             half-closed connection lives as long as it is used.
//	Closed       both FINs were acknowledged. Late acknowledgements and repeated
//	             FINs pass and refresh nothing; a SYN begins a new connection;
//	             nothing else passes.
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

// A class is a set of states with one timeout. Connections of a class wait for
// their expiry in one queue per interface.
type class uint8

const (
	classSyn class = iota
	classEstablished
	classClosing
	classUDP
	classStream
	classICMP
	classOther
	numClasses
)

// classOf returns the class of a connection.
func classOf(s State, icmp bool) class {
	switch s {
	case SynSent, SynReceived:
		return classSyn
	case Established:
		return classEstablished
	case Closing, Closed:
		return classClosing
	case Stream:
		return classStream
	case Active:
		return classOther
	}
	if icmp {
		return classICMP
	}
	return classUDP
}

// timeout returns the idle timeout of a class.
func (l *Limits) timeout(c class) time.Duration {
	switch c {
	case classSyn:
		return synTimeout
	case classEstablished:
		return l.TCPEstablished
	case classClosing:
		return closingTimeout
	case classUDP:
		return l.UDP
	case classStream:
		return l.UDPStream
	case classICMP:
		return icmpTimeout
	}
	return otherProtocols
}
