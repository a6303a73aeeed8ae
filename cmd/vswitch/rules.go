package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"vswitch/internal/api"
	vswitch "vswitch/switch"
)

const rulesLong = `Print every rule of the security groups and network ACLs, or of one of them, with
what it has decided: HITS are packets in its direction, FLOWS the flows that it let
begin, LAST how long ago the last packet was. The packets of a tracked flow count
for the rule that let it begin; its replies pass without a rule and count for none.
A rule named * is what no other rule has decided.

A rule keeps its counters over reloads for as long as it exists. --shadowed needs
no switch that runs: it lists the rules that can never decide, with those that
decide in their stead.`

// A rulesQuery is what the user wants to know of rules.
type rulesQuery struct {
	object                  string // sg:NAME, nacl:NAME or an id; "" for all
	unused, shadowed, reset bool
}

// sought says what a rule has to be to be listed; every object has the implicit ones,
// so that a list without these words is never empty.
func (q *rulesQuery) sought() string {
	switch {
	case q.unused && q.shadowed:
		return "unused and shadowed"
	case q.unused:
		return "unused"
	}
	return "shadowed"
}

func newRules(c *cli) *cobra.Command {
	var q rulesQuery
	cmd := &cobra.Command{
		Use:               "rules [sg:NAME|nacl:NAME]",
		Short:             "Show what each rule has decided",
		Long:              rulesLong,
		Example:           "  vswitch rules sg:web\n  vswitch rules --unused\n  vswitch rules --shadowed -f vpc.toml",
		GroupID:           groupInspect,
		Args:              upToArgs(1),
		ValidArgsFunction: c.completeRuleObject,
		Annotations:       map[string]string{formatsKey: formatsRules},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				q.object = args[0]
			}
			return c.rules(q)
		},
	}
	cmd.Flags().BoolVar(&q.unused, "unused", false, "only rules that have decided nothing")
	cmd.Flags().BoolVar(&q.shadowed, "shadowed", false, "only rules that can never decide")
	cmd.Flags().BoolVar(&q.reset, "reset", false, "set the counters to zero, and print what they were")
	return cmd
}

// formatsRules are the formats of rules.
const formatsRules = "table json jsonl name"

func (c *cli) rules(q rulesQuery) error {
	s, client, err := c.client(toRead)
	if err == nil {
		var reply api.Rules
		reply, err = client.Rules(context.Background(), q.object)
		if err == nil {
			return c.printRules(q, reply, client)
		}
		err = notRunning(s, err)
	}
	if !q.shadowed || q.reset || !errors.Is(err, api.ErrNotRunning) {
		return err
	}
	cfg, _, err := c.load()
	if err != nil {
		return err
	}
	full, err := vswitch.Complete(cfg, nil)
	if err != nil {
		return err
	}
	all, err := listRules(&full, q.object)
	if err != nil {
		return usagef("%w", err)
	}
	return c.printRules(q, api.Rules{Rules: ruleDocuments(&full, all, nil)}, nil)
}

// printRules prints the rules that were asked for, and resets them if that was.
func (c *cli) printRules(q rulesQuery, reply api.Rules, client *api.Client) error {
	shown := []api.Rule{}
	for _, r := range reply.Rules {
		if q.shadowed && len(r.Shadowed) == 0 || q.unused && (r.Packets > 0 || r.ID == vswitch.ImplicitDeny) {
			continue
		}
		shown = append(shown, r)
	}
	names := make([]string, len(shown))
	for i, r := range shown {
		names[i] = r.Object + "/" + r.Direction + "/" + r.ID
	}
	err := c.print(output{
		table: func(w io.Writer, _ bool) error {
			if len(shown) == 0 {
				_, err := fmt.Fprintln(w, "no rule is "+q.sought())
				return err
			}
			return writeRules(w, shown, q.object == "", time.Now())
		},
		document: api.Rules{Rules: shown},
		items:    asItems(shown),
		names:    names,
	})
	if err != nil || !q.reset {
		return err
	}
	done, err := client.ResetRules(context.Background(), api.RulesReset{Object: q.object})
	if err != nil {
		return err
	}
	c.talk("the counters of %s were set to zero", count(done.Rules, "rule"))
	return nil
}

// writeRules prints rules for people, with the objects that they belong to if
// there are several.
func writeRules(w io.Writer, all []api.Rule, objects bool, now time.Time) error {
	head := []string{"ID", "DIR", "RULE", "HITS", "FLOWS", "LAST", "NOTE"}
	if objects {
		head = append([]string{"OBJECT"}, head...)
	}
	rows := [][]string{head}
	for _, r := range all {
		last := "never"
		if r.Last != nil {
			last = age(now.Sub(*r.Last))
		}
		words := r.Words
		if r.Action == "deny" && r.ID != vswitch.ImplicitDeny {
			words = "deny " + words
		}
		row := []string{r.ID, r.Direction, words, strconv.FormatUint(r.Packets, 10), strconv.FormatUint(r.Flows, 10), last, r.Note}
		if objects {
			row = append([]string{r.Object}, row...)
		}
		rows = append(rows, row)
	}
	return writeTable(w, "", rows)
}
