package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"vswitch/internal/api"
)

// maxProbes bounds what one ping sends, and so what it remembers.
const maxProbes = 100_000

// probePause is the pause between an answer and the next probe.
const probePause = 200 * time.Millisecond

// A probe is what ping hands to itself inside the namespace: the resolved form
// of its arguments.
type probe struct {
	From    string        `json:"from"`
	FromIP  string        `json:"from_ip"`
	To      string        `json:"to"`
	ToIP    netip.Addr    `json:"to_ip"`
	Service string        `json:"service"`
	Count   int           `json:"count"`
	Timeout time.Duration `json:"timeout"` // nanoseconds; for each answer
	Format  string        `json:"format"`
}

// What became of one probe. Anything but silence came back from somewhere.
const (
	outcomeReply   = "reply"   // an echo reply, or a datagram
	outcomeOpen    = "open"    // a TCP connection was made
	outcomeRefused = "refused" // a RST, or an ICMP port unreachable: it arrived, nothing listens
	outcomeSilence = "silence" // nothing within the timeout
	outcomeError   = "error"   // it could not be sent
)

// An attempt is what became of one probe.
type attempt struct {
	Sequence int     `json:"sequence"` // from 1
	Outcome  string  `json:"outcome"`
	RTT      float64 `json:"rtt_ms,omitempty"` // milliseconds; absent unless something came back
	Error    string  `json:"error,omitempty"`  // valid iff Outcome is "error"
}

// answered reports whether anything came back.
func (a *attempt) answered() bool { return a.Outcome != outcomeSilence && a.Outcome != outcomeError }

// A probeResult is what ping says in JSON.
type probeResult struct {
	From     string     `json:"from"`
	FromIP   string     `json:"from_ip"`
	To       string     `json:"to"`
	ToIP     netip.Addr `json:"to_ip"`
	Service  string     `json:"service"`
	Sent     int        `json:"sent"`
	Answered int        `json:"answered"`
	Attempts []attempt  `json:"attempts"`
}

// newProbe returns the half of ping that runs inside.
func newProbe(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:    "probe PLAN",
		Short:  "Send what ping asks for, from the namespace one is in",
		Hidden: true,
		Args:   rangeArgs(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			var p probe
			if err := json.Unmarshal([]byte(args[0]), &p); err != nil {
				return usagef("plan: %w", err)
			}
			c.format = p.Format
			return c.probe(&p)
		},
	}
}

// A prober sends one probe after the other and waits for what comes back.
type prober interface {
	// probe sends probe number sequence, and returns nil if the service answered,
	// os.ErrDeadlineExceeded if nothing came back within timeout, and ECONNREFUSED
	// if a refusal did.
	probe(sequence int, timeout time.Duration) error
	io.Closer
}

func (c *cli) probe(p *probe) error {
	svc, err := parseService(p.Service)
	if err != nil {
		return err
	}
	prober, answer, err := newProber(svc, p.ToIP)
	if err != nil {
		return fmt.Errorf("probe %s from %s: %w", p.Service, p.From, err)
	}
	defer prober.Close()
	if c.format == formatTable {
		fmt.Fprintf(c.out, "%s  %s > %s\n", p.Service, label(p.From, p.FromIP), label(p.To, p.ToIP.String()))
	}
	result := probeResult{From: p.From, FromIP: p.FromIP, To: p.To, ToIP: p.ToIP, Service: p.Service, Attempts: []attempt{}}
	for n := 1; n <= p.Count; n++ {
		if n > 1 {
			time.Sleep(probePause)
		}
		began := time.Now()
		a := attemptOf(n, prober.probe(n, p.Timeout), answer, time.Since(began))
		result.Sent++
		if a.answered() {
			result.Answered++
		}
		result.Attempts = append(result.Attempts, a)
		if err := c.printAttempt(&a, p.Timeout); err != nil {
			return err
		}
	}
	if err := c.printProbeResult(&result); err != nil {
		return err
	}
	if result.Answered == 0 {
		return &exitError{code: exitFailure}
	}
	return nil
}

// printAttempt prints what is printed as it happens.
func (c *cli) printAttempt(a *attempt, timeout time.Duration) error {
	var err error
	switch {
	case c.format == formatJSONL:
		err = encodeLines(c.out, []any{a})
	case c.format != formatTable:
	case a.answered():
		_, err = fmt.Fprintf(c.out, "  %d  %-7s  %.3f ms\n", a.Sequence, a.Outcome, a.RTT)
	case a.Outcome == outcomeError:
		_, err = fmt.Fprintf(c.out, "  %d  %-7s  %s\n", a.Sequence, a.Outcome, a.Error)
	default:
		_, err = fmt.Fprintf(c.out, "  %d  %-7s  nothing came back within %v\n", a.Sequence, a.Outcome, timeout)
	}
	return err
}

// printProbeResult prints the end.
func (c *cli) printProbeResult(r *probeResult) error {
	switch c.format {
	case formatJSON:
		return api.Encode(c.out, r)
	case formatJSONL:
		return nil
	}
	line := fmt.Sprintf("%d of %d answered", r.Answered, r.Sent)
	if r.Answered > 0 {
		low, sum, high := 0.0, 0.0, 0.0
		for _, a := range r.Attempts {
			if !a.answered() {
				continue
			}
			if low == 0 || a.RTT < low {
				low = a.RTT
			}
			high = max(high, a.RTT)
			sum += a.RTT
		}
		line += fmt.Sprintf(", min/avg/max %.3f/%.3f/%.3f ms", low, sum/float64(r.Answered), high)
	}
	_, err := fmt.Fprintln(c.out, line)
	return err
}

// label returns "app1 (10.0.2.10)", or the address alone where it is the name.
func label(name, ip string) string {
	if name == ip {
		return ip
	}
	return name + " (" + ip + ")"
}
