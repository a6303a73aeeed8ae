package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"vswitch/internal/lab"
)

// agentThreads is how many of an agent's goroutines may run or wait inside
// system calls at once: servers, connections and the one that takes tasks.
const agentThreads = 32

// Operations of an agent.
const (
	opConfigure = "configure" // bring Device up with Address
	opListen    = "listen"    // start the servers of host B
	opReach     = "reach"     // wait until Peer's servers answer
	opBulk      = "bulk"      // send to Peer over Streams connections: Gbit/s received
	opRR        = "rr"        // ping-pong with Peer: median in microseconds
	opCRR       = "crr"       // one connection after the other to Peer: connections a second
	opFlood     = "flood"     // send small frames to Peer out of Device, over Flows flows: seconds taken
	opFlows     = "open"      // send one small frame of each of Flows flows, at openRate: seconds taken
	opReceived  = "received"  // frames that Device has received so far
	opUnsent    = "unsent"    // frames that Device could not send so far, its queue being full
	opGive      = "give"      // move Device into the namespace of PID
	opRelay     = "relay"     // make linkA and linkB, TAPs, and carry frames between them
	opBridge    = "bridge"    // make linkA and linkB, ports of a Linux bridge
	opTrack     = "track"     // have the bridge's packets pass the hooks of IP
	opAwait     = "await"     // wait until Device exists
	opRun       = "run"       // run Argv with Env and Input, to its end
	opStart     = "start"     // start Argv with Env, which ends with the agent
)

// operations are what an agent can do. Each returns when it is done, those that
// start something when it has started.
var operations = map[string]func(task) (float64, error){
	opConfigure: configure,
	opListen:    listen,
	opReach:     reach,
	opBulk:      bulk,
	opRR:        pingPong,
	opCRR:       reconnect,
	opFlood:     flood,
	opFlows:     openFlows,
	opReceived:  received,
	opUnsent:    unsent,
	opGive:      give,
	opRelay:     openRelay,
	opBridge:    makeBridge,
	opTrack:     trackBridge,
	opAwait:     awaitLink,
	opRun:       runCommand,
	opStart:     startCommand,
}

// runAgent does the tasks that standard input holds, one a line, and returns at
// its end. args is the name of the namespace to enter, if there is one.
func runAgent(args []string) error {
	if len(args) == 1 && args[0] != "" {
		// All threads must be inside, so this program begins anew there.
		return lab.Exec(args[0], []string{"/proc/self/exe", agentCommand})
	}
	// The collector stops threads that run Go code, and would wait for a whole
	// system call of those that socket hides. Nothing here allocates in a loop.
	debug.SetGCPercent(-1)
	runtime.GOMAXPROCS(agentThreads)

	tasks, replies := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var t task
		if err := tasks.Decode(&t); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var r reply
		value, err := perform(t)
		if err != nil {
			r.Error = err.Error()
		} else {
			r.Value = value
		}
		if err := replies.Encode(r); err != nil {
			return err
		}
	}
}

// perform does one task.
func perform(t task) (float64, error) {
	do, ok := operations[t.Op]
	if !ok {
		return 0, fmt.Errorf("operation %q: unknown", t.Op)
	}
	return do(t)
}
