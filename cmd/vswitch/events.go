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
	"vswitch/internal/event"
)

const eventsLong = `Print what happened lately, oldest first: ports that went up or down, reloads and
those that were refused, commands of instances that started or exited, tracking
allowances that were exceeded, and failures inside the switch that it survived.

The switch keeps the last 1,024 events, and each is one line of JSON unless -o
says otherwise. With -F, go on as they happen, until the VPC is taken down. Who
reads too slowly loses events, and finds a gap event that counts them.`

// formatsEvents are the formats of events, which are lines of JSON by nature.
const formatsEvents = "jsonl table json"

func newEvents(c *cli) *cobra.Command {
	follow := false
	cmd := &cobra.Command{
		Use:         "events",
		Short:       "Print what happened to the switch and its ports",
		Long:        eventsLong,
		Example:     "  vswitch events -o table\n  vswitch events -F | jq 'select(.type == \"port_down\")'",
		GroupID:     groupInspect,
		Args:        noArgs(),
		Annotations: map[string]string{formatsKey: formatsEvents},
		RunE:        func(*cobra.Command, []string) error { return c.events(follow) },
	}
	cmd.Flags().BoolVarP(&follow, "follow", "F", false, "go on as events happen")
	return cmd
}

// eventWait is how long one call waits for the next event; then there is another.
const eventWait = 30 * time.Second

func (c *cli) events(follow bool) error {
	if follow && c.format == formatJSON {
		return usagef("-F has no end, and -o json prints one document: use -o jsonl or table")
	}
	s, client, err := c.client(toRead)
	if err != nil {
		return err
	}
	reply, err := client.Events(context.Background(), 0, 0)
	if err != nil {
		return notRunning(s, err)
	}
	if !follow {
		return c.print(output{
			table:    func(w io.Writer, _ bool) error { return writeEvents(w, reply.Events) },
			document: reply,
			items:    asItems(reply.Events),
		})
	}
	return c.followEvents(&reply, func(after uint64) (api.Events, error) {
		return client.Events(context.Background(), after, eventWait)
	})
}

// followEvents prints the events of reply and then those that more returns, until
// the switch has told that it stops.
func (c *cli) followEvents(reply *api.Events, more func(after uint64) (api.Events, error)) error {
	for {
		if err := c.writeNews(reply.Events); err != nil {
			return err
		}
		if n := len(reply.Events); n > 0 && reply.Events[n-1].Type == event.DaemonStopping {
			return nil
		}
		next, err := more(reply.Next)
		var known *api.Error
		if errors.As(err, &known) && known.Kind == api.KindStopping {
			return nil
		}
		if err != nil {
			return err
		}
		reply = &next
	}
}

// writeNews prints some of the events that are followed.
func (c *cli) writeNews(news []event.Event) error {
	if c.format == formatTable {
		return writeEvents(c.out, news)
	}
	return encodeLines(c.out, asItems(news))
}

// writeEvents prints events for people, one a line. Columns have a fixed width, so
// that what comes later lines up with what has been printed.
func writeEvents(w io.Writer, events []event.Event) error {
	for i := range events {
		e := &events[i]
		line := fmt.Sprintf("%s  %-18s  %-12s  %s", e.Time.Format(time.RFC3339), e.Type, dash(e.Instance), eventText(e))
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}

// eventText returns what an event says besides its time, type and instance.
func eventText(e *event.Event) string {
	var facts []string
	if e.Generation > 0 {
		facts = append(facts, fmt.Sprintf("generation %d", e.Generation))
	}
	if noun := countedBy[e.Type]; noun != "" && e.Count > 0 {
		facts = append(facts, count(int(e.Count), noun))
	}
	if e.PID > 0 {
		facts = append(facts, fmt.Sprintf("pid %d", e.PID))
	}
	if e.ExitCode != nil {
		facts = append(facts, fmt.Sprintf("exit code %d", *e.ExitCode))
	}
	if len(facts) == 0 {
		return e.Message
	}
	return strings.Join(facts, ", ") + ": " + e.Message
}

// countedBy names what an event's count counts.
var countedBy = map[event.Type]string{
	event.DaemonStarted:     "instance",
	event.ReloadDone:        "change",
	event.ReloadRefused:     "mistake",
	event.AllowanceExceeded: "flow",
	event.PanicContained:    "frame",
	event.FramesLost:        "frame",
	event.Gap:               "event",
}
