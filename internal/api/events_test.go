package api

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vswitch/internal/event"
)

func sampleEvents() Events {
	at := time.Date(2026, 11, 23, 9, 30, 0, 125_000_000, time.UTC)
	code := 1
	return Events{Next: 1107, Events: []event.Event{
		{Sequence: 1103, Time: at, Type: event.Gap, Count: 79, Message: "earlier events are gone: only the last ones are kept"},
		{Sequence: 1104, Time: at, Type: event.ProcessExited, Instance: "db1", PID: 4802, ExitCode: &code, Message: "false"},
		{Sequence: 1105, Time: at, Type: event.PortDown, Instance: "web1", Message: "its device is gone or was taken away: eth0 in namespace two-tier-web1"},
		{Sequence: 1106, Time: at, Type: event.ReloadDone, Generation: 4, Count: 2, Message: "/home/ann/lab/vpc.toml"},
		{Sequence: 1107, Time: at, Type: event.AllowanceExceeded, Instance: "web1", Count: 12, Message: "new flows were refused because its connection tracking allowance is used up; 12 so far"},
	}}
}

// ringed is a Backend with events that really come.
type ringed struct {
	fake
	ring *event.Ring
}

func (r *ringed) Events(ctx context.Context, after uint64) (Events, error) {
	r.ring.Wait(ctx, after)
	var e Events
	e.Events, e.Next = r.ring.After(after)
	return e, nil
}

func TestEventsAreAnsweredAsTheyAre(t *testing.T) {
	b := &fake{}
	got, err := NewClient(serve(t, b, clientDeadline)).Events(context.Background(), 1102, time.Second)
	if diff := cmp.Diff(sampleEvents(), got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if diff := cmp.Diff([]string{"events 1102"}, b.asked); diff != "" {
		t.Errorf("the backend was asked (-want +got):\n%s", diff)
	}
}

// A call may wait for its event for longer than a client may take to send its
// request.
func TestEventsAreWaitedFor(t *testing.T) {
	const deadline = 50 * time.Millisecond
	b := &ringed{ring: event.NewRing(time.Now)}
	c := NewClient(serve(t, b, deadline))
	began := time.Now()
	time.AfterFunc(4*deadline, func() { b.ring.Add(event.Event{Type: event.PortUp, Instance: "web1"}) })
	got, err := c.Events(context.Background(), 0, 10*time.Second)
	if err != nil || len(got.Events) != 1 || got.Events[0].Instance != "web1" || got.Next != 1 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if took := time.Since(began); took < 4*deadline {
		t.Errorf("answered after %v, before there was anything", took)
	}

	got, err = c.Events(context.Background(), 1, 0)
	if err != nil || len(got.Events) != 0 || got.Next != 1 {
		t.Errorf("without waiting: got %+v, %v", got, err)
	}
}

// A client that goes away while it waits frees its place at once.
func TestWaitingEndsWithTheClient(t *testing.T) {
	left := make(chan struct{})
	b := &leaving{left: left}
	c := NewClient(serve(t, b, clientDeadline))
	ctx, cancel := context.WithCancel(context.Background())
	b.entered = cancel
	if _, err := c.Events(ctx, 0, MaxWait); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Error("the call still waits, 10 s after its client has gone")
	}
}

// leaving is a Backend whose Events waits until its context ends.
type leaving struct {
	fake
	entered func()
	left    chan struct{}
}

func (l *leaving) Events(ctx context.Context, _ uint64) (Events, error) {
	l.entered()
	<-ctx.Done()
	close(l.left)
	return Events{}, nil
}

func TestEventsRefuseNonsense(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, l, &fake{}, clientDeadline)
	c := NewClient(path)
	for query, want := range map[string]string{
		"?after=x":   `after "x": want the number that an earlier answer had as next`,
		"?after=-1":  `after "-1": want the number that an earlier answer had as next`,
		"?wait=61":   `wait "61": want 0 to 60 seconds`,
		"?wait=-1":   `wait "-1": want 0 to 60 seconds`,
		"?wait=NaN":  `wait "NaN": want 0 to 60 seconds`,
		"?wait=soon": `wait "soon": want 0 to 60 seconds`,
	} {
		_, err := call[Events](context.Background(), c, "GET", PathEvents+query, nil, readDeadline)
		var got *Error
		if !errors.As(err, &got) || *got != (Error{KindUsage, want}) {
			t.Errorf("%s: got %v, want %s", query, err, want)
		}
	}
}
