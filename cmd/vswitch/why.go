package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"vswitch/internal/api"
	"vswitch/internal/policy"
)

const whyLong = `Print the packets that were really dropped, newest first, by flow and cause, each
with the rule and the line that did it. One name is either end of the flow; two
are its source and its destination.

What every kernel sends unasked and no VPC carries (broadcast, multicast) is
dropped too; it is counted below the table, and listed with --all. The switch
remembers 64 flows by sender and reason; of more than that the oldest are counted
together.

Fragments that are given up while they wait for the rest of their datagram count
here, too. Of FRAGMENT_TIMEOUT no more is known than the sender; of the others the
addresses, and the ports if they came with the fragment that was refused.`

// A whyQuery is what the user wants to know of drops.
type whyQuery struct {
	from, to string
	last     time.Duration
	all      bool
	follow   bool
}

func newWhy(c *cli) *cobra.Command {
	var q whyQuery
	cmd := &cobra.Command{
		Use:               "why [SRC [DST]]",
		Short:             "Say which packets were dropped, and by which rule",
		Long:              whyLong,
		Example:           "  vswitch why web1 --last 1m\n  vswitch why web1 app1 -F",
		GroupID:           groupInspect,
		Args:              upToArgs(2),
		ValidArgsFunction: c.completeInstances,
		Annotations:       map[string]string{formatsKey: formatsStream},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				q.from = args[0]
			}
			if len(args) > 1 {
				q.to = args[1]
			}
			return c.why(q)
		},
	}
	cmd.Flags().DurationVar(&q.last, "last", 0, "only what was dropped within the last `DURATION`, such as 5m")
	cmd.Flags().BoolVar(&q.all, "all", false, "broadcast and multicast too")
	cmd.Flags().BoolVarP(&q.follow, "follow", "F", false, "go on as packets are dropped")
	return cmd
}

func (c *cli) why(q whyQuery) error {
	if q.last < 0 {
		return usagef("--last %s: want a time that has passed, such as 5m", q.last)
	}
	if q.follow && c.format == formatJSON {
		return usagef("-F has no end, and -o json prints one document: use -o jsonl or table")
	}
	s, client, err := c.client(toRead)
	if err != nil {
		return err
	}
	ask := func(ctx context.Context) (api.Drops, error) {
		reply, err := client.Drops(ctx, api.DropsRequest{From: q.from, To: q.to, Since: q.last})
		return reply, notRunning(s, err)
	}
	if q.follow {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return c.followDrops(ctx, q, ask, time.Tick(whyInterval))
	}
	reply, err := ask(context.Background())
	if err != nil {
		return err
	}
	shown, hidden := visible(reply.Drops, q.all)
	return c.print(output{
		table: func(w io.Writer, _ bool) error {
			if err := writeDropTable(w, shown, time.Now(), c.shorten); err != nil {
				return err
			}
			if hidden > 0 {
				c.talk("and %s of broadcast and multicast (--all)", count(int(hidden), "packet"))
			}
			return nil
		},
		document: reply,
		items:    asItems(reply.Drops),
	})
}

// whyInterval is how often one who follows the drops asks for them.
const whyInterval = time.Second

// followDrops prints drops as they happen: each time with what was dropped since
// the last. It ends when ctx does, or the switch.
func (c *cli) followDrops(ctx context.Context, q whyQuery, ask func(context.Context) (api.Drops, error), tick <-chan time.Time) error {
	seen := make(map[string]uint64)
	for first := true; ; first = false {
		reply, err := ask(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case !first && (errors.Is(err, api.ErrNotRunning) || errors.Is(err, api.ErrGone)):
			return nil
		case err != nil:
			return err
		}
		shown, _ := visible(reply.Drops, q.all)
		now := make(map[string]uint64, len(shown))
		var news []api.Drop
		for i := len(shown) - 1; i >= 0; i-- { // oldest first
			d := shown[i]
			key := dropKey(&d)
			now[key] = d.Packets
			if before := seen[key]; d.Packets > before {
				d.Packets -= before
				news = append(news, d)
			}
		}
		seen = now
		if err := c.writeNewDrops(news); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick:
		}
	}
}

// dropKey names the flow and the cause of a drop.
func dropKey(d *api.Drop) string {
	return fmt.Sprint(d.From, "|", d.To, "|", d.Protocol, d.Source, d.SourcePort, d.Destination, d.DestPort, d.ICMP != nil, d.Many, d.Reason, d.Rule)
}

// writeNewDrops prints some of the drops that are followed.
func (c *cli) writeNewDrops(news []api.Drop) error {
	if c.format != formatTable {
		return encodeLines(c.out, asItems(news))
	}
	for i := range news {
		d := &news[i]
		if _, err := fmt.Fprintf(c.out, "%s  %6d  %-45s  %-30s  %s\n", d.Last.Format(time.RFC3339), d.Packets, dropFlow(d), d.By, c.shorten(d.Where)); err != nil {
			return err
		}
	}
	return nil
}

// visible returns the drops that people want to see, and how many packets of the
// others there are.
func visible(all []api.Drop, everything bool) (shown []api.Drop, hidden uint64) {
	for _, d := range all {
		if d.Guest && !everything {
			hidden += d.Packets
			continue
		}
		shown = append(shown, d)
	}
	return shown, hidden
}

// writeDropTable prints drops for people.
func writeDropTable(w io.Writer, all []api.Drop, now time.Time, shorten func(string) string) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "nothing was dropped")
		return err
	}
	rows := [][]string{{"AGE", "PKTS", "FLOW", "DROPPED BY", "WHERE"}}
	for i := range all {
		d := &all[i]
		rows = append(rows, []string{age(now.Sub(d.Last)), strconv.FormatUint(d.Packets, 10), dropFlow(d), d.By, dash(shorten(d.Where))})
	}
	return writeTable(w, "", rows)
}

// dropFlow returns a flow for people, with the names of instances where there are
// some: "app1:8080 > web1:49152 tcp SA".
func dropFlow(d *api.Drop) string {
	switch {
	case d.Many:
		return d.From + " > several"
	case d.Protocol == "":
		return d.From
	}
	from, to := d.From, d.To
	if to == "" {
		to = d.Destination
	}
	if d.Reason == policy.SourceAddress.String() {
		from += "(" + d.Source + ")"
	}
	if d.SourcePort != 0 || d.DestPort != 0 {
		from = net.JoinHostPort(from, strconv.Itoa(int(d.SourcePort)))
		to = net.JoinHostPort(to, strconv.Itoa(int(d.DestPort)))
	}
	text := from + " > " + to + " " + d.Protocol
	if _, err := strconv.Atoi(d.Protocol); err == nil {
		text = from + " > " + to + " protocol " + d.Protocol
	}
	if m := d.ICMP; m != nil {
		text += " " + policy.ICMPTypeName(icmpOf[d.Protocol], int16(m.Type))
	}
	if d.TCPFlags != "" {
		text += " " + d.TCPFlags
	}
	return text
}

// age returns how long ago something was: "2s", "4m", "3h", "2d".
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(d, 0)/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}
