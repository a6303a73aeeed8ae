package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// runCommand runs t.Argv inside the agent's namespace. The error holds what the
// command said.
func runCommand(t task) (float64, error) {
	cmd := exec.Command(t.Argv[0], t.Argv[1:]...)
	cmd.Env = append(os.Environ(), t.Env...)
	cmd.Stdin = strings.NewReader(t.Input)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%s: %w: %s", strings.Join(t.Argv, " "), err, bytes.TrimSpace(out))
	}
	return 0, nil
}

// kept are the inputs of what startCommand has started, which end with the agent.
var kept []io.Closer

// startCommand starts t.Argv inside the agent's namespace. It is killed when the
// agent ends: the agent runs tasks on its first thread. Its standard input stays
// open and empty, and what it says is dropped.
func startCommand(t task) (float64, error) {
	cmd := exec.Command(t.Argv[0], t.Argv[1:]...)
	cmd.Env = append(os.Environ(), t.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	input, err := cmd.StdinPipe() // some daemons end at the end of their input
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	kept = append(kept, input)
	go func() { _ = cmd.Wait() }() // it ends with the agent; if it ends earlier, its devices go, and the work fails
	return 0, nil
}
