package lint

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"vswitch/internal/cover"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// ephemeral are the ports that clients send from, and replies go to: the range
// that AWS advises for all of them (SEM 3.5).
var ephemeral = policy.Ports{From: 1024, To: 65535}

// A client is a kind of client and the ports that it sends from.
type client struct {
	name  string
	ports policy.Ports
}

// clients are the kinds of clients (SEM 3.5).
var clients = []client{
	{"Linux", policy.Ports{From: 32768, To: 60999}},
	{"Windows", policy.Ports{From: 49152, To: 65535}},
	{"load balancers and NAT gateways", ephemeral},
}

// replies finds the entries that let requests through whose replies the list of
// the other direction does not: a network ACL remembers nothing (SEM 3.2), and a
// reply goes to the port that the client has picked.
//
// An entry for very many ports may itself be there for replies. It is taken for
// that if the other list lets any requests of its protocol through to the same
// peers. So is an egress entry for the service and the peer of an ingress entry,
// as long as that one gets no replies: it is the usual mistake, a reply rule for
// the service's port. An explicit deny of a part is taken as meant.
func (l *linter) replies(a *vswitch.NetworkACL, lists [2]*entries, served []*vswitch.Subnet) {
	mirrors := make(map[mirror]bool)
	for _, d := range directions {
		list, other := lists[d], lists[d.Opposite()]
		for i := range list.written {
			e := &list.written[i]
			m := mirror{e.Service, e.CIDR}
			if e.Action != policy.Allow || isForReplies(e, other) || mirrors[m] {
				continue
			}
			for _, missing := range l.missingOf(list, i, other, served) {
				mirrors[m] = true
				l.add(noReply(a, d, e, other, missing))
			}
		}
	}
}

// A mirror is what two entries of the two directions have in common, if each is
// for the same service and the same peer.
type mirror struct {
	service policy.Service
	block   netip.Prefix
}

// missingOf returns the replies that are denied to the requests of the i-th entry
// of list, by protocol.
func (l *linter) missingOf(list *entries, i int, other *entries, served []*vswitch.Subnet) []missing {
	var found []missing
	for _, p := range withPorts {
		requests := list.rules[i].Services.Intersect(portsOf(p, policy.AllPorts))
		request := cover.Rule{Block: list.rules[i].Block, Services: requests}
		if m := l.missing(list, i, request, other, p, served); !m.services.Empty() {
			found = append(found, m)
		}
	}
	if len(found) == 2 && found[0].whole && found[1].whole {
		found = found[:1] // an entry for all protocols
		found[0].all = true
	}
	return found
}

// missing are the replies to the requests of one entry that are denied.
type missing struct {
	protocol policy.Protocol
	all      bool           // of every protocol; protocol is one of them
	services cover.Set      // the denied replies, by their destination ports; empty if none are
	blocks   []netip.Prefix // to and from whom
	whole    bool           // all replies to every peer of the entry
	by       *vswitch.NetworkACLEntry
}

// missing returns the replies that are denied to the packets of request that the
// i-th entry of list lets through.
func (l *linter) missing(list *entries, i int, request cover.Rule, other *entries, p policy.Protocol, served []*vswitch.Subnet) missing {
	m := missing{protocol: p, whole: true}
	answer := portsOf(p, ephemeral)
	cover.Split(request, list.rules[:i], func(share cover.Rule, earlier int) bool {
		if earlier != cover.Nobody {
			return true // not the entry's to decide
		}
		cover.Split(cover.Rule{Block: share.Block, Services: answer}, other.rules, func(reply cover.Rule, by int) bool {
			switch {
			case !l.crosses(reply.Block, served):
				return true // nobody there who could ask
			case by != cover.Nobody && (other.written[by].Action == policy.Allow || !denies(&other.rules[by], request.Block, answer)):
				m.whole = false
				return true
			}
			if by != cover.Nobody {
				m.by = &other.written[by]
			}
			m.services = m.services.Union(reply.Services)
			m.blocks = append(m.blocks, reply.Block)
			return true
		})
		return true
	})
	m.whole = m.whole && m.services.Equal(answer)
	return m
}

// denies reports whether a deny is a general one, like the implicit rule at the
// end, rather than an exception: it covers every reply to the whole block.
func denies(r *cover.Rule, block netip.Prefix, answer cover.Set) bool {
	return inside(block, r.Block) && r.Services.Contains(answer)
}

// crosses reports whether packets to or from a block may meet the network ACL of
// the served subnets: not if nobody can be there but their own instances. A block
// outside the VPC counts as inhabited.
func (l *linter) crosses(block netip.Prefix, served []*vswitch.Subnet) bool {
	inVPC := false
	for _, b := range memberBlocks(l.c) {
		inVPC = inVPC || inside(block, b)
	}
	if !inVPC {
		return true
	}
	for i := range l.c.Subnets {
		s := &l.c.Subnets[i]
		if len(served) == 1 && s == served[0] {
			continue
		}
		if s.CIDR.Overlaps(block) || s.CIDR6.IsValid() && s.CIDR6.Overlaps(block) {
			return true
		}
	}
	return false
}

