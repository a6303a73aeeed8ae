package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vswitch/internal/api"
	"vswitch/internal/flowlog"
	"vswitch/internal/policy"
)

const flowsLong = `Print flow records as VPC Flow Logs have them: what each network interface saw of
each flow in each direction, with what the security groups and the network ACL on
its side said. The switch keeps the records of the last windows of 60 seconds in
memory, and shows those of the window that is still open as they are now. To have
them in files as well, write a [flow_log.NAME] into vpc.toml.

ACCEPT at the sender says nothing about the receiver, as on AWS; the last column
does: what became of the packets, and the rules that decided on this side.

--format prints AWS's own text instead, with the fields of your choice, or those of
version 2 for "default". With -F, go on: every record once when it begins, and once
when its window closes, until the VPC is taken down.`

const flowsExample = `  vswitch flows
  vswitch flows web1 --rejected -F
  vswitch flows --format default
  vswitch flows --format '${pkt-srcaddr} ${pkt-dstaddr} ${dstport} ${action} ${vswitch-rule}'`

// A flowsView is what `vswitch flows` was asked for.
type flowsView struct {
	request api.FlowsRequest
	follow  bool
}

func newFlows(c *cli) *cobra.Command {
	v := flowsView{request: api.FlowsRequest{Limit: api.DefaultFlows}}
	cmd := &cobra.Command{
		Use:               "flows [INSTANCE]",
		Short:             "Print flow records, as VPC Flow Logs",
		Long:              flowsLong,
		Example:           flowsExample,
		GroupID:           groupInspect,
		Args:              upToArgs(1),
		ValidArgsFunction: c.completeInstance,
		Annotations:       map[string]string{formatsKey: formatsStream},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				v.request.Instance = args[0]
			}
			return c.flows(&v)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&v.follow, "follow", "F", false, "go on as records begin and end")
	flags.BoolVar(&v.request.Rejected, "rejected", false, "only what was rejected")
	flags.StringVar(&v.request.Format, "format", "", "print lines of these `FIELDS`, or of \"default\"")
	flags.IntVar(&v.request.Limit, "limit", v.request.Limit, "print at most `N` records, the newest")
	return cmd
}

// flowWait is how long one call waits for the next record; then there is another.
const flowWait = 30 * time.Second

func (c *cli) flows(v *flowsView) error {
	if v.follow && c.format == formatJSON {
		return usagef("-F has no end, and -o json prints one document: use -o jsonl or table")
	}
	if _, err := lineFormat(v.request.Format); err != nil {
		return usagef("--format: %w", err)
	}
	s, client, err := c.client(toRead)
	if err != nil {
		return err
	}
	reply, err := client.Flows(context.Background(), v.request, 0)
	if err != nil {
		return notRunning(s, err)
	}
	if reply.Total > len(reply.Flows) {
		c.talk("the newest %d of %d records (--limit)", len(reply.Flows), reply.Total)
	}
	if !v.follow {
		return c.print(output{
			table:    func(w io.Writer, _ bool) error { return v.write(w, reply.Flows, true) },
			document: reply,
			items:    asItems(reply.Flows),
		})
	}
	return c.followFlows(v, &reply, func(after uint64) (api.Flows, error) {
		next := v.request
		next.Follow, next.After = true, after
		return client.Flows(context.Background(), next, flowWait)
	})
}

// followFlows prints the records of reply and then those that more returns, until
// the switch stops.
func (c *cli) followFlows(v *flowsView, reply *api.Flows, more func(after uint64) (api.Flows, error)) error {
	for first := true; ; first = false {
		if reply.Missed {
			c.talk("records are missing here: the switch has forgotten them before they were asked for")
		}
		var err error
		if c.format == formatTable {
			err = v.write(c.out, reply.Flows, first)
		} else {
			err = encodeLines(c.out, asItems(reply.Flows))
		}
		if err != nil {
			return err
		}
		next, err := more(reply.Next)
		var known *api.Error
		if errors.As(err, &known) && known.Kind == api.KindStopping || errors.Is(err, api.ErrNotRunning) && !first {
			return nil
		}
		if err != nil {
			return err
		}
		reply = &next
	}
}

// write prints records: as lines of the format asked for, or as a table. Its
// columns have a fixed width, so that what comes later lines up with what has been
// printed.
func (v *flowsView) write(w io.Writer, flows []api.Flow, header bool) error {
	if v.request.Format != "" {
		for i := range flows {
			if _, err := fmt.Fprintln(w, flows[i].Line); err != nil {
				return err
			}
		}
		return nil
	}
	const row = "%-8s  %-12s  %-7s  %-8s  %-6s  %7s  %10s  %-44s  %s"
	if header {
		if _, err := fmt.Fprintf(w, row+"\n", "START", "AT", "DIR", "ACTION", "WINDOW", "PACKETS", "BYTES", "FLOW", "BECAME"); err != nil {
			return err
		}
	}
	for i := range flows {
		f := &flows[i]
		line := fmt.Sprintf(row, f.Start.Format(time.TimeOnly), f.Instance, dash(f.Direction), flowAction(f), f.State, flowCount(f, f.Packets), flowCount(f, f.Bytes), flowText(f), flowFate(f))
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}

func flowAction(f *api.Flow) string {
	if f.Action == "" {
		return f.Status
	}
	return f.Action
}

func flowCount(f *api.Flow, n uint64) string {
	if f.Action == "" {
		return "-"
	}
	return fmt.Sprint(n)
}

// flowText returns "10.0.1.10:40000 > 10.0.2.10:8080 tcp", or "-" for a record of
// no flow.
func flowText(f *api.Flow) string {
	if f.Action == "" {
		return "-"
	}
	return fmt.Sprintf("%s > %s %s", flowEnd(f.Source, f.SourcePort), flowEnd(f.Destination, f.DestPort), f.Protocol)
}

// flowEnd returns one end of a flow, with its port unless that is 0.
func flowEnd(address string, port uint16) string {
	if port == 0 {
		return address
	}
	if strings.Contains(address, ":") {
		return fmt.Sprintf("[%s]:%d", address, port)
	}
	return fmt.Sprintf("%s:%d", address, port)
}

// flowFate returns what became of the packets, and by which rules.
func flowFate(f *api.Flow) string {
	if f.Action == "" {
		return "records were lost"
	}
	fate := f.Verdict
	if f.Verdict == flowlog.VerdictName(policy.None) {
		fate = strings.ToLower(fate)
	}
	if len(f.Rules) > 0 {
		fate += "  " + strings.Join(f.Rules, ", ")
	}
	return fate
}
