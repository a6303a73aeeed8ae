// Package conntrack remembers connections: it says whether a flow is new at a
// network interface, follows TCP closely enough to tell a segment that belongs
// from one that was made up, and holds the fragments of a datagram until it is
// complete.
//
// A flow between two local instances has a connection at each of them, judged
// apart, tracked or untracked apart (SEM 2.7): every key holds the handle of a
// network interface (ENI).
//
// # Ownership
//
// A Tracker belongs to one worker at a time and takes no lock. Whoever else
// wants to know something asks the owner, between two bursts of frames. There is
// no clock either: time comes in as nanoseconds that never go back.
package conntrack