// portsOf returns the packets of a protocol to ports.
func portsOf(p policy.Protocol, ports policy.Ports) cover.Set {
	return cover.Of(policy.Service{Protocol: p, Ports: ports})
}

// manyPorts is how many ports make a range that is for clients rather than for
// services.
const manyPorts = 1000

// isForReplies reports whether an entry may be there for the replies to requests
// that the other list lets through.
func isForReplies(e *vswitch.NetworkACLEntry, other *entries) bool {
	s := e.Service
	if s.Protocol != policy.AllProtocols && (!s.Protocol.HasPorts() || int(s.Ports.To)-int(s.Ports.From) < manyPorts) {
		return false
	}
	ports := portsOf(policy.TCP, policy.AllPorts).Union(portsOf(policy.UDP, policy.AllPorts))
	if s.Protocol.HasPorts() {
		ports = portsOf(s.Protocol, policy.AllPorts)
	}
	return other.allow(e.CIDR, ports)
}

// allow reports whether the list lets any of the services through to or from some
// of a block.
func (e *entries) allow(block netip.Prefix, services cover.Set) bool {
	some := false
	cover.Split(cover.Rule{Block: block.Masked(), Services: services}, e.rules, func(_ cover.Rule, rule int) bool {
		some = rule != cover.Nobody && e.written[rule].Action == policy.Allow
		return !some
	})
	return some
}

// noReply returns the finding for an entry some of whose replies are denied.
func noReply(a *vswitch.NetworkACL, d policy.Direction, e *vswitch.NetworkACLEntry, other *entries, m missing) Finding {
	back := d.Opposite()
	peers := e.CIDR.String()
	if !m.whole {
		peers = series(m.peers(), someNames)
	}
	f := Finding{Code: ACLNoReply, Object: entryObject(a, d, e), Origin: e.Origin}
	because := fmt.Sprintf("no %s rule allows", back)
	if m.by != nil {
		because = fmt.Sprintf("%s rule %d denies", back, m.by.Number)
		f.Others = []vswitch.Origin{m.by.Origin}
	}
	note := ""
	for i := range other.written {
		if o := &other.written[i]; o.Action == policy.Allow && o.Service == e.Service && o.CIDR == e.CIDR {
			note = fmt.Sprintf("; rule %d allows the service's port instead", o.Number)
			f.Others = append(f.Others, o.Origin)
		}
	}
	f.Message = fmt.Sprintf("allows %s, but %s the replies: %s %s %s (clients' ports: %s)%s",
		entryWords(d, e), because, strings.Join(m.words(), ", "), arrow(back), peers, m.clients(), note)
	f.Advice = fmt.Sprintf("add to nacl.%s %s:  %s", a.Name, back, m.rule(e.CIDR, back, other))
	return f
}

// words returns the replies that are denied: {"tcp 1024-65535"}.
func (m *missing) words() []string {
	words := m.services.Words()
	if m.all {
		words = append(words, portsOf(policy.UDP, ephemeral).Words()...)
	}
	return words
}

// peers returns the blocks to which replies are missing, the shortest first, each
// once.
func (m *missing) peers() []string {
	blocks := slices.Clone(m.blocks)
	slices.SortFunc(blocks, func(a, b netip.Prefix) int {
		if a.Bits() != b.Bits() {
			return a.Bits() - b.Bits()
		}
		return a.Addr().Compare(b.Addr())
	})
	var out []string
	for _, b := range slices.Compact(blocks) {
		out = append(out, b.String())
	}
	return out
}

// clients says who sends from the ports to which replies are missing.
func (m *missing) clients() string {
	var who []string
	for _, c := range clients {
		if portsOf(m.protocol, c.ports).Overlaps(m.services) {
			who = append(who, c.name+" "+c.ports.String())
		}
	}
	return strings.Join(who, ", ")
}

// rule returns the entry that lets the replies through, as the file writes it.
func (m *missing) rule(peer netip.Prefix, d policy.Direction, list *entries) string {
	service := fmt.Sprintf("proto = %q, ports = %q", m.protocol, ephemeral)
	if m.all {
		service = fmt.Sprintf("proto = %q", policy.AllProtocols)
	}
	number, ok := freeNumber(list, m.by)
	if !ok {
		return "a rule for them, once a number is free"
	}
	return fmt.Sprintf("{ rule = %d, action = %q, %s, %s = %q }", number, policy.Allow, service, toward(d), peer)
}

// freeNumber returns a number for a new entry: behind all others, or just before
// the one that is in its way. It returns false if there is none.
func freeNumber(list *entries, before *vswitch.NetworkACLEntry) (int, bool) {
	const step, last = 10, 32766 // the habit of AWS's examples, and its limit (SEM 3.3)
	taken := make(map[int]bool, len(list.written))
	end, previous := last+1, 90
	if before != nil {
		end, previous = before.Number, 0
	}
	for i := range list.written {
		n := list.written[i].Number
		taken[n] = true
		if n < end {
			previous = max(previous, n)
		}
	}
	if n := previous/step*step + step; n < end {
		return n, true
	}
	for n := end - 1; n > 0; n-- {
		if !taken[n] {
			return n, true
		}
	}
	return 0, false
}
