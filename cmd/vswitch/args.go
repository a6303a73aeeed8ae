package main

import "github.com/spf13/cobra"

// The argument counts of the commands. They are cobra's, with the exit code of a
// wrong command line and the command's usage line.

func noArgs() cobra.PositionalArgs            { return arguments(cobra.NoArgs) }
func minArgs(n int) cobra.PositionalArgs      { return arguments(cobra.MinimumNArgs(n)) }
func upToArgs(n int) cobra.PositionalArgs     { return arguments(cobra.MaximumNArgs(n)) }
func rangeArgs(a, b int) cobra.PositionalArgs { return arguments(cobra.RangeArgs(a, b)) }

func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usagef("%w\nusage: %s", err, cmd.UseLine())
		}
		return nil
	}
}
