package api

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// PathBusiest is where the flows and rules are that do most just now.
const PathBusiest = "/v1/busiest"

// Bounds of a BusiestRequest.
const (
	LongestBusiest = 10 * time.Second
	MaxBusiest     = 1000
	DefaultBusiest = 20 // unless asked
)

// A BusiestRequest is the parameters of GET /v1/busiest.
type BusiestRequest struct {
	Over  time.Duration // from the question on: the answer comes so much later
	Limit int           // how many flows, and how many rules
}

// Busiest is the answer to GET /v1/busiest: what happened within a short time, and
// not what happened since the switch runs.
type Busiest struct {
	Seconds    float64    `json:"seconds"`         // how long that was
	Flows      []BusyFlow `json:"flows"`           // the most packets first
	TotalFlows int        `json:"total_flows"`     // how many there were
	Unnamed    uint64     `json:"unnamed_packets"` // of flows that there were too many of to be told apart
	Rules      []BusyRule `json:"rules"`           // those that decided something: denials first, the most packets first
}

// A BusyFlow is the packets of one flow with one outcome, in one direction.
type BusyFlow struct {
	From        string `json:"from"`         // the instance that sent them
	To          string `json:"to,omitempty"` // the instance that they were for, if there is one
	Protocol    string `json:"protocol"`     // tcp, udp, icmp, or a number
	Source      string `json:"source"`
	SourcePort  uint16 `json:"source_port,omitempty"`
	Destination string `json:"destination"`
	DestPort    uint16 `json:"destination_port,omitempty"` // both ports are absent but for tcp and udp
	Verdict     string `json:"verdict"`                    // DELIVERED, or the reason of the drop
	Packets     uint64 `json:"packets"`
	Bytes       uint64 `json:"bytes"` // from their IP headers on
}

// A BusyRule is a rule with what it decided.
type BusyRule struct {
	Object    string `json:"object"` // sg:NAME or nacl:NAME
	ID        string `json:"id"`     // * for the implicit deny
	Direction string `json:"direction"`
	Action    string `json:"action"` // allow or deny
	Words     string `json:"rule"`   // "tcp 443 <- 0.0.0.0/0"
	Packets   uint64 `json:"hits"`
	Flows     uint64 `json:"flows"`
}

// A BusiestSource watches a running switch for a while.
type BusiestSource interface {
	// Busiest waits for as long as r says, or until ctx ends.
	Busiest(ctx context.Context, r BusiestRequest) (Busiest, error)
}

// Busiest returns which flows and rules do most from now on, for so long as r says.
func (c *Client) Busiest(ctx context.Context, r BusiestRequest) (Busiest, error) {
	query := url.Values{"over": {strconv.FormatFloat(r.Over.Seconds(), 'f', -1, 64)}, "limit": {strconv.Itoa(r.Limit)}}
	return call[Busiest](ctx, c, http.MethodGet, PathBusiest+"?"+query.Encode(), nil, r.Over+readDeadline)
}

func (s *Server) busiest(r *http.Request) (any, error) {
	q := BusiestRequest{Over: time.Second, Limit: DefaultBusiest}
	if text := r.FormValue("over"); text != "" {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(seconds) || seconds <= 0 || seconds > LongestBusiest.Seconds() {
			return nil, &Error{KindUsage, fmt.Sprintf("over %q: want more than 0 and at most %g seconds", text, LongestBusiest.Seconds())}
		}
		q.Over = time.Duration(seconds * float64(time.Second))
	}
	if text := r.FormValue("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > MaxBusiest {
			return nil, &Error{KindUsage, fmt.Sprintf("limit %q: want 1 to %d", text, MaxBusiest)}
		}
		q.Limit = n
	}
	return s.backend.Busiest(r.Context(), q)
}
