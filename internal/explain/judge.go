package explain

import (
	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// An Outcome is what becomes of a flow, without the why.
type Outcome uint8

const (
	Stopped      Outcome = iota // the request does not arrive
	Unanswered                  // it arrives; its reply does not, whatever the client's port
	HalfAnswered                // the reply arrives for some of the client's ports (Explanation.Partial)
	Passed                      // the request arrives, and so does the reply, if there is one
)

// Outcome returns what e comes to.
func (e *Explanation) Outcome() Outcome {
	switch {
	case e.Verdict == policy.Allow:
		return Passed
	case e.Request.Verdict == policy.Deny:
		return Stopped
	case e.Partial:
		return HalfAnswered
	}
	return Unanswered
}

// Judge returns the Outcome of what Explain explains, and the same errors, in a
// tenth of the time.
func (x *Explainer) Judge(q Query) (Outcome, error) {
	x.judged++
	q, err := x.resolve(q)
	switch {
	case err != nil:
		return Stopped, err
	case q.From.Instance == "":
		return Stopped, nil
	case q.From.Instance == q.To.Instance:
		return Passed, nil
	}
	port := clientPorts.From
	if q.SourcePort != 0 {
		port = q.SourcePort
	}
	first, err := x.try(&q, port)
	if err != nil || !first.arrived || !first.answered || !q.Protocol.HasPorts() || q.SourcePort != 0 {
		return first.outcome(), err
	}
	passed, lost := 0, 0
	count := func(t trial) {
		if t.replied {
			passed++
		} else {
			lost++
		}
	}
	count(first)
	for _, ports := range x.ranges(q.Protocol, clientPorts, !first.tracked || q.Protocol == policy.UDP, q.From.Instance, q.To.Instance)[1:] {
		next, err := x.try(&q, ports.From)
		if err != nil {
			return Stopped, err
		}
		count(next)
	}
	switch {
	case lost == 0:
		return Passed, nil
	case passed == 0:
		return Unanswered, nil
	}
	return HalfAnswered, nil
}

// A trial is what becomes of a flow from one port of the client.
type trial struct {
	arrived  bool // the request did
	answered bool // it is one that is answered
	replied  bool // the reply came back; valid iff answered
	tracked  bool // all security groups on the way remember the request; valid iff arrived
}

// outcome returns the Outcome where there is no other port.
func (t trial) outcome() Outcome {
	switch {
	case !t.arrived:
		return Stopped
	case t.answered && !t.replied:
		return Unanswered
	}
	return Passed
}

// try judges a request and its reply from one port of the client.
func (x *Explainer) try(q *Query, port uint16) (trial, error) {
	x.stage.Forget()
	request := q.packet(port)
	there, err := x.carry(q.From.Instance, request)
	if err != nil || !there.passed {
		return trial{}, err
	}
	t := trial{arrived: true, tracked: there.tracked}
	var answer wire.Packet
	if answer, t.answered = reply(request); !t.answered || there.reached == "" {
		t.answered = false
		return t, nil
	}
	back, err := x.carry(there.reached, answer)
	t.replied = back.passed
	return t, err
}

// A passage is how far a packet came.
type passage struct {
	passed  bool
	reached string // the instance that keeps it; "" for the router. Valid iff passed
	tracked bool   // as in trial
}

// carry follows a packet that an instance sends, as travel does.
func (x *Explainer) carry(from string, p wire.Packet) (passage, error) {
	dst := p.Dst.Netip()
	w := passage{tracked: true}
	for range maxRelays + 1 {
		face, _ := x.stage.Interface(from)
		p.SrcMAC, p.DstMAC = face.MAC, x.nextHop(&face, dst)
		r, err := x.stage.Judge(from, p.Bytes())
		if err != nil {
			return passage{}, err
		}
		w.tracked = w.tracked && r.Tracked
		if r.To == "" || x.stage.Owner(dst) == r.To {
			w.passed, w.reached = r.Reason == policy.None, r.To
			return w, nil
		}
		from = r.To
	}
	return passage{}, nil
}
