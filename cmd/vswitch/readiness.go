package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"vswitch/internal/api"
)

// readinessFD is the descriptor on which a daemon in the background tells up
// that it forwards, or why it does not.
const readinessFD = 3

// A readiness is the daemon's end of the pipe to up. One report goes through it.
type readiness struct {
	pipe *os.File
	told bool
}

// A report is what goes through the pipe: one of the two.
type report struct {
	Status *api.Status `json:"status,omitempty"`
	Error  *api.Error  `json:"error,omitempty"`
}

// openReadiness takes over the pipe that up has left open at fd.
func openReadiness(fd int) (*readiness, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return nil, usagef("--background is for vswitch up: descriptor %d is no pipe", fd)
	}
	unix.CloseOnExec(fd)
	return &readiness{pipe: os.NewFile(uintptr(fd), "readiness")}, nil
}

// tell reports that the daemon forwards. An up that is gone does not care.
func (r *readiness) tell(s api.Status) { r.send(report{Status: &s}) }

func (r *readiness) send(what report) {
	if r.told {
		return
	}
	r.told = true
	_ = json.NewEncoder(r.pipe).Encode(what)
	_ = r.pipe.Close()
}

// end reports the error with which the daemon ended, unless it was ready before,
// and returns what is left to say.
func (r *readiness) end(err error) error {
	if err == nil || r.told {
		return err
	}
	r.send(report{Error: asRefusal(err)})
	return &exitError{code: exitCode(err)}
}

// asRefusal returns an error as the API would answer it.
func asRefusal(err error) *api.Error {
	kind := api.KindInternal
	var known *api.Error
	var usage *usageError
	switch {
	case errors.As(err, &known):
		kind = known.Kind
	case isConfigurationError(err):
		kind = api.KindConfiguration
	case errors.As(err, &usage):
		kind = api.KindUsage
	}
	return &api.Error{Kind: kind, Message: err.Error()}
}

// await reads the report of a daemon at up's end of the pipe.
func await(pipe io.Reader) (api.Status, error) {
	var r report
	switch err := json.NewDecoder(pipe).Decode(&r); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return api.Status{}, errDied
	case err != nil:
		return api.Status{}, fmt.Errorf("word from the switch: %w", err)
	case r.Error != nil:
		return api.Status{}, r.Error
	case r.Status == nil:
		return api.Status{}, errDied
	}
	return *r.Status, nil
}

// errDied says that a daemon ended without a word.
var errDied = errors.New("the switch ended before it was ready")
