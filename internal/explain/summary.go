package explain

import (
	"fmt"
	"slices"
	"strings"

	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// Tracking says whether the security groups of an instance remember the flow, and
// why (SEM 2.2).
type Tracking struct {
	Instance string
	Tracked  bool
	Why      string
}

// finish puts into words what the legs of e have come to.
func (x *Explainer) finish(e *Explanation) {
	q := &e.Query
	if q.Protocol.HasPorts() {
		e.Request.Ports = clientPorts
		if q.SourcePort != 0 {
			e.Request.Ports = policy.Ports{From: q.SourcePort, To: q.SourcePort}
		}
	}
	x.unmatched(&e.Request)
	for i := range e.Replies {
		x.unmatched(&e.Replies[i])
	}
	e.Tracking = tracking(q.Protocol, e.Request.Steps)
	if l := e.Denied(); l != nil {
		e.Summary = x.summary(e, l)
	}
	for _, s := range e.Request.Steps {
		if name := s.Instance; s.Check == vswitch.CheckSecurityGroup && s.Direction == policy.Ingress && name != q.To.Instance {
			e.note("%s is taken to forward the packet as it is", name)
		}
	}
	if e.Request.reached != "" && len(e.Replies) == 0 {
		e.note("nothing answers %s: there is no reply to judge", e.Request.service())
	}
}

func (e *Explanation) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(e.Notes, text) {
		e.Notes = append(e.Notes, text)
	}
}

// tracking returns what the security groups that a request has passed remember of
// it. The first gate of an instance decides; the others follow it.
func tracking(p policy.Protocol, steps []Step) []Tracking {
	var all []Tracking
	for _, s := range steps {
		if s.Check != vswitch.CheckSecurityGroup || s.Verdict == policy.Deny ||
			slices.ContainsFunc(all, func(t Tracking) bool { return t.Instance == s.Instance }) {
			continue
		}
		t := Tracking{Instance: s.Instance, Tracked: !s.Untracked}
		switch {
		case s.Untracked:
			t.Why = "rules for any address let it and all answers pass: those need the rules too, and the flow ends with them"
		case p.HasPorts():
			t.Why = "no pair of rules admits any address both ways, on every port back"
		default:
			t.Why = fmt.Sprintf("%s always is", protocolName(p))
		}
		all = append(all, t)
	}
	return all
}

func protocolName(p policy.Protocol) string {
	if p.HasTypes() {
		return p.String()
	}
	return fmt.Sprintf("protocol %s", p)
}

// A manner is how people speak of a protocol's packets.
type manner struct{ request, reply, effect string }

func (e *Explanation) manner() manner {
	q := &e.Query
	switch {
	case q.Protocol == policy.TCP:
		return manner{"the SYN", "the SYN-ACK", "clients see a timeout"}
	case q.Protocol == policy.UDP:
		return manner{"the datagram", "its answer", "clients get no answer, and no error"}
	case q.Protocol.HasTypes() && policy.ICMPTypeName(q.Protocol, int16(q.Type)) == "echo-request":
		return manner{"the echo request", "the echo reply", "ping sees no answer"}
	case q.Protocol.HasTypes():
		return manner{"the message", "its answer", "the sender learns nothing of it"}
	}
	return manner{"the packet", "the packet back", "the sender learns nothing of it"}
}

// summary says in one sentence what the client sees of a denial. Whatever a VPC
// drops vanishes without a word (SEM 4.4); only who lives in the same subnet can
// be missed.
func (x *Explainer) summary(e *Explanation, l *Leg) string {
	s, m := &l.Steps[len(l.Steps)-1], e.manner()
	if e.Partial {
		m.effect += " from source ports " + e.deniedPorts()
	}
	switch {
	case s.Check == CheckSource:
		return "nobody sends it"
	case !l.Reply && s.Reason == policy.Unassigned && x.onLink(l):
		question := "ARP request"
		if l.To.Address.Is6() {
			question = "neighbor solicitation"
		}
		return fmt.Sprintf("nobody answers the %s for %s: clients see \"no route to host\"", question, l.To.Address)
	case l.Reply:
		return fmt.Sprintf("%s arrives, %s %s: %s", m.request, m.reply, fate(s), m.effect)
	}
	return fmt.Sprintf("%s %s: %s", m.request, fate(s), m.effect)
}

// onLink reports whether a leg begins and ends in one subnet.
func (x *Explainer) onLink(l *Leg) bool {
	in := x.config.Instance(l.From.Instance)
	s := x.config.Subnet(in.Subnet)
	return s.CIDR.Contains(l.To.Address) || s.CIDR6.Contains(l.To.Address)
}

// fate says what becomes of a packet at the gate that denies it.
func fate(s *Step) string {
	switch s.Reason {
	case policy.SGEgress:
		return "does not leave " + s.Instance
	case policy.NACLEgress:
		return "does not leave the subnet"
	case policy.NoRoute, policy.Unassigned:
		return "has nowhere to go"
	case policy.Blackhole:
		return "ends in a blackhole"
	case policy.Hairpin, policy.IPTTL:
		return "is led back to who has sent it"
	case policy.NACLIngress:
		return "does not enter the subnet"
	case policy.DestinationCheck:
		return "is discarded at " + s.Instance + ", which forwards nothing"
	case policy.SGIngress:
		return "does not get into " + s.Instance
	case policy.PlatformService, policy.RouterService:
		return "is answered by nobody"
	}
	return "is dropped"
}

// deniedPorts lists the client's ports whose replies are denied.
func (e *Explanation) deniedPorts() string {
	var all []string
	for i := range e.Replies {
		if l := &e.Replies[i]; l.Verdict == policy.Deny {
			all = append(all, l.Ports.String())
		}
	}
	return strings.Join(all, ", ")
}
