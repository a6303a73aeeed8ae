package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"vswitch/internal/api"
	"vswitch/internal/policy"
)

func newConntrack(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "conntrack",
		Short:   "Show the tracked connections",
		Long:    "Show the connections that the security groups track.",
		Example: "  vswitch conntrack ls web1",
		GroupID: groupInspect,
		Args:    noCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConntrackList(c))
	return cmd
}

const conntrackListLong = `List the tracked connections, of one instance or of all. A flow between two
instances is tracked at each of them, apart, and listed for each. SOURCE is who
opened it. LEFT is how long it may stay idle from now on.`

func newConntrackList(c *cli) *cobra.Command {
	limit := api.DefaultConnections
	cmd := &cobra.Command{
		Use:               "ls [INSTANCE]",
		Aliases:           []string{"list"},
		Short:             "List the tracked connections",
		Long:              conntrackListLong,
		Example:           "  vswitch conntrack ls\n  vswitch conntrack ls app1 -o jsonl",
		Args:              upToArgs(1),
		ValidArgsFunction: c.completeInstance,
		Annotations:       map[string]string{formatsKey: formatsStream},
		RunE: func(_ *cobra.Command, args []string) error {
			instance := ""
			if len(args) == 1 {
				instance = args[0]
			}
			return c.conntrackList(instance, limit)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", limit, "list at most `N` connections")
	return cmd
}

func (c *cli) conntrackList(instance string, limit int) error {
	s, client, err := c.client(toRead)
	if err != nil {
		return err
	}
	list, err := client.Connections(context.Background(), instance, limit)
	if err != nil {
		return notRunning(s, err)
	}
	if list.Total > len(list.Connections) {
		c.talk("%d of %d connections (--limit)", len(list.Connections), list.Total)
	}
	return c.print(output{
		table:    func(w io.Writer, _ bool) error { return writeConnections(w, list.Connections) },
		document: list,
		items:    asItems(list.Connections),
	})
}

// icmpOf returns the protocol whose types a connection's are.
var icmpOf = map[string]policy.Protocol{"icmp": policy.ICMP, "icmpv6": policy.ICMPv6}

// writeConnections prints connections for people.
func writeConnections(w io.Writer, list []api.Connection) error {
	rows := [][]string{{"AT", "PROTO", "SOURCE", "DESTINATION", "STATE", "LEFT"}}
	for _, one := range list {
		left := time.Duration(one.TimeoutLeft * float64(time.Second)).Round(time.Second)
		source, destination := one.Source, one.Destination
		if one.SourcePort != 0 || one.DestPort != 0 {
			source = fmt.Sprintf("%s:%d", source, one.SourcePort)
			destination = fmt.Sprintf("%s:%d", destination, one.DestPort)
		}
		if m := one.ICMP; m != nil {
			source = fmt.Sprintf("%s id %d", source, m.ID)
			destination += " " + policy.ICMPTypeName(icmpOf[one.Protocol], int16(m.Type))
		}
		rows = append(rows, []string{one.Instance, one.Protocol, source, destination, one.State, left.String()})
	}
	return writeTable(w, "", rows)
}
