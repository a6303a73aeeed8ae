package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"vswitch/internal/api"
	"vswitch/internal/explain"
	vswitch "vswitch/switch"
)

const explainLong = `Say what would become of a flow that begins now, gate by gate, for the request and
for its reply: which rule decides, and in which line of the file it stands. Where
something denies, say what the client will see, and what to add to the file.

SRC and DST are instances, addresses, INSTANCE:ADDRESS for one of several
addresses, or "internet". The service is tcp/PORT, udp/PORT, icmp (an echo
request), icmp/TYPE:CODE, the same with icmpv6, or the number of another protocol.
Clients may have any source port from 1024 on; --from-port asks about one.

If the VPC runs, what runs is asked, and nothing is sent; if it does not, the file
alone. With --exit-code the exit code is 4 if the flow is denied.`

func newExplain(c *cli) *cobra.Command {
	var request api.ExplainRequest
	exitCode := false
	cmd := &cobra.Command{
		Use:               "explain SRC DST PROTO[/PORT]",
		Short:             "Say which rule allows or denies a flow, and why",
		Long:              explainLong,
		Example:           "  vswitch explain web1 app1 tcp/8080\n  vswitch explain db1 internet tcp/443 -o json\n  vswitch explain web1 app1 icmp --exit-code",
		GroupID:           groupInspect,
		Args:              rangeArgs(3, 3),
		ValidArgsFunction: c.completeFlow,
		Annotations:       map[string]string{formatsKey: formatsPlain},
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("from-port") && request.SourcePort == 0 {
				return usagef("--from-port 0: want 1 to 65535")
			}
			request.From, request.To, request.Service = args[0], args[1], args[2]
			return c.explain(request, exitCode)
		},
	}
	cmd.Flags().Uint16Var(&request.SourcePort, "from-port", 0, "the client's source `PORT` (default any from 1024 on)")
	cmd.Flags().Lookup("from-port").DefValue = "" // what it means is in the line
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 4 if the flow is denied")
	return cmd
}

func (c *cli) explain(r api.ExplainRequest, exitCode bool) error {
	e, judged, err := c.explanation(r)
	if err != nil {
		return err
	}
	if c.format == formatJSON {
		err = api.Encode(c.out, e)
	} else {
		_, err = fmt.Fprint(c.out, c.shorten(explanationText(&e, judged)))
	}
	if err == nil && exitCode && e.Verdict != api.VerdictAllow {
		return &exitError{code: exitDenied}
	}
	return err
}

// explanation asks the running VPC or, if there is none, the file. judged says
// which.
func (c *cli) explanation(r api.ExplainRequest) (e api.Explanation, judged string, err error) {
	ask := func(client *api.Client) (api.Explanation, error) {
		e, err := client.Explain(context.Background(), r)
		if err == nil {
			judged = fmt.Sprintf("generation %d", e.Generation)
			c.sayDifference(client)
		}
		return e, err
	}
	e, err = runningOrFile(c, ask, func(cfg vswitch.Config) (api.Explanation, error) {
		judged = c.givenFile() + ", not running"
		x, err := explain.New(cfg)
		if err != nil {
			return api.Explanation{}, err
		}
		e, err := x.Document(r)
		if err != nil {
			err = &usageError{err}
		}
		return e, errors.Join(err, x.Close())
	})
	return e, judged, err
}

// sayDifference says that the file differs from what runs, and so from what is
// explained. A file that is gone or broken is no reason to explain nothing.
func (c *cli) sayDifference(client *api.Client) {
	request := api.ReloadRequest{DryRun: true}
	if c.file != "" && c.vpc == "" {
		path, err := filepath.Abs(c.file)
		if err != nil {
			return
		}
		request.File = path
	}
	reply, err := client.Reload(context.Background(), request)
	switch {
	case err != nil:
		c.talk("note: this is about what runs; the file cannot be compared with it: %s", c.shorten(strings.TrimRight(err.Error(), "\n")))
	case len(reply.Changes) > 0:
		c.talk("note: this is about what runs; the file differs in %s (vswitch reload)", count(len(reply.Changes), "object"))
	}
}

// completeFlow lists the instances for the ends of a flow, and the protocols for
// its service.
func (c *cli) completeFlow(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0, 1:
		names, directive := c.instanceNames()
		if directive == cobra.ShellCompDirectiveError {
			names, directive = c.fileInstanceNames()
		}
		return append(names, "internet"), directive
	case 2:
		return []string{"tcp/", "udp/", "icmp", "icmpv6"}, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// fileInstanceNames lists the instances of the file, for when nothing runs.
func (c *cli) fileInstanceNames() ([]string, cobra.ShellCompDirective) {
	cfg, _, err := c.load()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names := make([]string, len(cfg.Instances))
	for i := range cfg.Instances {
		names[i] = cfg.Instances[i].Name
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
