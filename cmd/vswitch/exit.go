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
	exitOK    = 0
	exitError = 1
	exitUsage = 2 // a wrong command line, an unknown name, a file with mistakes
)

// A usageError is a mistake in the command line or in the file.
type usageError struct{ error }

// Unwrap returns the mistake.
func (e *usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// An exitError ends the command with a code of its own, after everything to say
// was said.
type exitCodeError int

// Error is for code that prints every error; report prints none for this one.
func (e exitCodeError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// exitCode returns the code for an error.
func exitCode(err error) int {
	var usage *usageError
	var code exitCodeError
	var mistakes config.Errors
	var invalid *vswitch.InvalidError
	var refused *api.Error
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &usage), errors.As(err, &mistakes), errors.As(err, &invalid):
		return exitUsage
	case errors.As(err, &refused) && (refused.Kind == api.KindUsage || refused.Kind == api.KindConfiguration || refused.Kind == api.KindNotFound):
		return exitUsage
	case strings.HasPrefix(err.Error(), "unknown command ") || strings.HasPrefix(err.Error(), "unknown shorthand"):
		return exitUsage // cobra has no type for these
	}
	return exitError
}

// report prints the error of a command, if any, and returns its exit code. A
// file's mistakes stand for themselves, one a line, so that an editor can jump
// to them; anything else is introduced by the command's name.
func (c *cli) report(err error) int {
	code := exitCode(err)
	var said exitCodeError
	if err == nil || errors.As(err, &said) {
		return code
	}
	text := strings.TrimRight(err.Error(), "\n")
	var mistakes config.Errors
	var refused *api.Error
	if !errors.As(err, &mistakes) && !(errors.As(err, &refused) && refused.Kind == api.KindConfiguration) {
		text = "vswitch: " + text
	}
	fmt.Fprintln(c.err, text)
	return code
}
