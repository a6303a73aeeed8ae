package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// The argument counts of the commands. A wrong one is told with the command's usage
// line.

func noArgs() cobra.PositionalArgs        { return rangeArgs(0, 0) }
func minArgs(n int) cobra.PositionalArgs  { return rangeArgs(n, anyArgs) }
func upToArgs(n int) cobra.PositionalArgs { return rangeArgs(0, n) }

// anyArgs is more arguments than anybody gives.
const anyArgs = 1 << 30

func rangeArgs(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if least <= len(args) && len(args) <= most {
			return nil
		}
		name := strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
		return usagef("%s takes %s, and got %d\nusage: %s", name, argsText(least, most), len(args), cmd.UseLine())
	}
}

// argsText returns how many arguments are right.
func argsText(least, most int) string {
	switch {
	case most == 0:
		return "no arguments"
	case most == anyArgs:
		return "at least " + count(least, "argument")
	case least == most:
		return count(most, "argument")
	case least == 0:
		return "at most " + count(most, "argument")
	}
	return fmt.Sprintf("%d to %s", least, count(most, "argument"))
}

// libraryWords are what Go's own parsers put before the cause.
var libraryWords = regexp.MustCompile(`strconv\.\w+: parsing "[^"]*": |time: `)

// flagError says what is wrong with a flag, in the user's words.
func flagError(cmd *cobra.Command, err error) error {
	return usagef("%s\nsee '%s --help'", libraryWords.ReplaceAllString(err.Error(), ""), cmd.CommandPath())
}
