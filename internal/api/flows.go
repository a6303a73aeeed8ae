package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// PathFlows is where the flow records in memory are.
const PathFlows = "/v1/flows"

// How many flow records one answer lists.
const (
	DefaultFlows = 10_000 // unless asked
	MaxFlows     = 50_000 // at most
)

// A FlowsRequest is the parameters of GET /v1/flows.
type FlowsRequest struct {
	Instance string // a name, i-... or eni-...; "" for all
	Rejected bool   // only what was rejected
	Format   string // fields of `line`, as in vpc.toml, or "default"; "" for no line
	Limit    int

	// Follow asks for what happened behind After, the Next of an earlier answer:
	// records that have begun, and records whose window has closed. If there is none,
	// the answer waits for one.
	Follow bool
	After  uint64
}

// Flows is the answer to GET /v1/flows: records of the last windows, closed ones
// before open ones.
type Flows struct {
	Flows  []Flow `json:"flows"`
	Total  int    `json:"total"`            // how many there are; more than listed where the limit cut them
	Next   uint64 `json:"next"`             // to ask with as `after`
	Missed bool   `json:"missed,omitempty"` // records were forgotten before they were asked for
}

// States of a Flow.
const (
	FlowOpen   = "open"   // its window has not closed: the sums may grow
	FlowClosed = "closed" // its window has closed
)

// A Flow is one flow record: what one interface saw of one flow in one direction
// within one window, with one action.
type Flow struct {
	Instance    string    `json:"instance"`
	Interface   string    `json:"interface"` // eni-...
	State       string    `json:"state"`
	Status      string    `json:"log_status"` // OK, or SKIPDATA for records that were lost: then what follows End is absent
	Start       time.Time `json:"start"`
	End         time.Time `json:"end"`
	Direction   string    `json:"direction,omitempty"`
	Action      string    `json:"action,omitempty"`   // ACCEPT or REJECT, by this interface's side
	Protocol    string    `json:"protocol,omitempty"` // tcp, udp, icmp, or a number
	Source      string    `json:"source,omitempty"`   // as the packets have it
	SourcePort  uint16    `json:"source_port,omitempty"`
	Destination string    `json:"destination,omitempty"`
	DestPort    uint16    `json:"destination_port,omitempty"` // both ports are absent but for tcp and udp
	Packets     uint64    `json:"packets"`
	Bytes       uint64    `json:"bytes"`
	TCPFlags    uint8     `json:"tcp_flags"`
	Peer        string    `json:"peer,omitempty"`    // the instance at the other end of this hop
	Verdict     string    `json:"verdict,omitempty"` // of the latest packets: DELIVERED, or the reason of the drop
	Rules       []string  `json:"rules,omitempty"`   // of this interface's side that decided
	Line        string    `json:"line,omitempty"`    // in the format asked for
}

// A FlowLog is one flow log of the file.
type FlowLog struct {
	Name    string `json:"name"`
	File    string `json:"file"`
	Written uint64 `json:"records_written"`
	Lost    uint64 `json:"records_lost"`
	Error   string `json:"error,omitempty"` // why the latest window is not in the file
}

// A FlowSource has the flow records of a running switch.
type FlowSource interface {
	// Flows answers r. If r follows and there is nothing to tell, it waits until ctx
	// ends or the switch does.
	Flows(ctx context.Context, r FlowsRequest) (Flows, error)
}

// Flows returns flow records. If r follows, it waits for one for at most that
// long, and the answer may then be empty.
func (c *Client) Flows(ctx context.Context, r FlowsRequest, wait time.Duration) (Flows, error) {
	query := url.Values{"limit": {strconv.Itoa(r.Limit)}}
	for key, value := range map[string]string{"instance": r.Instance, "format": r.Format} {
		if value != "" {
			query.Set(key, value)
		}
	}
	if r.Rejected {
		query.Set("rejected", "true")
	}
	if r.Follow {
		query.Set("after", strconv.FormatUint(r.After, 10))
		query.Set("wait", strconv.FormatFloat(wait.Seconds(), 'f', -1, 64))
	}
	return call[Flows](ctx, c, http.MethodGet, PathFlows+"?"+query.Encode(), nil, wait+readDeadline)
}

func (s *Server) flows(r *http.Request) (any, error) {
	q := FlowsRequest{Instance: r.FormValue("instance"), Format: r.FormValue("format"), Limit: DefaultFlows, Follow: r.FormValue("after") != ""}
	if text := r.FormValue("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > MaxFlows {
			return nil, &Error{KindUsage, fmt.Sprintf("limit %q: want 1 to %d", text, MaxFlows)}
		}
		q.Limit = n
	}
	if text := r.FormValue("rejected"); text != "" {
		rejected, err := strconv.ParseBool(text)
		if err != nil {
			return nil, &Error{KindUsage, fmt.Sprintf("rejected %q: want true or false", text)}
		}
		q.Rejected = rejected
	}
	after, wait, err := following(r)
	if err != nil {
		return nil, err
	}
	q.After = after
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	return s.backend.Flows(ctx, q)
}
