package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

// PathExplain is the path of the call that explains a verdict.
const PathExplain = "/v1/explain"

// An ExplainRequest asks what would become of a flow that begins now.
type ExplainRequest struct {
	From       string // an instance, an address of one, INSTANCE:ADDRESS, or "internet"
	To         string // the same, or any address
	Service    string // tcp/443, udp/53, icmp, icmp/3:4, icmpv6, 47
	SourcePort uint16 // 0 means any port that a client may have
}

// Verdicts of an Explanation, of its legs and of their steps.
const (
	VerdictAllow   = "allow"
	VerdictDeny    = "deny"
	VerdictPartial = "partial" // of an Explanation: answers pass for some source ports of the client and not for others
)

// An Explanation is the answer to GET /v1/explain.
type Explanation struct {
	VPC        string       `json:"vpc"`
	Generation uint32       `json:"generation,omitempty"` // of what runs; absent if a file alone was judged
	Verdict    string       `json:"verdict"`              // allow: the request and its reply both pass
	From       ExplainEnd   `json:"from"`
	To         ExplainEnd   `json:"to"`
	Service    string       `json:"service"`
	Words      string       `json:"words"`
	SourcePort uint16       `json:"source_port,omitempty"` // absent unless it was given
	Request    ExplainLeg   `json:"request"`
	Replies    []ExplainLeg `json:"replies"` // one for each range of source ports that fares differently
	Tracking   []Tracking   `json:"tracking"`
	Summary    string       `json:"summary"`
	Notes      []string     `json:"notes"`
	Fixes      []Fix        `json:"fixes"`
}

// An ExplainEnd is one end of the flow.
type ExplainEnd struct {
	Name    string `json:"name"` // of the instance, "internet", or the address
	Address string `json:"address"`
}

// An ExplainLeg is the way of the request, or of its reply.
type ExplainLeg struct {
	From        string        `json:"from"`
	To          string        `json:"to"`
	Words       string        `json:"words"`
	Path        []string      `json:"path"`
	SourcePorts *PortRange    `json:"source_ports,omitempty"` // of the client; absent without ports
	Verdict     string        `json:"verdict"`
	Reason      string        `json:"reason,omitempty"` // absent unless denied
	Steps       []ExplainStep `json:"steps"`
}

// A PortRange is an inclusive range of ports.
type PortRange struct {
	From uint16 `json:"from"`
	To   uint16 `json:"to"`
}

// An ExplainStep is one gate on the way of a packet.
type ExplainStep struct {
	Check           string  `json:"check"`
	Direction       string  `json:"direction,omitempty"` // absent unless the check is sg or nacl
	Object          string  `json:"object"`
	Instance        string  `json:"instance,omitempty"` // absent unless the gate is that of one
	Verdict         string  `json:"verdict"`
	Rule            string  `json:"rule,omitempty"`
	Words           string  `json:"words"`
	Origin          *Origin `json:"origin,omitempty"` // absent if no line decided
	Tracked         bool    `json:"tracked,omitempty"`
	Untracked       bool    `json:"untracked,omitempty"`
	Reason          string  `json:"reason,omitempty"`           // absent unless denied
	ExplanationCode string  `json:"explanation_code,omitempty"` // absent unless denied
}

// An Origin is a place in a file.
type Origin struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

// Tracking says whether the flow is remembered at an instance, and why.
type Tracking struct {
	Instance string `json:"instance"`
	Tracked  bool   `json:"tracked"`
	Why      string `json:"why"`
}

// A Fix says what would make the flow pass. All of an Explanation's are needed.
type Fix struct {
	Table string `json:"table,omitempty"` // of the file; this and the next three are absent if no rule helps
	Key   string `json:"key,omitempty"`
	Rule  string `json:"rule,omitempty"` // the element of the list that Key names
	TOML  string `json:"toml,omitempty"` // the whole key, where the file has no such list; absent where it has
	Words string `json:"words"`
}

// explain is the handler of PathExplain.
func (s *Server) explain(r *http.Request) (any, error) {
	req := ExplainRequest{From: r.FormValue("from"), To: r.FormValue("to"), Service: r.FormValue("service")}
	if text := r.FormValue("source_port"); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return nil, &Error{KindUsage, fmt.Sprintf("source_port %q: want 1 to 65535", text)}
		}
		req.SourcePort = uint16(n)
	}
	return s.backend.Explain(req)
}

// Explain tells what would become of a flow that begins now.
func (c *Client) Explain(ctx context.Context, r ExplainRequest) (Explanation, error) {
	query := url.Values{"from": {r.From}, "to": {r.To}, "service": {r.Service}}
	if r.SourcePort != 0 {
		query.Set("source_port", strconv.Itoa(int(r.SourcePort)))
	}
	return call[Explanation](ctx, c, http.MethodGet, PathExplain+"?"+query.Encode(), nil, readDeadline)
}
