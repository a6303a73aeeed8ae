package api

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Paths of the rules' counters.
const (
	PathRules      = "/v1/rules"
	PathRulesReset = "/v1/rules/reset"
)

// Rules is the answer to GET /v1/rules: every rule with what it has decided, in the
// order of the file, the implicit denies behind the rules of each list.
type Rules struct {
	Rules []Rule `json:"rules"`
}

// A Rule is one rule of a security group or network ACL, and what it has decided
// since it exists or was reset. It keeps its counters over reloads.
type Rule struct {
	Object    string     `json:"object"` // sg:NAME or nacl:NAME
	ID        string     `json:"id"`     // sgr-..., the number of a network ACL's rule, or * for the implicit deny
	Direction string     `json:"direction"`
	Action    string     `json:"action"`           // allow or deny
	Words     string     `json:"rule"`             // "tcp 443 <- 0.0.0.0/0"
	Origin    *Origin    `json:"origin,omitempty"` // absent for what nobody wrote
	Packets   uint64     `json:"hits"`             // packets in its direction that it decided, and those of the tracked flows that it let begin
	Flows     uint64     `json:"flows"`            // flows that it let begin
	Last      *time.Time `json:"last,omitempty"`   // of the last packet; absent if there was none
	Shadowed  []string   `json:"shadowed_by,omitempty"`
	Note      string     `json:"note,omitempty"` // unused, shadowed by ...
}

// A RulesReset is the body of POST /v1/rules/reset.
type RulesReset struct {
	Object string `json:"object,omitempty"` // sg:NAME or nacl:NAME; "" for all
}

// RulesResetReply is its answer.
type RulesResetReply struct {
	Rules int `json:"rules"` // how many rules' counters were set to zero
}

// A RuleSource knows what the rules of a running switch have decided.
type RuleSource interface {
	// Rules returns the rules of one object, "" for all.
	Rules(object string) (Rules, error)
	ResetRules(RulesReset) (RulesResetReply, error)
}

// Rules returns the rules of one object, "" for all, with what they have decided.
func (c *Client) Rules(ctx context.Context, object string) (Rules, error) {
	return call[Rules](ctx, c, http.MethodGet, PathRules+"?"+url.Values{"object": {object}}.Encode(), nil, readDeadline)
}

// ResetRules forgets what the rules have decided.
func (c *Client) ResetRules(ctx context.Context, r RulesReset) (RulesResetReply, error) {
	return call[RulesResetReply](ctx, c, http.MethodPost, PathRulesReset, r, readDeadline)
}

func (s *Server) rules(r *http.Request) (any, error) { return s.backend.Rules(r.FormValue("object")) }

func (s *Server) resetRules(r *http.Request) (any, error) {
	var body RulesReset
	if err := decode(r.Body, &body); err != nil {
		return nil, err
	}
	return s.backend.ResetRules(body)
}
