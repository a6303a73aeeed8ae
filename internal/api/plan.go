package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"vswitch/internal/plan"
)

// PathPlan is where one asks what a reload would change.
const PathPlan = "/v1/plan"

// MaxPlannedFlows is how many flows of each fate a plan lists at most.
const MaxPlannedFlows = 10_000

// A PlanRequest asks what a reload would change.
type PlanRequest struct {
	File  string // absolute; if given, it must be the file that runs
	Flows int    // how many flows of each fate to list
}

// A Planner knows what a reload would change.
type Planner interface {
	Plan(PlanRequest) (*plan.Plan, error)
}

// Plan returns what a reload would change.
func (c *Client) Plan(ctx context.Context, r PlanRequest) (*plan.Plan, error) {
	query := url.Values{"flows": {strconv.Itoa(r.Flows)}}
	if r.File != "" {
		query.Set("file", r.File)
	}
	return call[*plan.Plan](ctx, c, http.MethodGet, PathPlan+"?"+query.Encode(), nil, changeDeadline)
}

// plan is the handler of PathPlan.
func (s *Server) plan(r *http.Request) (any, error) {
	req := PlanRequest{File: r.FormValue("file")}
	if text := r.FormValue("flows"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > MaxPlannedFlows {
			return nil, &Error{KindUsage, fmt.Sprintf("flows %q: want 0 to %d", text, MaxPlannedFlows)}
		}
		req.Flows = n
	}
	return s.backend.Plan(req)
}
