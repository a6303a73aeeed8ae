package vswitch

import "time"

// Profiles of connection tracking (SEM 2.3).
const (
	profileNitro   = "nitro"
	profileNitroV6 = "nitrov6"
)

// Limits of the idle timeouts that AWS lets one set (SEM 2.3).
const (
	minTCPEstablished = 60 * time.Second
	maxTCPEstablished = 432000 * time.Second
	minUDP            = 30 * time.Second
	maxUDP            = 60 * time.Second
	minUDPStream      = 60 * time.Second
	maxUDPStream      = 180 * time.Second
)

// maxTracked bounds the allowance of a network interface, in connections. It is
// ours, not AWS's: sixteen times the default, and a few gigabytes of table.
const maxTracked = 1 << 24

// checkConntrack checks the VPC's connection tracking.
func (v *validator) checkConntrack() {
	at, ct := place{table: "conntrack"}, &v.c.Conntrack
	if ct.Profile != "" && ct.Profile != profileNitro && ct.Profile != profileNitroV6 {
		v.problem(at.path("profile"), "no profile %q: want %q or %q", ct.Profile, profileNitro, profileNitroV6)
		v.hintNearest(ct.Profile, []string{profileNitro, profileNitroV6})
	}
	if ct.Max < 0 || ct.Max > maxTracked {
		v.problem(at.path("max"), "%d is outside 1-%d", ct.Max, maxTracked)
	}
	v.checkTimeouts(at, ct.Timeouts)
}

// checkTimeouts checks idle timeouts against AWS's limits. keys lead from at to
// the table that holds them.
func (v *validator) checkTimeouts(at place, t Timeouts, keys ...string) {
	for _, c := range []struct {
		key               string
		value, least, top time.Duration
	}{
		{"tcp_established", t.TCPEstablished, minTCPEstablished, maxTCPEstablished},
		{"udp", t.UDP, minUDP, maxUDP},
		{"udp_stream", t.UDPStream, minUDPStream, maxUDPStream},
	} {
		path := at.path(append(keys[:len(keys):len(keys)], c.key)...)
		switch {
		case c.value == 0:
		case c.value < c.least || c.value > c.top:
			v.problem(path, "%s is outside AWS's %ds to %ds", c.value, int(c.least.Seconds()), int(c.top.Seconds()))
		case c.value%time.Second != 0:
			v.problem(path, "%s: AWS takes whole seconds", c.value)
		}
	}
}

// checkQuotas checks the quotas themselves.
func (v *validator) checkQuotas() {
	at, q := place{table: "quotas"}, &v.c.Quotas
	for _, c := range []struct {
		key   string
		value int
	}{
		{"rules_per_security_group", q.RulesPerSecurityGroup},
		{"security_groups_per_interface", q.SecurityGroupsPerInterface},
		{"rules_per_interface", q.RulesPerInterface},
		{"rules_per_network_acl", q.RulesPerNetworkACL},
	} {
		if c.value < 0 {
			v.problem(at.path(c.key), "%d is negative", c.value)
		}
	}
	// The default network ACL has one rule and the implicit one (SEM 3.1, 3.4).
	if q.RulesPerNetworkACL == 1 {
		v.problem(at.path("rules_per_network_acl"), "1 leaves no room for the default network ACL: want 2 or more")
	}
}
