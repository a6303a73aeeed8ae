package vswitch_test

import (
	"net/netip"
	"time"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// A modelConn is a connection at one interface (SEM 2.1, 2.7).
type modelConn struct {
	tuple   wire.FiveTuple // as its opener sees it
	state   string         // as conntrack.State has it
	expires int64          // the last instant at which it lives
	tcp     *tcpConn       // what the oracle knows; nil unless it is TCP
}

// connection returns the live connection that a packet belongs to, in either
// direction, or nil.
func (m *model) connection(e *modelENI, t wire.FiveTuple) *modelConn {
	for _, key := range []wire.FiveTuple{t, t.Reverse()} {
		c := e.conns[key]
		if c != nil && m.now <= c.expires {
			return c
		}
		if c != nil {
			m.remove(e, c)
		}
	}
	return nil
}

func (m *model) remove(e *modelENI, c *modelConn) {
	delete(e.conns, c.tuple)
	m.tcp.forget(c.tcp)
}

// touch gives a connection its full idle timeout (SEM 2.3).
func (m *model) touch(e *modelENI, c *modelConn) {
	c.expires = m.now + int64(m.timeout(e, c))
}

// timeout returns how long a connection may be idle in its state (SEM 2.3).
func (m *model) timeout(e *modelENI, c *modelConn) time.Duration {
	t := m.timeouts(e)
	protocol := policy.Protocol(c.tuple.Protocol)
	switch c.state {
	case "syn-sent", "syn-received":
		return 60 * time.Second
	case "established":
		return t.TCPEstablished
	case "closing", "closed":
		return 120 * time.Second
	case "stream":
		return t.UDPStream
	case "active":
		return 600 * time.Second
	case "unreplied", "replied":
		if protocol == policy.UDP {
			return t.UDP
		}
		return 30 * time.Second // ICMP
	}
	panic("a state that the model does not know: " + c.state)
}

// live counts the connections of an interface that have not idled out, and
// forgets the others.
func (m *model) live(e *modelENI) (n int) {
	for _, c := range e.conns {
		if m.now > c.expires {
			m.remove(e, c)
			continue
		}
		n++
	}
	return n
}

// securityGroups is SEM 2.8: the connection decides if there is one, else the
// rules do. remote is the address at the far end, member the interface there, as
// far as references to its groups count.
func (m *model) securityGroups(e *modelENI, d policy.Direction, f *wire.Frame, remote netip.Addr, member *modelENI) policy.Reason {
	p := packetOf(f)
	if c := m.connection(e, f.Tuple); c != nil {
		known, r := m.continues(e, c, f)
		if known {
			m.say("%s at %s: connection %s, %s: %s", d, e.name, c.tuple, c.state, r)
			return r
		}
		m.say("%s at %s: the connection %s was over, a new one begins", d, e.name, c.tuple)
	}
	if m.related(e, f) {
		m.say("%s at %s: an error about a tracked connection", d, e.name)
		return policy.None
	}
	rule, ok := m.admitting(e, d, p, remote, member)
	if !ok {
		m.say("%s at %s: no rule admits it", d, e.name)
		if d == policy.Egress {
			return policy.SGEgress
		}
		return policy.SGIngress
	}
	m.decided = append(m.decided, ruleText(e.name, d, rule.SecurityGroupRule))
	opens := p.protocol == policy.TCP && f.TCP.Flags&(wire.SYN|wire.ACK) == wire.SYN
	if !m.tracked(e, d, p, opens) {
		m.say("%s at %s: %s %s of %s admits it, untracked", d, e.name, rule.Service, rule.Peer, rule.group)
		return policy.None
	}
	r := m.begin(e, d, f, opens)
	m.say("%s at %s: %s %s of %s admits it, tracked: %s", d, e.name, rule.Service, rule.Peer, rule.group, r)
	return r
}

// continues takes a packet into its connection. known is false if the packet
// ended it and begins another one.
func (m *model) continues(e *modelENI, c *modelConn, f *wire.Frame) (known bool, r policy.Reason) {
	if c.tcp != nil {
		return m.continuesTCP(e, c, f)
	}
	// A single request and its answer are no stream; a second request is (SEM 2.3).
	fromOpener := f.Tuple == c.tuple
	switch {
	case c.state == "unreplied" && !fromOpener:
		c.state = "replied"
	case c.state == "replied" && fromOpener && policy.Protocol(c.tuple.Protocol) == policy.UDP:
		c.state = "stream"
	}
	m.touch(e, c)
	return true, policy.None
}

// related reports whether a packet is an ICMP error about a live connection of
// the interface, sent to the end whose packet it quotes (SEM 2.6, T4).
func (m *model) related(e *modelENI, f *wire.Frame) bool {
	quoted, ok := f.ICMPError()
	if !ok || quoted.Src != f.Tuple.Dst {
		return false
	}
	c := m.connection(e, quoted)
	return c != nil && c.state != "closed"
}

// begin makes the packet's flow a connection of the interface, as long as there
// is room (SEM 2.5). A packet whose checksum is wrong begins nothing (I8), and
// neither does a reset, which passes. Where tracking is strict, only a SYN begins
// a connection (SEM 2.4).
func (m *model) begin(e *modelENI, d policy.Direction, f *wire.Frame, opens bool) policy.Reason {
	isTCP := policy.Protocol(f.Tuple.Protocol) == policy.TCP
	switch {
	case isTCP && m.config.Conntrack.Strict && !opens:
		return policy.ConntrackStrict
	case !f.TransportChecksumOK():
		return policy.TransportChecksum
	case isTCP && f.TCP.Flags&wire.RST != 0:
		return policy.None
	}
	allowance, all := m.config.Conntrack.Max, 0
	if allowance == 0 {
		allowance = 1 << 20
	}
	for _, other := range m.enis {
		all += m.live(other)
	}
	if m.live(e) >= allowance || all >= m.capacity {
		e.exceeded++
		if d == policy.Egress {
			return policy.EgressAllowance
		}
		return policy.IngressAllowance
	}
	c := &modelConn{tuple: f.Tuple, state: "active"}
	switch {
	case isTCP:
		c.tcp = m.tcp.open(f)
		c.tuple, c.state = c.tcp.opener, c.tcp.state
	case policy.Protocol(f.Tuple.Protocol) == policy.UDP, policy.Protocol(f.Tuple.Protocol).HasTypes():
		c.state = "unreplied"
	}
	m.touch(e, c)
	e.conns[c.tuple] = c
	return policy.None
}
