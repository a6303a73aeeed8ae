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

// PathDrops is where the dropped packets are.
const PathDrops = "/v1/drops"

// A DropsRequest is the parameters of GET /v1/drops.
type DropsRequest struct {
	From, To string        // instances: names, i-... or eni-...; "" for all. Without To, From may be either end
	Since    time.Duration // only what was dropped within the last so long; 0 for all that is remembered
}

// Drops is the answer to GET /v1/drops: packets that were dropped, newest first.
type Drops struct {
	Drops []Drop `json:"drops"`
}

// A Drop is packets of one flow that were dropped for one cause.
type Drop struct {
	From        string    `json:"from"`               // the instance that sent them
	To          string    `json:"to,omitempty"`       // the instance that they were for, if there is one
	Protocol    string    `json:"protocol,omitempty"` // tcp, udp, icmp, or a number; absent for frames that are no IP packets, and for many flows
	Source      string    `json:"source,omitempty"`
	SourcePort  uint16    `json:"source_port,omitempty"`
	Destination string    `json:"destination,omitempty"`
	DestPort    uint16    `json:"destination_port,omitempty"` // both ports are absent but for tcp and udp
	TCPFlags    string    `json:"tcp_flags,omitempty"`        // of the last segment: S, SA, A, R, FA ...
	ICMP        *ICMP     `json:"icmp,omitempty"`             // of the last packet
	Many        bool      `json:"many,omitempty"`             // stands for several flows, whose tuples were forgotten
	Packets     uint64    `json:"packets"`
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`
	Reason      string    `json:"reason"`          // as in status
	By          string    `json:"by"`              // what dropped them, in words: "nacl private egress *"
	Rule        string    `json:"rule,omitempty"`  // of a network ACL: "nacl:private", the direction and the number, or * for the implicit deny
	Where       string    `json:"where,omitempty"` // file:line of the rule, or of the security groups that have none, or why there is no line
	Guest       bool      `json:"guest,omitempty"` // what every kernel sends unasked, and no VPC carries: broadcast, multicast
}

// A DropSource knows what a running switch has dropped.
type DropSource interface {
	Drops(DropsRequest) (Drops, error)
}

// Drops returns packets that were dropped.
func (c *Client) Drops(ctx context.Context, r DropsRequest) (Drops, error) {
	query := url.Values{"since": {strconv.FormatFloat(r.Since.Seconds(), 'f', -1, 64)}}
	for key, value := range map[string]string{"from": r.From, "to": r.To} {
		if value != "" {
			query.Set(key, value)
		}
	}
	return call[Drops](ctx, c, http.MethodGet, PathDrops+"?"+query.Encode(), nil, readDeadline)
}

func (s *Server) drops(r *http.Request) (any, error) {
	q := DropsRequest{From: r.FormValue("from"), To: r.FormValue("to")}
	if q.To != "" && q.From == "" {
		return nil, &Error{KindUsage, "to without from: want both, or from alone for either end"}
	}
	if text := r.FormValue("since"); text != "" {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds > math.MaxInt32 {
			return nil, &Error{KindUsage, fmt.Sprintf("since %q: want a number of seconds", text)}
		}
		q.Since = time.Duration(seconds * float64(time.Second))
	}
	return s.backend.Drops(q)
}
