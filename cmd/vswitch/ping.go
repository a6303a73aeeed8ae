package main

import (
	"encoding/json"
	"time"

	"github.com/spf13/cobra"
)

const pingLong = `Send real packets from inside SRC to DST and say what comes back: an ICMP echo, a
TCP connection, or a UDP datagram to a server that answers ("vswitch serve"). SRC
is an instance, DST an instance or an address. No tool is needed inside.

A refusal (a TCP RST, an ICMP port unreachable) is an answer too: it says that the
packet arrived and nothing listens. What a security group or a network ACL denies
gets no answer at all. The exit code is 1 if nothing comes back.`

func newPing(c *cli) *cobra.Command {
	p := probe{Count: 3, Timeout: time.Second}
	cmd := &cobra.Command{
		Use:               "ping SRC DST [tcp/PORT|udp/PORT]",
		Short:             "Send a real probe from inside an instance",
		Long:              pingLong,
		Example:           "  vswitch ping web1 app1\n  vswitch ping web1 app1 tcp/8080 --count 1",
		GroupID:           groupInside,
		Args:              rangeArgs(2, 3),
		ValidArgsFunction: c.completeProbe,
		Annotations:       map[string]string{formatsKey: formatsStream},
		RunE: func(_ *cobra.Command, args []string) error {
			return c.ping(p, args)
		},
	}
	cmd.Flags().IntVarP(&p.Count, "count", "c", p.Count, "send `N` probes")
	cmd.Flags().DurationVar(&p.Timeout, "timeout", p.Timeout, "wait so long for each answer")
	return cmd
}

// ping becomes the probe inside SRC.
func (c *cli) ping(p probe, args []string) error {
	switch {
	case p.Count < 1 || p.Count > maxProbes:
		return usagef("--count %d: want 1 to %d", p.Count, maxProbes)
	case p.Timeout < time.Millisecond || p.Timeout > time.Minute:
		return usagef("--timeout %v: want 1ms to 1m", p.Timeout)
	}
	p.Service = service{protocol: "icmp"}.String()
	if len(args) == 3 {
		parsed, err := parseService(args[2])
		if err != nil {
			return err
		}
		p.Service = parsed.String()
	}
	s, r, err := c.known()
	if err != nil {
		return err
	}
	src, err := r.instance(args[0])
	if err != nil {
		return err
	}
	dst, err := r.destination(args[1])
	if err != nil {
		return err
	}
	p.From, p.FromIP, p.To, p.ToIP, p.Format = src.Name, src.IP, dst.name, dst.ip, c.format
	plan, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return enter(s, src, []string{"/proc/self/exe", "probe", string(plan)})
}
