package main

import (
	"context"
	"errors"
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
	{"flows", "UDP frames of 64 bytes over 100,000 flows, received", "kframes/s", 0, datagrams(100_000)},
	{"flows1k", "UDP frames of 64 bytes over 1,000 flows that live, received", "kframes/s", 0, livingFlows(1000)},
	{"flows1m", "UDP frames of 64 bytes over 1,000,000 flows that live, received", "kframes/s", 0, livingFlows(mostFlows)},
	{"rr", "TCP ping-pong of 16 bytes, median round trip (less is better)", "us", 1, ask(opRR)},
	{"crr", "TCP connections, one after the other, a byte there and back over each", "1/s", 0, ask(opCRR)},
	{"reload", "TCP, one stream, with 100 reloads a second, to the same without", "of bulk", 2, reloading},
	{"lost", "frames lost of a TCP stream with 100 reloads a second (less is better)", "frames", 0, losing},
}

// usualWork is what is done unless the command line says otherwise: what every
// target can do, in a few seconds.
const usualWork = "bulk,bulk4,pps,flows,rr,crr"

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

// stillness is how long B's count must stand still for a flood to be over.
const stillness = 50 * time.Millisecond

// settled returns B's count when a flood is over.
func (s *site) settled(ctx context.Context, count task) (float64, error) {
	after, err := s.b.call(ctx, count)
	for end := time.Now().Add(linkPatience); err == nil && time.Now().Before(end); {
		time.Sleep(stillness)
		last := after
		if after, err = s.b.call(ctx, count); after-last < floodBatch { // a neighbour may be asked for meanwhile, but no flood goes on
			break
		}
	}
	return after, err
}

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
		after, err := s.settled(ctx, count)
		if err != nil {
			return 0, err
		}
		if after-before < floodBatch {
			return 0, fmt.Errorf("of the flood %.0f frames arrived", after-before)
		}
		return (after - before) / seconds / 1e3, nil
	}
}

// leastOpened is the part of the flows that must have come to be before a flood
// over them counts.
const leastOpened = 0.95

// errShort is the error of a work that was done, but by less than it takes to
// count. The site is as good as before.
var errShort = errors.New("fell short")

// livingFlows is a flood over flows that have been opened before, so that each of
// its frames belongs to one that the switch tracks, if it does.
func livingFlows(flows int) func(context.Context, *site, time.Duration) (float64, error) {
	flooding := datagrams(flows)
	return func(ctx context.Context, s *site, length time.Duration) (float64, error) {
		count := task{Op: opReceived, Device: s.deviceB}
		before, err := s.b.call(ctx, count)
		if err != nil {
			return 0, err
		}
		open := task{Op: opFlows, Device: s.deviceA, Peer: s.peer.String(), Flows: flows, Duration: time.Duration(flows) * time.Second / openRate}
		if _, err := s.a.call(ctx, open); err != nil {
			return 0, err
		}
		after, err := s.settled(ctx, count)
		if err != nil {
			return 0, err
		}
		if opened := after - before; opened < leastOpened*float64(flows) {
			return 0, fmt.Errorf("%w: of %d flows %.0f came to be", errShort, flows, opened)
		}
		if _, err := flooding(ctx, s, time.Duration(flows)*warmPerFlow); err != nil {
			return 0, err
		}
		return flooding(ctx, s, length)
	}
}
