package lint

import (
	"fmt"
	"net/netip"
	"slices"

	"vswitch/internal/cover"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// securityGroups looks at every security group.
func (l *linter) securityGroups() {
	members := l.members()
	for i := range l.c.SecurityGroups {
		g := &l.c.SecurityGroups[i]
		for _, d := range directions {
			rules := newGroupRules(l.c, g.Rules(d))
			l.redundantRules(g, d, rules)
			for j := range rules.written {
				r := &rules.written[j]
				l.emptyPeer(g, d, r, members)
				if d == policy.Ingress {
					l.openDoors(g, r, rules.blocks[j])
				}
			}
		}
	}
	l.oneSided(members)
}

// members returns the instances of every group.
func (l *linter) members() map[string][]*vswitch.Instance {
	out := make(map[string][]*vswitch.Instance)
	for i := range l.c.Instances {
		in := &l.c.Instances[i]
		for _, g := range in.SecurityGroups {
			out[g] = append(out[g], in)
		}
	}
	return out
}

// ruleObject names a rule: "security_group.web ingress sgr-web-https".
func ruleObject(g *vswitch.SecurityGroup, d policy.Direction, r *vswitch.SecurityGroupRule) string {
	return fmt.Sprintf("security_group.%s %s %s", g.Name, d, r.ID)
}

// ruleWords returns what a rule matches: "tcp 443 <- sg:web".
func ruleWords(d policy.Direction, r *vswitch.SecurityGroupRule) string {
	return fmt.Sprintf("%s %s %s", r.Service, arrow(d), r.Peer)
}

// redundantRules finds rules without which nothing would change: the other rules
// of their list allow all that they allow, and leave the same flows untracked.
// All that it finds may be removed together. Of two rules that match the same, it
// finds the later one.
func (l *linter) redundantRules(g *vswitch.SecurityGroup, d policy.Direction, list *rules) {
	kept := indices(len(list.written))
	for i := len(list.written) - 1; i >= 0; i-- {
		others := slices.DeleteFunc(slices.Clone(kept), func(o int) bool { return o == i })
		by, ok := list.behind(i, others)
		if !ok || list.tracks(i, others) {
			continue
		}
		kept = others
		r := &list.written[i]
		f := Finding{Code: SGRedundant, Object: ruleObject(g, d, r), Origin: r.Origin, Advice: "remove the rule: nothing changes"}
		var names []string
		for _, o := range by {
			names = append(names, fmt.Sprintf("%s (%s)", list.written[o].ID, ruleWords(d, &list.written[o])))
			f.Others = append(f.Others, list.written[o].Origin)
		}
		f.Message = fmt.Sprintf("%s is redundant: %s %s all of it", ruleWords(d, r), series(names, someNames), plural(len(by), "allows", "allow"))
		l.add(f)
	}
}

// tracks reports whether the i-th rule decides which flows are tracked, and the
// others do not decide the same without it. An any-address rule leaves those
// untracked that it allows, and those of the other direction if it allows every
// port (SEM 2.2).
func (r *rules) tracks(i int, others []int) bool {
	for _, any := range anyAddress(r.written[i].Peer) {
		mine := openServices(&r.written[i], any)
		var theirs cover.Set
		everyPort := map[policy.Protocol]bool{}
		for _, o := range others {
			if slices.Contains(anyAddress(r.written[o].Peer), any) {
				open := openServices(&r.written[o], any)
				theirs = theirs.Union(open)
				for _, p := range withPorts {
					everyPort[p] = everyPort[p] || open.Contains(portsOf(p, policy.AllPorts))
				}
			}
		}
		if !theirs.Contains(mine) {
			return true
		}
		for _, p := range withPorts {
			if mine.Contains(portsOf(p, policy.AllPorts)) && !everyPort[p] {
				return true
			}
		}
	}
	return false
}

// withPorts are the protocols whose flows may be untracked.
var withPorts = []policy.Protocol{policy.TCP, policy.UDP}

// openServices returns the flows that an any-address rule may leave untracked.
func openServices(r *vswitch.SecurityGroupRule, block netip.Prefix) cover.Set {
	ports := portsOf(policy.TCP, policy.AllPorts).Union(portsOf(policy.UDP, policy.AllPorts))
	return servicesIn(block, r.Service).Intersect(ports)
}

// Any-address blocks.
var (
	any4 = netip.MustParsePrefix("0.0.0.0/0")
	any6 = netip.MustParsePrefix("::/0")
)

// anyAddress returns the any-address blocks that a peer was written as. A prefix
// list that holds one was not (SEM 2.2, row l).
func anyAddress(p vswitch.Peer) []netip.Prefix {
	switch {
	case p.Kind == vswitch.PeerInternet:
		return []netip.Prefix{any4, any6}
	case p.Kind == vswitch.PeerCIDR && p.Prefix.Bits() == 0:
		return []netip.Prefix{p.Prefix.Masked()}
	}
	return nil
}

// emptyPeer finds rules that refer to a group without members. That a group
// refers to itself says nothing about others.
func (l *linter) emptyPeer(g *vswitch.SecurityGroup, d policy.Direction, r *vswitch.SecurityGroupRule, members map[string][]*vswitch.Instance) {
	if r.Peer.Kind != vswitch.PeerSecurityGroup || r.Peer.Name == g.Name || len(members[r.Peer.Name]) > 0 {
		return
	}
	f := Finding{
		Code: SGEmptyPeer, Object: ruleObject(g, d, r), Origin: r.Origin,
		Message: fmt.Sprintf("%s matches nobody: no instance is in %s", ruleWords(d, r), r.Peer),
		Advice:  fmt.Sprintf("put an instance into the group (sg = [%q]), or remove the rule", r.Peer.Name),
	}
	if other := l.c.SecurityGroup(r.Peer.Name); other.Line != 0 {
		f.Others = []vswitch.Origin{other.Origin}
	}
	l.add(f)
}

// adminPorts are the ports of services that administer a host or hold its data,
// and that nobody means to offer to everybody; names as the programs have them.
var adminPorts = []struct {
	protocol policy.Protocol
	port     uint16
	name     string
}{
	{policy.TCP, 22, "SSH"},
	{policy.TCP, 23, "Telnet"},
	{policy.TCP, 135, "Windows RPC"},
	{policy.TCP, 139, "NetBIOS"},
	{policy.TCP, 445, "SMB"},
	{policy.TCP, 1433, "SQL Server"},
	{policy.TCP, 1521, "Oracle"},
	{policy.TCP, 2049, "NFS"},
	{policy.TCP, 2375, "Docker"},
	{policy.TCP, 2379, "etcd"},
	{policy.TCP, 3306, "MySQL"},
	{policy.TCP, 3389, "RDP"},
	{policy.UDP, 3389, "RDP"},
	{policy.TCP, 5432, "PostgreSQL"},
	{policy.TCP, 5900, "VNC"},
	{policy.TCP, 5985, "WinRM"},
	{policy.TCP, 5986, "WinRM"},
	{policy.TCP, 6379, "Redis"},
	{policy.TCP, 6443, "Kubernetes"},
	{policy.TCP, 9042, "Cassandra"},
	{policy.TCP, 9200, "Elasticsearch"},
	{policy.TCP, 10250, "kubelet"},
	{policy.TCP, 11211, "memcached"},
	{policy.UDP, 11211, "memcached"},
	{policy.TCP, 27017, "MongoDB"},
	{policy.UDP, 161, "SNMP"},
}

// openDoors finds ingress rules that let anybody in to an administrator's port,
// or to every port.
func (l *linter) openDoors(g *vswitch.SecurityGroup, r *vswitch.SecurityGroupRule, blocks []cover.Rule) {
	open := slices.ContainsFunc(blocks, func(b cover.Rule) bool { return b.Block.Bits() == 0 })
	if !open {
		return
	}
	services := cover.Of(r.Service)
	f := Finding{Object: ruleObject(g, policy.Ingress, r), Origin: r.Origin}
	for _, p := range withPorts {
		if services.Contains(portsOf(p, policy.AllPorts)) {
			f.Code = SGAllPorts
			f.Message = fmt.Sprintf("%s opens every port to everybody", ruleWords(policy.Ingress, r))
			f.Advice = "name the ports that everybody may use, and give the others to a group or a block"
			l.add(f)
			return
		}
	}
	var names []string
	for _, a := range adminPorts {
		if services.Overlaps(portsOf(a.protocol, policy.Ports{From: a.port, To: a.port})) {
			names = append(names, fmt.Sprintf("%s %d (%s)", a.protocol, a.port, a.name))
		}
	}
	if len(names) == 0 {
		return
	}
	f.Code = SGAdminPort
	f.Message = fmt.Sprintf("%s opens %s to everybody", ruleWords(policy.Ingress, r), series(names, someNames))
	f.Advice = fmt.Sprintf("name who administers: from = \"ADDRESS/32\", %q, or \"sg:NAME\"", l.c.VPC.CIDR.String())
	l.add(f)
}
