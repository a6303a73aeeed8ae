package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"vswitch/internal/api"
	"vswitch/internal/event"
	"vswitch/port"
)

// A gate is a reader of a capture that takes nothing until it is opened.
type gate struct {
	reached, open chan struct{}
	once          sync.Once
}

func (g *gate) Write(b []byte) (int, error) {
	g.once.Do(func() { close(g.reached) })
	<-g.open
	return len(b), nil
}

// A capture that has lost frames is an event when it ends, and one that has not is
// none.
func TestDaemonTellsOfLostFrames(t *testing.T) {
	d, _ := standing(t)
	a, frame := talking(t, d, port.Offloads{Checksum: true})
	long := frame("10.9.1.4:40000 > 10.9.1.5:53 udp len=8900 csum=partial")
	captured := func(frames int) []event.Event {
		g := &gate{reached: make(chan struct{}), open: make(chan struct{})}
		ctx, end := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- d.Capture(ctx, api.CaptureRequest{Instances: []string{"alice"}}, g) }()
		<-g.reached
		before := d.sw.Status().Totals.RxFrames
		for range frames {
			eventually(t, "the port has room", func() bool { return a.Send(long) })
		}
		eventually(t, "all is received", func() bool { return d.sw.Status().Totals.RxFrames == before+uint64(frames) })
		end()
		close(g.open)
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		reply, err := d.Events(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		return reply.Events
	}
	if told := captured(10); len(told) != 0 {
		t.Fatalf("nothing was lost, and told is %+v", told)
	}
	const frames = 2 * (8 << 20) / 9000 // twice what a capture holds
	told := captured(frames)
	if len(told) != 1 || told[0].Type != event.FramesLost || told[0].Count < frames/4 || told[0].Count >= frames || !strings.Contains(told[0].Message, "alice") {
		t.Errorf("of %d frames told is %s", frames, fmt.Sprint(told))
	}
}
