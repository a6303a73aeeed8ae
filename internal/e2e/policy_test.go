package e2e

import (
	"strings"
	"testing"
)

// talkTo starts an echo server in one instance and a connection to it in
// another.
func (l *lab) talkTo(client, server string) *program {
	l.t.Helper()
	l.start(server, "serve", ":9000")
	p := l.start(client, "talk", l.ip(server)+":9000")
	p.say("before")
	p.expect("echo")
	return p
}

// Removing the rule that admitted a connection leaves a tracked connection alone
// and refuses the next one (SEM 2.4).
func TestRemovedRuleKeepsTrackedConnections(t *testing.T) {
	t.Parallel()
	l := startLab(t, twoSubnets)
	conn := l.talkTo("left", "right")

	l.edit(`  { id = "sgr-echo", proto = "tcp", ports = 9000, from = "sg:left" },`+"\n", "")
	l.must("reload")
	conn.say("after")
	conn.expect("echo")
	if got := l.dial("left", "tcp", l.ip("right")+":9000"); got != "timeout" {
		t.Errorf("a new connection: %s, want timeout", got)
	}
	conn.say("still")
	conn.expect("echo")
}

// A flow that rules for any address admit in both directions is not tracked, and
// ends with its rule (SEM 2.2, 2.4).
func TestRemovedRuleCutsUntrackedConnections(t *testing.T) {
	t.Parallel()
	l := newLab(t, twoSubnets)
	l.edit(`ports = 9000, from = "sg:left"`, `ports = 9000, from = "0.0.0.0/0"`)
	l.must("up")
	conn := l.talkTo("left", "right")

	l.edit(`  { id = "sgr-echo", proto = "tcp", ports = 9000, from = "0.0.0.0/0" },`+"\n", "")
	l.must("reload")
	conn.say("after")
	conn.expect("silence")
}

// A deny in a network ACL cuts a connection on its next packet, tracked or not;
// without the deny it goes on (SEM 2.4, 3.2).
func TestNetworkACLDenyCutsAtOnce(t *testing.T) {
	t.Parallel()
	l := startLab(t, twoSubnets)
	conn := l.talkTo("left", "right")

	const allow = `  { rule = 100, action = "allow", proto = "tcp", from = "10.9.1.0/24" },`
	const deny = `  { rule = 50, action = "deny", proto = "tcp", ports = 9000, from = "10.9.1.10/32" },`
	l.edit(allow, allow+"\n"+deny)
	l.must("reload")
	conn.say("denied")
	conn.expect("silence")
	if n := l.status().Drops["NACL_INGRESS"]; n == 0 {
		t.Errorf("drops: %v, want NACL_INGRESS", l.status().Drops)
	}

	l.edit("\n"+deny, "")
	l.must("reload")
	eventually(t, "the connection goes on", func() bool {
		conn.say("again")
		return conn.line() == "echo"
	})
}

// The reply needs no rule of a security group, but it does need one of the
// network ACL (SEM 3.2).
func TestReplyNeedsItsNetworkACLRule(t *testing.T) {
	t.Parallel()
	l := startLab(t, twoSubnets)
	conn := l.talkTo("left", "right")
	const replies = `  { rule = 100, action = "allow", proto = "tcp", ports = "1024-65535", to = "10.9.1.0/24" },` + "\n"
	l.edit(replies, "")
	l.must("reload")
	conn.say("unheard")
	conn.expect("silence")
	if n := l.status().Drops["NACL_EGRESS"]; n == 0 {
		t.Errorf("drops: %v, want NACL_EGRESS", l.status().Drops)
	}
}

// A port that no rule opens hangs: neither RST nor ICMP, from anybody. A port
// that a rule opens and nobody listens on is refused by the instance itself,
// which shows that the watcher would have seen it.
func TestClosedPortHangs(t *testing.T) {
	t.Parallel()
	l := startLab(t, twoSubnets)
	watch := l.start("left", "watch")
	if got := l.dial("left", "tcp", l.ip("right")+":22"); got != "timeout" {
		t.Errorf("a port that no rule opens: %s, want timeout", got)
	}
	if got := l.dial("left", "udp", l.ip("right")+":9000"); got != "timeout" {
		t.Errorf("a protocol that no rule opens: %s, want timeout", got)
	}
	if got := l.dial("left", "tcp", l.ip("right")+":9001"); got != "refused" {
		t.Errorf("an open port without a listener: %s, want refused", got)
	}
	var refusals int
	for _, frame := range arrived(t, watch) {
		switch {
		case strings.HasPrefix(frame, "arp "):
		case strings.HasPrefix(frame, "10.9.2.10:9001 > ") && strings.Contains(frame, " tcp RA "):
			refusals++
		default:
			t.Errorf("something came back: %s", frame)
		}
	}
	if refusals != 1 {
		t.Errorf("%d refusals came back, want the one of port 9001", refusals)
	}
}
