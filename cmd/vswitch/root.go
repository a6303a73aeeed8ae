package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	vswitch "vswitch/switch"
)

// A cli is one invocation of the command: its global flags and its streams.
// Standard output is data, standard error is talk.
type cli struct {
	file    string // -f, or $VSWITCH_FILE; "" if neither was given
	vpc     string // --vpc
	format  string // -o
	json    bool   // -j
	quiet   bool
	verbose bool

	root     string // the directory of all state directories
	in       io.Reader
	out, err io.Writer
}

// The groups under which help lists the commands.
const (
	groupLab     = "lab"
	groupInspect = "inspect"
	groupInside  = "inside"
	groupOther   = "other"
)

// formatsKey is the annotation that lists the -o formats of a command, separated
// by spaces. A command without it prints text only.
const formatsKey = "formats"

const rootLong = `vswitch is a VPC on your machine: real packets between network namespaces, with
security groups and network ACLs that behave like AWS. One TOML file says what
there is; "vswitch up" builds it.`

const rootExample = `  vswitch up                          build the lab that ./vpc.toml describes
  vswitch ping web1 app1 tcp/8080     does a connection get through?
  vswitch exec web1 -- sh             a shell inside an instance
  vswitch down                        remove everything that up made`

// newRoot returns the command tree of one invocation.
func newRoot(c *cli) *cobra.Command {
	root := &cobra.Command{
		Use:               "vswitch",
		Short:             "A VPC on your machine",
		Long:              rootLong,
		Example:           rootExample,
		Args:              noCommand,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return c.checkFlags(cmd) },
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.SetFlagErrorFunc(flagError)
	flags := root.PersistentFlags()
	flags.StringVarP(&c.file, "file", "f", os.Getenv("VSWITCH_FILE"), "the VPC's `FILE` (default ./vpc.toml, or $VSWITCH_FILE)")
	flags.Lookup("file").DefValue = "" // the help must not depend on the environment
	flags.StringVar(&c.vpc, "vpc", "", "the running VPC of this `NAME`, also without its file")
	flags.StringVarP(&c.format, "output", "o", "", "`FORMAT` of the output: table, wide, json, jsonl or name")
	flags.BoolVarP(&c.json, "json", "j", false, "the same as -o json")
	flags.BoolVarP(&c.quiet, "quiet", "q", false, "say nothing but data and errors")
	flags.BoolVarP(&c.verbose, "verbose", "v", false, "say more; in the log, too")

	root.AddGroup(
		&cobra.Group{ID: groupLab, Title: "The lab:"},
		&cobra.Group{ID: groupInspect, Title: "What happens in it:"},
		&cobra.Group{ID: groupInside, Title: "From inside an instance:"},
		&cobra.Group{ID: groupOther, Title: "Other:"},
	)
	root.SetHelpCommandGroupID(groupOther)
	root.SetCompletionCommandGroupID(groupOther)
	root.AddCommand(
		newUp(c), newRun(c), newDown(c), newReload(c), newPlan(c), newCheck(c),
		newStatus(c), newExplain(c), newReach(c), newWhy(c), newRules(c), newEvents(c), newFlows(c), newTop(c), newLogs(c), newConntrack(c), newCapture(c), newGraph(c),
		newExec(c), newPing(c), newServe(c), newEnter(c), newProbe(c),
		newVersion(c), newMan(),
		newTest(c), newParty(c),
	)
	registerCompletion(c, root)
	return root
}

// execute runs one command line and returns its exit code.
func execute(args []string, in io.Reader, out, errs io.Writer) int {
	c := &cli{root: stateRoot(), in: in, out: out, err: errs}
	root := newRoot(c)
	root.SetArgs(args)
	return c.report(root.Execute())
}

// checkFlags checks the global flags against what the command can do.
func (c *cli) checkFlags(cmd *cobra.Command) error {
	if c.json {
		if c.format != "" && c.format != formatJSON {
			return usagef("-j means -o json, and -o %s was asked for as well", c.format)
		}
		c.format = formatJSON
	}
	if c.vpc != "" && !vpcName.MatchString(c.vpc) {
		return usagef("--vpc %q: the name of a VPC matches %s", c.vpc, vpcName)
	}
	formats := strings.Fields(cmd.Annotations[formatsKey])
	if c.format == "" {
		if len(formats) > 0 {
			c.format = formats[0]
		}
		return nil
	}
	if len(formats) == 0 {
		return usagef("%s prints text only: it has no -o", cmd.CommandPath())
	}
	for _, f := range formats {
		if f == c.format {
			return nil
		}
	}
	return usagef("-o %s: %s prints %s%s", c.format, cmd.CommandPath(), strings.Join(formats, ", "), didYouMean(c.format, formats))
}

// noCommand refuses the argument that was to be a subcommand and is none.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(append(names, sub.Name()), sub.Aliases...)
		}
	}
	return usagef("no command %q%s\nsee '%s --help'", args[0], didYouMean(args[0], names), cmd.CommandPath())
}

// talk prints a line for people to standard error.
func (c *cli) talk(format string, args ...any) {
	if !c.quiet {
		fmt.Fprintf(c.err, format+"\n", args...)
	}
}

// didYouMean returns " (did you mean \"web1\"?)", or "" if no candidate is near.
func didYouMean(name string, candidates []string) string {
	if near := vswitch.Nearest(name, candidates); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}
