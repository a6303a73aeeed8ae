package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// A conversation is one with a party in this process, on loopback.
type conversation struct {
	t     *testing.T
	in    io.WriteCloser
	pipe  io.Closer // what out reads from
	out   *json.Decoder
	ended chan error
}

func converse(t *testing.T, plan *partyPlan) *conversation {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	c := &conversation{t: t, in: inW, pipe: outR, out: json.NewDecoder(outR), ended: make(chan error, 1)}
	go func() {
		c.ended <- attend(inR, outW)
		outW.Close()
	}()
	if err := json.NewEncoder(inW).Encode(plan); err != nil {
		t.Fatal(err)
	}
	return c
}

// end goes away, and waits until the party is gone.
func (c *conversation) end() {
	c.t.Helper()
	c.in.Close()
	c.pipe.Close()
	select {
	case err := <-c.ended:
		if err != nil && !errors.Is(err, io.ErrClosedPipe) {
			c.t.Errorf("the party ends with %v", err)
		}
	case <-time.After(10 * time.Second):
		c.t.Fatal("the party does not end with its input")
	}
}

// ports returns free ports of loopback.
func ports(t *testing.T, n int) []netip.AddrPort {
	t.Helper()
	var all []netip.AddrPort
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		all = append(all, netip.MustParseAddrPort(l.Addr().String()))
	}
	return all
}

func TestParty(t *testing.T) {
	defer goleak.VerifyNone(t)
	silent, err := net.ListenPacket("udp", "127.0.0.1:0") // takes datagrams and answers none
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	at := ports(t, 3)
	local := netip.MustParseAddr("127.0.0.1")
	taken := netip.MustParseAddrPort(silent.LocalAddr().String())
	plan := partyPlan{
		Listen: []partyListener{{"tcp", at[0]}, {"udp", taken}, {"udp", at[1]}},
		Probes: []partyProbe{
			{"tcp", local, at[0]}, {"udp", local, at[1]}, {"tcp", local, at[2]}, {"udp", local, taken},
			{"icmp", local, netip.AddrPortFrom(local, 0)}, {"tcp", netip.MustParseAddr("192.0.2.1"), at[0]},
		},
		Timeout: 300 * time.Millisecond,
	}
	c := converse(t, &plan)
	var ready partyReady
	if err := c.out.Decode(&ready); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(ready.Taken) != "[1]" {
		t.Errorf("taken: %v, want the second listener's port", ready.Taken)
	}
	if _, err := io.WriteString(c.in, "true\n"); err != nil {
		t.Fatal(err)
	}
	results := make([]partyResult, len(plan.Probes))
	for range plan.Probes {
		var r partyResult
		if err := c.out.Decode(&r); err != nil {
			t.Fatal(err)
		}
		results[r.Probe] = r
	}
	for i, want := range []string{outcomeOpen, outcomeReply, outcomeRefused, outcomeSilence, outcomeReply, outcomeError} {
		r := results[i]
		if r.Outcome != want {
			t.Errorf("probe %+v: %+v, want %s", plan.Probes[i], r, want)
		}
		if ported := plan.Probes[i].Protocol != "icmp" && want != outcomeError; (r.SourcePort != 0) != ported {
			t.Errorf("probe %+v: source port %d", plan.Probes[i], r.SourcePort)
		}
		if (r.Error != "") != (want == outcomeError) {
			t.Errorf("probe %+v: error %q", plan.Probes[i], r.Error)
		}
	}
	c.end()
	for _, l := range []netip.AddrPort{at[0], at[1]} {
		again, err := net.Listen("tcp", l.String())
		if err != nil {
			t.Errorf("the party has left a listener: %v", err)
			continue
		}
		again.Close()
	}
}

// A party whose master goes away ends, whatever it waits for: the word to begin,
// or answers.
func TestPartyEndsWithItsMaster(t *testing.T) {
	defer goleak.VerifyNone(t)
	silent, err := net.ListenPacket("udp", "127.0.0.1:0") // takes datagrams and answers none
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	plan := partyPlan{Listen: []partyListener{{"tcp", ports(t, 1)[0]}}, Timeout: 600 * time.Millisecond}
	for range 3 * maxAtOnce {
		plan.Probes = append(plan.Probes, partyProbe{"udp", netip.MustParseAddr("127.0.0.1"), netip.MustParseAddrPort(silent.LocalAddr().String())})
	}
	for _, word := range []string{"", "true\n"} {
		c := converse(t, &plan)
		var ready partyReady
		if err := c.out.Decode(&ready); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c.in, word); err != nil {
			t.Fatal(err)
		}
		c.end()
	}
}
