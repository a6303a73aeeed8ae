// Command peers compares vswitch with other ways to connect two namespaces of
// one host: a bare relay between two TAPs, the Linux bridge, and, where they are
// installed, Open vSwitch and VDE. It needs root and nothing else.
//
// Every target carries the same work between the same two hosts, A and B. Each
// is set up, measured and taken down once a round, and the rounds interleave, so
// that a drift of the machine hits all alike. What is to be read are the ratios
// to the first target: the figures themselves hold for one machine on one day.
//
// Hosts and switches live in network namespaces without a name, which end with
// the process that was started in them (agent), and that one ends with this
// program, however it ends. Only vswitch makes named things: the VPC vsb-bench,
// whose namespaces are vsb-bench-a and vsb-bench-b; `vswitch down` removes them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A plan says what is to be measured.
type plan struct {
	targets []*target
	works   []*work
	rounds  int
	length  time.Duration // of one measurement
	rules   int           // in vswitch's security group
	vswitch string        // the binary
}

func main() {
	// Whatever this program starts is told to die with the thread that started it:
	// this one, which lives as long as the program.
	runtime.LockOSThread()
	if len(os.Args) > 1 && os.Args[1] == agentCommand {
		if err := runAgent(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "peers: agent:", err)
			os.Exit(1)
		}
		return
	}
	p, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := p.run(ctx, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// parse reads the command line. The error is flag.ErrHelp if only help was asked
// for; whatever the flags are wrong about has been said on diagnostics as well.
func parse(args []string, diagnostics io.Writer) (*plan, error) {
	p := &plan{}
	var targetNames, workNames string
	var seconds float64
	flags := flag.NewFlagSet("peers", flag.ContinueOnError)
	flags.SetOutput(diagnostics)
	flags.StringVar(&targetNames, "targets", "relay,vswitch,vswitch-l2,bridge,bridge-ct,ovs,vde", "targets, the one that ratios refer to first; there is also vswitch-10k")
	flags.StringVar(&workNames, "work", usualWork, "kinds of work, of "+names(works))
	flags.IntVar(&p.rounds, "rounds", 5, "rounds; each measures each work on each target once")
	flags.Float64Var(&seconds, "seconds", 3, "length of one measurement")
	flags.IntVar(&p.rules, "rules", 3, "rules in vswitch's security group, 3 to 20000")
	flags.StringVar(&p.vswitch, "vswitch", "./vswitch", "the vswitch binary")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	var err error
	if p.targets, err = pick(targets, targetNames); err != nil {
		return nil, fmt.Errorf("targets: %w", err)
	}
	if p.works, err = pick(works, workNames); err != nil {
		return nil, fmt.Errorf("work: %w", err)
	}
	p.length = time.Duration(seconds * float64(time.Second))
	switch {
	case flags.NArg() > 0:
		return nil, fmt.Errorf("argument %q: there are only flags", flags.Arg(0))
	case p.rounds < 1:
		return nil, fmt.Errorf("rounds: %d: at least 1", p.rounds)
	case p.length < 100*time.Millisecond || p.length > time.Minute:
		return nil, fmt.Errorf("seconds: %v: must be 0.1 to 60", seconds)
	case p.rules < leastRules || p.rules > mostRules:
		return nil, fmt.Errorf("rules: %d: must be %d to %d", p.rules, leastRules, mostRules)
	}
	return p, nil
}

// A named thing is chosen on the command line by its name.
type named interface{ String() string }

// names returns the names of all, as a list for the command line.
func names[T named](all []T) string {
	list := make([]string, len(all))
	for i, x := range all {
		list[i] = x.String()
	}
	return strings.Join(list, ",")
}

// pick returns those of all that the comma-separated list names, in its order.
func pick[T named](all []T, list string) ([]T, error) {
	var picked []T
	seen := make(map[string]bool)
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(all, func(x T) bool { return x.String() == name })
		if i < 0 {
			return nil, fmt.Errorf("%q: not one of %s", name, names(all))
		}
		if seen[name] {
			return nil, fmt.Errorf("%s: named twice", name)
		}
		seen[name] = true
		picked = append(picked, all[i])
	}
	return picked, nil
}

// run measures everything and prints the report, of what there is when a target
// failed or the run was interrupted. The error then says so.
func (p *plan) run(ctx context.Context, out, progress io.Writer) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root, to make network namespaces and TAP interfaces")
	}
	r := newReport(p)
	var failures []error
	for round := 1; round <= p.rounds && ctx.Err() == nil; round++ {
		for _, t := range p.targets {
			if ctx.Err() != nil {
				break
			}
			if missing := t.missing(); missing != "" {
				r.remark(t, "not installed ("+missing+")")
				continue
			}
			if err := p.visit(ctx, t, r, round, progress); err != nil {
				err = fmt.Errorf("round %d, %s: %w", round, t, err)
				fmt.Fprintln(progress, err)
				failures = append(failures, err)
				if ctx.Err() == nil {
					r.remark(t, "failed")
				}
			}
		}
	}
	if err := r.print(out); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return errors.New("interrupted; everything is cleaned up unless an error above says otherwise")
	}
	return errors.Join(failures...)
}

// visit sets the target up, does all the work over it, and takes it down.
func (p *plan) visit(ctx context.Context, t *target, r *report, round int, progress io.Writer) (err error) {
	s := &site{plan: p}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := t.build(ctx, s); err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	var short []error
	for _, w := range p.works {
		value, err := w.do(ctx, s, p.length)
		switch {
		case errors.Is(err, errUnsuited):
			continue
		case errors.Is(err, errShort):
			short = append(short, fmt.Errorf("%s: %w", w, err))
			continue
		case err != nil:
			return fmt.Errorf("%s: %w", w, err)
		}
		r.add(w, t, value)
		fmt.Fprintf(progress, "round %d/%d  %-11s %-6s %12s %s\n", round, p.rounds, t, w, w.format(value), w.unit)
	}
	return errors.Join(short...)
}
