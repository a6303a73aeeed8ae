package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"vswitch/internal/api"
	"vswitch/internal/plan"
	vswitch "vswitch/switch"
)

const planLong = `Say what "vswitch reload" would change: objects and rules that come (+), go (-) and
change (~), each with its line; the instances that are made, removed or set up
anew; and what becomes of the flows that go on. Nothing is changed.

A flow is kept, or it is cut: the next packet of one of its ends would be dropped.
Flows that are tracked are kept even if no security group allows them any more, as
on AWS, and are counted apart. Network ACLs cut them, and so does the end of an
instance. Flows that are not tracked are cut as soon as a rule is gone; they count
for five minutes after their last packet. A flow whose packets do not pass now is
not counted at all.

If the VPC does not run, all that "vswitch up" would make is new.`

func newPlan(c *cli) *cobra.Command {
	flows, limit := false, defaultPlannedFlows
	cmd := &cobra.Command{
		Use:         "plan",
		Short:       "Say what a reload would change, and which flows it cuts",
		Long:        planLong,
		Example:     "  vswitch plan\n  vswitch plan --flows\n  vswitch plan -o json | jq .flows.cut",
		GroupID:     groupLab,
		Args:        noArgs(),
		Annotations: map[string]string{formatsKey: formatsPlain},
		RunE: func(*cobra.Command, []string) error {
			if limit < 1 || limit > api.MaxPlannedFlows {
				return usagef("--limit %d: want 1 to %d", limit, api.MaxPlannedFlows)
			}
			if !flows {
				limit = 0
			}
			return c.plan(limit)
		},
	}
	cmd.Flags().BoolVar(&flows, "flows", false, "list the flows, those that are cut first")
	cmd.Flags().IntVar(&limit, "limit", limit, "list at most `N` flows of each kind")
	return cmd
}

// defaultPlannedFlows is how many flows of each fate are listed unless asked.
const defaultPlannedFlows = 100

// plan prints what a reload would change, with up to so many flows of each fate.
func (c *cli) plan(flows int) error {
	p, err := c.planned(flows)
	if err != nil {
		return err
	}
	if c.format == formatJSON {
		return api.Encode(c.out, p)
	}
	var b strings.Builder
	if err := writePlan(&b, p, flows); err != nil {
		return err
	}
	_, err = io.WriteString(c.out, c.shorten(b.String()))
	return err
}

// planned asks the running VPC. If it does not run, all of the file is new.
func (c *cli) planned(flows int) (*plan.Plan, error) {
	ask := func(client *api.Client) (*plan.Plan, error) {
		request := api.PlanRequest{Flows: flows}
		if c.vpc == "" && c.file != "" {
			var err error
			if _, request.File, err = c.load(); err != nil {
				return nil, err
			}
		}
		return client.Plan(context.Background(), request)
	}
	return runningOrFile(c, ask, func(cfg vswitch.Config) (*plan.Plan, error) {
		full, err := vswitch.Complete(cfg, nil)
		if err != nil {
			return nil, err
		}
		return plan.New(&vswitch.Config{}, &full), nil
	})
}

// signs are what precedes a thing that comes, changes or goes.
var signs = map[string]string{plan.Add: "+", plan.Modify: "~", plan.Remove: "-"}

// writePlan prints a plan for people, with the flows if there may be some.
func writePlan(w io.Writer, p *plan.Plan, flows int) error {
	state := fmt.Sprintf("generation %d stays", p.Generation)
	if p.Generation == 0 {
		state = "not running"
	}
	what := "nothing to do"
	if len(p.Changes) > 0 {
		what = "objects " + countText(p.Counts.Objects) + ", rules " + countText(p.Counts.Rules)
	}
	if _, err := fmt.Fprintf(w, "%s: %s, %s\n", p.VPC, state, what); err != nil {
		return err
	}
	if err := writeChanges(w, p.Changes); err != nil {
		return err
	}
	if len(p.Instances) > 0 {
		rows := [][]string{}
		for _, in := range p.Instances {
			rows = append(rows, []string{in.Action, in.Name, in.Why})
		}
		if _, err := fmt.Fprintln(w, "instances"); err != nil {
			return err
		}
		if err := writeTable(w, "  ", rows); err != nil {
			return err
		}
	}
	if p.Generation == 0 {
		return nil
	}
	return writePlannedFlows(w, &p.Flows, flows)
}

