package explain

import (
	"fmt"

	"vswitch/internal/api"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// Document answers a request as the control API does: it reads the query,
// explains it, and finds the fixes. Its errors are mistakes in the request.
func (x *Explainer) Document(r api.ExplainRequest) (api.Explanation, error) {
	q := Query{SourcePort: r.SourcePort}
	var err error
	if q.From, err = x.Endpoint(r.From); err != nil {
		return api.Explanation{}, err
	}
	if q.To, err = x.Endpoint(r.To); err != nil {
		return api.Explanation{}, err
	}
	if err := q.Service(r.Service); err != nil {
		return api.Explanation{}, err
	}
	e, err := x.Explain(q)
	if err != nil {
		return api.Explanation{}, err
	}
	d := x.document(e)
	fixes, err := x.Fixes(e)
	for _, f := range fixes {
		d.Fixes = append(d.Fixes, api.Fix(f))
	}
	return d, err
}

// document returns the document of an explanation, without fixes.
func (x *Explainer) document(e *Explanation) api.Explanation {
	q := &e.Query
	d := api.Explanation{
		VPC:        x.config.VPC.Name,
		Generation: x.Generation(),
		Verdict:    verdict(e.Verdict),
		From:       end(q.From),
		To:         end(q.To),
		Service:    q.service(),
		Words:      q.words(),
		SourcePort: q.SourcePort,
		Request:    leg(q, &e.Request),
		Replies:    []api.ExplainLeg{},
		Tracking:   []api.Tracking{},
		Summary:    e.Summary,
		Notes:      append([]string{}, e.Notes...),
		Fixes:      []api.Fix{},
	}
	if e.Partial {
		d.Verdict = api.VerdictPartial
	}
	for i := range e.Replies {
		d.Replies = append(d.Replies, leg(q, &e.Replies[i]))
	}
	for _, t := range e.Tracking {
		d.Tracking = append(d.Tracking, api.Tracking(t))
	}
	return d
}

func verdict(v policy.Verdict) string {
	if v == policy.Allow {
		return api.VerdictAllow
	}
	return api.VerdictDeny
}

func end(e Endpoint) api.ExplainEnd {
	return api.ExplainEnd{Name: e.Name(), Address: e.Address.String()}
}

// service returns the service as Service reads it.
func (q *Query) service() string {
	switch {
	case q.Protocol.HasPorts():
		return fmt.Sprintf("%s/%d", q.Protocol, q.Port)
	case q.Protocol.HasTypes():
		return fmt.Sprintf("%s/%d:%d", q.Protocol, q.Type, q.Code)
	}
	return q.Protocol.String()
}

// words returns the flow in a line: "web1 10.0.1.10:* -> app1 10.0.2.10:8080/tcp".
func (q *Query) words() string {
	from, to := named(q.From), named(q.To)
	switch {
	case !q.Protocol.HasPorts() && !q.Protocol.HasTypes():
		return fmt.Sprintf("%s -> %s protocol %s", from, to, q.Protocol)
	case !q.Protocol.HasPorts():
		s := Leg{packet: q.packet(0)}
		return fmt.Sprintf("%s -> %s %s", from, to, s.service())
	}
	port := "*"
	if q.SourcePort != 0 {
		port = fmt.Sprint(q.SourcePort)
	}
	return fmt.Sprintf("%s:%s -> %s:%d/%s", from, port, to, q.Port, q.Protocol)
}

// named returns "web1 10.0.1.10", or the address alone if it has no name.
func named(e Endpoint) string {
	address := e.Address.String()
	if e.Address.Is6() {
		address = "[" + address + "]"
	}
	if e.Instance == "" && !e.Internet {
		return address
	}
	return e.Name() + " " + address
}

// leg returns the document of one leg.
func leg(q *Query, l *Leg) api.ExplainLeg {
	d := api.ExplainLeg{
		From: l.From.Name(), To: l.To.Name(), Path: append([]string{}, l.Path...), Verdict: verdict(l.Verdict), Steps: []api.ExplainStep{},
		Words: fmt.Sprintf("%s -> %s", l.From.Name(), l.To.Name()),
	}
	switch {
	case q.Protocol.HasPorts():
		d.SourcePorts = &api.PortRange{From: l.Ports.From, To: l.Ports.To}
		d.Words = fmt.Sprintf("%s:%s -> %s:%d", l.From.Name(), l.Ports, l.To.Name(), q.Port)
		if l.Reply {
			d.Words = fmt.Sprintf("%s:%d -> %s:%s", l.From.Name(), q.Port, l.To.Name(), l.Ports)
		}
	case q.Protocol.HasTypes():
		d.Words += " " + l.service().String()
	}
	if l.Verdict == policy.Deny && l.Reason != policy.None {
		d.Reason = l.Reason.String()
	}
	for i := range l.Steps {
		d.Steps = append(d.Steps, step(&l.Steps[i]))
	}
	return d
}

// step returns the document of one step.
func step(s *Step) api.ExplainStep {
	d := api.ExplainStep{
		Check: string(s.Check), Object: s.Object, Instance: s.Instance, Verdict: verdict(s.Verdict), Rule: s.Rule, Words: s.Words,
		Tracked: s.Tracked, Untracked: s.Untracked, ExplanationCode: s.Code,
	}
	if s.Check == vswitch.CheckSecurityGroup || s.Check == vswitch.CheckNetworkACL {
		d.Direction = s.Direction.String()
	}
	if s.Verdict == policy.Deny && s.Reason != policy.None {
		d.Reason = s.Reason.String()
	}
	if s.Origin.Line != 0 {
		d.Origin = &api.Origin{File: s.Origin.File, Line: s.Origin.Line, Column: s.Origin.Column}
	}
	return d
}
