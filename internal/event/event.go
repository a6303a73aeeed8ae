// Package event keeps what happened lately to a running switch: numbered events
// in a bounded ring, for whoever asks and whoever waits.
package event

import "time"

// A Type says what kind of thing happened.
type Type string

// The types of events.
const (
	DaemonStarted     Type = "daemon_started"
	DaemonStopping    Type = "daemon_stopping"
	PortUp            Type = "port_up"   // an instance's device works
	PortDown          Type = "port_down" // it works no more, or its instance was removed
	ProcessStarted    Type = "process_started"
	ProcessExited     Type = "process_exited"
	ReloadDone        Type = "reload_done"
	ReloadRefused     Type = "reload_refused" // the running configuration stays
	AllowanceExceeded Type = "allowance_exceeded"
	PanicContained    Type = "panic_contained"
	RecordsLost       Type = "records_lost" // of a flow log
	FramesLost        Type = "frames_lost"  // of a capture
	Gap               Type = "gap"          // events that were overwritten before they were asked for
)

// An Event is one thing that happened. Fields that say nothing about its type are
// zero and left out.
type Event struct {
	Sequence   uint64    `json:"sequence"` // from 1, without holes but those that a gap names
	Time       time.Time `json:"time"`
	Type       Type      `json:"type"`
	Instance   string    `json:"instance,omitempty"`
	Generation uint32    `json:"generation,omitempty"` // of the configuration that is in force
	Count      uint64    `json:"count,omitempty"`      // how many of what the type names: refused flows, frames, mistakes, events
	PID        int       `json:"pid,omitempty"`
	ExitCode   *int      `json:"exit_code,omitempty"` // of a process; absent if nobody saw it end
	Message    string    `json:"message"`             // for people
}
