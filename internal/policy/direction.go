// Package policy holds the words that security groups and network ACLs share:
// directions, verdicts, the reasons for a drop, protocols and services.
package policy

// A Direction is the way a packet travels, always as the network interface
// (ENI) of an instance sees it. A packet from one instance to another is
// egress at the first and ingress at the second.
type Direction uint8

const (
	Ingress Direction = iota // towards the instance
	Egress                   // from the instance
)

// Opposite returns the direction in which a reply travels.
func (d Direction) Opposite() Direction { return d ^ 1 }

// String returns "ingress" or "egress".
func (d Direction) String() string {
	if d == Egress {
		return "egress"
	}
	return "ingress"
}

// A Verdict is the outcome of a check. The zero Verdict drops.
type Verdict uint8

const (
	Deny  Verdict = iota // the packet vanishes: no RST, no ICMP (SEM 4.4)
	Allow                // the packet goes on to the next check
)

// String returns "deny" or "allow".
func (v Verdict) String() string {
	if v == Allow {
		return "allow"
	}
	return "deny"
}
