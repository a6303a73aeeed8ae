package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vswitch/internal/api"
	"vswitch/internal/policy"
)

const statusLong = `Show what runs: the instances with their ports, what the switch dropped and why,
and what it uses. Packets are counted as the instances see them: RX is what an
instance received, TX what it sent; DROPPED is how much of what it sent went no
further. -o wide shows ids, offloads and connections as well.`

func newStatus(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:         "status",
		Aliases:     []string{"ps"},
		Short:       "Show what runs, and what was dropped",
		Long:        statusLong,
		Example:     "  vswitch status\n  vswitch status -o json --vpc two-tier",
		GroupID:     groupInspect,
		Args:        noArgs(),
		Annotations: map[string]string{formatsKey: formatsList},
		RunE:        func(*cobra.Command, []string) error { return c.status() },
	}
}

func (c *cli) status() error {
	s, client, err := c.client(toRead)
	if err != nil {
		return err
	}
	status, err := client.Status(context.Background())
	if err != nil {
		return notRunning(s, err)
	}
	names := make([]string, len(status.Instances))
	for i := range status.Instances {
		names[i] = status.Instances[i].Name
	}
	return c.print(output{
		table:    func(w io.Writer, wide bool) error { return writeStatus(w, &status, wide) },
		document: status,
		items:    asItems(status.Instances),
		names:    names,
	})
}

// writeStatus prints a status for people.
func writeStatus(w io.Writer, s *api.Status, wide bool) error {
	up := (time.Duration(s.UptimeSeconds) * time.Second).String()
	if _, err := fmt.Fprintf(w, "%s  %s  generation %d  pid %d  up %s\nfile %s\n\n", s.VPC, s.CIDR, s.Generation, s.PID, up, s.File); err != nil {
		return err
	}
	rows := [][]string{{"NAME", "IP", "SUBNET", "KIND", "STATE", "RX", "TX", "DROPPED", "RUN"}}
	if wide {
		rows[0] = append(rows[0], "TRACKED", "OFFLOADS", "DEVICE", "MAC", "ID", "INTERFACE", "GROUPS")
	}
	for i := range s.Instances {
		rows = append(rows, instanceRow(&s.Instances[i], wide))
	}
	if err := writeTable(w, "", rows); err != nil {
		return err
	}
	if err := writeDrops(w, s.Drops); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", figures(s))
	return err
}

// instanceRow returns the row of one instance. The switch receives what an
// instance sends, so its counters change names here.
func instanceRow(in *api.Instance, wide bool) []string {
	row := []string{
		in.Name, in.IP, in.Subnet, in.Kind, in.State,
		strconv.FormatUint(in.Counters.TxPackets, 10),
		strconv.FormatUint(in.Counters.RxPackets, 10),
		strconv.FormatUint(in.Counters.Dropped, 10),
		processState(in.Process),
	}
	if !wide {
		return row
	}
	device := in.Device
	if in.Namespace != "" {
		device = in.Namespace + "/" + device
	}
	return append(row,
		fmt.Sprintf("%d/%d", in.Connections.Tracked, in.Connections.Max),
		offloads(in.Offloads), device, in.MAC, in.ID, in.Interface, strings.Join(in.SecurityGroups, ","))
}

// processState returns the state of an instance's command in a word or two.
func processState(p *api.Process) string {
	switch {
	case p == nil:
		return "-"
	case p.State == api.ProcessRunning:
		return "running"
	case p.ExitCode == nil:
		return "exited"
	}
	return fmt.Sprintf("exited (%d)", *p.ExitCode)
}

// offloads returns the offloads that a device takes: "csum,tso4,tso6,uso".
func offloads(o api.Offloads) string {
	var on []string
	for _, f := range []struct {
		on   bool
		name string
	}{{o.Checksum, "csum"}, {o.TSO4, "tso4"}, {o.TSO6, "tso6"}, {o.USO, "uso"}} {
		if f.on {
			on = append(on, f.name)
		}
	}
	return dash(strings.Join(on, ","))
}

// writeDrops prints the drops by reason, the most frequent first, each with its
// sentence.
func writeDrops(w io.Writer, drops map[string]uint64) error {
	if len(drops) == 0 {
		return nil
	}
	sentences := map[string]string{}
	for _, r := range policy.Reasons() {
		sentences[r.String()] = r.Sentence()
	}
	names := slices.SortedFunc(maps.Keys(drops), func(a, b string) int {
		return cmp.Or(cmp.Compare(drops[b], drops[a]), strings.Compare(a, b))
	})
	rows := [][]string{{"DROPPED", "FRAMES", "BECAUSE"}}
	for _, name := range names {
		rows = append(rows, []string{name, strconv.FormatUint(drops[name], 10), sentences[name]})
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return writeTable(w, "", rows)
}

// figures returns the last line of a status: what the switch uses, and of what.
func figures(s *api.Status) string {
	parts := []string{
		fmt.Sprintf("connections %d of %d", s.Connections.Tracked, s.Connections.Max),
		fmt.Sprintf("flow cache %s hits", percent(s.FlowCache.Hits, s.FlowCache.Hits+s.FlowCache.Misses)),
		"memory " + mebibytes(s.Memory.RSS),
		fmt.Sprintf("descriptors %d of %d", s.Descriptors.Open, s.Descriptors.Limit),
	}
	if s.Connections.Exceeded > 0 {
		parts = append(parts, fmt.Sprintf("%d flows over the allowance", s.Connections.Exceeded))
	}
	if s.Reloads.Failed > 0 {
		parts = append(parts, count(s.Reloads.Failed, "failed reload"))
	}
	if lost := lostRecords(s.FlowLogs); lost > 0 {
		parts = append(parts, count(int(lost), "flow log record")+" lost")
	}
	if s.Panics > 0 {
		parts = append(parts, count(int(s.Panics), "frame")+" failed inside the switch (see vswitch logs)")
	}
	return strings.Join(parts, " · ")
}

// lostRecords returns how many records the flow logs have lost.
func lostRecords(logs []api.FlowLog) (n uint64) {
	for i := range logs {
		n += logs[i].Lost
	}
	return n
}

func percent(part, whole uint64) string {
	if whole == 0 {
		return "0 %"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}

func mebibytes(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
