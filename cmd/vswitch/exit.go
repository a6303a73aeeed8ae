package main

import (
	"errors"
	"fmt"
	"strings"

	"vswitch/internal/api"
	"vswitch/internal/config"
	vswitch "vswitch/switch"
)

// Exit codes of the command.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2 // a wrong command line, an unknown name, a file with mistakes
	exitTest    = 3 // test: a test failed
	exitDenied  = 4 // explain --exit-code: the flow is denied

	// Those of exec for a command that could not be started, as a shell has them.
	exitCannotRun = 126
	exitNotFound  = 127
)

// A usageError is a mistake in the command line.
type usageError struct{ error }

// Unwrap returns the mistake.
func (e *usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// An exitError ends the command with a code of its own.
type exitError struct {
	code  int
	cause error // nil if everything was said
}

// Error returns the cause in words.
func (e *exitError) Error() string {
	if e.cause == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.cause.Error()
}

// Unwrap returns the cause.
func (e *exitError) Unwrap() error { return e.cause }

// exitCode returns the code for an error.
func exitCode(err error) int {
	var own *exitError
	var usage *usageError
	var refused *api.Error
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &own):
		return own.code
	case errors.As(err, &usage), isConfigurationError(err):
		return exitUsage
	case errors.As(err, &refused) && (refused.Kind == api.KindUsage || refused.Kind == api.KindNotFound):
		return exitUsage
	}
	return exitFailure
}

// isConfigurationError reports whether err says what is wrong in the file.
func isConfigurationError(err error) bool {
	var mistakes config.Errors
	var invalid *vswitch.InvalidError
	var refused *api.Error
	return errors.As(err, &mistakes) || errors.As(err, &invalid) ||
		errors.As(err, &refused) && refused.Kind == api.KindConfiguration
}

// report prints the error of a command, if any, and returns its exit code. A
// file's mistakes stand for themselves, one a line, with the file as the user
// wrote it, so that an editor can jump to them; anything else is introduced by
// the command's name.
func (c *cli) report(err error) int {
	code := exitCode(err)
	var own *exitError
	if err == nil || errors.As(err, &own) && own.cause == nil {
		return code
	}
	text := strings.TrimRight(err.Error(), "\n")
	if isConfigurationError(err) {
		text = c.shorten(text)
	} else {
		text = "vswitch: " + text
	}
	fmt.Fprintln(c.err, text)
	return code
}
