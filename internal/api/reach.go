package api

import (
	"context"
	"net/http"
	"net/url"
)

// PathReach is the path of the call that tells who can reach whom.
const PathReach = "/v1/reach"

// A ReachRequest names the ends; "" means all instances.
type ReachRequest struct {
	From string // an instance's name, i-..., eni-..., or an address of one
	To   string
}

// Families of a ReachFlow.
const (
	FamilyIPv4 = "ipv4"
	FamilyIPv6 = "ipv6"
)

// A Reach is the answer to GET /v1/reach.
type Reach struct {
	VPC        string      `json:"vpc"`
	Generation uint32      `json:"generation,omitempty"` // of what runs; absent if a file alone was judged
	From       string      `json:"from,omitempty"`       // the instance that was asked about; absent for all
	To         string      `json:"to,omitempty"`         // likewise
	Instances  []string    `json:"instances"`            // all of the VPC
	Flows      []ReachFlow `json:"flows"`
}

// A ReachFlow is what arrives between two instances.
type ReachFlow struct {
	From     string   `json:"from"`
	To       string   `json:"to"`
	Family   string   `json:"family"`
	Verdict  string   `json:"verdict"` // allow, or partial: the request passes, its reply does not, or not for every source port
	Services []string `json:"services"`
}

// A Surveyor tells who can reach whom.
type Surveyor interface {
	Reach(ReachRequest) (Reach, error)
}

// reach is the handler of PathReach.
func (s *Server) reach(r *http.Request) (any, error) {
	return s.backend.Reach(ReachRequest{From: r.FormValue("from"), To: r.FormValue("to")})
}

// Reach tells who can reach whom in the running VPC.
func (c *Client) Reach(ctx context.Context, r ReachRequest) (Reach, error) {
	query := url.Values{}
	for key, value := range map[string]string{"from": r.From, "to": r.To} {
		if value != "" {
			query.Set(key, value)
		}
	}
	return call[Reach](ctx, c, http.MethodGet, PathReach+"?"+query.Encode(), nil, readDeadline)
}
