package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vswitch/internal/api"
	"vswitch/internal/explain"
	"vswitch/internal/reach"
	vswitch "vswitch/switch"
)

// Formats of reach, the default first.
const (
	formatCSV    = "csv"
	formatsReach = formatTable + " " + formatJSON + " " + formatJSONL + " " + formatCSV
)

const reachLong = `Say who can reach whom, by the rules alone: for each pair of instances the services
that arrive. allow: the request passes, and its reply, for every source port from
1024 on. partial: the request passes, but its reply does not, or not for every
source port. What is not listed is denied. Nothing is sent.

SRC and DST are instances; without DST the list is of all that SRC reaches. With
--matrix, rows are senders and columns receivers; ~ marks partial, - nothing at all.

If the VPC runs, what runs is asked; if it does not, the file alone. explain says
why something passes or does not.`

func newReach(c *cli) *cobra.Command {
	matrix := false
	cmd := &cobra.Command{
		Use:               "reach [SRC [DST]]",
		Short:             "Say who can reach whom",
		Long:              reachLong,
		Example:           "  vswitch reach web1\n  vswitch reach --matrix\n  vswitch reach --matrix -o csv > reach.csv",
		GroupID:           groupInspect,
		Args:              upToArgs(2),
		ValidArgsFunction: c.completeReach,
		Annotations:       map[string]string{formatsKey: formatsReach},
		RunE:              func(_ *cobra.Command, args []string) error { return c.reach(args, matrix) },
	}
	cmd.Flags().BoolVar(&matrix, "matrix", false, "one row for each sender, one column for each receiver")
	return cmd
}

func (c *cli) reach(args []string, matrix bool) error {
	var r api.ReachRequest
	for i, end := range []*string{&r.From, &r.To} {
		if i < len(args) {
			*end = args[i]
		}
	}
	reply, err := c.reached(r)
	if err != nil {
		return err
	}
	rows := reachList(&reply)
	if matrix {
		rows = reachMatrix(&reply, c.format == formatCSV)
	}
	if c.format == formatCSV {
		return csv.NewWriter(c.out).WriteAll(rows)
	}
	if matrix && c.format == formatTable && slices.ContainsFunc(reply.Flows, func(f api.ReachFlow) bool { return f.Verdict == api.VerdictPartial }) {
		defer c.talk("~ partial: the request passes, its reply does not, or not for every source port (vswitch explain says why)")
	}
	return c.print(output{
		document: &reply,
		items:    asItems(reply.Flows),
		table:    func(w io.Writer, _ bool) error { return writeReach(w, &reply, rows, matrix) },
	})
}

// reached asks the running VPC or, if there is none, the file.
func (c *cli) reached(r api.ReachRequest) (api.Reach, error) {
	ask := func(client *api.Client) (api.Reach, error) {
		reply, err := client.Reach(context.Background(), r)
		if err == nil {
			c.sayDifference(client)
		}
		return reply, err
	}
	return runningOrFile(c, ask, func(cfg vswitch.Config) (api.Reach, error) {
		x, err := explain.New(cfg)
		if err != nil {
			return api.Reach{}, err
		}
		reply, err := reach.Document(x, r)
		if err != nil {
			err = &usageError{err}
		}
		return reply, errors.Join(err, x.Close())
	})
}

// writeReach prints rows, the first of which is their head. A list needs none: it
// reads as sentences.
func writeReach(w io.Writer, r *api.Reach, rows [][]string, matrix bool) error {
	if matrix {
		return writeTable(w, "", rows)
	}
	if len(rows) == 1 {
		_, err := fmt.Fprintln(w, nothingReached(r))
		return err
	}
	lines := make([][]string, 0, len(rows))
	for _, row := range rows[1:] {
		lines = append(lines, append([]string{row[0] + " -> " + row[1]}, row[2:]...))
	}
	return writeTable(w, "", lines)
}

// nothingReached says that nothing arrives of what was asked for.
func nothingReached(r *api.Reach) string {
	switch {
	case r.From == "":
		return "nothing arrives anywhere"
	case r.To == "":
		return r.From + " reaches nobody"
	}
	return r.From + " does not reach " + r.To
}

// reachList returns a head and a row for each service that arrives. The family is
// left empty where the VPC has but one.
func reachList(r *api.Reach) [][]string {
	rows := [][]string{{"from", "to", "service", "verdict", "family"}}
	dual := false
	for i := range r.Flows {
		dual = dual || r.Flows[i].Family == api.FamilyIPv6
	}
	seen := make(map[[4]string]int) // rows, by all but the family
	for i := range r.Flows {
		f := &r.Flows[i]
		for _, service := range f.Services {
			key := [4]string{f.From, f.To, service, f.Verdict}
			if at, ok := seen[key]; ok {
				rows[at][4] += " " + f.Family
				continue
			}
			seen[key] = len(rows)
			row := append(key[:len(key):len(key)], "")
			if dual {
				row[4] = f.Family
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// maxCell is how many services a cell of the matrix shows to people; the rest are
// a number.
const maxCell = 3

// reachMatrix returns a head and a row for each sender. Services over IPv6 are
// listed where IPv4 does not have them.
func reachMatrix(r *api.Reach, whole bool) [][]string {
	cells := make(map[[2]string][]string)
	seen := make(map[[3]string]bool)
	for i := range r.Flows {
		f := &r.Flows[i]
		at := [2]string{f.From, f.To}
		for _, service := range f.Services {
			text := strings.ReplaceAll(service, " ", "/")
			if f.Verdict == api.VerdictPartial {
				text = "~" + text
			}
			if key := [3]string{f.From, f.To, text}; !seen[key] {
				seen[key] = true
				if f.Family == api.FamilyIPv6 {
					text += "(6)"
				}
				cells[at] = append(cells[at], text)
			}
		}
	}
	senders, receivers := r.Instances, r.Instances
	if r.From != "" {
		senders = []string{r.From}
	}
	if r.To != "" {
		receivers = []string{r.To}
	}
	rows := [][]string{append([]string{`from \ to`}, receivers...)}
	for _, a := range senders {
		row := []string{a}
		for _, b := range receivers {
			row = append(row, reachCell(cells[[2]string{a, b}], a == b, whole))
		}
		rows = append(rows, row)
	}
	return rows
}

// reachCell returns the text of one cell, all of it or as much as people like.
func reachCell(services []string, self, whole bool) string {
	switch {
	case self:
		return "."
	case len(services) == 0:
		return "-"
	case !whole && len(services) > maxCell:
		services = append(services[:maxCell-1:maxCell-1], fmt.Sprintf("+%d", len(services)-maxCell+1))
	}
	return strings.Join(services, " ")
}

// completeReach lists the instances for both ends.
func (c *cli) completeReach(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, directive := c.instanceNames()
	if directive == cobra.ShellCompDirectiveError {
		names, directive = c.fileInstanceNames()
	}
	return names, directive
}
