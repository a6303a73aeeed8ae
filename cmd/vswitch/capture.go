package main

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"vswitch/internal/api"
	"vswitch/internal/capture"
)

const captureLong = `Write the frames of some ports, or of all, to a pcapng file, which Wireshark and
tshark read: an interface for each port, named as its instance, and each frame with
its direction as the switch sees it: inbound from the instance, outbound to it. A
frame that the switch dropped has its reason and the rule as a comment.

Frames are as the instances hand them over: TCP and UDP superframes in one piece,
unless --segments cuts them as a wire has them, and checksums that are left to the
hardware are filled in. Frames that come faster than they can be written are lost
and counted; the traffic never waits.

A fragment is judged with its whole datagram. It is written when it comes, marked as
held, and --dropped has it once the whole is denied. Not there with --dropped are the
fragments that waited for a rest which did not come or did not fit: their bytes are
given up when they are dropped. why and status count them.

--filter takes an expression as tcpdump has them: host, net, port, portrange, proto,
with src or dst and tcp, udp, icmp, icmp6, arp, ip, ip6, ether; less and greater;
and, or, not, ( ). Names of instances are hosts, names of subnets nets. -C, -W, -c,
-s and -w mean what they mean to tcpdump. Ctrl-C ends the capture.`

const captureExample = `  vswitch capture web1 app1 -w web.pcapng
  vswitch capture --all --dropped -w - | tshark -r - -T fields -e frame.interface_name -e frame.comment
  vswitch capture web1 --filter 'tcp port 443 and not host app1' -c 100
  vswitch capture --all -s 128 -C 100 -W 5 -w ring.pcapng`

// captureFlags are the flags of one invocation.
type captureFlags struct {
	request  api.CaptureRequest
	all      bool
	file     string
	megabyte int // of a file, before the next one; 0 means no end
	files    int // 0 means no limit
}

func newCapture(c *cli) *cobra.Command {
	var f captureFlags
	cmd := &cobra.Command{
		Use:               "capture INSTANCE... | --all",
		Short:             "Capture frames, dropped ones with their reason, as pcapng",
		Long:              captureLong,
		Example:           captureExample,
		GroupID:           groupInspect,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: c.completeInstances,
		Annotations:       map[string]string{formatsKey: formatsPlain},
		RunE: func(_ *cobra.Command, args []string) error {
			f.request.Instances = args
			ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer cancel()
			return c.capture(ctx, &f)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.all, "all", false, "all ports, those that a reload adds included")
	flags.StringVarP(&f.file, "write", "w", "", "to `FILE`, or - for standard output (default VPC-TIME.pcapng)")
	flags.BoolVar(&f.request.Dropped, "dropped", false, "only frames that the switch dropped")
	flags.StringVar(&f.request.Filter, "filter", "", "only frames that `EXPR` takes")
	flags.BoolVar(&f.request.Segments, "segments", false, "cut superframes into what goes over a wire")
	flags.IntVarP(&f.request.Snap, "snap", "s", 0, "keep `N` bytes of each frame (default all)")
	flags.Uint64VarP(&f.request.Count, "count", "c", 0, "end after `N` frames")
	flags.IntVarP(&f.megabyte, "size", "C", 0, "begin another file after `N` million bytes")
	flags.IntVarP(&f.files, "files", "W", 0, "with -C, keep `N` files and overwrite the oldest")
	return cmd
}

// check says what is wrong with the flags.
func (f *captureFlags) check(out io.Writer) error {
	switch {
	case f.all && len(f.request.Instances) > 0:
		return usagef("--all means all instances, and %s was named as well", f.request.Instances[0])
	case !f.all && len(f.request.Instances) == 0:
		return usagef("name the instances to capture, or say --all")
	case f.request.Snap < 0 || f.request.Snap > api.MaxSnap:
		return usagef("-s %d: want 0 to %d bytes", f.request.Snap, api.MaxSnap)
	case f.megabyte < 0 || f.files < 0:
		return usagef("-C and -W count from 1")
	case f.files > 0 && f.megabyte == 0:
		return usagef("-W %d: say with -C how large each file may be", f.files)
	case f.file == "-" && f.megabyte > 0:
		return usagef("-C and -W are for files, and -w - is standard output")
	case f.file == "-" && isTerminal(out):
		return usagef("-w -: standard output is a terminal; pipe it into tshark or Wireshark (wireshark -k -i -)")
	}
	return nil
}

// A captureSummary is what -o json prints of a capture that has ended.
type captureSummary struct {
	Files    []string `json:"files"`
	Captured uint64   `json:"captured"` // frames written; segments of superframes count each
	Lost     uint64   `json:"lost"`     // frames that came faster than they could be written
}

func (c *cli) capture(ctx context.Context, f *captureFlags) error {
	if err := f.check(c.out); err != nil {
		return err
	}
	if f.file == "-" && c.format == formatJSON {
		return usagef("-w - and -o json both want standard output")
	}
	s, client, err := c.client(toRead)
	if err != nil {
		return err
	}
	if f.file == "" {
		f.file = fmt.Sprintf("%s-%s.pcapng", s.vpc, time.Now().Format("20060102-150405"))
	}
	err = client.Capture(ctx, f.request, func(stream io.Reader) error { return c.writeCapture(f, stream) })
	return notRunning(s, err)
}

// writeCapture writes a stream to the files of this invocation, and says what they
// hold.
func (c *cli) writeCapture(f *captureFlags, stream io.Reader) error {
	files, err := capture.NewFiles(f.file, c.out, int64(f.megabyte)*1_000_000, f.files)
	if err != nil {
		return err
	}
	what := strings.Join(f.request.Instances, ", ")
	if f.all {
		what = "all ports"
	}
	c.talk("capturing %s to %s; Ctrl-C ends", what, files.Names()[0])
	frames, lost, err := files.Copy(stream)
	if closing := files.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	c.talk("%s captured, %d lost", count(int(frames), "frame"), lost)
	if c.format != formatJSON {
		return nil
	}
	return api.Encode(c.out, captureSummary{Files: files.Names(), Captured: frames, Lost: lost})
}
