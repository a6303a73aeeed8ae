package api

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"vswitch/internal/event"
)

// PathEvents is where the events are.
const PathEvents = "/v1/events"

// MaxWait is how long a call for events may wait for the next one.
const MaxWait = time.Minute

// Events is the answer to GET /v1/events: what happened, oldest first.
type Events struct {
	Events []event.Event `json:"events"`
	Next   uint64        `json:"next"` // to ask with as `after`, for what comes behind these
}

// An EventSource has the events of a running switch.
type EventSource interface {
	// Events returns the events behind the one of that sequence. If there are none
	// it waits for the next one, until ctx ends or the switch does.
	Events(ctx context.Context, after uint64) (Events, error)
}

// Events returns the events behind the one of that sequence, 0 for all there are.
// If there are none it waits for the next one, for at most MaxWait; the answer
// may then be empty.
func (c *Client) Events(ctx context.Context, after uint64, wait time.Duration) (Events, error) {
	query := url.Values{
		"after": {strconv.FormatUint(after, 10)},
		"wait":  {strconv.FormatFloat(wait.Seconds(), 'f', -1, 64)},
	}
	return call[Events](ctx, c, http.MethodGet, PathEvents+"?"+query.Encode(), nil, wait+readDeadline)
}

func (s *Server) events(r *http.Request) (any, error) {
	after, wait, err := following(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	return s.backend.Events(ctx, after)
}

// following returns the parameters of a call that may wait for news: behind which
// of them, and for how long.
func following(r *http.Request) (after uint64, wait time.Duration, err error) {
	if text := r.FormValue("after"); text != "" {
		after, err = strconv.ParseUint(text, 10, 64)
		if err != nil {
			return 0, 0, &Error{KindUsage, fmt.Sprintf("after %q: want the number that an earlier answer had as next", text)}
		}
	}
	if text := r.FormValue("wait"); text != "" {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds > MaxWait.Seconds() {
			return 0, 0, &Error{KindUsage, fmt.Sprintf("wait %q: want 0 to %g seconds", text, MaxWait.Seconds())}
		}
		wait = time.Duration(seconds * float64(time.Second))
	}
	return after, wait, nil
}