// countText returns "+1 ~0 -2".
func countText(n plan.Count) string { return fmt.Sprintf("+%d ~%d -%d", n.Added, n.Changed, n.Removed) }

// writeChanges prints objects, and below each what changes in it.
func writeChanges(w io.Writer, changes []plan.Change) error {
	for i := range changes {
		c := &changes[i]
		head := signs[c.Action] + " " + strings.TrimSpace(c.Object+" "+c.Name)
		if where := lineOf(c.Origin); where != "" {
			head += "  " + where
		}
		if _, err := fmt.Fprintln(w, head); err != nil {
			return err
		}
		rows := [][]string{}
		for _, f := range c.Fields {
			rows = append(rows, []string{"~ " + f.Name, dash(f.From) + " -> " + dash(f.To)})
		}
		if err := writeTable(w, "    ", rows); err != nil {
			return err
		}
		rows = rows[:0]
		for _, r := range c.Rules {
			words := r.Words
			if r.Was != "" {
				words = r.Was + "  =>  " + r.Words
			}
			rows = append(rows, []string{strings.TrimSpace(signs[r.Action] + " " + r.Direction), r.ID, words, lineOf(r.Origin)})
		}
		if err := writeTable(w, "    ", rows); err != nil {
			return err
		}
	}
	return nil
}

// lineOf returns "vpc.toml:41", or "" for what nobody wrote.
func lineOf(o *plan.Origin) string {
	if o == nil {
		return ""
	}
	return fmt.Sprintf("%s:%d", o.File, o.Line)
}

// writePlannedFlows prints what becomes of the flows.
func writePlannedFlows(w io.Writer, f *plan.Flows, limit int) error {
	if _, err := fmt.Fprintf(w, "flows: %d kept, %d kept only because they are tracked, %d cut\n", f.Kept, f.Tracked, f.Cut); err != nil {
		return err
	}
	rows := [][]string{}
	for _, c := range f.Causes {
		rows = append(rows, []string{c.Fate, fmt.Sprint(c.Flows), c.Words, lineOf(c.Origin)})
	}
	if err := writeTable(w, "  ", rows); err != nil {
		return err
	}
	if f.Unjudged > 0 {
		if _, err := fmt.Fprintf(w, "  not looked at: %s more\n", count(f.Unjudged, "connection")); err != nil {
			return err
		}
	}
	if limit == 0 || len(f.Flows) == 0 {
		return nil
	}
	rows = [][]string{{"FATE", "FLOW", "STATE", "WHY"}}
	for i := range f.Flows {
		one := &f.Flows[i]
		state := one.State
		if state == "" {
			state = "untracked"
		}
		rows = append(rows, []string{one.Fate, plannedFlowText(one), state, plannedWhy(one)})
	}
	if err := writeTable(w, "", rows); err != nil {
		return err
	}
	if more := f.Kept + f.Tracked + f.Cut - len(f.Flows); more > 0 {
		_, err := fmt.Fprintf(w, "%d more (--limit)\n", more)
		return err
	}
	return nil
}

// plannedFlowText returns "web1:40000 > app1:8080 tcp".
func plannedFlowText(f *plan.Flow) string {
	end := func(instance, address string, port uint16) string {
		if instance != "" {
			address = instance
		}
		return flowEnd(address, port)
	}
	return fmt.Sprintf("%s > %s %s", end(f.From, f.Source, f.SourcePort), end(f.To, f.Destination, f.DestPort), f.Protocol)
}

// plannedWhy says why a flow is not simply kept.
func plannedWhy(f *plan.Flow) string {
	switch {
	case f.Cause == "":
		return "-"
	case f.Revives:
		return f.Cause + ", until the other end sends"
	}
	return f.Cause
}
