package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// agentCommand is the argument that makes this program an agent.
const agentCommand = "agent"

// patience is how long an agent may take for a task, beyond the task's own
// Duration: a switch that forwards nothing must end the run, not hold it.
const patience = 30 * time.Second

// A task is what an agent is asked to do. Only the fields that its Op names are
// set.
type task struct {
	Op       string
	Device   string        `json:",omitempty"`
	Address  string        `json:",omitempty"` // a host's, with the length of its network
	Peer     string        `json:",omitempty"` // an address
	PID      int           `json:",omitempty"` // a process in the namespace that is meant
	Streams  int           `json:",omitempty"`
	Flows    int           `json:",omitempty"`
	Duration time.Duration `json:",omitempty"` // of a measurement
	Argv     []string      `json:",omitempty"`
	Env      []string      `json:",omitempty"`
	Input    string        `json:",omitempty"` // of the command
}

// A reply is what came of a task. Value's unit is the operation's.
type reply struct {
	Value float64 `json:",omitempty"`
	Error string  `json:",omitempty"` // "" if it was done
}

// An agent is this program once more, as a process in another network
// namespace. It does one task after the other. It is told by its standard input,
// and ends with it.
type agent struct {
	cmd     *exec.Cmd
	input   io.WriteCloser
	replies chan reply // closed when the agent has ended
}

// startAgent starts an agent in the namespace of that name, or in a new one
// without a name, which ends with the agent, if it is "". The caller is locked to
// the program's first thread.
func startAgent(namespace string) (*agent, error) {
	cmd := exec.Command("/proc/self/exe", agentCommand, namespace)
	// An agent's threads wait inside system calls of which the scheduler does not
	// know (socket): it must not try to interrupt them.
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1")
	cmd.Stderr = os.Stderr
	// A group of its own: the terminal's Ctrl-C is for the first process alone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if namespace == "" {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
	}
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	a := &agent{cmd: cmd, input: input, replies: make(chan reply, 1)}
	go func() {
		defer close(a.replies)
		lines := json.NewDecoder(bufio.NewReader(output))
		for {
			var r reply
			if lines.Decode(&r) != nil {
				return
			}
			a.replies <- r
		}
	}()
	return a, nil
}

// pid returns the agent's process, which stands for its namespace.
func (a *agent) pid() int { return a.cmd.Process.Pid }

// call has the agent do t and returns the value of its reply. After an error of
// ctx or a timeout the agent can only be stopped.
func (a *agent) call(ctx context.Context, t task) (float64, error) {
	if err := json.NewEncoder(a.input).Encode(t); err != nil {
		return 0, fmt.Errorf("%s: agent: %w", t.Op, err)
	}
	timeout := time.NewTimer(t.Duration + patience)
	defer timeout.Stop()
	select {
	case r, ok := <-a.replies:
		switch {
		case !ok:
			return 0, fmt.Errorf("%s: the agent ended", t.Op)
		case r.Error != "":
			return 0, fmt.Errorf("%s: %s", t.Op, r.Error)
		}
		return r.Value, nil
	case <-ctx.Done():
		return 0, fmt.Errorf("%s: %w", t.Op, ctx.Err())
	case <-timeout.C:
		return 0, fmt.Errorf("%s: no answer within %v", t.Op, t.Duration+patience)
	}
}

// stop ends the agent and everything in a namespace that was its own.
func (a *agent) stop() error {
	err := a.cmd.Process.Kill()
	for range a.replies { // let the reader end: Wait closes its pipe
	}
	var exit *exec.ExitError
	if waited := a.cmd.Wait(); !errors.As(waited, &exit) {
		err = errors.Join(err, waited)
	}
	return err
}
