package plan

import (
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// Flows say what becomes of the flows that go on.
type Flows struct {
	Kept     int     `json:"kept"`     // whatever happens, the rules would let them begin again
	Tracked  int     `json:"tracked"`  // kept, because they are tracked; no rule allows them any more (SEM 2.4)
	Cut      int     `json:"cut"`      // the next packet of one of their ends is dropped
	Unjudged int     `json:"unjudged"` // connections beyond those that a plan judges
	Causes   []Cause `json:"causes"`   // of tracked and cut flows, the most frequent first
	Flows    []Flow  `json:"flows"`    // cut ones first; as many of each fate as were asked for
}

// A Cause is what cuts flows, or would not let them begin.
type Cause struct {
	Fate   string  `json:"fate"`
	Words  string  `json:"cause"`            // "nacl private egress * (implicit deny)"
	Reason string  `json:"reason,omitempty"` // of the drop; absent if an instance goes
	Origin *Origin `json:"origin,omitempty"` // absent if no line decides
	Flows  int     `json:"flows"`
}

// A Flow is one of them.
type Flow struct {
	Fate        string `json:"fate"` // kept, tracked or cut
	From        string `json:"from"` // instance; "" if the address is nobody's
	To          string `json:"to"`
	Protocol    string `json:"protocol"`
	Source      string `json:"source"`
	SourcePort  uint16 `json:"source_port,omitempty"` // absent without ports
	Destination string `json:"destination"`
	DestPort    uint16 `json:"destination_port,omitempty"`
	State       string `json:"state,omitempty"`   // of its tracking; absent if it is untracked
	Cause       string `json:"cause,omitempty"`   // absent if it is kept
	CutAt       string `json:"cut_at,omitempty"`  // source, destination or both: whose packets are dropped
	Revives     bool   `json:"revives,omitempty"` // it goes on as soon as the other end sends
}

// SetFlows fills in what becomes of the flows.
func (p *Plan) SetFlows(f *vswitch.FlowPlan) {
	p.Flows = Flows{
		Kept: f.Count[vswitch.FlowKept], Tracked: f.Count[vswitch.FlowTracked], Cut: f.Count[vswitch.FlowCut], Unjudged: f.Unjudged,
		Causes: []Cause{}, Flows: []Flow{},
	}
	for i := range f.Causes {
		c := &f.Causes[i]
		cause := Cause{Fate: c.Fate.String(), Words: c.Words(), Origin: originOf(c.Denial.Origin), Flows: c.Flows}
		if c.Reason != policy.None {
			cause.Reason = c.Reason.String()
		}
		p.Flows.Causes = append(p.Flows.Causes, cause)
	}
	for i := range f.Flows {
		p.Flows.Flows = append(p.Flows.Flows, flow(&f.Flows[i]))
	}
}

// flow returns the document of one flow.
func flow(f *vswitch.PlannedFlow) Flow {
	protocol := policy.Protocol(f.Tuple.Protocol)
	d := Flow{
		Fate: f.Fate.String(), From: f.From, To: f.To, Protocol: protocol.String(),
		Source: f.Tuple.Src.String(), Destination: f.Tuple.Dst.String(), State: f.State, Revives: f.Revives,
	}
	if protocol.HasPorts() {
		d.SourcePort, d.DestPort = f.Tuple.SrcPort, f.Tuple.DstPort
	}
	if f.Fate != vswitch.FlowKept {
		d.Cause = f.Words()
	}
	switch f.Cut {
	case [2]bool{true, false}:
		d.CutAt = "source"
	case [2]bool{false, true}:
		d.CutAt = "destination"
	case [2]bool{true, true}:
		d.CutAt = "both"
	}
	return d
}
