package main

import (
	"context"
	"fmt"
	"time"
)

// A work is something that two hosts do over a switch, measured.
type work struct {
	name     string
	what     string
	unit     string
	decimals int
	do       func(context.Context, *site, time.Duration) (float64, error)
}

// String returns the work's name.
func (w *work) String() string { return w.name }

// format returns the value as it is printed, without its unit.
func (w *work) format(value float64) string { return fmt.Sprintf("%.*f", w.decimals, value) }

// works are all kinds of work, in the order in which they are done.
var works = []*work{
	{"bulk", "TCP, one stream", "Gbit/s", 2, stream(1)},
	{"bulk4", "TCP, four streams", "Gbit/s", 2, stream(4)},
	{"pps", "UDP frames of 64 bytes, one flow, received", "kframes/s", 0, datagrams(1)},
	{"flows", "UDP frames of 64 bytes over 100,000 flows, received", "kframes/s", 0, datagrams(mostFlows)},
	{"rr", "TCP ping-pong of 16 bytes, median round trip (less is better)", "us", 1, ask(opRR)},
	{"crr", "TCP connections, one after the other, a byte there and back over each", "1/s", 0, ask(opCRR)},
}

// stream is a bulk transfer from A to B.
func stream(streams int) func(context.Context, *site, time.Duration) (float64, error) {
	return func(ctx context.Context, s *site, length time.Duration) (float64, error) {
		return s.a.call(ctx, task{Op: opBulk, Peer: s.peer.String(), Streams: streams, Duration: length})
	}
}

// ask is a work that A measures alone.
func ask(op string) func(context.Context, *site, time.Duration) (float64, error) {
	return func(ctx context.Context, s *site, length time.Duration) (float64, error) {
		return s.a.call(ctx, task{Op: op, Peer: s.peer.String(), Duration: length})
	}
}

// settled is how long B's count must stand still for a flood to be over.
const settled = 50 * time.Millisecond

// datagrams is a flood from A to B. What B's device received counts.
func datagrams(flows int) func(context.Context, *site, time.Duration) (float64, error) {
	return func(ctx context.Context, s *site, length time.Duration) (float64, error) {
		count := task{Op: opReceived, Device: s.deviceB}
		before, err := s.b.call(ctx, count)
		if err != nil {
			return 0, err
		}
		seconds, err := s.a.call(ctx, task{Op: opFlood, Device: s.deviceA, Peer: s.peer.String(), Flows: flows, Duration: length})
		if err != nil {
			return 0, err
		}
		after, err := s.b.call(ctx, count)
		if err != nil {
			return 0, err
		}
		for end := time.Now().Add(linkPatience); time.Now().Before(end); {
			time.Sleep(settled)
			last := after
			if after, err = s.b.call(ctx, count); err != nil {
				return 0, err
			}
			if after-last < floodBatch { // a neighbour may be asked for meanwhile, but no flood goes on
				break
			}
		}
		if after-before < floodBatch {
			return 0, fmt.Errorf("of the flood %.0f frames arrived", after-before)
		}
		return (after - before) / seconds / 1e3, nil
	}
}
