package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// A party is a process inside an instance that listens and sends for test --live.
// It ends when its standard input does, so it outlives nobody.
type party struct {
	instance, namespace string
	plan                partyPlan
	senders             []*liveTask   // of the probes of the plan
	waiters             [][]*liveTask // those who send to each listener of the plan

	cmd    *exec.Cmd
	in     io.WriteCloser
	pipe   io.Closer // what out reads from
	out    *json.Decoder
	errors bytes.Buffer // its standard error; to be read after it has ended
}

// add has the party send the packet of a task.
func (p *party) add(t *liveTask) {
	p.senders = append(p.senders, t)
	p.plan.Probes = append(p.plan.Probes, partyProbe{
		Protocol: t.sample.Protocol.String(), From: t.sample.From.Address, To: t.sample.Target(),
	})
}

// listen has the party listen for the packet of a task.
func (p *party) listen(t *liveTask) {
	l := partyListener{Protocol: t.sample.Protocol.String(), At: t.sample.Target()}
	at := slices.Index(p.plan.Listen, l)
	if at < 0 {
		at = len(p.plan.Listen)
		p.plan.Listen, p.waiters = append(p.plan.Listen, l), append(p.waiters, nil)
	}
	p.waiters[at] = append(p.waiters[at], t)
}

// A partyPlan is what a party is told to do.
type partyPlan struct {
	Listen  []partyListener `json:"listen"`
	Probes  []partyProbe    `json:"probes"`
	Timeout time.Duration   `json:"timeout"` // nanoseconds; for each answer
}

// A partyListener is a port to listen at, as long as the party lives.
type partyListener struct {
	Protocol string         `json:"protocol"` // tcp or udp
	At       netip.AddrPort `json:"at"`
}

// A partyProbe is a packet to send.
type partyProbe struct {
	Protocol string         `json:"protocol"` // tcp, udp, icmp or icmpv6
	From     netip.Addr     `json:"from"`
	To       netip.AddrPort `json:"to"` // the port is 0 with icmp and icmpv6
}

// A partyReady is what a party says before it is told to send.
type partyReady struct {
	Taken []int `json:"taken"` // listeners whose port another process has
}

// A partyResult is what became of a probe.
type partyResult struct {
	Probe      int    `json:"probe"` // its index in the plan
	Outcome    string `json:"outcome"`
	SourcePort uint16 `json:"source_port"` // 0 with icmp and icmpv6
	Error      string `json:"error"`       // valid iff Outcome is "error"
}

// runParties has all parties listen, and then send. When it returns, none of them
// is left, whatever happened.
func runParties(ctx context.Context, parties []*party) (err error) {
	defer func() {
		for _, p := range parties {
			err = errors.Join(err, p.end(err))
		}
	}()
	for _, p := range parties {
		if err := p.start(ctx); err != nil {
			return err
		}
	}
	for _, p := range parties {
		if err := p.prepare(); err != nil {
			return err
		}
	}
	failures := make([]error, len(parties))
	var wait sync.WaitGroup
	for i, p := range parties {
		wait.Go(func() { failures[i] = p.send() })
	}
	wait.Wait()
	return errors.Join(failures...)
}

// start starts the process inside the instance.
func (p *party) start(ctx context.Context) error {
	own, err := os.Executable()
	if err != nil {
		return fmt.Errorf("own path: %w", err)
	}
	cmd := exec.CommandContext(ctx, own, "enter", p.namespace, "--", "/proc/self/exe", "party")
	cmd.WaitDelay = 2 * time.Second
	cmd.Stderr = &p.errors
	if p.in, err = cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p.pipe, p.out = out, json.NewDecoder(out)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("instance %s: %w", p.instance, err)
	}
	p.cmd = cmd
	return nil
}

// prepare hands the plan over, and returns when the party listens.
func (p *party) prepare() error {
	if err := json.NewEncoder(p.in).Encode(&p.plan); err != nil {
		return p.broken(err)
	}
	var ready partyReady
	if err := p.out.Decode(&ready); err != nil {
		return p.broken(err)
	}
	for _, at := range ready.Taken {
		for _, t := range p.waiters[at] {
			t.taken = true
		}
	}
	return nil
}

// send has the party send its probes, and returns when it has all results.
func (p *party) send() error {
	if _, err := io.WriteString(p.in, "true\n"); err != nil {
		return p.broken(err)
	}
	for range p.senders {
		var r partyResult
		if err := p.out.Decode(&r); err != nil {
			return p.broken(err)
		}
		p.senders[r.Probe].result = r
	}
	return nil
}

// broken returns the error of a conversation that ended early.
func (p *party) broken(err error) error {
	return fmt.Errorf("instance %s: its probe ended early: %w", p.instance, err)
}

// end ends the process and waits for it. It returns what the process said if that
// explains why the run failed, which it did iff failed is not nil.
func (p *party) end(failed error) error {
	if p.cmd == nil {
		return nil
	}
	closing := p.in.Close()
	if failed != nil { // it may still want to say something that nobody will read
		closing = errors.Join(closing, p.pipe.Close())
	}
	waiting := p.cmd.Wait()
	if text := strings.TrimSpace(p.errors.String()); text != "" && failed != nil {
		return fmt.Errorf("instance %s: %s", p.instance, text)
	}
	if failed != nil {
		return nil // the first error says it
	}
	return errors.Join(closing, waiting)
}
